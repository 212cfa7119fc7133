"""Are the constants of log-cosh bowls, and the best answer to Gaussian classes, what is said?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from torch import nn

from metabench.families.blobs import Blobs
from metabench.families.logcosh import LogCosh
from metabench.problems import architectures
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput


def hessian(family, phi, z):
    loss = family.problem().inner_loss
    return torch.autograd.functional.hessian(lambda at: loss(at, at, (z,)), phi)


def test_the_lipschitz_constants_hold_and_are_attained():
    family = LogCosh(dim=1, scale=0.7)
    grid = torch.linspace(-3, 3, 1001, dtype=torch.float64)
    z = torch.zeros(1, 1, dtype=torch.float64)
    phi = grid.clone().requires_grad_()
    loss = sum(family.problem().inner_loss(p[None], p[None], (z,)) for p in phi)
    (slope,) = torch.autograd.grad(loss, phi, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), phi, create_graph=True)
    (third,) = torch.autograd.grad(curve.sum(), phi)

    assert float(curve.detach().max()) == pytest.approx(family.gradient_lipschitz, rel=1e-5)
    assert float(third.abs().max()) == pytest.approx(family.hessian_lipschitz, rel=1e-5)
    assert float(third.abs().max()) <= family.hessian_lipschitz * (1 + 1e-12)


def test_no_pair_of_points_breaks_the_constants():
    family = LogCosh(dim=4, condition=5.0)
    tasks = family.sample(Address.fresh(0, 20), 0)
    generator = torch.Generator().manual_seed(0)

    for (z,) in zip(*tasks.support, strict=True):
        a, b = torch.randn(2, 4, generator=generator, dtype=torch.float64)
        H, G = hessian(family, a, z), hessian(family, b, z)
        gap = float(torch.linalg.matrix_norm(H - G, 2))
        assert gap <= family.hessian_lipschitz * float((a - b).norm())
        assert float(torch.linalg.eigvalsh(H).max()) <= family.gradient_lipschitz


def test_the_loss_is_smooth_far_away():
    family = LogCosh(dim=1)
    z = torch.zeros(1, 1, dtype=torch.float64)
    far = torch.tensor([60.0], dtype=torch.float64)

    value = family.problem().inner_loss(far, far, (z,))

    assert float(value) == pytest.approx(60 - np.log(2), rel=1e-14)


def test_examples_surround_their_center_as_said():
    z = LogCosh(dim=2, spread=2.0, noise=0.5, shots=400).sample(Address.fresh(0, 500), 0).support[0]

    within, between = z.var(1).mean(), z.mean(1).var(0).mean()
    assert float(within) == pytest.approx(0.25, rel=0.02)
    assert float(between) == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize(("dim", "spread"), [(1, 1.0), (3, 0.5)])
def test_the_bayes_classifier_errs_as_often_as_the_closed_form_says(dim, spread):
    family = Blobs(ways=2, dim=dim, spread=spread, queries=5)
    address = Address.fresh(0, 4000)
    x, y = family.sample(address, 0).query

    found = family.posterior(x, torch.from_numpy(family.means(address, 0))).argmax(-1)

    wrong = (found != y).double().mean(1)  # tasks are independent, points of one aren't
    error = float(wrong.std()) / len(wrong) ** 0.5
    assert abs(float(wrong.mean()) - family.bayes_error) < 3.5 * error


def test_no_classifier_of_points_beats_the_posterior():
    family = Blobs(ways=3, queries=200)
    address = Address.fresh(0, 1)
    x, y = family.sample(address, 1).query
    log = family.posterior(x, torch.from_numpy(family.means(address, 1)))[0]

    best = -float(log[torch.arange(len(y[0])), y[0]].mean())
    for tilt in (0.8, 1.2):  # over- and under-confident
        tilted = torch.log_softmax(tilt * log, -1)
        assert -float(tilted[torch.arange(len(y[0])), y[0]].mean()) > best - 0.02


def test_points_lie_around_the_mean_of_their_label():
    family = Blobs(ways=3, shots=50, dim=2)
    address = Address.fresh(0, 40)._replace(label=np.arange(40))
    x, y = family.sample(address, 0).support
    means = torch.from_numpy(family.means(address, 0))

    away = x - torch.gather(means, 1, y[:, :, None].expand(-1, -1, 2))

    assert scipy_stats.kstest(away.numpy().ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("family", "settings", "said"),
    [
        (LogCosh, {"scale": 0.0}, "scale is 0.0; it must be finite and positive"),
        (LogCosh, {"condition": 0.5}, "condition is 0.5; it must be finite and at least 1"),
        (LogCosh, {"shots": 0}, "shots is 0; it must be at least 1"),
        (Blobs, {"ways": 1}, "ways is 1; it must be at least 2"),
        (Blobs, {"noise": 0.0}, "noise is 0.0; it must be finite and positive"),
    ],
)
def test_settings_that_cannot_be_are_refused(family, settings, said):
    with pytest.raises(InvalidInput, match=said):
        family(**settings)
    with pytest.raises(InvalidInput, match="closed form only for 2 classes"):
        _ = Blobs(ways=3).bayes_error


@pytest.mark.parametrize(("filters", "norm"), [(32, True), (64, True), (32, False)])
def test_conv4_has_the_parameters_of_the_papers(filters, norm):
    net = architectures.conv(4, filters, 5, 84, channels=3, norm=norm)

    found = sum(p.numel() for p in net.parameters())

    body = 27 * filters + 3 * 9 * filters**2 + 4 * filters + 8 * filters * norm
    assert found == body + 5 * (25 * filters + 1)
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == norm
    assert net(torch.zeros(2, 3, 84, 84)).shape == (2, 5)


def test_the_omniglot_network_without_convolutions_is_the_one_of_the_paper():
    net = architectures.mlp((784, 256, 128, 64, 64, 5), norm=True)

    kinds = [type(m).__name__ for m in net]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 4 + ["Linear"]
    assert [type(m).__name__ for m in architectures.mlp((1, 40, 1))] == ["Linear", "ReLU", "Linear"]

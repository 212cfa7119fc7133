"""Are the tasks what their papers say?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from sklearn.datasets import load_digits
from torch import nn

from metabench.families.digits import SPLITS, Digits
from metabench.families.sinusoid import Sinusoid
from metabench.problems import architectures
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput


def test_sinusoids_have_the_amplitudes_phases_and_inputs_of_the_paper():
    tasks = Sinusoid(shots=40, queries=3).sample(Address.fresh(0, 3000), seed=0)
    x, y = (leaf[..., 0].numpy() for leaf in tasks.support)

    # a sin(x - p) = b sin(x) - c cos(x): recovered from the points alone, whatever drew them
    design = np.stack([np.sin(x), -np.cos(x)], axis=-1)
    b, c = np.array(
        [np.linalg.lstsq(d, v, rcond=None)[0] for d, v in zip(design, y, strict=True)]
    ).T
    amplitude, phase = np.hypot(b, c), np.arctan2(c, b)

    assert np.abs(np.einsum("tnk,kt->tn", design, np.stack([b, c])) - y).max() < 1e-12
    assert scipy_stats.kstest(amplitude, "uniform", (0.1, 4.9)).pvalue > 1e-3
    assert scipy_stats.kstest(phase, "uniform", (0, math.pi)).pvalue > 1e-3
    assert scipy_stats.kstest(x.ravel(), "uniform", (-5, 10)).pvalue > 1e-3


def test_the_sinusoid_network_is_the_one_of_the_paper():
    layout = Sinusoid().problem().layouts.phi

    assert layout.shapes == ((40, 1), (40,), (40, 40), (40,), (1, 40), (1,))
    assert layout.size == 1761


def test_the_sinusoid_loss_is_the_mean_squared_error_of_the_network():
    family = Sinusoid(shots=4, hidden=(5,))
    problem, theta = family.problem(), family.theta(3)
    x, y = (leaf[0] for leaf in family.sample(Address.fresh(0, 1), seed=0).support)
    w, b, v, c = problem.layouts.phi.unflatten(theta).values()

    found = problem.inner_loss(theta, theta, (x, y))

    prediction = torch.relu(x @ w.T + b) @ v.T + c
    assert float(found) == pytest.approx(float(((prediction - y) ** 2).mean()), rel=1e-12)


def test_initial_weights_follow_the_fan_in_and_norms_start_at_identity():
    net = architectures.conv(2, 8, 5, 8)

    values = dict(zip([n for n, _ in net.named_parameters()], _split(net), strict=True))

    for module_name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for kind in ("weight", "bias"):
                value = values[f"{module_name}.{kind}"]
                assert float(value.abs().max()) <= bound
            assert float(values[f"{module_name}.weight"].abs().max()) > 0.8 * bound
        if isinstance(module, nn.BatchNorm2d):
            assert values[f"{module_name}.weight"].eq(1).all()
            assert values[f"{module_name}.bias"].eq(0).all()
    assert not torch.equal(
        architectures.initial_parameters(net, 0), architectures.initial_parameters(net, 1)
    )


def _split(net: nn.Module) -> list[torch.Tensor]:
    return list(
        architectures.initial_parameters(net, 0).split([p.numel() for p in net.parameters()])
    )


@pytest.mark.parametrize("split", SPLITS)
def test_digit_tasks_show_real_images_of_the_split_once_each_with_consistent_labels(split):
    ways, shots, queries, count = 4, 2, 5, 60
    family = Digits(ways=ways, shots=shots, queries=queries, split=split)
    bundle = load_digits()
    known = {
        np.rot90(image / 16.0, turns).tobytes(): (int(label), turns)
        for image, label in zip(bundle.images, bundle.target, strict=True)
        for turns in range(4)
    }

    tasks = family.sample(Address.fresh(0, count), seed=0)

    for i in range(count):
        x = torch.cat([tasks.support[0][i], tasks.query[0][i]])
        y = torch.cat([tasks.support[1][i], tasks.query[1][i]])
        assert x.shape == (ways * (shots + queries), 1, 8, 8)
        assert torch.bincount(tasks.support[1][i]).tolist() == [shots] * ways
        assert torch.bincount(tasks.query[1][i]).tolist() == [queries] * ways
        shown = [known[image.numpy().tobytes()] for image in x]
        assert len({image.numpy().tobytes() for image in x}) == len(x)
        classes = {int(label): {shown[j] for j in range(len(y)) if y[j] == label} for label in y}
        assert all(len(which) == 1 for which in classes.values())
        assert len({next(iter(which)) for which in classes.values()}) == ways
        assert {digit for digit, _ in shown} <= set(SPLITS[split])


def test_digits_that_look_alike_when_turned_are_not_classes_of_their_own():
    bundle = load_digits()
    by_class = {
        (digit, turns)
        for digit in range(10)
        for turns in range(4)
        if not (digit in (0, 1, 8) and turns >= 2) and not (digit in (6, 9) and turns >= 2)
    }
    known = {
        np.rot90(image / 16.0, turns).tobytes(): (int(label), turns)
        for image, label in zip(bundle.images, bundle.target, strict=True)
        for turns in range(4)
    }

    seen = set()
    for split in SPLITS:
        images = Digits(ways=5, split=split).sample(Address.fresh(0, 300), seed=1).query[0]
        seen |= {known[image.numpy().tobytes()] for image in images.view(-1, 8, 8)}

    assert seen == by_class


def test_labels_are_redrawn_without_touching_the_images():
    family, address = Digits(ways=5, shots=1, queries=2), Address.fresh(0, 20)

    first = family.sample(address, seed=0)
    again = family.sample(address._replace(label=address.label + 1), seed=0)

    assert torch.equal(first.query[0], again.query[0])
    assert not torch.equal(first.query[1], again.query[1])
    assert (first.query[1][:, ::2] == first.support[1]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ways": 23}, "train split has 22 classes"),
        ({"ways": 9, "split": "test"}, "test split has 8 classes"),
        ({"ways": 1}, "at least 2"),
        ({"queries": 200}, "88 images"),
        ({"split": "validation"}, "one of train, test"),
    ],
)
def test_digit_tasks_that_cannot_be_made_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=words):
        Digits(**settings)


def test_sinusoids_without_points_are_refused():
    with pytest.raises(InvalidInput, match="shots is 0"):
        Sinusoid(shots=0)

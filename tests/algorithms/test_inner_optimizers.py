"""Are the inner optimizers torch's own?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from metabench.algorithms.inner_optimizers.adam import Adam
from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
from metabench.algorithms.inner_optimizers.momentum import Momentum
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.settings.errors import InvalidInput

STEPS = 7


def start() -> Tensor:
    return torch.linspace(-1, 1, 6, dtype=torch.float64)


def gradient(phi: Tensor) -> Tensor:
    """Gradient of a loss with unequal curvatures, away from zero so that eps_root is negligible."""
    return torch.arange(1.0, 7.0, dtype=torch.float64) * phi**3 + phi.sin() + 0.3


def ours(step: InnerOptimizer) -> Tensor:
    phi, slots = start(), step.start(start())
    for k in range(STEPS):
        phi, slots = step(gradient(phi), phi, slots, k)
    return phi


def torchs(optimizer: Callable, clip: Callable = lambda _: None) -> Tensor:
    phi = nn.Parameter(start())
    chosen = optimizer([phi])
    for _ in range(STEPS):
        phi.grad = gradient(phi.detach())
        clip([phi])
        chosen.step()
    return phi.detach()


PAIRS = {
    "sgd": (SGD(rate=0.1), torchs(lambda p: torch.optim.SGD(p, lr=0.1))),
    "momentum": (
        Momentum(rate=0.1, momentum=0.7),
        torchs(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.7)),
    ),
    "adam": (
        Adam(rate=0.1, beta1=0.8, beta2=0.95, eps=1e-3),
        torchs(lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.95), eps=1e-3)),
    ),
    "clipped by norm": (
        SGD(rate=0.1, clip_norm=2.0),
        torchs(lambda p: torch.optim.SGD(p, lr=0.1), lambda p: nn.utils.clip_grad_norm_(p, 2.0)),
    ),
    "clipped by value": (
        SGD(rate=0.1, clip_value=0.5),
        torchs(lambda p: torch.optim.SGD(p, lr=0.1), lambda p: nn.utils.clip_grad_value_(p, 0.5)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_step_is_torchs_own_optimizer(name):
    step, expected = PAIRS[name]

    # torch adds 1e-6 to the norm it clips by; eps_root shifts Adam's root by less than that
    torch.testing.assert_close(ours(step), expected, rtol=0, atol=1e-6)
    unclipped = ours(SGD(rate=0.1))
    assert name == "sgd" or float((unclipped - expected).abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("step", "settings", "words"),
    [
        (SGD, {"rate": -0.1}, "finite and not negative"),
        (SGD, {"rate": float("nan")}, "finite and not negative"),
        (SGD, {"clip_norm": 0.0}, "must be positive"),
        (Momentum, {"momentum": 1.0}, r"\[0, 1\)"),
        (Adam, {"beta2": 1.0}, r"\[0, 1\)"),
        (Adam, {"eps_root": 0.0}, "NaN"),
    ],
)
def test_invalid_settings_are_rejected(step, settings, words):
    with pytest.raises(InvalidInput, match=words):
        step(**settings)

"""Right gradients of awkward losses, under MAML."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import metabench as mb
from reports.verdicts.cases import Healthy, network, sampler, subject

Loss = Callable[[Any, Any], Tensor]


def regression(loss: Loss, rate: float, steps: int, seed: int) -> mb.Subject:
    """Return MAML on a regression with a loss."""
    return subject(network(seed), mb.MAML(steps, mb.SGD(rate)), sampler(seed), loss)


def classification(loss: Loss, seed: int) -> mb.Subject:
    """Return MAML on a classification with a loss of logits and labels."""
    net = network(seed, out=3)
    return subject(net, mb.MAML(3, mb.SGD(0.3)), sampler(seed, classes=3), loss)


def two_outputs(loss: Loss, seed: int) -> mb.Subject:
    """Return MAML on a regression whose network predicts a mean and a log variance."""
    return subject(network(seed, out=2), mb.MAML(3, mb.SGD(0.1)), sampler(seed), loss)


def gaussian(p: Tensor, y: Tensor) -> Tensor:
    """Compute the negative log-likelihood of a mean and a log variance."""
    mean, log_variance = p[:, :1], p[:, 1:]
    return ((y - mean) ** 2 / log_variance.exp() + log_variance).mean()


def pinball(p: Tensor, y: Tensor) -> Tensor:
    """Compute the quantile loss at .8."""
    return torch.maximum(0.8 * (y - p), 0.2 * (p - y)).mean()


def focal(p: Tensor, y: Tensor) -> Tensor:
    """Compute the focal loss."""
    log = functional.log_softmax(p, -1).gather(1, y[:, None])[:, 0]
    return -((1 - log.exp()) ** 2 * log).mean()


def hinge(p: Tensor, y: Tensor) -> Tensor:
    """Compute the hinge loss of the best wrong class."""
    right = p.gather(1, y[:, None])
    other = (p + 1 - right).clamp(min=0)
    return (other.sum(1) - 1).mean()


def one_hot(p: Tensor, y: Tensor) -> Tensor:
    """Return labels as rows of zeros and a one."""
    return (y[:, None] == torch.arange(3)).to(p)


LOSSES: dict[str, tuple[Loss, float, int]] = {
    "squares": (functional.mse_loss, 0.3, 3),
    "L1": (functional.l1_loss, 0.1, 3),
    "Huber": (partial(functional.huber_loss, delta=0.3), 0.3, 3),
    "smooth L1": (functional.smooth_l1_loss, 0.3, 3),
    "log-cosh": (lambda p, y: (p - y).cosh().log().mean(), 0.3, 3),
    "quantile": (pinball, 0.1, 3),
    "fourth powers": (lambda p, y: ((p - y) ** 4).mean(), 0.1, 3),
    "root of squares": (lambda p, y: (functional.mse_loss(p, y) + 1e-12).sqrt(), 0.1, 3),
    "squares of floats": (lambda p, y: functional.mse_loss(p.float(), y.float()), 0.3, 3),
    "L1 of floats": (lambda p, y: functional.l1_loss(p.float(), y.float()), 0.1, 3),
    "floats, K = 10": (lambda p, y: functional.mse_loss(p.float(), y.float()), 0.3, 10),
    "times 1e-9": (lambda p, y: 1e-9 * functional.mse_loss(p, y), 0.3, 3),
    "times 1e9": (lambda p, y: 1e9 * functional.mse_loss(p, y), 3e-10, 3),
    "times 1e-9 of floats": (lambda p, y: 1e-9 * functional.mse_loss(p.float(), y.float()), 0.3, 3),
    "times 1e9 of floats": (lambda p, y: 1e9 * functional.mse_loss(p.float(), y.float()), 3e-10, 3),
    "plus a constant of 1e6": (lambda p, y: functional.mse_loss(p, y) + 1e6, 0.3, 3),
    "Poisson": (lambda p, y: functional.poisson_nll_loss(p, y.exp()), 0.1, 3),
    "clamped outputs": (lambda p, y: functional.mse_loss(p.clamp(-1, 1), y), 0.3, 3),
}
CLASSES: dict[str, Loss] = {
    "cross-entropy": functional.cross_entropy,
    "cross-entropy of float logits": lambda p, y: functional.cross_entropy(p.float(), y),
    "label smoothing": partial(functional.cross_entropy, label_smoothing=0.1),
    "focal": focal,
    "hinge": hinge,
    "binary cross-entropy": lambda p, y: functional.binary_cross_entropy_with_logits(
        p, one_hot(p, y)
    ),
    "logits times 50": lambda p, y: functional.cross_entropy(50 * p, y) / 50,
    "KL to soft labels": lambda p, y: functional.kl_div(
        functional.log_softmax(p, -1), (one_hot(p, y) + 0.1) / 1.3, reduction="batchmean"
    ),
}
HEALTHY = (
    *(Healthy(f"loss: {name}", partial(regression, *parts)) for name, parts in LOSSES.items()),
    *(Healthy(f"loss: {name}", partial(classification, loss)) for name, loss in CLASSES.items()),
    Healthy("loss: Gaussian likelihood", partial(two_outputs, gaussian)),
)

"""Losses that people bring, each with targets it can take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from reports.what_runs.case import Loss, numbers, words

OUTPUTS = 3  # numbers that the module returns of an example
SINGLE = 2**-24  # unit round-off of float32


@dataclass(frozen=True)
class Case:
    """A loss of `(prediction, y)`, in float32 where it holds numbers of its own."""

    name: str
    loss: Loss
    targets: Callable[[torch.Generator], Tensor]
    double: Loss | None = None  # the same with its own numbers in float64
    plain: Loss | None = None  # the same in a form that autograd differentiates right
    unit: float = 2**-53  # round-off of its arithmetic


def real(generator: torch.Generator) -> Tensor:
    """Draw three real targets of each example."""
    return numbers(generator, OUTPUTS)


def classes(generator: torch.Generator) -> Tensor:
    """Draw the class of each example."""
    return words(generator, OUTPUTS)


def _some_ignored(generator: torch.Generator) -> Tensor:
    labels = classes(generator)
    labels[0] = -100
    return labels


def _distribution(generator: torch.Generator) -> Tensor:
    return numbers(generator, OUTPUTS).softmax(1)


def _bits(generator: torch.Generator) -> Tensor:
    return words(generator, 2, OUTPUTS).double()


def _signs(generator: torch.Generator) -> Tensor:
    return 2 * words(generator, 2).double() - 1


def _in_single(prediction: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(prediction.float(), y)


def _smoothed(prediction: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(prediction, y, label_smoothing=0.1)


def _ignoring(prediction: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(prediction, y, ignore_index=-100)


def _nll(prediction: Tensor, y: Tensor) -> Tensor:
    return functional.nll_loss(prediction.log_softmax(1), y)


def _kl(prediction: Tensor, y: Tensor) -> Tensor:
    return functional.kl_div(prediction.log_softmax(1), y, reduction="batchmean")


def _cosine(prediction: Tensor, y: Tensor) -> Tensor:
    other = torch.ones_like(prediction)
    return functional.cosine_embedding_loss(prediction, other, y, margin=0.1)


def _gaussian(prediction: Tensor, y: Tensor) -> Tensor:
    mean, log_variance = prediction[:, :1], prediction[:, 1:2]
    return functional.gaussian_nll_loss(mean, y[:, :1], log_variance.exp())


def _triplet(prediction: Tensor, y: Tensor) -> Tensor:
    return functional.triplet_margin_loss(prediction, y, prediction.roll(1, 0))


def _quantile(prediction: Tensor, y: Tensor) -> Tensor:
    off = y - prediction
    return torch.maximum(0.9 * off, -0.1 * off).mean()


def _hinge(prediction: Tensor, y: Tensor) -> Tensor:
    return functional.multi_margin_loss(prediction, y)


def _plain_hinge(prediction: Tensor, y: Tensor) -> Tensor:
    right = prediction.gather(1, y[:, None])
    margins = (1 - right + prediction).clamp(min=0).scatter(1, y[:, None], 0.0)
    return margins.sum(1).mean() / prediction.shape[1]


WEIGHTS = torch.tensor([1.0, 2.0, 0.5])
CASES = (
    Case("mse", functional.mse_loss, real),
    Case("l1", functional.l1_loss, real),
    Case("huber", functional.huber_loss, real),
    Case("smooth_l1", functional.smooth_l1_loss, real),
    Case("cross_entropy_in_float32", _in_single, classes, unit=SINGLE),
    Case("label_smoothing", _smoothed, classes),
    Case("class_weights", nn.CrossEntropyLoss(WEIGHTS), classes,
         nn.CrossEntropyLoss(WEIGHTS.double())),
    Case("ignore_index", _ignoring, _some_ignored),
    Case("soft_targets", functional.cross_entropy, _distribution),
    Case("bce_with_logits", functional.binary_cross_entropy_with_logits, _bits),
    Case("nll", _nll, classes),
    Case("kl", _kl, _distribution),
    Case("multi_margin", _hinge, classes, plain=_plain_hinge),
    Case("cosine", _cosine, _signs),
    Case("gaussian_nll", _gaussian, real),
    Case("triplet", _triplet, real),
    Case("quantile", _quantile, real),
)  # fmt: skip

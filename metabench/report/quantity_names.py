"""How quantities are called in tables and figures, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.verify.limits import LIMITS
from metabench.records.source_names import source_name

if TYPE_CHECKING:
    from metabench.probes.base import Probe

BY_SOURCE = ("component", "share")  # quantities whose `of` is a source of the variance
QUANTITY_NAMES = {
    "bias": "squared bias",
    "break_even": "break-even batch",
    "break_even_seconds": "break-even seconds",
    "edge": "edge of stability",
    "exponent": "Lyapunov exponent",
    "chance_accuracy": "accuracy of constant predictions",
    "gain": "fall of the validation loss",
    "gradient_lipschitz": "gradient Lipschitz constant",
    "hessian_lipschitz": "Hessian Lipschitz constant",
    "mse": "mean squared error",
    "mse_by_mebibytes": "mean squared error by memory",
    "mse_by_seconds": "mean squared error by time",
    "mse_same_seconds": "mean squared error in equal time",
    "norm": "norm, median",
    "norm_high": "norm, 95 % quantile",
    "norm_low": "norm, 5 % quantile",
    "past_edge": "past the edge of stability",
    "own_steps": "inner steps of the algorithm",
    "seconds_a_step": "seconds per step",
    "seconds_by_b": "seconds by B",
    "seconds_by_k": "seconds by K",
    "meta_gradient_squared": "squared meta-gradient",
    "snr": "signal-to-noise",
    "task_variance": "total variance",
    "validation": "validation loss",
}
OF_NAMES = {
    "adapted": "at phi_K",
    "foretold": "predicted",
    "map": "d phi_K / d theta",
    "mean": "expected Hessian",
    "meta": "meta-Hessian",
    "float32 by 1 %": "by 1 %",
    "float32 by 10 %": "by 10 %",
    "own": "yours",
    "preconditioned": "at phi_K, scaled",
    "start": "at phi_0",
}
AXES = ("curvature", "k", "rate")  # values of `of` that say what `at` counts
CHECKS = {
    "check": "relative difference",
    "check/Hessian symmetry": "relative difference of u'Hv and v'Hu",
    "check/autograd through the unroll": "relative difference to torch's through all steps",
    "check/finite differences": "relative difference to changes of the loss",
    "check/precision": "relative difference of float32 to float64",
    "check/repeated call": "relative difference of two equal calls",
    "check/implicit against unrolled": "relative difference of the two",
    "check/vmap against a loop": "relative difference of the two",
    "sampled_check": "p-value of the hypothesis that this is unbiased",
    "sampled_check/score": "p-value of the hypothesis that the score has mean zero",
    "sampled_bias": "norm of the bias over that of the gradient or Hessian",
    "sampled_kind": "what the biased loss was recognized as",
    "sampled_sequences": "sequences drawn for these checks [sequences]",
    "task_fact": "share of the tasks looked at",
    "task_fact/adaptation": "query loss after adaptation minus that before [loss]",
    "not_finite": "share of the tasks checked in which it is not finite",
    "curvature": "smallest curvature found where the gradient is taken [curvature]",
}


def label(quantity: str, of: str) -> str:
    """Write the name of a row: its quantity, and its source, method or objective.

    >>> label("share", "query"), label("noise_scale", ""), label("adjoint", "k")
    ('share, query draws', 'noise scale', 'adjoint')
    """
    if not of or of in AXES:
        return words(quantity)
    return f"{words(quantity)}, {source_name(of) if quantity in BY_SOURCE else of_name(of)}"


def of_name(of: str) -> str:
    """Write what a number belongs to: a method, place or objective.

    >>> of_name("start"), of_name("maml")
    ('at phi_0', 'maml')
    """
    return OF_NAMES.get(of, of)


def words(name: str) -> str:
    """Write the name of a quantity with spaces.

    >>> words("task_variance"), words("noise_scale")
    ('total variance', 'noise scale')
    """
    return QUANTITY_NAMES.get(name, name.replace("_", " "))


def meaning(probe: Probe, quantity: str, of: str) -> str:
    """Return what a number is, with its unit in brackets; blank if the probe doesn't say.

    Args:
        probe: that measured it.
        quantity: of its row.
        of: of its row.

    >>> import metabench as mb
    >>> meaning(mb.Variance(), "noise_scale", "")
    'batch size at which noise equals signal [tasks]'
    >>> meaning(mb.Verify(), "check", "repeated call")
    'relative difference of two equal calls; passes up to 1e-05'
    """
    known = {**CHECKS, **probe.meanings}
    text = known.get(f"{quantity}/{of}", known.get(quantity, ""))
    limit = f"; passes up to {LIMITS[of]:g}" if quantity == "check" and of in LIMITS else ""
    return f"{text}{limit}"


def axis_of(probe: Probe, quantity: str, of: str) -> str:
    """Return what `at` counts in a row.

    Args:
        probe: that measured it.
        quantity: of the row.
        of: of the row.

    >>> import metabench as mb
    >>> axis_of(mb.Cost(), "seconds_by_b", "maml"), axis_of(mb.Explosion(), "unstable", "rate")
    ('B', 'inner rate')
    """
    part = of.partition(":")[0]  # as in "proximal strength: maml"
    return probe.axes.get(f"{quantity}/{part}") or probe.axes.get(quantity, probe.axis)

"""L and rho from Hessians, and the inner rates and smoothness bound that follow from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from metabench.records.rows import Row, row
from metabench.stats import intervals
from metabench.stats.intervals import Interval, Vector
from metabench.stats.mean_intervals import ratio_of_means, skewed_mean_interval
from metabench.stats.proportions import share_interval
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.linalg.expected_spectrum import ExpectedSpectrum
    from metabench.probes.constants.measure_hessians import HessianEstimates
    from metabench.probes.constants.setting import Setting

LARGEST_ALPHA_L = 1 / 6  # largest alpha L
ROUND_OFF = 1 + 1e-9
PLAIN_EDGE = 2.0  # alpha lambda_max of plain descent
AT_LEAST, AT_MOST = "at least", "at most"  # of a supremum, only one side is known


def lipschitz(found: HessianEstimates) -> float | None:
    """Return the largest Hessian norm, a lower bound of L; None if one at the start diverged."""
    if not np.isfinite(found.sizes["start"]).all():
        return None
    return max(float(np.nanmax(each)) for each in found.sizes.values() if not _all_missing(each))


def hessian_lipschitz(found: HessianEstimates) -> float | None:
    """Return the largest rate of change of a Hessian, a lower bound of rho; None at kinks."""
    if not found.smooth.all():
        return None
    return float(np.nanmax([found.local, found.along]))


def curvature_rows(found: HessianEstimates, examples: int) -> list[Row]:
    """Return rows of L and rho, at each place and overall, and of the Hessian's variance."""
    rows = []
    for place, sizes in found.sizes.items():
        if np.isnan(sizes).any():
            hits = share_interval(int(np.isnan(sizes).sum()), len(sizes))
            rows.append(row("diverged", hits, "diverged", of=place))
        if not _all_missing(sizes):
            rows.append(_bound("gradient_lipschitz", float(np.nanmax(sizes)), AT_LEAST, of=place))
    L = lipschitz(found)
    if L is None:
        return [*rows, Row("gradient_lipschitz", status="diverged")]
    rows.append(_bound("gradient_lipschitz", L, AT_LEAST))
    kinks = share_interval(int((found.smooth < 1).sum()), len(found.smooth))
    rows.append(row("kink", kinks))
    if not _all_missing(found.along):
        rows.append(
            _bound("hessian_lipschitz", float(np.nanmax(found.along)), AT_LEAST, "one step")
        )
    rho = hessian_lipschitz(found)
    if rho is None:
        return [*rows, Row("hessian_lipschitz", status="kink"), *_sets(found, examples)]
    rows.append(_bound("hessian_lipschitz", float(found.local.max()), AT_LEAST, of="start"))
    rows.append(_bound("hessian_lipschitz", rho, AT_LEAST))
    return [*rows, *_sets(found, examples)]


def _sets(found: HessianEstimates, examples: int) -> list[Row]:
    """Return rows of the Hessian's variance over sets and examples, and of two sets' difference."""
    if not len(found.frobenius):
        return [Row("hessian_variance", of="one support set", status="not_redrawable")]
    if not found.frobenius.any():
        return [Row("hessian_variance", of="one support set", value=0.0, status="zero")]
    one, apart = _mean_square(found.frobenius), _mean_square(found.operator)
    each = Interval(*(examples * end for end in one))
    return [
        row("hessian_variance", one, of="one support set"),
        row("hessian_variance", each, of="an example"),
        row("hessian_difference", apart, of="two support sets"),
    ]


def _mean_square(squares: Vector) -> Interval:
    """Return the mean of squares, with the wider of two intervals at either end.

    A jackknife of the logarithm alone covered 90 % with 64 tasks.
    """
    log = ratio_of_means(squares, np.ones_like(squares))
    plain = skewed_mean_interval(squares)
    if not math.isfinite(plain.low):
        return log
    wide = log.widened(plain.low, plain.high)
    return wide._replace(low=max(wide.low, 0.0))


def measured_assumptions(rate: float | None, found: HessianEstimates, rows: list[Row]) -> list[Row]:
    """Return rows of the assumptions that are measured.

    Args:
        rate: of plain inner descent; None for another step.
        found: estimates of Hessians.
        rows: of the Hessian's variance and difference over sets.
    """
    L = lipschitz(found)
    made = []
    if rate is not None and L is not None:
        status = "violated" if rate * L > LARGEST_ALPHA_L * ROUND_OFF else "not refuted"
        made.append(Row("assumption", of="alpha L <= 1/6", value=rate * L, status=status))
    status = "not refuted" if found.smooth.all() else "violated"
    made.append(Row("assumption", of="a Lipschitz Hessian", status=status))
    measured = {(r.quantity, r.of): r for r in rows}
    one = measured.get(("hessian_variance", "one support set"))
    apart = measured.get(("hessian_difference", "two support sets"))
    if rate is None or one is None or one.status == "not_redrawable":
        return made
    name = "D_h >= 2 alpha^2 sigma_H^2"
    difference = _value_or_inf(apart.value, 0.0) if apart else math.inf
    least_known = min(_value_or_inf(one.value, 0.0), difference)
    needed = 2 * rate**2 * least_known  # in support sets: at most 1
    difference = _value_or_inf(apart.high, apart.value) if apart else math.inf
    high = min(_value_or_inf(one.high, one.value), difference)
    least = (apart.low or 0.0) / 4 if apart else 0.0
    status = "open"
    if 2 * rate**2 * high <= 1:
        status = "not refuted"
    elif 2 * rate**2 * least > 1:
        status = "violated"
    return [*made, Row("assumption", of=name, value=needed, status=status)]


def rates(setting: Setting, L: float) -> list[float]:
    """Return the inner rates at which bounds are evaluated: the given and the largest covered."""
    given = [] if setting.rate is None else [setting.rate]
    covered = bool(given) and given[0] * L <= LARGEST_ALPHA_L * ROUND_OFF
    return given if covered or L <= 0 else [*given, LARGEST_ALPHA_L / L]


def many_steps(found: HessianEstimates, setting: Setting) -> list[Row]:
    """Return rows of the inner rates that theory and curvature allow, and of the path factor."""
    L, K = lipschitz(found), setting.steps
    if L is None or setting.loop is None:
        return []
    rows = []
    if setting.rate is not None:
        rows.append(Row("rate", of="own", value=setting.rate))
    if L > 0:
        rows.append(_bound("rate", LARGEST_ALPHA_L / L, AT_MOST, of="one step, 1 / (6 L)"))
        if K:
            rows.append(_bound("rate", 1 / (K * L), AT_MOST, of="many steps, 1 / (K L)"))
    if setting.rate is None:
        return rows
    with np.errstate(divide="ignore"):
        each = np.where(found.largest > 0, PLAIN_EDGE / found.largest, np.inf)
    for share in (0.5, 0.95):
        interval = quantile_interval(each, 1 - share)
        status = "ok" if math.isfinite(interval.value) else "unbounded"
        interval = interval._replace(low=max(interval.low, 0.0))
        rows.append(row("rate", interval, status, of=f"stable for {100 * share:.0f} % of tasks"))
    log = 2 * K * math.log1p(setting.rate * L)
    factor = math.exp(log) if log < intervals.WIDEST_LOGARITHM else None
    status = AT_LEAST if factor is not None else "overflow"
    return [*rows, Row("path_factor", value=factor, status=status)]


def smoothness(
    rate: float, L: float, rho: float | None, size: float | None, measured: ExpectedSpectrum
) -> list[Row]:
    r"""Return rows of the bound :math:`4 L + 2 \rho \alpha E|\nabla f_i|` and of what it bounds.

    Args:
        rate: the inner rate alpha.
        L: lower bound of the largest Hessian norm.
        rho: lower bound of the Hessian's Lipschitz constant; None without one.
        size: E|grad f_i|; None without one.
        measured: extreme eigenvalues of the meta-Hessian.
    """
    ends = [measured.largest, Interval(*(-x for x in _negated_order(measured.smallest)))]
    found = Interval(*(max(end[i] for end in ends) for i in range(3)))
    rows = [row("smoothness", found._replace(low=max(found.low, 0.0)), at=rate, of="measured")]
    if rho is None or size is None:
        return [*rows, Row("smoothness", at=rate, of="bound", status="withheld")]
    bound = 4 * L + 2 * rho * rate * size
    rows.append(_bound("smoothness", bound, AT_LEAST, of="bound", at=rate))
    if found.value > 0:  # L and rho are lower bounds, and so is the slack
        slack = Interval(bound / found.value, bound / found.high, math.inf)
        rows.append(row("slack", slack, AT_LEAST, at=rate, of="smoothness"))
    return rows


def _negated_order(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.high, interval.low


def _bound(quantity: str, value: float, status: str, of: str = "", at: float | None = None) -> Row:
    """Return the row of a one-sided bound: a lower bound of a supremum, or what follows from it."""
    if not math.isfinite(value):
        return Row(quantity, at=at, of=of, status="overflow")
    return Row(quantity, at=at, of=of, value=value, status=status)


def _all_missing(values: Vector) -> bool:
    return bool(np.isnan(values).all())


def _value_or_inf(end: float | None, value: float | None) -> float:
    return end if end is not None else math.inf if value is None else value

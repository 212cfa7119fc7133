"""From Hessians to L and rho, and to the inner rates and the smoothness that follow from them."""

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
    from metabench.probes.constants.measure_hessians import Curved
    from metabench.probes.constants.setting import Setting

COVERED = 1 / 6  # largest alpha L
ROUND_OFF = 1 + 1e-9
NO_MORE = 1e-6  # of L: a rho that moves L less than this over a unit of length is round-off
PLAIN_EDGE = 2.0  # alpha lambda_max of plain descent
LEAST, MOST = "at least", "at most"  # of a supremum, only one side is known


def lipschitz(found: Curved) -> float | None:
    """Give the largest Hessian found, L at least; None where one at the start isn't finite."""
    if not np.isfinite(found.sizes["start"]).all():
        return None
    return max(float(np.nanmax(each)) for each in found.sizes.values() if not _lost(each))


def hessian_lipschitz(found: Curved) -> float | None:
    """Give the fastest change of a Hessian found, rho at least; None where it has kinks."""
    if not found.converged.all():
        return None
    return float(np.nanmax([found.local, found.along]))


def curvature_rows(found: Curved, examples: int) -> list[Row]:
    """Give L and rho, of each place and of all, and what a Hessian varies by over sets."""
    rows = []
    for place, sizes in found.sizes.items():
        if np.isnan(sizes).any():
            hits = share_interval(int(np.isnan(sizes).sum()), len(sizes))
            rows.append(row("diverged", hits, "diverged", of=place))
        if not _lost(sizes):
            rows.append(_bound("gradient_lipschitz", float(np.nanmax(sizes)), LEAST, of=place))
    L = lipschitz(found)
    if L is None:
        return [*rows, Row("gradient_lipschitz", status="diverged")]
    rows.append(_bound("gradient_lipschitz", L, LEAST))
    kinks = share_interval(int((found.converged < 1).sum()), len(found.converged))
    rows.append(row("kink", kinks))
    if not _lost(found.along):
        rows.append(_bound("hessian_lipschitz", float(np.nanmax(found.along)), LEAST, "one step"))
    rho = hessian_lipschitz(found)
    if rho is None:
        return [*rows, Row("hessian_lipschitz", status="kink"), *_sets(found, examples)]
    rows.append(_bound("hessian_lipschitz", float(found.local.max()), LEAST, of="start"))
    rows.append(_bound("hessian_lipschitz", rho, LEAST))
    return [*rows, *_sets(found, examples)]


def _sets(found: Curved, examples: int) -> list[Row]:
    """Give the variance of a set's Hessian, of one example's, and how far two sets are apart."""
    if not len(found.frobenius):
        return [Row("hessian_variance", of="one support set", status="not_redrawable")]
    if not found.frobenius.any():
        return [Row("hessian_variance", of="one support set", value=0.0, status="zero")]
    one, apart = _mean(found.frobenius), _mean(found.operator)
    each = Interval(*(examples * end for end in one))
    return [
        row("hessian_variance", one, of="one support set"),
        row("hessian_variance", each, of="an example"),
        row("hessian_difference", apart, of="two support sets"),
    ]


def _mean(squares: Vector) -> Interval:
    """Bracket the mean of squares, of which a few may be large: by the wider of two, either side.

    A jackknife of the logarithm alone covered 90 % of 64 tasks.
    """
    log = ratio_of_means(squares, np.ones_like(squares))
    plain = skewed_mean_interval(squares)
    if not math.isfinite(plain.low):
        return log
    wide = log.widened(plain.low, plain.high)
    return wide._replace(low=max(wide.low, 0.0))


def assumed(rate: float | None, found: Curved, rows: list[Row]) -> list[Row]:
    """Give the assumptions that take a measurement, at the rate of plain descent."""
    L = lipschitz(found)
    made = []
    if rate is not None and L is not None:
        status = "violated" if rate * L > COVERED * ROUND_OFF else "not refuted"
        made.append(Row("assumption", of="alpha L <= 1/6", value=rate * L, status=status))
    status = "not refuted" if found.converged.all() else "violated"
    made.append(Row("assumption", of="a Lipschitz Hessian", status=status))
    held = {(r.quantity, r.of): r for r in rows}
    one = held.get(("hessian_variance", "one support set"))
    apart = held.get(("hessian_difference", "two support sets"))
    if rate is None or one is None or one.status == "not_redrawable":
        return made
    name = "D_h >= 2 alpha^2 sigma_H^2"
    least_known = min(_or(one.value, 0.0), _or(apart.value, 0.0) if apart else math.inf)
    needed = 2 * rate**2 * least_known  # in sets of one's own size: at most 1
    high = min(_or(one.high, one.value), _or(apart.high, apart.value) if apart else math.inf)
    least = (apart.low or 0.0) / 4 if apart else 0.0
    status = "open"
    if 2 * rate**2 * high <= 1:
        status = "not refuted"
    elif 2 * rate**2 * least > 1:
        status = "violated"
    return [*made, Row("assumption", of=name, value=needed, status=status)]


def rates(setting: Setting, L: float) -> list[float]:
    """Give the inner rates at which bounds are looked at: one's own, and the largest covered."""
    own = [] if setting.rate is None else [setting.rate]
    covered = bool(own) and own[0] * L <= COVERED * ROUND_OFF
    return own if covered or L <= 0 else [*own, COVERED / L]


def many_steps(found: Curved, setting: Setting) -> list[Row]:
    """Give the inner rates that theory and curvature allow, and the factor exponential in K."""
    L, K = lipschitz(found), setting.steps
    if L is None or setting.loop is None:
        return []
    rows = []
    if setting.rate is not None:
        rows.append(Row("rate", of="own", value=setting.rate))
    if L > 0:
        rows.append(_bound("rate", COVERED / L, MOST, of="one step, 1 / (6 L)"))
        if K:
            rows.append(_bound("rate", 1 / (K * L), MOST, of="many steps, 1 / (K L)"))
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
    status = LEAST if factor is not None else "overflow"
    return [*rows, Row("path_factor", value=factor, status=status)]


def smoothness(
    rate: float, L: float, rho: float | None, size: float | None, measured: ExpectedSpectrum
) -> list[Row]:
    r"""Give the bound :math:`4 L + 2 \rho \alpha E|\nabla f_i|`, and the meta-Hessian's norm."""
    ends = [measured.largest, Interval(*(-x for x in _turned(measured.smallest)))]
    found = Interval(*(max(end[i] for end in ends) for i in range(3)))
    rows = [row("smoothness", found._replace(low=max(found.low, 0.0)), at=rate, of="measured")]
    if rho is None or size is None:
        return [*rows, Row("smoothness", at=rate, of="bound", status="withheld")]
    bound = 4 * L + 2 * rho * rate * size
    rows.append(_bound("smoothness", bound, LEAST, of="bound", at=rate))
    if found.value > 0:  # the bound is at least what L and rho make of it, so the slack is, too
        slack = Interval(bound / found.value, bound / found.high, math.inf)
        rows.append(row("slack", slack, LEAST, at=rate, of="smoothness"))
    return rows


def _turned(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.high, interval.low


def _bound(quantity: str, value: float, status: str, of: str = "", at: float | None = None) -> Row:
    """Make a row of what bounds a supremum, or what follows from one, from one side."""
    if not math.isfinite(value):
        return Row(quantity, at=at, of=of, status="overflow")
    return Row(quantity, at=at, of=of, value=value, status=status)


def _lost(values: Vector) -> bool:
    return bool(np.isnan(values).all())


def _or(end: float | None, value: float | None) -> float:
    return end if end is not None else math.inf if value is None else value

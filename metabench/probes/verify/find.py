"""What the checks say, in sentences with repairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.verify.failed_checks import said_of
from metabench.records.number_format import number
from metabench.records.rows import LEVELS, Finding, Row, Rows, by_quantity, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.verify import Verify

BAD = (
    "wrong", "mismatch", "random", "imprecise", "sum", "tasks_interact", "reduced_precision",
    "not finite", "unsolved", "misreported",
)  # fmt: skip
MOST = 3  # layers that a sentence names
SINGLE = 1e-6  # a disagreement that float32 inside the loss may leave; the least error of torch's
# fused norms is 5e-4
VERDICTS = ("ok", "approximate", "open")
DIFFERENCES = "finite differences"
ROUNDED = ("vmap against a loop", "Hessian symmetry")  # checks that rounding alone can fail
SAFE = (
    "Differentiate inside the vmap, vmap(grad(task)), never through it, grad(vmap(task)); or write "
    "the norms out: net = metabench.safe_norms(net)."
)


def find(probe: Verify, whole: pd.DataFrame) -> list[Finding]:
    """Say what is wrong, what to change, and what couldn't be checked, the weightiest first."""
    table = by_quantity(whole)
    checks = from_table(table, "check", of=None)
    fused = from_table(table, "fused_norm", of=None)
    findings = [
        *_failed(table, checks, fused),
        *_stationary(table),
        *_unchecked(table, fused),
        *_said(table),
    ]
    if all(finding.level == "info" for finding in findings):
        findings = [*_held(checks), *findings]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _failed(table: Rows, checks: list[Row], fused: list[Row]) -> list[Finding]:
    """Say of each check that fails what that means, where rounding can't be all of it."""
    bad = [row for row in checks if row.status in BAD]
    half = any(row.status == "reduced_precision" for row in bad) and not fused
    doubted = (*ROUNDED, DIFFERENCES) if half else ()
    single = [] if half or fused else [row for row in bad if row.of in ROUNDED and _faint(row)]
    layers = _by_layer(table, doubted)
    findings = [
        _rounded(row) if row.of in doubted else _wrong(row, fused, layers)
        for row in bad
        if row not in single
    ]
    return [*findings, *_single(single), *_in_layers(checks, layers)]


def _by_layer(table: Rows, doubted: tuple[str, ...]) -> list[Row]:
    """Give the verdicts of each layer but those of checks that are in doubt."""
    rows = from_table(table, "check", of=None, layer=None)
    return [row for row in rows if row.layer and row.of not in doubted]


def _stationary(table: Rows) -> list[Finding]:
    """Say where the meta-gradient is zero, and where there is no inner minimum."""
    zero = from_table(table, "zero", of=None)
    saddles = [row for row in from_table(table, "curvature", of=None) if row.status != "ok"]
    return [_saddle(row, zero) for row in saddles] or [_zero(row) for row in zero]


def _wrong(row: Row, fused: list[Row], layers: list[Row]) -> Finding:
    claim, repair, level = said_of(row)
    claim += _where([each for each in layers if each.of == row.of])
    if fused and row.of in (*ROUNDED, DIFFERENCES):
        names = ", ".join(norm.of for norm in fused)
        claim += f" The model has fused norms, which torch differentiates wrongly: {names}."
        repair = SAFE
        level = "critical"
    return Finding(_name(row), level, "fault", claim, repair, (row, *fused))


def _name(row: Row) -> str:
    return "check_" + row.of.lower().replace(" ", "_")


def _faint(row: Row) -> bool:
    return row.value is not None and row.value <= SINGLE


def _rounded(row: Row) -> Finding:
    """Say of a check that fails where the loss was found to be of half precision."""
    claim = f"Off by {row.value or 0:.2g} in {row.of}, of which half precision, told beside this, "
    claim += "may be all."
    repair = "Keep the loss in float32, then verify again: until then this check can't judge."
    return Finding(_name(row), "warning", "undecided", claim, repair, (row,))


def _single(rows: list[Row]) -> list[Finding]:
    """Tell of checks that agree to the rounding of float32."""
    if not rows:
        return []
    claim = (
        "Some of the loss is computed in float32, whatever theta's dtype is: "
        + " and ".join(f"{row.of} ({row.value or 0:.2g})" for row in rows)
        + f" {'agrees' if len(rows) == 1 else 'agree'} to its rounding, not to float64's."
    )
    repair = "Nothing while you train in float32; before --dtype float64, look for .float()."
    return [Finding("single", "info", "", claim, repair, tuple(rows))]


def _where(layers: list[Row]) -> str:
    """Name the layers at fault, where each has a verdict."""
    bad = sorted((r for r in layers if r.status in BAD), key=lambda r: -(r.value or 0.0))
    if not bad:
        return ""
    named = ", ".join(f"{row.layer} by {row.value or 0:.2g} of it" for row in bad[:MOST])
    more = f" and {len(bad) - MOST} more" if len(bad) > MOST else ""
    rest = sum(row.status == "ok" for row in layers)
    hold = f"; {rest} of {len(layers)} layers hold" if rest else ""
    return f" By layer: off in {named}{more}{hold}."


def _in_layers(checks: list[Row], layers: list[Row]) -> list[Finding]:
    """Tell of layers that are wrong where the whole is too large to show it."""
    held = {row.of for row in checks if row.status not in BAD}
    bad = [row for row in layers if row.status in BAD and row.of in held]
    if not bad:
        return []
    said = _where([row for row in layers if row.of == bad[0].of])
    claim = f"A layer's part of the meta-gradient is wrong, too small to show in the whole.{said}"
    repair = "Look for detach(), .data or torch.no_grad() in what uses these parameters."
    return [Finding("check_layers", "critical", "fault", claim, repair, tuple(bad))]


def _unchecked(table: Rows, fused: list[Row]) -> list[Finding]:
    """Warn of a black box that can't be checked where torch is known to be wrong."""
    hidden = [row for row in from_table(table, "unavailable", of=None) if "black box" in row.of]
    open_ = [
        row
        for row in from_table(table, "check", of=None)
        if row.of == DIFFERENCES and row.value is None
    ]
    if not (hidden and open_ and fused):
        return []
    claim = (
        f"The estimator couldn't be held against finite differences ({open_[0].status}), and the "
        "model has fused norms, which torch differentiates wrongly through a vmap: "
        f"{', '.join(norm.of for norm in fused)}."
    )
    repair = "Return (loss, gradient) to have it checked. " + SAFE
    return [Finding("unchecked_norms", "warning", "not_looked_at", claim, repair, (*open_, *fused))]


def _saddle(row: Row, zero: list[Row]) -> Finding:
    claim = (
        f"The inner objective curves down ({number(row.value or 0)}) where the implicit gradient "
        "is taken: no minimum is there, and the linear solve stops short."
    )
    if zero:
        claim += " The meta-gradient is exactly zero on every task that was checked."
    repair = (
        f"Raise the pull by more than {-(row.value or 0):.2g} (--set algo.proximal_strength=...), "
        "or take more inner steps."
    )
    return Finding(
        "saddle", "critical" if zero else "warning", "fault", claim, repair, (row, *zero)
    )


def _zero(row: Row) -> Finding:
    claim = "The meta-gradient is exactly zero on every task that was checked."
    repair = (
        "Check that the query loss reaches theta: an implicit or first-order estimator sees only "
        "some ways; maml sees all. A penalty has no slope where phi starts at 0: take more inner "
        "steps than one (--set algo.steps=5)."
    )
    return Finding("zero", "critical", "fault", claim, repair, (row,))


def _held(checks: list[Row]) -> list[Finding]:
    """Say what holds, what couldn't be checked, and what approximates on purpose."""
    by = {row: _verdict(row) for row in checks}
    held, rough, open_ = ([row for row in checks if by[row] == verdict] for verdict in VERDICTS)
    if not held:
        return []
    claim = f"Checked first, in float64: {', '.join(row.of for row in held)} hold."
    if open_:
        claim += f" Not checked: {', '.join(f'{row.of} ({row.status})' for row in open_)}."
    for row in rough:
        claim += (
            " The estimator approximates on purpose: it is off by "
            f"{row.value or 0:.2g} of the gradient of the loss after adaptation."
        )
    independent = any(row.of == DIFFERENCES for row in (*held, *rough))
    state = "fine" if independent and not open_ else "not_looked_at"
    return [Finding("verified", "info", state, claim, "Nothing to change.", tuple(checks))]


def _verdict(row: Row) -> str:
    if row.status in BAD:
        return "bad"
    return row.status if row.status in VERDICTS else "open"


def _said(table: Rows) -> list[Finding]:
    made = [
        Finding("changed", "info", "", f"{row.of}", "Nothing to change.", (row,))
        for row in from_table(table, "changed", of=None)
    ]
    for row in from_table(table, "unavailable", of=None):
        why, _, instead = row.of.partition("; ")
        repair = instead[:1].upper() + instead[1:] + "."
        made.append(
            Finding("withheld", "info", "not_looked_at", f"Withheld: {why}.", repair, (row,))
        )
    return made

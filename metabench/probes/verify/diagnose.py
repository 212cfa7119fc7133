"""What the checks say, in sentences with repairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.records.number_format import number
from metabench.records.rows import LEVELS, Finding, Row, Rows, by_quantity, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.verify import Verify

BAD = (
    "wrong", "mismatch", "random", "imprecise", "sum", "coupled", "coarse", "not finite",
    "unsolved", "misreported",
)  # fmt: skip
MOST = 3  # layers that a sentence names
SINGLE = 1e-6  # a disagreement that float32 inside the loss may leave; the least error of torch's
# fused norms is 5e-4
DIFFERENCES = "finite differences"
ROUNDED = ("vmap against a loop", "Hessian symmetry")  # checks that rounding alone can fail
SAFE = (
    "Differentiate inside the vmap, vmap(grad(task)), never through it, grad(vmap(task)); or write "
    "the norms out: net = metabench.safe_norms(net)."
)


def diagnose(probe: Verify, whole: pd.DataFrame) -> list[Finding]:
    """Say what is wrong, what to change, and what couldn't be checked, the weightiest first."""
    table = by_quantity(whole)
    checks = from_table(table, "check", of=None)
    fused = from_table(table, "fused_norm", of=None)
    layers = [row for row in from_table(table, "check", of=None, layer=None) if row.layer]
    bad = [row for row in checks if row.status in BAD]
    half = any(row.status == "coarse" for row in bad) and not fused
    doubted = (*ROUNDED, DIFFERENCES) if half else ()
    layers = [row for row in layers if row.of not in doubted]
    single = [] if half or fused else [row for row in bad if row.of in ROUNDED and _faint(row)]
    findings = [
        _rounded(row) if row.of in doubted else _wrong(row, fused, layers)
        for row in bad
        if row not in single
    ]
    findings += _single(single) if single else []
    findings += _in_layers(checks, layers)
    zero = from_table(table, "zero", of=None)
    saddles = [row for row in from_table(table, "curvature", of=None) if row.status != "ok"]
    findings += [_saddle(row, zero) for row in saddles]
    findings += [] if saddles else [_zero(row) for row in zero]
    findings += _unchecked(table, fused)
    findings += _said(table)
    if not findings or all(finding.level == "info" for finding in findings):
        findings = [*_held(checks), *findings]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _wrong(row: Row, fused: list[Row], layers: list[Row]) -> Finding:
    claim, repair, level = _words(row)
    claim += _where([each for each in layers if each.of == row.of])
    if fused and row.of in (*ROUNDED, DIFFERENCES):
        names = ", ".join(norm.of for norm in fused)
        claim += f" The model has fused norms, which torch differentiates wrongly: {names}."
        repair = SAFE
        level = "critical"
    return Finding(_name(row), level, claim, repair, (row, *fused))


def _name(row: Row) -> str:
    return "check_" + row.of.lower().replace(" ", "_")


def _faint(row: Row) -> bool:
    return row.value is not None and row.value <= SINGLE


def _rounded(row: Row) -> Finding:
    """Say of a check that fails where the loss was found to be of half precision."""
    claim = f"Off by {row.value or 0:.2g} in {row.of}, of which half precision, told beside this, "
    claim += "may be all."
    repair = "Keep the loss in float32, then verify again: until then this check can't judge."
    return Finding(_name(row), "warning", claim, repair, (row,))


def _single(rows: list[Row]) -> list[Finding]:
    claim = (
        "Some of the loss is computed in float32, whatever theta's dtype is: "
        + " and ".join(f"{row.of} ({row.value or 0:.2g})" for row in rows)
        + f" {'agrees' if len(rows) == 1 else 'agree'} to its rounding, not to float64's."
    )
    repair = "Nothing while you train in float32; before --dtype float64, look for .float()."
    return [Finding("single", "info", claim, repair, tuple(rows))]


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
    return [Finding("check_layers", "critical", claim, repair, tuple(bad))]


def _words(row: Row) -> tuple[str, str, str]:
    off = f"{row.value or 0:.2g}"
    if row.status == "mismatch":
        claim = (
            f"The estimator is not the gradient of the loss it reports: off by {off} of it along "
            "random directions, against finite differences."
        )
        repair = (
            "Nothing, if it is first order (FOMAML, Reptile) on purpose; otherwise look for "
            "detach(), .data, torch.no_grad() and a missing create_graph=True."
        )
        return claim, repair, "warning"
    if row.status == "random":
        return (
            f"Two calls on the same tasks differ by {off}.",
            "Fix what draws random numbers: dropout (net.eval()), a generator, the data's order.",
            "critical",
        )
    if row.status == "coarse":
        return (
            f"The loss doesn't notice a change of theta that moves it by {off} of itself, so some "
            "of it is computed in float16 or bfloat16, and small meta-gradients are lost.",
            "Look for .half(), .bfloat16() and autocast; keep the inner loop in float32.",
            "critical",
        )
    if row.status == "not finite":
        return (
            "The loss is finite and the estimator's meta-gradient isn't.",
            "Look for a division by zero: a linear solver without a guard for a right-hand side of "
            "0, a square root or norm at 0; or lower the inner rate, if it overflows.",
            "critical",
        )
    if row.status == "imprecise":
        return (
            f"Precision: the meta-gradient differs from its float64 value by {off} of it.",
            "Measure with --dtype float64, or take fewer or shorter inner steps.",
            "warning",
        )
    if row.status == "unsolved":
        return (
            f"The implicit gradient's linear solve leaves a residual of {off}.",
            "Take more steps of the solver (--set algo.solver.steps=...) or a stronger pull.",
            "warning",
        )
    if row.status == "misreported":
        return (
            f"The linear solver's answer leaves a residual of {off}, which isn't what it claims.",
            "Measure |A x - b| / |b| at the x that is returned, or take a solver of metabench.",
            "critical",
        )
    if row.status == "sum":
        return (
            "The batched estimator gives the sum over tasks, not the mean, so that its variance "
            "grows with the batch.",
            "Divide by the number of tasks.",
            "critical",
        )
    if row.status == "coupled":
        return (
            f"The batched estimator is not the mean over its tasks: off by {off}.",
            "Nothing, if it shares statistics between tasks on purpose; otherwise a task leaks.",
            "warning",
        )
    return (
        f"The meta-gradient is wrong: {row.of} disagree by {off}.",
        "Look for operations with a derivative of their own (torch.autograd.Function), detach() "
        "or .data in the model or loss.",
        "critical",
    )


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
    return [Finding("unchecked_norms", "warning", claim, repair, (*open_, *fused))]


def _saddle(row: Row, zero: list[Row]) -> Finding:
    claim = (
        f"The inner objective curves down ({number(row.value or 0)}) where the implicit gradient "
        "is taken: no minimum is there, and the linear solve stops short."
    )
    if zero:
        claim += " The meta-gradient is exactly zero on every task that was checked."
    repair = (
        f"Raise the pull by more than {-(row.value or 0):.2g} (--set algo.strength=...), or take "
        "more inner steps."
    )
    return Finding("saddle", "critical" if zero else "warning", claim, repair, (row, *zero))


def _zero(row: Row) -> Finding:
    claim = "The meta-gradient is exactly zero on every task that was checked."
    repair = (
        "Check that the query loss reaches theta: an implicit or first-order estimator sees only "
        "some ways; maml sees all. A penalty has no slope where phi starts at 0: take more inner "
        "steps than one (--set algo.steps=5)."
    )
    return Finding("zero", "critical", claim, repair, (row,))


def _held(checks: list[Row]) -> list[Finding]:
    held = [row for row in checks if row.status == "ok"]
    if not held:
        return []
    claim = f"Checked first, in float64: {', '.join(row.of for row in held)} hold."
    rough = [row for row in checks if row.status == "approximate"]
    told = [*held, *rough, *(row for row in checks if row.status in BAD)]
    open_ = [f"{row.of} ({row.status})" for row in checks if row not in told]
    claim += f" Not checked: {', '.join(open_)}." if open_ else ""
    for row in rough:
        claim += (
            " The estimator approximates on purpose: it is off by "
            f"{row.value or 0:.2g} of the gradient of the loss after adaptation."
        )
    return [Finding("verified", "info", claim, "Nothing to change.", tuple(checks))]


def _said(table: Rows) -> list[Finding]:
    made = [
        Finding("changed", "info", f"{row.of}", "Nothing to change.", (row,))
        for row in from_table(table, "changed", of=None)
    ]
    for row in from_table(table, "unavailable", of=None):
        why, _, instead = row.of.partition("; ")
        repair = instead[:1].upper() + instead[1:] + "."
        made.append(Finding("withheld", "info", f"Withheld: {why}.", repair, (row,)))
    return made

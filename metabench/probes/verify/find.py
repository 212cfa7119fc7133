"""Findings of the checks: which fail, what that means and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.verify.causes import Cause, cause_of
from metabench.probes.verify.declared_difference import declared
from metabench.probes.verify.failed_checks import failure_of
from metabench.probes.verify.findings_layers import BAD, by_layer_sentence, in_layers
from metabench.probes.verify.findings_own_derivatives import with_own_derivatives
from metabench.probes.verify.findings_precision import lower_precision
from metabench.probes.verify.findings_sampled import of_samples
from metabench.probes.verify.findings_tasks import facts
from metabench.probes.verify.findings_undecided import not_finite, nothing_independent, unresolved
from metabench.probes.verify.limits import DIFFERENCES, OWN_GRADIENT, SYMMETRY, UNROLL, VMAP
from metabench.records.number_format import number
from metabench.records.rows import LEVELS, Finding, Row, Rows, by_quantity, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.verify import Verify

VERDICTS = ("ok", "approximate", "open")
TO_CHECK = {  # what would let a check be made
    "sampled": (
        "The loss draws samples; metabench verify checks it from many sets of samples, if the "
        "problem declares how it draws them (Problem(..., sampling=...))."
    ),
    "kink": (
        "At this theta the loss has no derivative. To check by finite differences, verify at "
        "another theta, such as a trained one (--theta FILE)."
    ),
    "out of time": "For the checks that are left out, give more time (--budget).",
    "withheld": "To check a black box by finite differences, return (loss, gradient) from it.",
    "unresolved": (
        "To check by finite differences, compute the loss in float64 (look for .float(), .half() "
        "and autocast) or take fewer inner steps."
    ),
}
RECOGNIZED = (DIFFERENCES, UNROLL, OWN_GRADIENT)  # checks that recognized causes explain
ROUNDED = (VMAP, SYMMETRY)  # checks that rounding alone can fail
MULTIPLE = (
    "Look for a loss that is reported as a sum but differentiated as a mean, a loss that is scaled "
    "before backward() (mixed precision, gradient accumulation), or a flipped sign."
)
LOOPED = "Tasks are computed one after another, because vmap fails on them: {}."
SAFE = (
    "Differentiate inside the vmap, vmap(grad(task)), not through it, grad(vmap(task)); or replace "
    "the norm layers by plain operations: net = metabench.safe_norms(net)."
)


def find(probe: Verify, whole: pd.DataFrame) -> list[Finding]:
    """Return findings on failed, passed and missing checks, the worst first."""
    table = by_quantity(whole)
    checks = from_table(table, "check", of=None)
    fused = from_table(table, "fused_norm", of=None)
    findings = [
        *not_finite(table, checks),
        *_failed(table, checks, fused),
        *_stationary(table),
        *_broadcast(table),
        *_unchecked(table, fused),
        *unresolved(checks, from_table(table, "shorter_check", of=None)),
        *facts(table),
        *declared(table),
        *of_samples(table),
        *_remarks(table),
    ]
    if all(finding.level == "info" for finding in findings):
        findings = [*(nothing_independent(checks) or _passed(checks)), *findings]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _failed(table: Rows, checks: list[Row], fused: list[Row]) -> list[Finding]:
    """Return a finding for each failed check."""
    bad = [row for row in checks if row.status in BAD]
    layers = [row for row in from_table(table, "check", of=None, layer=None) if row.layer]
    factor = from_table(table, "factor", of=DIFFERENCES, layer=None)
    cause, own = cause_of(table), from_table(table, "own_derivative", of=None)
    wrong = [_wrong(row, fused, layers, factor, cause) for row in bad]
    findings = [with_own_derivatives(*each, own) for each in zip(wrong, bad, strict=True)]
    return [*findings, *in_layers(checks, layers, factor), *lower_precision(table)]


def _broadcast(table: Rows) -> list[Finding]:
    """Return a warning of a loss that compares every prediction with every target."""
    return [
        Finding(
            "broadcast",
            "warning",
            "fault",
            f"The loss broadcasts the shapes of prediction and y ({row.of}), so it compares every "
            "prediction with every target.",
            "Give y the shape of the prediction (y[..., None] in the sampler), or the prediction "
            "that of y (.squeeze(-1) in forward or in the loss).",
            (row,),
        )
        for row in from_table(table, "broadcast", of=None)
    ]


def _stationary(table: Rows) -> list[Finding]:
    """Return findings on zero meta-gradients and on implicit gradients taken at a saddle."""
    zero = from_table(table, "zero", of=None)
    saddles = [row for row in from_table(table, "curvature", of=None) if row.status != "ok"]
    return [_saddle(row, zero) for row in saddles] or [_zero(row) for row in zero]


def _wrong(
    row: Row, fused: list[Row], layers: list[Row], factor: list[Row], cause: Cause | None
) -> Finding:
    """Return the finding on a failed check.

    Args:
        row: the check.
        fused: rows of fused norm layers.
        layers: rows of the checks by layer.
        factor: rows of multiples of the gradient, of the whole or of a layer.
        cause: what the gradient is, where that was recognized.
    """
    claim, repair, level = failure_of(row)
    whole = [each for each in factor if not each.layer]
    if whole and row.of == DIFFERENCES:
        claim += f" It is {number(whole[0].value or 0)} times the gradient of the loss."
        repair = MULTIPLE
    elif cause and row.of in RECOGNIZED:
        claim, repair = f"{claim} {cause.claim}", cause.repair
    else:
        claim += by_layer_sentence([each for each in layers if each.of == row.of], factor)
    if fused and row.of in (*ROUNDED, DIFFERENCES):
        names = ", ".join(norm.of for norm in fused)
        claim += f" The model has fused norm layers, which torch differentiates wrongly: {names}."
        repair = SAFE
        level = "critical"
    return Finding(_finding_name(row), level, "fault", claim, repair, (row, *fused))


def _finding_name(row: Row) -> str:
    return "check_" + row.of.lower().replace(" ", "_")


def _unchecked(table: Rows, fused: list[Row]) -> list[Finding]:
    """Return a warning if a black box can't be checked and its model has fused norms."""
    hidden = [row for row in from_table(table, "unavailable", of=None) if "black box" in row.of]
    open_ = [
        row
        for row in from_table(table, "check", of=None)
        if row.of == DIFFERENCES and row.value is None
    ]
    if not (hidden and open_ and fused):
        return []
    claim = (
        f"The estimator could not be checked by finite differences ({open_[0].status}), and the "
        "model has fused norm layers, which torch differentiates wrongly through a vmap: "
        f"{', '.join(norm.of for norm in fused)}."
    )
    repair = "Return (loss, gradient) so that it can be checked. " + SAFE
    return [Finding("unchecked_norms", "warning", "not_looked_at", claim, repair, (*open_, *fused))]


def _saddle(row: Row, zero: list[Row]) -> Finding:
    claim = (
        f"The inner objective has negative curvature (at least in one direction, "
        f"{number(row.value or 0)}) where the implicit gradient is taken: there is no minimum, and "
        "the linear solve stops early."
    )
    if zero:
        claim += " The meta-gradient is exactly zero on every checked task."
    repair = (
        f"Raise the proximal strength by more than {-(row.value or 0):.2g} (--set "
        "algo.proximal_strength=...; `metabench spectrum` gives the smallest eigenvalue), or take "
        "more inner steps."
    )
    return Finding(
        "saddle", "critical" if zero else "warning", "fault", claim, repair, (row, *zero)
    )


def _zero(row: Row) -> Finding:
    claim = "The meta-gradient is exactly zero on every checked task."
    repair = (
        "Check that the query loss depends on theta: implicit and first-order estimators follow "
        "only some of the paths from theta to the loss; maml follows all. A penalty with zero "
        "gradient at phi = 0 needs more than one inner step (--set algo.steps=5)."
    )
    return Finding("zero", "critical", "fault", claim, repair, (row,))


def _passed(checks: list[Row]) -> list[Finding]:
    """Return the finding that lists passed and missing checks, and approximations by design."""
    by = {row: _verdict(row) for row in checks}
    passed, rough, open_ = ([row for row in checks if by[row] == verdict] for verdict in VERDICTS)
    if not passed:
        return []
    count = (
        f"All {len(checks)}" if len(passed) == len(checks) else f"{len(passed)} of {len(checks)}"
    )
    if rough and not open_:  # of what approximates by design, no check failed
        count = str(len(passed))
    claim = (
        f"{count} checks of the meta-gradient passed, in float64: "
        f"{', '.join(row.of for row in passed)}."
    )
    claim += _open_sentence(open_) + _rough_sentence(rough)
    independent = any(row.of == DIFFERENCES for row in (*passed, *rough))
    state = "fine" if independent and not open_ else "not_looked_at"
    repair = next((TO_CHECK[row.status] for row in open_ if row.status in TO_CHECK), "")
    return [Finding("verified", "info", state, claim, repair, tuple(checks))]


def _open_sentence(rows: list[Row]) -> str:
    if not rows:
        return ""
    return f" Not checked: {', '.join(f'{row.of} ({row.status})' for row in rows)}."


def _rough_sentence(rows: list[Row]) -> str:
    if not rows:
        return ""
    errors = ", ".join(f"{row.value or 0:.2g} ({row.of})" for row in rows)
    return (
        " By design the estimator only approximates the gradient of the loss after adaptation: its "
        f"relative error is {errors}."
    )


def _verdict(row: Row) -> str:
    if row.status in BAD:
        return "bad"
    return row.status if row.status in VERDICTS else "open"


def _remarks(table: Rows) -> list[Finding]:
    """Return what was changed in the model, and which quantities are not computed and why."""
    made = [
        Finding(name, "info", "", claim.format(row.of), "", (row,))
        for name, claim in (("changed", "{}"), ("looped", LOOPED))
        for row in from_table(table, name, of=None)
    ]
    for row in from_table(table, "unavailable", of=None):
        why, _, instead = row.of.partition("; ")
        repair = instead[:1].upper() + instead[1:] + "."
        made.append(
            Finding(
                "withheld",
                "info",
                "not_looked_at",
                f"Some quantities are not computed: {why}.",
                repair,
                (row,),
            )
        )
    return made

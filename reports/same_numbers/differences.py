"""Comparison of two commands' rows bit for bit, except quantities that depend on time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reports.same_numbers.lines import NUMBERS, Line
from reports.same_numbers.renames import Renames

CLOCK = "measured by a clock"
RESTS = "computed from what a clock measured"
LEFT_OUT = {  # quantities, by their old names, and why they aren't compared
    "seconds": CLOCK,
    "seconds_a_step": CLOCK,
    "seconds_by_b": CLOCK,
    "seconds_by_k": CLOCK,
    "seconds_each": CLOCK,
    "seconds_per_task": CLOCK,
    "break_even_seconds": RESTS,
    "mse_by_seconds": RESTS,
    "mse_same_seconds": RESTS,
    "budget": RESTS,
    "advised": RESTS,
    "advised_seconds": RESTS,
    "advised_variance": RESTS + ": of a plan that is",
}
LEFT_OUT_FINDINGS = {
    "advice": "ranks plans by seconds",
    "lowest_error_in_a_second": "ranks algorithms by seconds",
}


def left_out(old: Renames) -> set[tuple[str, str]]:
    """Give what isn't compared, under new names: pairs of `quantity` or `finding` and a name."""
    rows = {("quantity", old("quantities", name)) for name in LEFT_OUT}
    return rows | {("finding", old("findings", name)) for name in LEFT_OUT_FINDINGS}


def compared(lines: Sequence[Line], without: set[tuple[str, str]]) -> list[Line]:
    """Leave out what rests on a clock."""
    return [
        line
        for line in lines
        if ("quantity", line.quantity.rpartition(": ")[2]) not in without
        and (line.quantity, line.of) not in without
    ]


def differences(old: Sequence[Line], new: Sequence[Line]) -> list[str]:
    """Say what differs, a line of text each; none if every bit, and the order, is the same."""
    one, other = _numbered(old), _numbered(new)
    said = [f"{_place(key)}: only in the old" for key in one if key not in other]
    said += [f"{_place(key)}: only in the new" for key in other if key not in one]
    for key in (key for key in one if key in other):
        pairs = zip(NUMBERS, one[key].numbers, other[key].numbers, strict=True)
        said += [f"{_place(key)}: {name} {a} -> {b}" for name, a, b in pairs if a != b]
    if not said and list(one) != list(other):
        said.append("the same rows in another order")
    return said


def _numbered(lines: Sequence[Line]) -> dict[tuple[str, ...], Line]:
    """Key lines by what they are of and their ordinal among those."""
    seen: Counter[tuple[str, ...]] = Counter()
    keyed = {}
    for line in lines:
        keyed[*line.key, str(seen[line.key])] = line
        seen[line.key] += 1
    return keyed


def _place(key: tuple[str, ...]) -> str:
    record, quantity, at, of, layer, status, ordinal = key
    said = f"{quantity} at={at} of={of!r} layer={layer!r} status={status}"
    return f"{said} ({record}, number {ordinal})"

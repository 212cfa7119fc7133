"""Can every function be read in one go? No more than fifteen ways lead through one."""

from __future__ import annotations

from pathlib import Path

from radon.complexity import cc_visit
from radon.visitors import Function

ROOT = Path(__file__).parent.parent
MOST = 15  # McCabe's number with boolean operators and comprehensions, as radon counts
ROOMS = ("metabench", "reports", "benchmarks")


def complexity(path: Path) -> dict[str, int]:
    """Map each function of a file to the number of ways through it."""
    where = path.relative_to(ROOT).as_posix()
    blocks = cc_visit(path.read_text(encoding="utf-8"))
    return {f"{where} {b.fullname}": b.complexity for b in blocks if isinstance(b, Function)}


def test_radon_counts_what_the_limit_is_meant_for(tmp_path):
    nested = "def f(a, b):\n    return [x for x in a if x or b] if a and b else 0\n"

    (block,) = cc_visit(nested)

    # one way, a conditional, a comprehension with a condition, and two boolean operators
    assert block.complexity == 6


def test_no_function_has_more_than_fifteen_ways_through_it():
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    found = {name: ways for path in paths for name, ways in complexity(path).items()}
    assert len(found) > 1000

    above = {name: ways for name, ways in found.items() if ways > MOST}

    assert above == {}

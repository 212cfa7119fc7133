"""Are amounts read as they were meant, and the rest refused in words that help?"""

from __future__ import annotations

import math
import string

import pytest

from metabench.settings import amounts, free_memory
from metabench.settings.amounts import Budget
from metabench.settings.errors import InvalidInput

READERS = [amounts.seconds, amounts.memory, amounts.budget]
NUMBERS = {"3": 3.0, "0.25": 0.25, ".5": 0.5, "7.": 7.0, "007": 7.0, "12345678901": 12345678901.0}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("unit", "each"), [("ms", 1e-3), ("s", 1), ("m", 60), ("min", 60), ("h", 3600)]
)
def test_times_are_read_in_seconds(number, unit, each):
    expected = NUMBERS[number] * each

    assert amounts.seconds(f"{number}{unit}") == expected
    assert amounts.seconds(f" {number} {unit} ") == expected
    assert amounts.budget(f"{number} {unit}") == Budget(expected, "s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4GiB", 2**32), ("1.5 KiB", 1536), ("100", 100), ("2MiB", 2**21), ("3TiB", 3 * 2**40)],
)
def test_sizes_of_memory_are_read_in_whole_bytes(text, expected):
    found = amounts.memory(text)

    assert found == expected
    assert isinstance(found, int)


def test_half_of_what_is_free_is_something():
    assert 0 < amounts.memory("half") <= free_memory.free()


@pytest.mark.parametrize("text", ["1task", "200tasks", "0.5 tasks"])
def test_a_budget_of_tasks_costs_what_its_tasks_cost(text):
    count = float(text.rstrip(string.ascii_letters))

    assert amounts.budget(text).seconds(each=0.125) == count / 8
    assert amounts.budget("2s") == Budget(2.0, "s")


NONE = ["", " ", "s", "fast", "-3s", "+3s", "0s", "0.0h", "3 apples", "1e3s", "nan", "inf", "infs",
        "1,5s", "1_000s", "3s 4s", "3", "٣s", "0x10s", "1.2.3s", f"{'9' * 400}s"]  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(InvalidInput, match=r"such as 90s, 3m or 1h; given"):
        amounts.seconds(text)
    with pytest.raises(InvalidInput, match=r"such as 30s, 20ms or 200tasks; given"):
        amounts.budget(text)


@pytest.mark.parametrize(
    "text", ["", "much", "0", "0GiB", "-1GiB", "4GB", "half a GiB", "nan", "inf", "1e9", "9" * 400]
)
def test_what_is_no_size_of_memory_is_refused_with_an_example(text):
    with pytest.raises(InvalidInput, match=r"such as 4GiB or 500MiB, or half; given"):
        amounts.memory(text)


def test_less_than_a_byte_is_refused():
    with pytest.raises(InvalidInput, match="less than one byte"):
        amounts.memory("0.5")


@pytest.mark.parametrize(
    ("reader", "text"),
    [(amounts.seconds, "3S"), (amounts.seconds, "3M"), (amounts.seconds, "3 Min"),
     (amounts.memory, "4gib"), (amounts.memory, "4GIB"), (amounts.budget, "20MS"),
     (amounts.budget, "9Tasks")],
)  # fmt: skip
def test_units_are_told_apart_by_case_and_the_known_ones_are_named(reader, text):
    unit = text.lstrip(string.digits + " ")

    with pytest.raises(InvalidInput, match=f"the unit '{unit}', which is none of (ms, s|KiB, MiB)"):
        reader(text)


def test_a_missing_unit_is_asked_for():
    with pytest.raises(InvalidInput, match="'90' without a unit; give one of ms, s, m, min, h"):
        amounts.seconds("90")


@pytest.mark.parametrize("reader", READERS)
def test_what_is_refused_is_quoted_whole(reader):
    with pytest.raises(InvalidInput, match=r"given 'a\\nb'"):
        reader("a\nb")


@pytest.mark.parametrize("text", ["1e-400s", f"0.{'0' * 400}1s"])
def test_what_rounds_to_nothing_is_no_time(text):
    with pytest.raises(InvalidInput):
        amounts.seconds(text)


def test_every_amount_that_is_read_is_positive_and_finite():
    for unit in amounts.TIME:
        assert 0 < amounts.seconds(f"0.001{unit}") < math.inf

"""Is a number printed to three digits, whatever its size, and as one that can be read back?"""

from __future__ import annotations

import math
import random

import pytest

from metabench.records.number_format import interval_text, number, percent


def values():
    draw = random.Random(0)
    return [draw.choice([-1, 1]) * 10 ** draw.uniform(-12, 12) for _ in range(2000)]


def test_what_is_printed_reads_as_the_number_to_half_a_unit_of_its_third_digit():
    for value in values():
        unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)

        assert abs(float(number(value)) - value) <= unit / 2 * (1 + 1e-9)


def test_an_exponent_stands_outside_of_1e_4_to_1e6_alone():
    for value in values():
        inside = 1e-4 <= abs(float(f"{value:.3g}")) < 1e6

        assert ("e" not in number(value)) == inside


@pytest.mark.parametrize("value", [0, 1, 37, 1000, 4096, 65_536, 999_999])
def test_whole_numbers_are_printed_in_full(value):
    assert number(value) == number(float(value)) == str(value)
    assert number(-value) == (f"-{value}" if value else "0")


def test_nothing_that_rounds_to_zero_or_is_not_finite_has_a_surprising_form():
    printed = [number(float(x)) for x in ("-0.0", "5e-324", "nan", "-nan", "inf", "-inf")]

    assert printed == ["0", "4.94e-324", "nan", "nan", "inf", "-inf"]


def test_a_share_is_a_number_of_percent():
    assert [percent(x) for x in (0.29, 0.999999, 1e-7, math.nan)] == [
        "29 %",
        "100 %",
        "1e-05 %",
        "nan %",
    ]


def test_an_end_that_is_missing_has_its_own_word():
    assert interval_text(None, 4096.0, "unknown") == "[unknown, 4096]"

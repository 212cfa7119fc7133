"""The format of numbers in tables, findings and figures."""

from __future__ import annotations

DIGITS = 3
EXPONENT_FROM = 1e6  # larger numbers are written with an exponent


def number(value: float) -> str:
    """Return a number with three significant digits, whole numbers below a million in full.

    There is no exponent from 0.0001 to a million: what lies above a thousand ends in zeros
    instead. Zeros behind the point are left out, and so is the sign of zero.

    >>> [number(x) for x in (4096.0, 5.6149, 0.5, 0.012345, 0.000123456, 12345.6)]
    ['4096', '5.61', '0.5', '0.0123', '0.000123', '12300']
    >>> [number(x) for x in (7, -0.0, -3.14159, 999.96, 999_999.6)]
    ['7', '0', '-3.14', '1000', '1e+06']
    >>> [number(x) for x in (1.5e6, 1234567, 1e-4, 0.9876e-4, 1e300)]
    ['1.5e+06', '1.23e+06', '0.0001', '9.88e-05', '1e+300']
    >>> [number(float(x)) for x in ("inf", "-inf", "nan")]
    ['inf', '-inf', 'nan']
    """
    rounded = float(f"{value:.{DIGITS}g}")
    if abs(value) < EXPONENT_FROM and value == round(value):
        return f"{round(value)}"
    if 10**DIGITS <= abs(rounded) < EXPONENT_FROM:
        return f"{rounded:.0f}"
    return f"{rounded:.{DIGITS}g}"


def percent(share: float) -> str:
    """Return a share in percent.

    >>> [percent(x) for x in (0.5, 0.07, 0.123456, 1, 0.0, 1.234e-6, 123.0)]
    ['50 %', '7 %', '12.3 %', '100 %', '0 %', '0.000123 %', '12300 %']
    """
    return f"{number(100 * share)} %"


def interval_text(low: float | None, high: float | None, missing: str = "unbounded") -> str:
    """Return an interval as text.

    Args:
        low: its lower end, None if there is none.
        high: its upper end, None if there is none.
        missing: text for an end that is None.

    >>> interval_text(21.0, None), interval_text(0.5, 1.25)
    ('[21, unbounded]', '[0.5, 1.25]')
    """
    texts = (missing if end is None else number(end) for end in (low, high))
    return f"[{', '.join(texts)}]"

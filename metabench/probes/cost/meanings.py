"""What the quantities of the cost probe are, with their units."""

from __future__ import annotations

MEANINGS = {
    "bias": "squared distance of its mean gradient from maml's [squared gradient]",
    "break_even": "B above which maml has the lower error [tasks]",
    "break_even_seconds": "time per step above which maml has the lower error [seconds]",
    "parameters": "length of theta [parameters]",
    "variance": "tr Cov(g) of one task's meta-gradient g [squared gradient]",
}

"""What the quantities of the agreement probe are, with their units."""

from __future__ import annotations

MEANINGS = {
    "gradient_norm_at_minimum": "|grad G| / |g| where the descent to the minimum ends",
    "minimum_found": "share of tasks whose |grad G| / |g| ends below 0.001",
    "own_steps": "K of your algorithm [steps]",
    "proximal_strength": "lambda of the inner problem of all methods [curvature]",
}

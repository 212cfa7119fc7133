"""What the quantities of the agreement probe are, with their units."""

from __future__ import annotations

MEANINGS = {
    "expected_norm": "norm of the mean gradient of expected adaptation [gradient]",
    "hessian_alignment": "the sampled Hessian's mean along the Hessian, over that [1]",
    "hessian_share": "norm of the sampled Hessian's mean over the Hessian's [1]",
    "sampling_bias": "norm of a part of the meta-gradient's bias [gradient]",
    "gradient_norm_at_minimum": "median |grad G| / |g| where descent on the inner objective G ends",
    "minimum_found": "share of tasks in which it ends below 0.001: a minimum",
    "own_steps": "K of your algorithm [steps]",
    "proximal_strength": "lambda of the inner problem of all methods [curvature]",
}

"""What the quantities of the explosion probe are, with their units."""

from __future__ import annotations

MEANINGS = {
    "exponent": "mean growth of log |change of phi_K| per inner step [1/step]",
    "other_gradient": "how your algorithm estimates its meta-gradient instead of by the unroll",
    "first_diverged": "its inner step with the first value that is not finite [steps]",
    "first_diverged/task": "first task whose meta-gradient is not finite",
    "float32_departure": "K from which float32 is further off than that in half of the tasks",
    "growing_share": "share of tasks whose meta-gradient grows with K",
    "growth": "change of log |g(K)| per inner step, median task [1/step]",
    "own_steps": "K of your algorithm [steps]",
    "stable_rate": "inner rate below which they are stable by the curvature at phi_0 [1/curvature]",
}

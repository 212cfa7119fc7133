"""What the quantities of the spectrum probe are, with their units."""

from __future__ import annotations

MEANINGS = {
    "condition_number": "largest over smallest eigenvalue of a task",
    "edge": "rate x eigenvalue above which an inner step grows; 2 for plain descent",
    "effective_rank": "directions that carry a task's curvature [directions]",
    "inner_steps": "K of the algorithm [steps]",
    "largest_eigenvalue": "largest eigenvalue of a task's inner Hessian [curvature]",
    "largest_eigenvalue/mean": "of the inner loss averaged over tasks, at theta [curvature]",
    "largest_eigenvalue/meta": "of the expected loss after adaptation, in theta [curvature]",
    "largest_singular_value": "largest factor by which adaptation scales a gradient",
    "loss_rose": "share of tasks whose inner loss ends above its start",
    "meta_tasks": "tasks used for the meta-Hessian [tasks]",
    "negative_curvature": "share of tasks with a negative eigenvalue",
    "negative_mass": "share of negative eigenvalues in the sum of |eigenvalue|",
    "outer_rate": "your outer rate [1/curvature]",
    "past_edge": "share of tasks whose inner rate is past the edge of stability",
    "rate": "inner rate of the algorithm [1/curvature]",
    "residual": "|A x - b| / |b| after all steps of the linear solver",
    "residual/bound": "bound on it from the condition number; 1: none",
    "smallest_eigenvalue": "smallest eigenvalue of a task's inner Hessian [curvature]",
    "smallest_eigenvalue/mean": "of the inner loss averaged over tasks, at theta [curvature]",
    "smallest_eigenvalue/meta": "of the expected loss after adaptation, in theta [curvature]",
    "stable_outer_rate": "rate below which plain outer descent is stable [1/curvature]",
    "stable_rate": "inner rate below which this share of tasks is stable [1/curvature]",
    "step_growth": "factor of the direction that one inner step stretches most",
    "trace": "sum of the eigenvalues of a task's inner Hessian [curvature]",
    "trace/mean": "of the inner loss averaged over tasks, at theta [curvature]",
    "trace/meta": "of the expected loss after adaptation, in theta [curvature]",
}

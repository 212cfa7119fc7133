"""What the quantities of the constants probe are, with their units."""

from __future__ import annotations

MEANINGS = {
    "assumption": "whether it holds at theta, with the number that it limits",
    "assumption/K = 1": "whether it holds, with the K of the algorithm",
    "batch": "your task batch B [tasks]",
    "epsilon": "|grad F| that the iteration bound is for [gradient norm]",
    "first_moment": "squared mean meta-gradient |E G|^2 [squared gradient]",
    "floor": "order below which the theory does not push |grad F|^2 [squared gradient]",
    "floor/query sets": "part of the floor from query sets [squared gradient]",
    "floor/support sets": "part of the floor from support sets [squared gradient]",
    "floor/tasks": "part of the floor from tasks [squared gradient]",
    "gradient_lipschitz": "L, the largest Hessian norm found [curvature]",
    "gradient_size": "mean norm of a task's expected gradient [gradient norm]",
    "gradient_variance": "mean squared deviation of the gradient [squared gradient]",
    "hessian_difference": "squared norm of the difference of Hessians [squared curvature]",
    "hessian_lipschitz": "rho, the largest change of the Hessian per length",
    "hessian_variance": "mean squared deviation of the Hessian [squared curvature]",
    "iterations": "outer steps to reach |grad F| = epsilon [steps]",
    "kink": "share of tasks whose Hessian jumps near theta, so rho is infinite",
    "meta_gradient_squared": "|grad F|^2 of the expected loss after the step [squared gradient]",
    "path_factor": "(1 + alpha L)^(2 K), a factor of the many-step bounds",
    "rate": "inner rate [1/curvature]",
    "reduced": "to stay within the budget of operations",
    "second_moment": "mean squared meta-gradient E |G|^2 [squared gradient]",
    "slack": "bound over measured value; 1 is tight",
    "smoothness": "norm of the Hessian of F [curvature]",
    "support_share": "share of the floor from support sets",
    "tasks": "tasks that were measured [tasks]",
}

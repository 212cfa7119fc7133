"""The largest relative error with which each check passes."""

from __future__ import annotations

# The smallest error known through fused norms is 5e-4; differences that agree are good to 1e-6.
LIMITS = {
    "finite differences": 1e-4,
    "vmap against a loop": 1e-8,
    "Hessian symmetry": 1e-8,
    "repeated call": 1e-5,  # the same bits on a CPU; on CUDA sums may come in another order
    "precision": 1e-2,
    "batch is the mean": 1e-6,
    "resolution": 1e-7,
    "autograd through the unroll": 1e-8,  # the same derivative by another order of operations
    "implicit against unrolled": 1e-4,  # where the inner loop has converged
    "solver residual": 1e-2,
}

"""The names of the checks, and the largest relative error with which each passes."""

from __future__ import annotations

REPEATED = "repeated call"
PRECISION = "precision"
MEAN = "batch is the mean"
VMAP = "vmap against a loop"
DIFFERENCES = "finite differences"
SYMMETRY = "Hessian symmetry"
RESOLUTION = "resolution"
UNROLL = "autograd through the unroll"
IMPLICIT = "implicit against unrolled"
SOLVE = "solver residual"
OWN_LOSS = "loss of its algorithm"
OWN_GRADIENT = "gradient of its algorithm"
# of a loss that samples, each a test with a p-value
SCORE = "score"
FIRST_ORDER = "first order"
SECOND_ORDER = "second order"
SHIFT = "baseline shift"

# The smallest error known through fused norms is 5e-4; differences that agree are good to 1e-6.
LIMITS = {
    DIFFERENCES: 1e-4,
    VMAP: 1e-8,
    SYMMETRY: 1e-8,
    REPEATED: 1e-5,  # the same bits on a CPU; on CUDA sums may come in another order
    PRECISION: 1e-2,
    MEAN: 1e-6,
    RESOLUTION: 1e-7,
    UNROLL: 1e-8,  # the same derivative by another order of operations
    IMPLICIT: 1e-4,  # where the inner loop has converged
    SOLVE: 1e-2,
    OWN_LOSS: 1e-8,  # of metabench's own algorithm, on the same problem
    OWN_GRADIENT: 1e-8,
}

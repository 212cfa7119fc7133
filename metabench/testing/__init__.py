"""The contracts that every member must pass, and an assertion for users' test suites.

Each raises AssertionError with a sentence that says what was found and what was expected.
"""

from metabench.testing.algorithm_contract import check_algorithm
from metabench.testing.black_box_contract import check_black_box
from metabench.testing.family_contract import check_family, check_problem
from metabench.testing.inner_optimizer_contract import check_inner_optimizer
from metabench.testing.meta_gradient_assertion import assert_meta_gradient
from metabench.testing.probe_contract import check_probe
from metabench.testing.solver_contract import check_solver
from metabench.testing.surrogate_contract import check_surrogate

__all__ = [
    "assert_meta_gradient",
    "check_algorithm",
    "check_black_box",
    "check_family",
    "check_inner_optimizer",
    "check_probe",
    "check_problem",
    "check_solver",
    "check_surrogate",
]

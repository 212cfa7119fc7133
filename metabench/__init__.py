"""metabench: why is my meta-gradient noisy, exploding, biased or slow, and what should I change?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers see of the functions in one line
    from metabench.diagnosis.one_line import diagnose as diagnose
    from metabench.measurement.one_line import measure as measure
    from metabench.measurement.probe_functions import agreement as agreement
    from metabench.measurement.probe_functions import constants as constants
    from metabench.measurement.probe_functions import cost as cost
    from metabench.measurement.probe_functions import explosion as explosion
    from metabench.measurement.probe_functions import spectrum as spectrum
    from metabench.measurement.probe_functions import variance as variance
    from metabench.measurement.probe_functions import verify as verify

__version__ = "0.2.0"

# Names are imported on first use, so that `metabench --help` needs no torch.
_PUBLIC = {
    "ANIL": "metabench.algorithms.anil",
    "Adam": "metabench.algorithms.inner_optimizers.adam",
    "Address": "metabench.problems.tasks",
    "Agreement": "metabench.probes.agreement",
    "Algorithm": "metabench.algorithms.base",
    "AlphaMAML": "metabench.algorithms.alpha_maml",
    "BMAML": "metabench.algorithms.bmaml",
    "BlackBox": "metabench.algorithms.black_box",
    "Blobs": "metabench.families.blobs",
    "CG": "metabench.linalg.solvers.cg",
    "Chains": "metabench.families.chains",
    "Constants": "metabench.probes.constants",
    "Cost": "metabench.probes.cost",
    "Dense": "metabench.linalg.solvers.dense",
    "DiCE": "metabench.problems.reinforcement.surrogates.dice",
    "Digits": "metabench.families.digits",
    "EMAML": "metabench.algorithms.emaml",
    "Estimator": "metabench.algorithms.base",
    "MetaGradientDiverged": "metabench.outer_loop.step_recorder",
    "Explosion": "metabench.probes.explosion",
    "FOMAML": "metabench.algorithms.fomaml",
    "Family": "metabench.families.base",
    "Finding": "metabench.records.rows",
    "HFMAML": "metabench.algorithms.hf_maml",
    "Folder": "metabench.families.folder",
    "IMAML": "metabench.algorithms.imaml",
    "Indexed": "metabench.problems.samplers",
    "Layout": "metabench.problems.parameter_layout",
    "Vectorization": "metabench.estimation.vectorization",
    "LVC": "metabench.problems.reinforcement.surrogates.lvc",
    "LoadedDiCE": "metabench.problems.reinforcement.surrogates.loaded_dice",
    "LogCosh": "metabench.families.logcosh",
    "MAML": "metabench.algorithms.maml",
    "MAMLPP": "metabench.algorithms.mamlpp",
    "MINRES": "metabench.linalg.solvers.minres",
    "MetaGrad": "metabench.algorithms.base",
    "MetaSGD": "metabench.algorithms.meta_sgd",
    "InvalidInput": "metabench.settings.errors",
    "Momentum": "metabench.algorithms.inner_optimizers.momentum",
    "Omniglot": "metabench.families.omniglot",
    "OuterOptimizer": "metabench.outer_loop.optimizer_settings",
    "Naive": "metabench.problems.reinforcement.surrogates.naive",
    "Navigation": "metabench.families.navigation",
    "Neumann": "metabench.linalg.solvers.neumann",
    "Nystrom": "metabench.linalg.solvers.nystrom",
    "Pretrain": "metabench.algorithms.pretrain",
    "Probe": "metabench.probes.base",
    "Problem": "metabench.problems.problem",
    "Quadratic": "metabench.families.quadratic",
    "Recorder": "metabench.outer_loop.step_recorder",
    "Reptile": "metabench.algorithms.reptile",
    "Ridge": "metabench.families.ridge",
    "Row": "metabench.records.rows",
    "SGD": "metabench.algorithms.inner_optimizers.sgd",
    "Sinusoid": "metabench.families.sinusoid",
    "Solve": "metabench.linalg.solvers.solver",
    "Solver": "metabench.linalg.solvers.solver",
    "Spectrum": "metabench.probes.spectrum",
    "InnerOptimizer": "metabench.algorithms.inner_optimizers.inner_optimizer",
    "Stream": "metabench.problems.samplers",
    "Subject": "metabench.estimation.estimator_on_tasks",
    "Sampling": "metabench.problems.sampling",
    "Surrogate": "metabench.problems.reinforcement.surrogates.surrogate",
    "Tabular": "metabench.families.tabular",
    "Task": "metabench.problems.tasks",
    "Trainer": "metabench.outer_loop.trainer",
    "Variance": "metabench.probes.variance",
    "Verify": "metabench.probes.verify",
    "find": "metabench.measurement.find_with_checks",
    "measure_checked": "metabench.measurement.measure_with_checks",
    "Result": "metabench.measurement.result",
    "measure": "metabench.measurement.one_line",
    "diagnose": "metabench.diagnosis.one_line",
    "agreement": "metabench.measurement.probe_functions",
    "constants": "metabench.measurement.probe_functions",
    "cost": "metabench.measurement.probe_functions",
    "explosion": "metabench.measurement.probe_functions",
    "spectrum": "metabench.measurement.probe_functions",
    "variance": "metabench.measurement.probe_functions",
    "verify": "metabench.measurement.probe_functions",
    "independent_tasks": "metabench.problems.samplers",
    "page": "metabench.report.page",
    "safe_norms": "metabench.problems.networks.norm_layers",
    "to_table": "metabench.records.rows",
    "work_of": "metabench.autodiff.operation_counts",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in ("adapters", "testing"):
        return importlib.import_module(f"metabench.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'metabench' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

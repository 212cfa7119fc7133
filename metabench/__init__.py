"""metabench: why is my meta-gradient noisy, exploding, biased or slow, and what should I change?"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Names are imported on first use, so that `metabench --help` needs no torch.
_PUBLIC = {
    "ANIL": "metabench.algorithms.anil",
    "Adam": "metabench.steps.adam",
    "Address": "metabench.problem",
    "Agreement": "metabench.probes.agreement",
    "Algorithm": "metabench.algorithms.algorithm",
    "AlphaMAML": "metabench.algorithms.alpha_maml",
    "BMAML": "metabench.algorithms.bmaml",
    "BlackBox": "metabench.blackbox",
    "Blobs": "metabench.families.blobs",
    "CG": "metabench.solvers.cg",
    "Constants": "metabench.probes.constants",
    "Cost": "metabench.probes.cost",
    "Dense": "metabench.solvers.dense",
    "Digits": "metabench.families.digits",
    "Estimator": "metabench.algorithms.algorithm",
    "Exploded": "metabench.outer.recorder",
    "Explosion": "metabench.probes.explosion",
    "FOMAML": "metabench.algorithms.fomaml",
    "Family": "metabench.families.family",
    "Finding": "metabench.rows",
    "HFMAML": "metabench.algorithms.hf_maml",
    "Folder": "metabench.families.folder",
    "IMAML": "metabench.algorithms.imaml",
    "Indexed": "metabench.samplers",
    "Layout": "metabench.layout",
    "Lift": "metabench.lift",
    "LogCosh": "metabench.families.logcosh",
    "MAML": "metabench.algorithms.maml",
    "MAMLPP": "metabench.algorithms.mamlpp",
    "MINRES": "metabench.solvers.minres",
    "MetaGrad": "metabench.algorithms.algorithm",
    "MetaSGD": "metabench.algorithms.meta_sgd",
    "Misuse": "metabench.misuse",
    "Momentum": "metabench.steps.momentum",
    "Omniglot": "metabench.families.omniglot",
    "Outer": "metabench.outer.settings",
    "Neumann": "metabench.solvers.neumann",
    "Nystrom": "metabench.solvers.nystrom",
    "Own": "metabench.own",
    "Pretrain": "metabench.algorithms.pretrain",
    "Probe": "metabench.probes.probe",
    "Problem": "metabench.problem",
    "Quadratic": "metabench.families.quadratic",
    "Recorder": "metabench.outer.recorder",
    "Reptile": "metabench.algorithms.reptile",
    "Ridge": "metabench.families.ridge",
    "Row": "metabench.rows",
    "SGD": "metabench.steps.sgd",
    "Sinusoid": "metabench.families.sinusoid",
    "Solve": "metabench.solvers.solver",
    "Solver": "metabench.solvers.solver",
    "Spectrum": "metabench.probes.spectrum",
    "Step": "metabench.steps.step",
    "Stream": "metabench.samplers",
    "Subject": "metabench.subject",
    "Task": "metabench.problem",
    "Trainer": "metabench.outer.trainer",
    "Variance": "metabench.probes.variance",
    "Verify": "metabench.probes.verify",
    "diagnose": "metabench.gate",
    "measure": "metabench.gate",
    "page": "metabench.report.page",
    "safe_norms": "metabench.norms",
    "to_table": "metabench.rows",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'metabench' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

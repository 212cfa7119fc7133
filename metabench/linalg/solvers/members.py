"""The linear solvers: name -> "module:Class". Add yours here, or as an entry point of this name."""

MEMBERS = {
    "cg": "metabench.linalg.solvers.cg:CG",
    "minres": "metabench.linalg.solvers.minres:MINRES",
    "neumann": "metabench.linalg.solvers.neumann:Neumann",
    "nystrom": "metabench.linalg.solvers.nystrom:Nystrom",
    "dense": "metabench.linalg.solvers.dense:Dense",
}

"""The linear solvers: name -> "module:Class". Add yours here, or as an entry point of this name."""

MEMBERS = {
    "cg": "metabench.solvers.cg:CG",
    "minres": "metabench.solvers.minres:MINRES",
    "neumann": "metabench.solvers.neumann:Neumann",
    "nystrom": "metabench.solvers.nystrom:Nystrom",
    "dense": "metabench.solvers.dense:Dense",
}

"""The linear solvers: name -> "module:Class". Add yours here, or as an entry point of this name."""

MEMBERS = {
    "cg": "metabench.solvers.cg:CG",
    "dense": "metabench.solvers.dense:Dense",
}

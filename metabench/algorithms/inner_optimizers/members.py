"""The inner optimizers: name -> "module:Class". Add yours here, or as an entry point."""

MEMBERS = {
    "sgd": "metabench.algorithms.inner_optimizers.sgd:SGD",
    "momentum": "metabench.algorithms.inner_optimizers.momentum:Momentum",
    "adam": "metabench.algorithms.inner_optimizers.adam:Adam",
}

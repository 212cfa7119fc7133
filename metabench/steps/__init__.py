"""The inner optimisers: name -> "module:Class". Add yours here, or as an entry point."""

MEMBERS = {
    "sgd": "metabench.steps.sgd:SGD",
    "momentum": "metabench.steps.momentum:Momentum",
    "adam": "metabench.steps.adam:Adam",
}

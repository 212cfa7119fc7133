"""The algorithms: name -> "module:Class". Add yours here, or as an entry point of this name."""

MEMBERS = {
    "maml": "metabench.algorithms.maml:MAML",
    "fomaml": "metabench.algorithms.fomaml:FOMAML",
    "reptile": "metabench.algorithms.reptile:Reptile",
    "imaml": "metabench.algorithms.imaml:IMAML",
    "meta_sgd": "metabench.algorithms.meta_sgd:MetaSGD",
    "anil": "metabench.algorithms.anil:ANIL",
}

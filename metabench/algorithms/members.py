"""The algorithms: name -> "module:Class". Add yours here, or as an entry point of this name."""

MEMBERS = {
    "maml": "metabench.algorithms.maml:MAML",
    "fomaml": "metabench.algorithms.fomaml:FOMAML",
    "reptile": "metabench.algorithms.reptile:Reptile",
    "imaml": "metabench.algorithms.imaml:IMAML",
    "meta_sgd": "metabench.algorithms.meta_sgd:MetaSGD",
    "hf_maml": "metabench.algorithms.hf_maml:HFMAML",
    "mamlpp": "metabench.algorithms.mamlpp:MAMLPP",
    "anil": "metabench.algorithms.anil:ANIL",
    "alpha_maml": "metabench.algorithms.alpha_maml:AlphaMAML",
    "bmaml": "metabench.algorithms.bmaml:BMAML",
    "emaml": "metabench.algorithms.emaml:EMAML",
    "pretrain": "metabench.algorithms.pretrain:Pretrain",
}

"""The surrogates of policy gradients: name -> "module:Class". Add yours here, or as an entry point.

A surrogate is differentiated with its trajectories fixed; what it is at first order and at second
order are two questions.
"""

MEMBERS = {
    "naive": "metabench.problems.reinforcement.surrogates.naive:Naive",
    "lvc": "metabench.problems.reinforcement.surrogates.lvc:LVC",
    "dice": "metabench.problems.reinforcement.surrogates.dice:DiCE",
    "loaded_dice": "metabench.problems.reinforcement.surrogates.loaded_dice:LoadedDiCE",
}

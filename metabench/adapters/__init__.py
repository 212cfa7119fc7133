"""Meta-gradients written for other libraries, as black boxes: `mb.adapters.from_higher(...)`.

`from_higher`, `from_torchopt` and `from_jax` call the library, if it is installed. learn2learn,
betty and hypertorch can't be installed beside the torch that metabench needs (learn2learn 0.2.0
does not build, betty-ml needs Python < 3.11, and `hypertorch` on PyPI is another project), so
`from_learn2learn`, `from_betty` and `from_hypertorch` are their update rules, written anew.
"""

from metabench.adapters.betty import from_betty
from metabench.adapters.higher import from_higher
from metabench.adapters.hypertorch import from_hypertorch
from metabench.adapters.jax import from_jax
from metabench.adapters.learn2learn import from_learn2learn
from metabench.adapters.torchopt import from_torchopt

__all__ = [
    "from_betty",
    "from_higher",
    "from_hypertorch",
    "from_jax",
    "from_learn2learn",
    "from_torchopt",
]

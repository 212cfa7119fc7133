r"""FO-MAML's bias floor: where does |grad F| stop falling, for MAML, HF-MAML and FO-MAML?

    python reports/literature_bias_floor/run.py

trains each of them by full-batch descent on one fixed pool of tasks, so that no sampling noise is
left and what remains of :math:`|\nabla F|` is bias alone, at several inner rates and several
degrees of difference between tasks. (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400)
prove that MAML and HF-MAML reach any accuracy and that FO-MAML stops at one of order alpha sigma.
The floor is predicted without metabench: by the zero of FO-MAML's field, found by SciPy from the
tasks' own formulas in NumPy. Writes `table.csv` and `findings.md` beside this file.

A task is :math:`\sum_d h_d s^2 \log\cosh((\phi_d - c_d)/s)`, with s = 1, a center c and curvatures
h of its own: log h is `difference` times a standard normal number, and c moves with h.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import root
from torch import Tensor

from metabench import (
    FOMAML,
    HFMAML,
    MAML,
    SGD,
    Estimator,
    OuterOptimizer,
    Problem,
    Subject,
    Trainer,
    Vectorization,
)
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.samplers import Indexed
from metabench.problems.tasks import Data

HERE = Path(__file__).parent
POOL, DIM, STEPS = 64, 5, 1000
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
DIFFERENCES = (0.0, 0.1, 0.2, 0.4, 0.8)
USUAL_RATE, USUAL_DIFFERENCE = 0.1, 0.4

Array = NDArray[np.float64]


def pool(difference: float) -> tuple[Array, Array]:
    """Draw curvatures and centers of the tasks, `(POOL, DIM)` each."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((2, POOL, DIM))
    return np.exp(difference * normal[0]), normal[0] + normal[1]


def loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
    """Give the loss `()` of one task."""
    h, c = data
    value: Tensor = (h * (torch.logaddexp(phi - c, c - phi) - math.log(2))).sum()
    return value


def same(theta: Tensor) -> Tensor:
    """Begin adaptation at theta itself."""
    return theta


def fields(theta: Array, h: Array, c: Array, rate: float) -> tuple[Array, Array]:
    """Give MAML's and FO-MAML's mean meta-gradient `(DIM,)` from the formulas."""
    slope_0, curvature = h * np.tanh(theta - c), h / np.cosh(theta - c) ** 2
    outer = h * np.tanh(theta - rate * slope_0 - c)
    return ((1 - rate * curvature) * outer).mean(0), outer.mean(0)


def floor(h: Array, c: Array, rate: float) -> float:
    """Foretell |grad F| where FO-MAML comes to rest."""

    def field(theta: Array) -> Array:
        return fields(theta, h, c, rate)[1]

    found = root(field, np.zeros(DIM), tol=1e-14)
    return float(np.linalg.norm(fields(found.x, h, c, rate)[0]))


def reached(algorithm: Estimator, h: Array, c: Array, rate: float) -> float:
    """Train to rest; give |grad F| there."""
    layout = Layout(("phi",), ((DIM,),))
    problem = Problem(same, loss, loss, Layouts(layout, layout))
    tensors = torch.from_numpy(h), torch.from_numpy(c)

    def draw(rows: NDArray[np.int64], seed: int) -> tuple[Data, Data]:
        part = tuple(values[rows % POOL] for values in tensors)
        return part, part

    compute = Vectorization("vmap", engine="trace")
    start = Subject(problem, Indexed(draw), algorithm, torch.zeros(DIM).double(), compute)
    trainer = Trainer(start, OuterOptimizer("sgd", rate=0.5, batch=POOL, held_out=POOL), STEPS)
    while trainer.step < STEPS and trainer.advance():
        pass
    return float(np.linalg.norm(fields(trainer.theta.numpy(), h, c, rate)[0]))


def measure() -> pd.DataFrame:
    """Train every algorithm at every setting."""
    lines = []
    settings = [(rate, USUAL_DIFFERENCE) for rate in RATES]
    settings += [(USUAL_RATE, each) for each in DIFFERENCES if each != USUAL_DIFFERENCE]
    for rate, difference in settings:
        h, c = pool(difference)
        members: dict[str, Estimator] = {
            "maml": MAML(1, SGD(rate)),
            "hf_maml, d = 0.1": HFMAML(1, SGD(rate), delta=0.1),
            "hf_maml, d = 0.001": HFMAML(1, SGD(rate), delta=0.001),
            "fomaml": FOMAML(1, SGD(rate)),
        }
        for name, algorithm in members.items():
            at = reached(algorithm, h, c, rate)
            lines.append((rate, difference, name, at))
            print(rate, difference, name, f"{at:.3g}", flush=True)
        lines.append((rate, difference, "predicted for fomaml", floor(h, c, rate)))
    return pd.DataFrame(lines, columns=["inner_rate", "difference", "algorithm", "norm"])


def page(table: pd.DataFrame) -> str:
    """Write the table as a page."""
    names = list(dict.fromkeys(table["algorithm"]))
    text = [
        "# What it says\n",
        f"|grad F| after {STEPS:,} full-batch outer steps on {POOL} tasks, in float64.\n",
        "| tasks' difference | inner rate | " + " | ".join(names) + " |",
        "|---" * (2 + len(names)) + "|",
    ]
    found = table.set_index(["difference", "inner_rate", "algorithm"])["norm"]
    settings = table[["difference", "inner_rate"]].drop_duplicates().to_numpy()
    for difference, rate in sorted(map(tuple, settings)):
        cells = " | ".join(f"{found[difference, rate, name]:.3g}" for name in names)
        text.append(f"| {difference:g} | {rate:g} | {cells} |")
    for name in ("fomaml", "hf_maml, d = 0.1"):
        floors = [found[USUAL_DIFFERENCE, rate, name] for rate in RATES[:4]]
        power = np.polyfit(np.log(RATES[:4]), np.log(floors), 1)[0]
        span = f"alpha = {RATES[0]} to {RATES[3]}"
        text.append(f"\n{name}: |grad F| grows as alpha^{power:.2f} from {span}.")
    ends = (found[d, r, "fomaml"] / found[d, r, "predicted for fomaml"] for d, r in settings)
    apart = max(abs(ratio - 1) for ratio in ends)
    text.append(f"\nFO-MAML's floor is what was predicted, to {apart:.0e} of it.")
    return "\n".join(text) + "\n"


def main() -> None:
    """Train, compare, write."""
    table = measure()
    table.to_csv(HERE / "table.csv", index=False)
    (HERE / "findings.md").write_text(page(table), encoding="utf-8")
    print(page(table))


if __name__ == "__main__":
    main()

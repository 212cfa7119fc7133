r"""Nichol's coefficients: what do MAML, FOMAML and Reptile become as the inner rate goes to 0?

    python reports/literature_nichol/run.py

(Nichol, Achiam & Schulman, 2018, https://arxiv.org/abs/1803.02999), section 5, expand the expected
update over k mini-batches of a task in the inner rate: AvgGrad, the gradient of the expected loss,
plus alpha times a multiple of AvgGradInner, the gradient of how well one mini-batch's gradient is
aligned with another's, :math:`E[H_2 g_1]`. Their multiples for one gradient (MAML, FOMAML) or the
mean of k (Reptile) are :math:`-2 (k - 1)`, :math:`-(k - 1)` and :math:`-(k - 1) / 2`. Here the
expectation is exact: a task has three mini-batches, and every ordered choice of k of them is taken.
AvgGrad and AvgGradInner come from torch.autograd, the rest from metabench, in float64. Writes
`table.csv` and `findings.md`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from metabench import FOMAML, MAML, SGD, Algorithm, Problem, Reptile, Task

HERE = Path(__file__).parent
BATCHES, EACH = 3, 4
RATES = (1e-1, 1e-2, 1e-3, 1e-4)
EXPECTED = {"maml": -2.0, "fomaml": -1.0, "reptile": -0.5}  # times k - 1


def setting() -> tuple[Problem, Tensor, Tensor, Tensor]:
    """Give a small smooth network's problem, theta, and the examples, `(BATCHES EACH, 1)` each."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 1))
    problem = Problem.from_module(net.double(), lambda p, y: ((p - y) ** 2).mean())
    x = 10 * torch.rand(BATCHES * EACH, 1, dtype=torch.float64) - 5
    assert problem.theta is not None
    return problem, problem.theta, x, 2 * torch.sin(x - 0.5)


def rows(batch: int) -> Tensor:
    """Give the examples of a mini-batch."""
    return torch.arange(batch * EACH, (batch + 1) * EACH)


def expected(algorithm: Algorithm, k: int, of: tuple[Problem, Tensor, Tensor, Tensor]) -> Tensor:
    """Average the meta-gradient `(Q,)` over every ordered choice of k mini-batches."""
    problem, theta, x, y = of
    found = []
    for chosen in itertools.product(range(BATCHES), repeat=k):
        inner = chosen if isinstance(algorithm, Reptile) else chosen[:-1]
        noise = torch.stack([rows(batch) for batch in inner])
        last = rows(chosen[-1])
        found.append(algorithm(problem, theta, Task((x, y), (x[last], y[last]), noise)).grad)
    return torch.stack(found).mean(0)


def terms(of: tuple[Problem, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Give AvgGrad and AvgGradInner `(Q,)`, by autograd."""
    problem, theta, x, y = of
    leaf = theta.clone().requires_grad_()
    gradients = []
    for batch in range(BATCHES):
        part = rows(batch)
        loss = problem.inner_loss(leaf, leaf, (x[part], y[part]))
        gradients.append(torch.autograd.grad(loss, leaf, create_graph=True)[0])
    mean = torch.stack(gradients).mean(0)
    # E over independent pairs of H_2 g_1 is the mean Hessian times the mean gradient
    (inner,) = torch.autograd.grad(mean @ mean / 2, leaf)
    return mean.detach(), inner


def main() -> None:
    """Measure the coefficients, write."""
    of = setting()
    mean, inner = terms(of)
    lines = []
    for k, alpha in itertools.product((2, 3, 4), RATES):
        step = SGD(alpha)
        members: dict[str, Algorithm] = {
            "maml": MAML(k - 1, step), "fomaml": FOMAML(k - 1, step), "reptile": Reptile(k, step),
        }  # fmt: skip
        for name, algorithm in members.items():
            found = (expected(algorithm, k, of) - mean) / alpha
            coefficient = float(found @ inner / (inner @ inner))
            beside = float((found - coefficient * inner).norm() / found.norm())
            lines.append((name, k, alpha, EXPECTED[name] * (k - 1), coefficient, beside))
    columns = ["algorithm", "k", "alpha", "theirs", "ours", "beside"]
    table = pd.DataFrame(lines, columns=columns)
    table.to_csv(HERE / "table.csv", index=False, float_format="%.8g")
    text = [
        "# What it says\n",
        "The multiple of AvgGradInner, theirs and ours, and the share of the first-order term that "
        "isn't along it.\n",
        "| algorithm | k | theirs | " + " | ".join(f"ours at alpha = {a:g}" for a in RATES)
        + f" | beside it at {RATES[-1]:g} |",
        "|---" * (4 + len(RATES)) + "|",
    ]  # fmt: skip
    for k, name in itertools.product((2, 3, 4), EXPECTED):
        part = table[(table["algorithm"] == name) & (table["k"] == k)]
        ours = " | ".join(f"{value:.5f}" for value in part["ours"])
        last = part.iloc[-1]
        text.append(f"| {name} | {k} | {last['theirs']:g} | {ours} | {last['beside']:.0e} |")
    (HERE / "findings.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()

"""Comparison of metabench and other libraries on spectra of Hessians.

    python benchmarks/spectra.py
    python benchmarks/spectra.py --problems 200k --rounds 5
    python benchmarks/spectra.py --problems tasks --rounds 5 --without PyHessian

In a separate environment, since the compared libraries are no dependencies: it needs the `spectra`
extra besides metabench. All run in one process on one thread, in turns. Each is given the least
effort at which its five eigenvalues are within 1e-3 of the truth, relative to the largest; the
truth is SciPy's `eigsh` to 1e-6 of the largest, on products in float64.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import operators
import torch
from operators import DENSITIES, EIGENVALUES, PROBLEMS, TOP, TaskBatch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

import metabench as mb
from metabench.linalg.lanczos import lanczos

ERROR = 1e-3  # of each of the five eigenvalues, relative to the largest
STEPS = 100  # of a density
PACKAGES = ("torch", "scipy", "hessian-eigenthings", "PyHessian", "curvlinops-for-pytorch")


def main() -> None:
    """Measure each problem and print a table; write the record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--without",
        nargs="*",
        choices=EIGENVALUES,
        default=[],
        metavar="NAME",
        help="leave out, since PyHessian takes minutes per round on many tasks",
    )
    parser.add_argument("--json", metavar="FILE", help="write the record here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # PyHessian's backward(create_graph=True), at every net
    record: dict[str, Any] = {
        "command": "python benchmarks/spectra.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: _version(name) for name in PACKAGES},
        "load": [round(os.getloadavg()[0], 1)],
        "problems": [],
    }
    print(json.dumps(record["versions"]), "load", record["load"])
    for name in options.problems:
        of = PROBLEMS[name]()
        found = {
            "problem": of.name,
            "parameters": of.phis.shape[1],
            "eigenvalues": eigenvalues(of, options.rounds, options.without),
            "density": densities(of, options.rounds, options.without),
            "product": product(of, 10 * options.rounds),
            "memory": memory(of),
        }
        record["problems"].append(found)
        _print(found)
    record["load"].append(round(os.getloadavg()[0], 1))
    print("load", record["load"])
    if options.json:
        with pathlib.Path(options.json).open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)


def eigenvalues(of: TaskBatch, rounds: int, without: list[str]) -> list[dict[str, Any]]:
    """Return each contender's smallest sufficient effort, its error and its time."""
    expected, chosen, rows = truth(of), {}, []
    for name in operators.installed(of, without):
        run, efforts = EIGENVALUES[name]
        for effort in efforts:
            error = worst(run(of, effort), expected)
            if error <= ERROR:
                break
        rows.append({"contender": name, "effort": effort, "error": error})
        chosen[name] = lambda run=run, effort=effort: run(of, effort)
    return _timed(rows, chosen, rounds)


def densities(of: TaskBatch, rounds: int, without: list[str]) -> list[dict[str, Any]]:
    """Return each contender's time for a density of 100 steps."""
    names = [name for name in operators.installed(of, without) if name in DENSITIES]
    chosen = {name: lambda name=name: DENSITIES[name](of, STEPS) for name in names}
    return _timed([{"contender": name} for name in names], chosen, rounds)


def product(of: TaskBatch, rounds: int) -> float:
    """Return the median time of a product, its graph kept, over that of a gradient."""
    times, vectors = of.operator(), operators.start(of)

    def gradient() -> Tensor:
        phis = of.phis.clone().requires_grad_()
        each = torch.func.vmap(of.problem.inner_loss, in_dims=(0, None, 0))
        if of.how == "loop":
            one = tuple(leaf[0] for leaf in of.data)
            total = of.problem.inner_loss(phis[0], phis[0], one)
        else:
            total = each(phis, of.phis[0], of.data).sum()
        return torch.autograd.grad(total, phis)[0]

    seconds = _turns({"product": lambda: times(vectors), "gradient": gradient}, rounds)
    return statistics.median(
        a / b for a, b in zip(seconds["product"], seconds["gradient"], strict=True)
    )


def memory(of: TaskBatch) -> float:
    """Return peak bytes of a density's steps over bytes of its basis."""
    times, vectors = of.operator(), operators.start(of)
    held = mb.work_of(lambda: lanczos(times, vectors, STEPS)).bytes
    return held / (STEPS * vectors.numel() * vectors.element_size())


def truth(of: TaskBatch) -> Tensor:
    """Compute the top five of each task in float64 by SciPy, to a much smaller tolerance."""
    double = of._replace(
        phis=of.phis.double(), data=(_double(of.data[0]), _double(of.data[1])), nets=of.nets[:1]
    )
    found = []
    for i in range(len(of.phis)):
        one = double._replace(
            phis=double.phis[i : i + 1], data=tuple(leaf[i : i + 1] for leaf in double.data)
        )
        times, P = one.operator(), of.phis.shape[1]

        def product(v: np.ndarray, times: Callable[[Tensor], Tensor] = times) -> np.ndarray:
            return times(torch.from_numpy(v.reshape(1, -1).copy()))[0].numpy()

        values = eigsh(
            LinearOperator((P, P), product, dtype=np.float64),
            TOP,
            tol=ERROR**2,
            return_eigenvectors=False,
        )
        found.append(operators.top(torch.from_numpy(values.copy())))
    return torch.stack(found)


def worst(found: Tensor, expected: Tensor) -> float:
    """Return the largest error of an eigenvalue in any task, relative to the task's largest."""
    found, expected = found.double().sort(1).values, expected.sort(1).values
    return float(((found - expected).abs() / expected.abs().amax(1, keepdim=True)).max())


def _timed(
    rows: list[dict[str, Any]], chosen: dict[str, Callable[[], Any]], rounds: int
) -> list[dict[str, Any]]:
    seconds = _turns(chosen, rounds)
    ours = seconds["metabench"]
    for row in rows:
        own = seconds[row["contender"]]
        row["median ms"] = 1e3 * statistics.median(own)
        row["least ms"] = 1e3 * min(own)
        row["metabench is faster by"] = statistics.median(
            theirs / mine for theirs, mine in zip(own, ours, strict=True)
        )
    return rows


def _turns(chosen: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for i in range(rounds + 1):  # the first warms up
        for name, run in chosen.items():
            begun = time.perf_counter()
            run()
            if i:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def _print(found: dict[str, Any]) -> None:
    print(f"\n{found['problem']}, {found['parameters']} parameters")
    for what in ("eigenvalues", "density"):
        print(f"  {what:<30} {'effort':>8} {'error':>8} {'median ms':>10} {'least':>8}  slower")
        for row in found[what]:
            effort, error = row.get("effort", STEPS), row.get("error")
            print(
                f"  {row['contender']:<30} {effort:>8} {'' if error is None else f'{error:.0e}':>8}"
                f" {row['median ms']:>10.1f} {row['least ms']:>8.1f}"
                f" {row['metabench is faster by']:>6.2f}x"
            )
    print(f"  a product with a kept graph: {found['product']:.2f} gradients")
    print(f"  {STEPS} steps hold {found['memory']:.2f} of their basis", flush=True)


def _double(leaf: Tensor) -> Tensor:
    return leaf.double() if leaf.is_floating_point() else leaf


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()

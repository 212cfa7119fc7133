"""Right estimators with awkward inner loops: metabench's own algorithms."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn.functional import mse_loss

import metabench as mb
from reports.verdicts.cases import Healthy, network, sampler, subject


def made(algorithm: mb.Estimator, seed: int, factor: float = 1.0) -> mb.Subject:
    """Return an algorithm on the usual network, its loss times a factor."""
    return subject(network(seed), algorithm, sampler(seed), lambda p, y: factor * mse_loss(p, y))


def kinked(algorithm: mb.Estimator, seed: int) -> mb.Subject:
    """Return an algorithm on a ReLU network."""
    return subject(network(seed, nn.ReLU), algorithm, sampler(seed), mse_loss)


LOOPS: dict[str, mb.Estimator] = {
    "K = 0": mb.MAML(0),
    "K = 1": mb.MAML(1, mb.SGD(0.3)),
    "K = 20": mb.MAML(20, mb.SGD(0.3)),
    "rate 1e-6": mb.MAML(3, mb.SGD(1e-6)),
    "rate near the edge": mb.MAML(10, mb.SGD(0.9)),
    "mini-batches": mb.MAML(3, mb.SGD(0.3), batch=2),
    "momentum": mb.MAML(5, mb.Momentum(0.1, 0.9)),
    "Adam": mb.MAML(5, mb.Adam(0.05)),
    "Adam, K = 15": mb.MAML(15, mb.Adam(0.1)),
    "recomputed": mb.MAML(20, mb.SGD(0.2), rematerialize="sqrt"),
    "truncated": mb.MAML(5, mb.SGD(0.3), truncate=2),
    "fomaml": mb.FOMAML(5, mb.SGD(0.3)),
    "hf_maml": mb.HFMAML(3, mb.SGD(0.3)),
    "reptile": mb.Reptile(5, mb.SGD(0.3)),
    "anil": mb.ANIL(3, mb.SGD(0.3)),
    "meta_sgd": mb.MetaSGD(3, mb.SGD(0.3)),
    "mamlpp": mb.MAMLPP(3, mb.SGD(0.3)),
    "alpha_maml": mb.AlphaMAML(3, mb.SGD(0.3)),
    "bmaml": mb.BMAML(2, mb.SGD(0.1)),
    "imaml, converged": mb.IMAML(150, mb.SGD(0.1), proximal_strength=6.0, solver=mb.Dense()),
    "imaml, CG": mb.IMAML(20, mb.SGD(0.1), proximal_strength=6.0, solver=mb.CG(steps=30)),
    "imaml, MINRES": mb.IMAML(20, mb.SGD(0.1), proximal_strength=6.0, solver=mb.MINRES(steps=40)),
    "imaml, Neumann": mb.IMAML(
        20, mb.SGD(0.1), proximal_strength=6.0, solver=mb.Neumann(steps=100, scale=0.1)
    ),
}
HEALTHY = (
    *(Healthy(f"loop: {name}", partial(made, each)) for name, each in LOOPS.items()),
    Healthy("loop: chaos, K = 100", partial(made, mb.MAML(100, mb.SGD(0.2)), factor=4.0)),
    Healthy("loop: ReLU, K = 30", partial(kinked, mb.MAML(30, mb.SGD(0.2)))),
    Healthy("loop: ReLU, Adam", partial(kinked, mb.MAML(5, mb.Adam(0.05)))),
)

"""Right gradients through awkward networks, under MAML."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import metabench as mb
from reports.verdicts.cases import Healthy, network, sampler, seeded, subject


class Attention(nn.Module):
    """Self-attention over the inputs of one example, written out."""

    def __init__(self) -> None:
        """Take three projections and a head."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(1, 4) for _ in range(3))
        self.head = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        tokens = x[..., None]
        q, k, v = self.q(tokens), self.k(tokens), self.v(tokens)
        out: Tensor = self.head(((q @ k.mT / 2).softmax(-1) @ v).flatten(1))
        return out


class Tied(nn.Module):
    """An autoencoder with tied weights, and a head."""

    def __init__(self) -> None:
        """Take one weight that is used twice."""
        super().__init__()
        self.encode, self.head = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        code = self.encode(x).tanh()
        out: Tensor = self.head(x - code @ self.encode.weight)
        return out


class Residual(nn.Module):
    """A residual block repeated with the same weights."""

    def __init__(self) -> None:
        """Take a block and a head."""
        super().__init__()
        self.block, self.head = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        for _ in range(4):
            x = x + 0.3 * self.block(x).tanh()
        out: Tensor = self.head(x)
        return out


class Scales(nn.Module):
    """Layers of which one moves the loss a million times less than the other."""

    def __init__(self) -> None:
        """Take two layers."""
        super().__init__()
        self.large, self.small = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        out: Tensor = self.large(x) + 1e-6 * self.small(x)
        return out


class Unused(nn.Module):
    """A layer that no loss depends on."""

    def __init__(self) -> None:
        """Take two layers."""
        super().__init__()
        self.used, self.unused = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        out: Tensor = self.used(x)
        return out


class Recurrent(nn.Module):
    """A gated cell over the inputs, written out."""

    def __init__(self) -> None:
        """Take the cell's gates and a head."""
        super().__init__()
        self.gate, self.new, self.head = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        h = torch.zeros_like(x)
        for i in range(3):
            given = torch.cat([x[:, i : i + 1], h], 1)
            z = self.gate(given).sigmoid()
            h = z * h + (1 - z) * self.new(given).tanh()
        out: Tensor = self.head(h)
        return out


def wide(activation: Callable[[], nn.Module]) -> nn.Module:
    """Return one hidden layer of 12."""
    return nn.Sequential(nn.Linear(3, 12), activation(), nn.Linear(12, 1))


def normalized(norm: nn.Module) -> nn.Module:
    """Return a network with a norm layer."""
    return nn.Sequential(nn.Linear(3, 6), norm, nn.Tanh(), nn.Linear(6, 1))


def deep() -> nn.Module:
    """Return eight layers."""
    layers = [layer for _ in range(7) for layer in (nn.Linear(3, 3), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(3, 1))


def pooled() -> nn.Module:
    """Return a convolution with max-pooling over the inputs."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 3, 2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(),
        nn.Linear(3, 1),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": partial(wide, nn.ReLU),
    "LeakyReLU": partial(wide, nn.LeakyReLU),
    "ReLU6": partial(wide, nn.ReLU6),
    "GELU": partial(wide, nn.GELU),
    "SiLU": partial(wide, nn.SiLU),
    "ELU": partial(wide, nn.ELU),
    "Softplus, beta 20": partial(wide, partial(nn.Softplus, 20)),
    "Hardtanh": partial(wide, nn.Hardtanh),
    "GroupNorm": lambda: normalized(nn.GroupNorm(2, 6)),
    "LayerNorm without scale": lambda: normalized(nn.LayerNorm(6, elementwise_affine=False)),
    "batch statistics": lambda: normalized(nn.BatchNorm1d(6, track_running_stats=False)),
    "dropout in eval": lambda: normalized(nn.Dropout(0.5).eval()),
    "attention": Attention,
    "tied weights": Tied,
    "residual": Residual,
    "recurrent": Recurrent,
    "eight layers": deep,
    "max-pooling": pooled,
    "scales 1e6 apart": Scales,
    "unused layer": Unused,
    "linear": lambda: nn.Linear(3, 1),
}


def made(build: Callable[[], nn.Module], seed: int) -> mb.Subject:
    """Return MAML on a network."""
    return subject(seeded(build, seed), mb.MAML(3, mb.SGD(0.1)), sampler(seed), mse_loss)


def dead(seed: int) -> mb.Subject:
    """Return MAML on a ReLU network half of whose units are dead."""
    net = network(seed, nn.ReLU)
    with torch.no_grad():
        net.get_parameter("0.bias")[1:] = -100.0
    return subject(net, mb.MAML(3, mb.SGD(0.1)), sampler(seed), mse_loss)


HEALTHY = (
    *(Healthy(f"network: {name}", partial(made, build)) for name, build in NETWORKS.items()),
    Healthy("network: dead units", dead),
)

"""A decoder-only transformer in named sizes, with low-rank updates if asked for."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from metabench.problems import random_numbers
from metabench.problems.tasks import Address

SPREAD = 0.02  # standard deviation of embeddings and weights at the start (GPT-2)


class Size(NamedTuple):
    """Width, depth and heads; the blocks have 12 x depth x width^2 parameters."""

    width: int
    depth: int
    heads: int


SIZES = {
    "tiny": Size(64, 2, 2),  # 1e5 parameters
    "small": Size(128, 5, 4),  # 1e6
    "base": Size(320, 8, 5),  # 1e7
    "large": Size(768, 14, 12),  # 1e8
    "xl": Size(1024, 24, 16),  # 3e8
}


class LowRankLinear(nn.Module):
    """A linear layer plus a low-rank update, `W x + up (down x) / rank`.

    `up` starts at zero, so that the layer starts as it was.
    (Hu et al., 2021, https://arxiv.org/abs/2106.09685).
    """

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        """Take the sizes; rank >= 1."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.down = nn.Parameter(torch.zeros(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `(.., inputs)`."""
        update = functional.linear(functional.linear(x, self.down), self.up)
        applied: Tensor = self.linear(x) + update / len(self.down)
        return applied


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each after a layer norm and added to x."""

    def __init__(self, size: Size, rank: int) -> None:
        """Take the size, and the rank of the low-rank updates; 0: none."""
        super().__init__()
        width = size.width
        self.heads = size.heads
        self.attention_norm = nn.LayerNorm(width)
        self.projection = _linear(width, 3 * width, rank)  # to queries, keys and values
        self.attended = _linear(width, width, rank)
        self.feed_norm = nn.LayerNorm(width)
        self.wide = _linear(width, 4 * width, rank)
        self.narrow = _linear(4 * width, width, rank)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `(n, length, width)`."""
        n, length, width = x.shape
        parts = self.projection(self.attention_norm(x)).view(n, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (n, heads, length, width / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attended(mixed.transpose(1, 2).reshape(n, length, width))
        fed: Tensor = x + self.narrow(functional.gelu(self.wide(self.feed_norm(x))))
        return fed


class Decoder(nn.Module):
    """Next-symbol scores of sequences; input and output embeddings are the same parameter.

    (Radford et al., 2019, "Language models are unsupervised multitask learners").
    """

    def __init__(self, size: Size, symbols: int, length: int, rank: int) -> None:
        """Take the size, the number of symbols, the longest sequence and the rank."""
        super().__init__()
        self.symbol = nn.Embedding(symbols, size.width)
        self.position = nn.Embedding(length, size.width)
        self.blocks = nn.Sequential(*[Block(size, rank) for _ in range(size.depth)])
        self.norm = nn.LayerNorm(size.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map symbols `(n, length)` to scores `(n, V, length)`, classes second, as in torch."""
        hidden = self.symbol(x) + self.position.weight[: x.shape[-1]]
        hidden = self.norm(self.blocks(hidden))
        return functional.linear(hidden, self.symbol.weight).transpose(1, 2)


def decoder(size: str, symbols: int, length: int, rank: int = 0) -> Decoder:
    """Build a decoder with the initial parameters of seed 0.

    Args:
        size: a name in `SIZES`.
        symbols: V.
        length: of the longest sequence [symbols].
        rank: of low-rank updates of all linear layers; 0: none.
    """
    net = Decoder(SIZES[size], symbols, length, rank)
    values = initial_parameters(net, 0)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(values[name])
    return net


def initial_parameters(net: nn.Module, seed: int) -> dict[str, Tensor]:
    """Draw all parameters by name, float64: weights N(0, 0.02^2), those that end a block smaller.

    Weights that add to the residual stream are divided by sqrt(2 depth), biases are zero and norm
    scales one (Radford et al., 2019). `down` of a low-rank update is uniform within
    1/sqrt(inputs), `up` zero (Hu et al., 2021, https://arxiv.org/abs/2106.09685).
    """
    sizes = {name: p.numel() for name, p in net.named_parameters()}
    numbers = torch.from_numpy(
        random_numbers.uniform(seed, "theta", Address.fresh(0, 1), sum(sizes.values()))[0]
    )
    depth = sum(isinstance(module, Block) for module in net.modules())
    pieces = torch.split(numbers, list(sizes.values()))
    return {
        name: _initial(name, piece.view(parameter.shape), depth)
        for (name, parameter), piece in zip(net.named_parameters(), pieces, strict=True)
    }


def _initial(name: str, uniforms: Tensor, depth: int) -> Tensor:
    if "norm" in name:
        return torch.full_like(uniforms, float(name.endswith("weight")))
    if name.endswith((".bias", ".up")):
        return torch.zeros_like(uniforms)
    if name.endswith(".down"):
        return (2 * uniforms - 1) / math.sqrt(uniforms.shape[-1])
    normal = SPREAD * torch.from_numpy(random_numbers.normal(uniforms.numpy()))
    ends = ".attended." in name or ".narrow." in name
    return normal / math.sqrt(2 * depth) if ends else normal


def _linear(inputs: int, outputs: int, rank: int) -> nn.Module:
    return LowRankLinear(inputs, outputs, rank) if rank else nn.Linear(inputs, outputs)

"""Embeddings, and weights that two layers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reports.what_runs.case import Case, numbers, words


class Bag(nn.Module):
    """The mean of embedded words."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.out, self.bag = nn.Linear(4, 1), nn.EmbeddingBag(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        out: Tensor = self.out(self.bag(x))
        return out


class Embedded(nn.Module):
    """Embedded words with one that is padding."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.embed, self.out = nn.Embedding(7, 4, padding_idx=0), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        out: Tensor = self.out(torch.tanh(self.embed(x)).mean(1))
        return out


class Tied(nn.Module):
    """A language model whose decoder has the weights of its embedding."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.embed, self.body = nn.Embedding(7, 4), nn.Linear(4, 4)
        self.decode = nn.Linear(4, 7)
        self.decode.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        """Compute scores `(examples, words, steps)`."""
        scores: Tensor = self.decode(torch.tanh(self.body(self.embed(x))))
        return scores.transpose(1, 2)


def _sentences(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return words(generator, 7, 3), numbers(generator, 1)


def _next_words(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return words(generator, 7, 3), words(generator, 7, 3)


CASES = (
    Case("embedding", Embedded, _sentences, "out.*"),
    Case("embedding_bag", Bag, _sentences, "out.*"),
    Case("tied_weights", Tied, _next_words, "*e*.[wb]*", cross_entropy, head_by_name=True),
)

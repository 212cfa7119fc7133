"""Sequences of random Markov chains: tasks for a transformer whose best loss is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from metabench.families.base import Family, at_least
from metabench.problems import decoder, random_numbers
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput

ADAPT = {  # name -> patterns of the parameters that adapt and are learned
    "all": None,
    "norms": ("*norm*",),
    "lora": ("*.down", "*.up"),
}
SMALLEST = 1e-300  # a gamma variate of a small shape may underflow to 0

Numbers = NDArray[np.float64]
Symbols = NDArray[np.int64]


class Floors(NamedTuple):
    """Expected query losses `(T,)` of the best predictions, given what each of them knows [nat]."""

    entropy: Tensor  # the chain itself: no prediction has less
    support_and_prefix: Tensor  # the support set and the earlier symbols of the query sequence
    support: Tensor  # the support set only: what adapted weights alone can know
    prefix: Tensor  # the earlier symbols only: what attention alone can know


@dataclass(frozen=True)
class Chains(Family):
    r"""Predict the next symbol of a random Markov chain, with a decoder-only transformer.

    A task is a chain on `symbols` states whose rows are drawn from a symmetric Dirichlet
    distribution; every sequence begins with a uniform symbol, so that the posterior of a row is
    again Dirichlet and the best prediction after state i is
    :math:`(\alpha + n_{ij}) / (\alpha V + n_i)` with the transitions n that were seen. The loss is
    the mean cross-entropy of the next symbol [nat]. `floors` are the losses of the best predictions
    from support set, prefix or both: which of them a trained model approaches tells whether it
    adapts in its weights or in its context.
    Transformers that learn Markov chains in context: (Edelman, Edelman, Goel, Malach & Tsilivis,
    2024, https://arxiv.org/abs/2402.11004).

    >>> import metabench as mb
    >>> family = mb.Chains(symbols=4, length=8)
    >>> address = mb.Address.fresh(start=0, count=64)
    >>> x, y = family.sample(address, seed=0).query
    >>> x.shape, bool((x[:, :, 1:] == y[:, :, :-1]).all())
    (torch.Size([64, 4, 8]), True)
    >>> floors = family.floors(address, seed=0)
    >>> bool(floors.entropy.mean() < floors.support_and_prefix.mean() < floors.prefix.mean())
    True
    """

    tasks: ClassVar[int] = 256

    size: str = "tiny"  # of the network: tiny (1e5 parameters), small, base, large or xl (3e8)
    adapt: str = "all"  # what adapts and is learned: all, norms or lora
    rank: int = 4  # of the low-rank updates, where adapt is lora [columns]
    symbols: int = 8  # V, states of a chain [states]
    length: int = 16  # predicted symbols of a sequence [symbols]
    concentration: float = 0.3  # of the Dirichlet distribution of a row; small: sparse rows [1]
    shots: int = 4  # support sequences of a task [sequences]
    queries: int = 4  # query sequences of a task [sequences]

    def __post_init__(self) -> None:
        """Validate names, sizes and a positive concentration."""
        at_least(1, rank=self.rank, length=self.length, shots=self.shots, queries=self.queries)
        at_least(2, symbols=self.symbols)
        for name, given, known in (
            ("size", self.size, decoder.SIZES),
            ("adapt", self.adapt, ADAPT),
        ):
            if given not in known:
                raise InvalidInput(f"{name} is {given!r}; it must be one of {', '.join(known)}.")
        if not 0 < self.concentration < np.inf:
            raise InvalidInput(
                f"concentration is {self.concentration}; it must be positive and finite."
            )

    def problem(self) -> Problem:
        """Return the problem of minimizing the cross-entropy of the next symbol."""
        patterns = ADAPT[self.adapt]
        return Problem.from_module(self._net(), functional.cross_entropy, adapt=patterns)

    def theta(self, seed: int) -> Tensor:
        """Draw what is learned of the network's parameters, `(Q,)`.

        The rest of the network keeps the values of seed 0.
        """
        layout = self.problem().layouts.theta
        named = decoder.initial_parameters(self._net(), seed)
        return layout.flatten({name: named[name] for name in layout.names})

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks with x and y `(T, n, length)`, y being the symbols after those of x."""
        rows = self.transitions(address, seed)

        def sequences(axis: str, count: int) -> tuple[Tensor, Tensor]:
            drawn = torch.from_numpy(self._walks(rows, address, seed, axis, count))
            return drawn[..., :-1], drawn[..., 1:]

        return Task(sequences("support", self.shots), sequences("query", self.queries))

    def transitions(self, address: Address, seed: int) -> Numbers:
        """Return the transition probabilities of the addressed chains, `(T, V, V)`."""
        from scipy.special import gammaincinv

        V = self.symbols
        uniforms = random_numbers.uniform(seed, "task", address, V * V).reshape(-1, V, V)
        gammas = np.maximum(gammaincinv(self.concentration, uniforms), SMALLEST)
        rows: Numbers = gammas / gammas.sum(-1, keepdims=True)
        return rows

    def floors(self, address: Address, seed: int) -> Floors:
        """Return the expected query losses of the best predictions on the addressed tasks.

        The expectation is over the next symbol, given the query sequences up to it.
        """
        rows = self.transitions(address, seed)
        support, query = (
            self._walks(rows, address, seed, axis, count)
            for axis, count in (("support", self.shots), ("query", self.queries))
        )
        seen = _transitions_of(support, self.symbols).sum((1, 2))  # (T, V, V)
        steps = _transitions_of(query, self.symbols)
        before = np.cumsum(steps, axis=2) - steps  # (T, n, length, V, V), up to each symbol
        state = query[..., :-1]
        losses = [self.expected_loss(np.log(_rows_at(rows[:, None, None], state)), address, seed)]
        for counts in (seen[:, None, None] + before, seen[:, None, None], before):
            at = _rows_at(counts, state) + self.concentration
            losses.append(self.expected_loss(np.log(at / at.sum(-1, keepdims=True)), address, seed))
        return Floors(*losses)

    def expected_loss(self, log_probabilities: Numbers, address: Address, seed: int) -> Tensor:
        """Return the expected cross-entropy `(T,)` of predictions on the query sequences.

        Args:
            log_probabilities: of each next symbol, `(T, queries, length, V)`.
            address: of the T tasks.
            seed: of the tasks.
        """
        rows = self.transitions(address, seed)
        query = self._walks(rows, address, seed, "query", self.queries)
        true = _rows_at(rows[:, None, None], query[..., :-1])
        return torch.from_numpy(-(true * log_probabilities).sum(-1).mean((1, 2)))

    def _net(self) -> nn.Module:
        rank = self.rank if self.adapt == "lora" else 0
        return _network(self.size, self.symbols, self.length, rank)

    def _walks(self, rows: Numbers, address: Address, seed: int, axis: str, count: int) -> Symbols:
        """Draw sequences `(T, count, length + 1)` of the chains."""
        T, length = len(rows), self.length + 1
        uniforms = random_numbers.uniform(seed, axis, address, count * length)
        uniforms = uniforms.reshape(T, count, length)
        cumulative = np.cumsum(rows, -1)
        walks = np.empty((T, count, length), np.int64)
        walks[..., 0] = (uniforms[..., 0] * self.symbols).astype(np.int64)
        each = np.arange(T)[:, None]
        for t in range(1, length):
            ahead = cumulative[each, walks[..., t - 1], :-1]  # (T, count, V - 1)
            walks[..., t] = (uniforms[..., t, None] > ahead).sum(-1)
        return walks


@lru_cache(maxsize=1)
def _network(size: str, symbols: int, length: int, rank: int) -> nn.Module:
    """Build a network once for problem and theta; problems copy it."""
    return decoder.decoder(size, symbols, length, rank)


def _transitions_of(walks: Symbols, symbols: int) -> Numbers:
    """Return the steps of walks `(T, n, length + 1)`, one 1 each, `(T, n, length, V, V)`."""
    one = np.eye(symbols)
    return one[walks[..., :-1]][..., :, None] * one[walks[..., 1:]][..., None, :]


def _rows_at(matrices: Numbers, state: Symbols) -> Numbers:
    """Return the rows `(T, n, length, V)` of matrices `(.., V, V)` at states `(T, n, length)`."""
    V = matrices.shape[-1]
    matrices = np.broadcast_to(matrices, (*state.shape, V, V))
    return np.take_along_axis(matrices, state[..., None, None], -2)[..., 0, :]

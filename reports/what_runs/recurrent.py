"""Recurrent modules: one layer of each kind, both directions, two layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from reports.what_runs.case import Case, regression

SEQUENCE = regression(3, 2)  # three steps of two numbers


class LastState(nn.Module):
    """A recurrent layer and a linear one on its last output, declared first."""

    def __init__(self, layer: Callable[..., nn.Module], outputs: int = 1, **settings: Any) -> None:
        """Make the layers."""
        super().__init__()
        self.out = nn.Linear(3 * (1 + settings.get("bidirectional", False)), outputs)
        self.layer = layer(2, 3, batch_first=True, **settings)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        out: Tensor = self.out(self.layer(x)[0][:, -1])
        return out


CASES = (
    Case("rnn", lambda: LastState(nn.RNN), SEQUENCE, "out.*"),
    Case("gru", lambda: LastState(nn.GRU), SEQUENCE, "out.*"),
    Case("lstm", lambda: LastState(nn.LSTM), SEQUENCE, "out.*"),
    Case("lstm_both_ways", lambda: LastState(nn.LSTM, bidirectional=True), SEQUENCE, "out.*"),
    Case("gru_two_layers", lambda: LastState(nn.GRU, num_layers=2), SEQUENCE, "out.*"),
)

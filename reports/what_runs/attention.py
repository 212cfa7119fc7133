"""Attention of three kinds, with a mask."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from reports.what_runs.case import Case, numbers, regression

SEQUENCE = regression(3, 4)


class Encoder(nn.Module):
    """One of torch's encoder layers, with a causal mask."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        mask = nn.Transformer.generate_square_subsequent_mask(3).to(x)
        out: Tensor = self.out(self.layer(x, src_mask=mask)[:, -1])
        return out


class Heads(nn.Module):
    """torch's multi-head attention."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        out: Tensor = self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))
        return out


class Causal(nn.Module):
    """The function itself, under a causal mask."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.out, self.three = nn.Linear(4, 1), nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        q, k, v = (part.unflatten(-1, (2, 2)).transpose(1, 2) for part in self.three(x).chunk(3, 2))
        found = scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out(found.transpose(1, 2).flatten(2)[:, -1])
        return out


class Masked(nn.Module):
    """The function itself, with a mask of padding in the input."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.three, self.out = nn.Linear(4, 12), nn.Linear(4, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute the prediction, by what isn't padding."""
        q, k, v = self.three(x).chunk(3, 2)
        found = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        out: Tensor = self.out((found * mask[..., None]).sum(1))
        return out


def _padded(generator):  # type: ignore[no-untyped-def]
    x, y = SEQUENCE(generator)
    mask = numbers(generator, 3) > 0
    mask[:, 0] = True
    return {"x": x, "mask": mask}, y


CASES = (
    Case("encoder_layer", Encoder, SEQUENCE, "out.*"),
    Case("multihead_attention", Heads, SEQUENCE, "out.*"),
    Case("causal_attention", Causal, SEQUENCE, "out.*"),
    Case("masked_attention", Masked, _padded, "out.*"),
)

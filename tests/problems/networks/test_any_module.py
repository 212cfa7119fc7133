"""Is the meta-gradient of modules that people bring right, or refused with the way round?"""

from __future__ import annotations

import warnings

import pytest
import torch
from nets import TASKS, Net, called, draws, error, mlp, subject
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

import metabench as mb
from metabench.records.rows import from_table, to_table


def sequence(layer, width=4):
    """Read the three numbers of x one after another."""
    last = lambda self, x: self.out(self.layer(x[..., None])[0][:, -1])  # ruff: ignore[lambda-assignment]
    return Net(last, layer=layer, out=nn.Linear(width, 2))


def attended(layer):
    mean = lambda self, x: self.out(self.layer(self.into(x[..., None])).mean(1))  # ruff: ignore[lambda-assignment]
    return Net(mean, into=nn.Linear(1, 8), layer=layer, out=nn.Linear(8, 2))


def heads(x):
    x = x.unflatten(-1, (2, 4)).transpose(1, 2)
    return (
        functional.scaled_dot_product_attention(x, x, x, is_causal=True).transpose(1, 2).flatten(2)
    )


def multihead(self, x):
    return self.inner(x, x, x, need_weights=False)[0]


class Tanh(torch.autograd.Function):
    """In the old form, which torch.func refuses."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return g * (1 - ctx.saved_tensors[0] ** 2)


def counting(self, x):
    self.calls += 1
    return self.layer(x)


def normalized(self, x):
    x = self.layer(x)
    return functional.batch_norm(x, self.mean, self.variance, training=True)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


def old_spectral_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.spectral_norm(layer)


def pruned():
    layer = nn.Linear(3, 4)
    prune.random_unstructured(layer, "weight", 0.3)
    return layer


def encoder():
    return nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)


VECTORIZED = {
    "a temperature without axes": lambda: Net(
        lambda self, x: self.layer(x) * self.scale.exp(),
        layer=nn.Linear(3, 2),
        scale=nn.Parameter(torch.tensor(0.3)),
    ),
    "an empty parameter": lambda: Net(
        lambda self, x: self.layer(x) + self.none.sum(),
        layer=nn.Linear(3, 2),
        none=nn.Parameter(torch.zeros(0)),
    ),
    "attention": lambda: attended(called(heads)),
    "multi-head attention": lambda: attended(
        Net(multihead, inner=nn.MultiheadAttention(8, 2, batch_first=True))
    ),
    "a transformer": lambda: attended(encoder()),
    "a transformer's fast path": lambda: attended(encoder()).eval(),
    "pruning": lambda: mlp(first=pruned()),
    "an embedding": lambda: Net(
        lambda self, x: self.out(self.table((7 * x).long() % 5).flatten(1)),
        table=nn.Embedding(5, 2),
        out=nn.Linear(6, 2),
    ),
    "an integer buffer": lambda: Net(
        lambda self, x: self.layer(x[:, self.order]),
        layer=nn.Linear(3, 2),
        order=torch.tensor([2, 0, 1]),
    ),
}
LOOPED = {
    "an LSTM": lambda: sequence(nn.LSTM(1, 4, batch_first=True)),
    "a bidirectional LSTM": lambda: sequence(
        nn.LSTM(1, 2, 2, bidirectional=True, batch_first=True)
    ),
    "a GRU": lambda: sequence(nn.GRU(1, 4, batch_first=True)),
    "a recurrent net": lambda: sequence(nn.RNN(1, 4, batch_first=True)),
    "an LSTM's cell": lambda: Net(
        lambda self, x: self.out(self.cell(x)[0]), cell=nn.LSTMCell(3, 4), out=nn.Linear(4, 2)
    ),
    "a custom function": lambda: mlp(called(Tanh.apply)),
    "a counter": lambda: Net(counting, layer=nn.Linear(3, 2), calls=torch.tensor(0)),
    "functional batch norm": lambda: Net(
        normalized, layer=nn.Linear(3, 2), mean=torch.zeros(2), variance=torch.ones(2)
    ),
    "an if": lambda: Net(
        lambda self, x: self.layer(x) * (2 if x.sum() > 0 else 1), layer=nn.Linear(3, 2)
    ),
    "an orthogonal layer": lambda: mlp(first=parametrizations.orthogonal(nn.Linear(3, 4))),
}


@pytest.mark.parametrize(
    "make", [*VECTORIZED.values(), *LOOPED.values()], ids=[*VECTORIZED, *LOOPED]
)
def test_meta_gradients_are_those_of_the_unroll(make):
    torch.manual_seed(0)
    net = make()

    single = error(net, subject(net, dtype=torch.float32))
    double = error(net, subject(net))

    assert double < 1e-12
    assert single < 1e-5


@pytest.mark.parametrize("make", VECTORIZED.values(), ids=VECTORIZED)
def test_they_are_right_when_vmapped_and_when_looped(make):
    torch.manual_seed(0)
    net = make()

    errors = [error(net, subject(net, how=how)) for how in ("vmap", "loop")]

    assert max(errors) < 1e-12


@pytest.mark.parametrize("make", LOOPED.values(), ids=LOOPED)
def test_auto_loops_over_what_vmap_has_no_rule_for_and_says_so(make):
    torch.manual_seed(0)
    of = subject(make(), dtype=torch.float32)

    table = to_table(mb.Verify(tasks=2, thorough=False).measure(of, 0))

    (said,) = [each for each in mb.Verify().find(table) if each.name == "looped"]
    assert "one after another, because vmap fails" in said.claim
    assert of.resolved(TASKS)[1].looped_because in said.claim
    checks = from_table(table, "check", of=None)
    assert {row.status for row in checks} <= {"ok", "kink"}


class WeightNormed(nn.Module):
    """tanh of x W' + b with W = g v / |v|, whose parameters lie as in torch's own."""

    def __init__(self, bias, g, v):
        super().__init__()
        self.bias, self.g, self.v = bias, g, v

    def forward(self, x):
        w = self.g * self.v / (self.v**2).sum(1, keepdim=True).sqrt()
        return x @ w.T + self.bias


@pytest.mark.parametrize("norm", [old_weight_norm, parametrizations.weight_norm])
def test_weight_norm_has_its_second_derivative_which_torch_gets_wrong(norm):
    """`torch.autograd.gradgradcheck` of `torch._weight_norm` fails."""
    torch.manual_seed(0)
    layer = norm(nn.Linear(3, 4))
    net, plain = mlp(first=layer), mlp(first=WeightNormed(*layer.parameters()))
    plain[2] = net[2]

    of = subject(net)
    checks = from_table(to_table(mb.Verify().measure(of, 0)), "check", of=None)

    assert error(net, of, reference=plain) < 1e-12
    assert error(net, subject(net)) > 1e-4
    assert {row.status for row in checks} == {"ok"}
    assert "torch's fused kernel has a wrong second derivative" in of.problem.notes[0]


@pytest.mark.parametrize("norm", [old_spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_stands_still_in_the_inner_loop(norm):
    torch.manual_seed(0)
    net = mlp(first=norm(nn.Linear(3, 4)))

    of = subject(net)
    with torch.no_grad():
        for _ in range(50):
            net(draws(4, 3))

    assert error(net, of, reference=net.eval()) < 1e-2
    assert error(net, subject(net)) < 1e-12
    assert "keeps its singular vectors" in of.problem.notes[0]


class Embedded(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 2, **how), nn.Linear(6, 2)

    def forward(self, x):
        return self.out(self.table((7 * x).long() % 5).flatten(1))


def test_sparse_gradients_of_an_embedding_are_those_of_a_dense_one():
    torch.manual_seed(0)
    sparse, dense = Embedded(sparse=True), Embedded()
    dense.load_state_dict(sparse.state_dict())

    found = error(sparse, subject(sparse), reference=dense)

    assert found < 1e-12
    assert sparse.table.sparse

"""Is a module without a right meta-gradient refused with the way round, or mended in words?"""

from __future__ import annotations

import pytest
import torch
from nets import Net, draws, error, mlp, subject
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import metabench as mb


def checkpointed(self, x):
    return self.last(checkpoint(self.first, x, use_reentrant=False))


def offloaded(self, x):
    with torch.autograd.graph.save_on_cpu():
        return self.last(self.first(x))


RECOMPUTED = {
    "a checkpoint": checkpointed,
    "checkpoints of a chain": lambda self, x: checkpoint_sequential(
        nn.Sequential(self.first, self.last), 2, x, use_reentrant=False
    ),
    "saved on the CPU": offloaded,
    "a reentrant checkpoint of the data": lambda self, x: self.last(
        checkpoint(self.first, x, use_reentrant=True)
    ),
    "a reentrant checkpoint": lambda self, x: self.last(
        checkpoint(self.first, x + 0 * self.last.weight.sum(), use_reentrant=True)
    ),
}


@pytest.mark.parametrize("how", ["auto", "vmap", "loop"])
@pytest.mark.parametrize("forward", RECOMPUTED.values(), ids=RECOMPUTED)
def test_what_is_recomputed_at_the_wrong_parameters_is_refused(forward, how):
    first = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    net = Net(forward, first=first, last=nn.Linear(4, 2))

    with pytest.raises(mb.InvalidInput, match=r"gradient checkpointing.*Switch it off") as said:
        mb.Verify(tasks=2).measure(subject(net, how=how), 0)

    assert "compute.batching" not in str(said.value)


def test_a_switch_for_checkpointing_is_switched_off_in_the_copy():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.gradient_checkpointing, self.layer = True, nn.Linear(3, 3)

        def forward(self, x):
            if self.gradient_checkpointing:
                return checkpoint(self.layer, x, use_reentrant=False)
            return self.layer(x)

    torch.manual_seed(0)
    net = nn.Sequential(Block(), nn.Tanh(), nn.Linear(3, 2))

    of = subject(net)
    found = error(net, of)

    assert found < 1e-12
    assert net[0].gradient_checkpointing
    assert "checkpointing is off" in of.problem.notes[0]


def with_complex():
    return Net(lambda self, x: (x + self.w).abs(), w=nn.Parameter(torch.ones(3) * 1j))


REFUSED = {
    "lazy": (lambda: nn.LazyLinear(2), r"^`weight`, `bias`: .*lazy.*Call the module once"),
    "meta": (lambda: nn.Linear(3, 2, device="meta"), r"^`weight`.* no values .*to_empty"),
    "scripted": (lambda: torch.jit.trace(nn.Linear(3, 2), draws(4, 3)), "TorchScript.*nn.Module"),
    "complex": (with_complex, r"^`w` is torch\.complex64.*torch\.complex\(self\.re, self\.im\)"),
    "renormalized": (lambda: nn.Embedding(5, 2, max_norm=1), "max_norm.*Set max_norm=None"),
    "without parameters": (nn.Tanh, r"^The module \(Tanh\) has no parameters"),
    "frozen": (lambda: mlp().requires_grad_(False), "all have requires_grad=False.*adapt="),
    "a function": (lambda: torch.tanh, "is a builtin_function_or_method.*must be a torch.nn"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_modules_that_are_no_function_of_real_parameters_are_refused(make, words):
    with pytest.raises(mb.InvalidInput, match=words):
        mb.Problem.from_module(make(), functional.mse_loss)


@pytest.mark.parametrize("how", ["auto", "loop", "vmap"])
def test_dropout_that_is_a_number_is_refused(how):
    dropped = Net(
        lambda self, x: functional.dropout(self.layer(x), 0.5, self.training),
        layer=nn.Linear(3, 2),
    )

    with pytest.raises(mb.InvalidInput, match=r"draws random numbers.*\(bernoulli_\).*net\.eval"):
        subject(dropped, how=how).meta_gradients(mb.Address.fresh(0, 2), 0)

    assert error(dropped.eval(), subject(dropped.eval(), how=how)) < 1e-12


def test_random_features_of_a_seed_are_no_dropout():
    def features(self, x):
        return self.layer(x * torch.randn(3, generator=torch.Generator().manual_seed(0)))

    torch.manual_seed(0)
    net = Net(features, layer=nn.Linear(3, 2))

    found = error(net, subject(net))

    assert found < 1e-12


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_wrappers_are_taken_off(wrap):
    torch.manual_seed(0)
    net = mlp()

    of = subject(wrap(net))

    assert error(net, of) < 1e-12
    assert of.problem.layouts.phi.names == tuple(dict(net.named_parameters()))
    assert "without the wrapper" in of.problem.notes[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_never_replaced_in_silence(dtype):
    torch.manual_seed(0)
    net = mlp().to(dtype)

    of = subject(net)

    assert error(net, of) < 1e-12
    assert f"are {str(dtype)[6:]}: their values are used in theta's dtype" in of.problem.notes[0]

"""Are meta-gradients of losses with kinks and signs right, and does every probe run on them?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nets import draws, error, mlp, subject
from torch.nn import functional

import metabench as mb

LOSSES = {
    "l1": functional.l1_loss,
    "the mean of absolute values": lambda p, y: (p - y).abs().mean(),
    "smooth l1": functional.smooth_l1_loss,
    "huber": functional.huber_loss,
    "hinge": lambda p, y: (1 - p * y.sign()).relu().mean(),
    "the largest": lambda p, y: ((p - y) ** 2).amax(1).mean(),
    "a median": lambda p, y: ((p - y) ** 2).median(0)[0].mean(),
    "sorted": lambda p, y: ((p.sort(1)[0] - y.sort(1)[0]) ** 2).mean(),
    "the two largest": lambda p, y: (p - y).flatten().topk(2)[0].square().mean(),
    "pooled": lambda p, y: (functional.max_pool1d(p[None], 2) - y.amax(1)).square().mean(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_with_kinks_and_signs_have_their_meta_gradients(loss):
    torch.manual_seed(0)
    net = mlp()

    errors = [error(net, subject(net, loss, how), loss) for how in ("auto", "vmap", "loop")]

    assert max(errors) < 1e-12


@pytest.mark.parametrize(
    "probe",
    [
        mb.Verify(tasks=2),
        mb.Variance(tasks=64, redrawn_tasks=16, batches=16),
        mb.Spectrum(tasks=2, meta=2),
        mb.Explosion(tasks=4, steps=3),
    ],
    ids=lambda probe: type(probe).__name__,
)
def test_probes_run_on_a_loss_of_absolute_values(probe):
    def sample(indices, seed):
        return (draws(len(indices), 4, 3), draws(len(indices), 4, 2)), (
            draws(len(indices), 5, 3),
            draws(len(indices), 5, 2),
        )

    torch.manual_seed(0)
    of = subject(mlp(), functional.l1_loss, dtype=torch.float32)

    rows = mb.measure_checked(probe, replace(of, sample=mb.Indexed(sample)))

    assert any(row.value is not None for row in rows)

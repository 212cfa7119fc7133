"""Stage 4: the noise scale of transformers with low-rank updates, against the inner steps K."""

from __future__ import annotations

from functools import partial

import torch

import metabench as mb
from metabench.autodiff.stopwatch import seconds_of
from reports.accelerator.stages import Part, Row, Setting

STEPS = (1, 2, 4, 8)  # K
PLAN = (("base", "lora"), ("large", "lora"), ("base", "all"))  # size of the network, what adapts
RATE = 0.3  # inner rate


def parts(setting: Setting) -> list[Part]:
    """Return one part for each network and K, small networks first."""
    plan, steps = (PLAN, STEPS) if setting.size == "full" else ((("tiny", "lora"),), (1,))
    return [
        Part(f"{size}, {adapt}, K = {K}", partial(_noise_scale, size, adapt, K))
        for size, adapt in plan
        for K in steps
    ]


def _noise_scale(size: str, adapt: str, K: int, setting: Setting) -> list[Row]:
    """Measure the noise scale, and the seconds and bytes of one task's meta-gradient."""
    family = mb.Chains(size=size, adapt=adapt)
    theta = family.theta(0).to(torch.zeros((), device=setting.device))
    algorithm = mb.MAML(steps=K, inner_optimizer=mb.SGD(RATE))
    subject = mb.Subject(family.problem(), family.sample, algorithm, theta)
    address = mb.Address.fresh(0, setting.choose(16, 2))
    subject.meta_gradients(address, 0)
    if setting.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    seconds = seconds_of(lambda: subject.meta_gradients(address, 0), theta.device)
    rows: list[Row] = [
        {"quantity": "seconds of a task", "of": adapt, "value": seconds / len(address.task)}
    ]
    if setting.device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated()
        rows.append({"quantity": "allocated bytes", "of": adapt, "value": peak})
    probe = mb.Variance(
        tasks=setting.choose(256, 32), batches=16, redrawn_tasks=0, shot_multiples=0
    )
    for row in probe.measure(subject, 0):
        if row.quantity == "noise_scale" and not row.layer and not row.of:
            rows.append(
                {"quantity": "noise scale", "of": f"K = {K}", "value": row.value, "low": row.low,
                 "high": row.high, "status": row.status}
            )  # fmt: skip
    return rows

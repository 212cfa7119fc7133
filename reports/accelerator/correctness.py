"""Stage 1: is every meta-gradient right on the device, and does it run without waiting for it?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import metabench as mb
from metabench.settings import registry
from reports.accelerator.stages import Part, Row, Setting
from reports.accelerator.subjects import (
    compared,
    digits,
    gradients,
    median_error,
    ridge,
    tanh_network,
)

TIMES = 10  # a device may be this much further from float64 than a CPU in the same dtype
COMPILED = ("maml", "imaml", "mamlpp")  # compiling takes half a minute each
OPTIMIZERS = {
    "momentum": mb.Momentum(0.05),
    "adam": mb.Adam(0.05),
    "clipping by norm": mb.SGD(0.05, clip_norm=0.5),
    "clipping by value": mb.SGD(0.05, clip_value=0.1),
}
PROBES: dict[str, mb.Probe] = {
    "verify": mb.Verify(tasks=2),
    "variance": mb.Variance(tasks=64, batches=16, redrawn_tasks=16, shot_multiples=4),
    "explosion": mb.Explosion(steps=5, tasks=8, directions=1, mitigated=0),
    "spectrum": mb.Spectrum(tasks=4, meta=4, layers=2),
    "agreement": mb.Agreement(tasks=4, at=(1, 2), minimum_steps=50, rounds=1),
    "constants": mb.Constants(tasks=8, redrawn_tasks=4, hessians=4, run=5),
    "cost": mb.Cost(tasks=16, steps=(1,), sizes=(1, 5), rounds=1),
}


def parts(setting: Setting) -> list[Part]:
    """Return the parts: the algorithms first, then what they are made of, then the probes."""
    names = list(registry.members("algorithms"))
    traced = names if setting.size == "full" else ["maml"]
    each = [
        Part(f"{name}, {batching}, {engine}", partial(_algorithm, name, batching, engine))
        for batching, engine, chosen in (
            ("vmap", "eager", names),
            ("loop", "eager", names),
            ("vmap", "trace", traced),
        )
        for name in chosen
    ]
    quiet = [Part(f"waits, {name}", partial(_waits, name)) for name in names]
    solvers = [
        Part(f"solver {name}", partial(_solver, name)) for name in registry.members("solvers")
    ]
    optimizers = [Part(f"inner {name}", partial(_optimizer, name)) for name in OPTIMIZERS]
    networks = [
        Part(f"digits, {rematerialize}", partial(_network, rematerialize))
        for rematerialize in ("none", "every_step")
    ]
    compiled = [
        Part(f"{name}, vmap, compile", partial(_algorithm, name, "vmap", "compile"))
        for name in (COMPILED if setting.size == "full" else ())
    ]
    memory = [Part("out of memory", _out_of_memory)]
    probes = [Part(f"probe {name}", partial(_probe, name)) for name in PROBES]
    return [*each, *solvers, *optimizers, *networks, *quiet, *memory, *probes, *compiled]


def _algorithm(name: str, batching: str, engine: str, setting: Setting) -> list[Row]:
    algorithm = registry.load("algorithms", name)(steps=3)
    # the implicit gradient needs an inner minimum
    made = ridge if name == "imaml" else tanh_network
    return _against_cpu(made, algorithm, mb.Vectorization(batching, engine=engine), setting)


def _solver(name: str, setting: Setting) -> list[Row]:
    algorithm = mb.IMAML(steps=30, solver=registry.load("solvers", name)())
    return _against_cpu(ridge, algorithm, mb.Vectorization("vmap", engine="eager"), setting)


def _optimizer(name: str, setting: Setting) -> list[Row]:
    algorithm = mb.MAML(steps=3, inner_optimizer=OPTIMIZERS[name])
    return _against_cpu(tanh_network, algorithm, mb.Vectorization("vmap", engine="eager"), setting)


def _network(rematerialize: str, setting: Setting) -> list[Row]:
    algorithm = mb.MAML(steps=2, rematerialize=rematerialize)
    return _against_cpu(digits, algorithm, mb.Vectorization("loop", engine="eager"), setting)


def _against_cpu(
    made: Callable[[], Any], algorithm: mb.Estimator, compute: mb.Vectorization, setting: Setting
) -> list[Row]:
    """Compare with the CPU in float64; the limit is what a CPU reaches in the same dtype."""
    subject = made()
    plain = replace(compute, engine="eager")
    truth = gradients(subject, algorithm, plain, torch.zeros((), dtype=torch.float64))
    rows = []
    for dtype in (torch.float64, torch.float32):
        on_cpu = gradients(subject, algorithm, plain, torch.zeros((), dtype=dtype))
        like = torch.zeros((), dtype=dtype, device=setting.device)
        with warnings.catch_warnings():
            # an engine that falls back to eager says so in this warning
            warnings.simplefilter("error", RuntimeWarning)
            found = gradients(subject, algorithm, compute, like)
        floor = max(median_error(on_cpu, truth), torch.finfo(dtype).eps)
        rows.append(
            {
                "quantity": "relative error of the median task",
                "of": str(dtype).removeprefix("torch."),
                "value": median_error(found, truth),
                "limit": TIMES * floor,
            }
        )
    return rows


def _waits(name: str, setting: Setting) -> list[Row]:
    """Count how often one meta-gradient of drawn tasks makes the host wait for the device."""
    if not setting.device.startswith("cuda"):
        raise ImportError("torch counts waits on CUDA only")
    problem, family, theta = tanh_network()
    like = torch.zeros((), device=setting.device)
    algorithm = registry.load("algorithms", name)(steps=3)
    compute = mb.Vectorization("vmap", engine="eager")
    subject = mb.Subject(problem, family.sample, algorithm, theta.to(like), compute)
    tasks = subject.draw(mb.Address.fresh(0, 16), seed=0)
    many = compute.per_task(lambda at, task: algorithm(subject.problem, at, task).grad)
    many(subject.theta, tasks)
    waits = _counted(lambda: many(subject.theta, tasks))
    return [{"quantity": "waits of one meta-gradient", "of": name, "value": waits, "limit": 0}]


def _counted(call: Callable[[], object]) -> int:
    """Return the number of synchronizing operations of a call, as torch warns of them."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in seen)


def _out_of_memory(setting: Setting) -> list[Row]:
    """Compute more tasks at once than fit, which must give the same numbers in smaller chunks."""
    if not setting.device.startswith("cuda"):
        raise ImportError("the memory of a CUDA device is limited, that of a CPU is not")
    made, algorithm = digits(), mb.MAML(steps=5)
    like = torch.zeros((), device=setting.device)
    expected = _many(made, algorithm, mb.Vectorization("vmap", 8, "eager"), like)
    total = torch.cuda.get_device_properties(setting.device).total_memory
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    _many(made, algorithm, mb.Vectorization("vmap", 64, "eager"), like)
    need = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((before + need / 3) / total)
        found = _many(made, algorithm, mb.Vectorization("vmap", 64, "eager"), like)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    error = float((found - expected).norm() / expected.norm())
    return [
        {
            "quantity": "relative difference of halved chunks",
            "of": "float32",
            "value": error,
            "limit": 1e-4,
        }
    ]


def _many(made: Any, algorithm: mb.Estimator, compute: mb.Vectorization, like: Tensor) -> Tensor:
    problem, family, theta = made
    subject = mb.Subject(problem, family.sample, algorithm, theta.to(like), compute)
    found: Tensor = subject.meta_gradients(mb.Address.fresh(0, 64), seed=0).grad
    return found.detach().double()


def _probe(name: str, setting: Setting) -> list[Row]:
    """Run a probe on the device and on the CPU, both in float64."""
    problem, family, theta = tanh_network(width=8)
    algorithm = mb.MAML(steps=2)
    tables = []
    for device in (setting.device, "cpu"):
        at = theta.to(torch.zeros((), dtype=torch.float64, device=device))
        subject = mb.Subject(problem, family.sample, algorithm, at)
        tables.append(PROBES[name].measure(subject, 0))
    apart = compared(*tables)
    return [
        {"quantity": "median relative difference of the numbers", "of": name, "value": apart,
         "limit": 1e-6},
        {"quantity": "numbers", "of": name, "value": len(tables[0])},
    ]  # fmt: skip

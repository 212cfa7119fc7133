"""The choice of an executor and of this machine's devices."""

from __future__ import annotations

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.executors.slots import cpu_slots, gpu_slots
from metabench.grid.study.study import Study
from metabench.settings.errors import InvalidInput, unknown

EXECUTORS = ("inline", "pool", "ray")


def make_executor(name: str, study: Study, workers: int, per_gpu: int, threads: int) -> Executor:
    """Create the executor for the devices that a study's cells require.

    Args:
        name: inline, pool or ray.
        study: the study; its cells name their devices.
        workers: processes for CPU cells; 0: as many as the cores allow (pool).
        per_gpu: cells that share a GPU.
        threads: torch threads per cell.

    Raises:
        InvalidInput: if the executor is unknown, or a device that cells require is missing.
    """
    needed = {kind.device for kind in study.cells.all_kinds}
    if name == "inline":
        from metabench.grid.execution.executors.inline import Inline

        return Inline(threads)
    if name == "ray":
        from metabench.grid.execution.executors.ray import Ray

        return Ray(frozenset(needed), per_gpu, threads)
    if name != "pool":
        raise unknown("executor", name, EXECUTORS)
    from metabench.grid.execution.executors.pool import Pool

    cpus = cpu_slots(workers, threads) if "cpu" in needed else []
    gpus = gpu_slots(per_gpu, threads) if "cuda" in needed else []
    if "cuda" in needed and not gpus:
        raise InvalidInput(
            "The study requires cuda, but torch finds no GPU. Run it on a machine with a GPU "
            '(metabench slurm writes a job array), or set device = "cpu".'
        )
    return Pool((*cpus, *gpus))

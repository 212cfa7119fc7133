"""Which executor, and on which devices of this machine?"""

from __future__ import annotations

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.executors.slots import cpu_slots, gpu_slots
from metabench.grid.study.study import Study
from metabench.settings.errors import InvalidInput, unknown

EXECUTORS = ("inline", "pool", "ray")


def make_executor(name: str, study: Study, workers: int, per_gpu: int, threads: int) -> Executor:
    """Make the executor for the devices that a study's cells ask for.

    Raises:
        InvalidInput: if there is no such executor, or not one device of a kind that cells need.
    """
    needed = {cell.settings["device"] for cell in study.cells.values()}
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
            "The study asks for cuda, and torch sees no GPU here. Run it where there is one "
            '(metabench slurm writes a job array), or give device = "cpu".'
        )
    return Pool((*cpus, *gpus))

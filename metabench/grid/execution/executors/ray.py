"""The executor for several machines: Ray Core places the cells.

Without RAY_ADDRESS a cluster of this machine alone is started, its dashboard off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from metabench.grid.execution.executors.executor import Broken, Executor
from metabench.grid.execution.executors.ray_connection import connected, first_line
from metabench.grid.execution.executors.ray_watch import watch
from metabench.grid.execution.run_cell import Job, Outcome, fail, run_cell
from metabench.settings.errors import InvalidInput

POLL_EVERY = 1.0  # seconds between checks for cells that exceed the timeout


class Running(NamedTuple):
    """A cell that was submitted to the cluster."""

    job: Job
    begun: float


@dataclass(frozen=True)
class Ray(Executor):
    """Runs cells on all machines of a Ray cluster; worker processes are reused."""

    devices: frozenset[str]  # what the cells ask for: cpu, cuda
    per_gpu: int = 1  # cells on a GPU at once
    threads: int = 1  # cores a cell [cores]
    limit: int = 0  # most cells at once, 0: as many as fit

    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Submit as many jobs as fit, and the next one when one ends."""
        ray = connected()
        self._require(ray.cluster_resources())
        cluster, waiting, running = watch(ray), iter(jobs), dict[Any, Running]()
        try:
            while True:
                room = cluster.room(lambda: self.width)
                for job in _take(waiting, room - len(running)):
                    running[self._submit(ray, job)] = Running(job, time.monotonic())
                if not running and room:
                    return
                if not running:
                    time.sleep(POLL_EVERY)
                    continue
                ended, _ = ray.wait(list(running), num_returns=1, timeout=POLL_EVERY)
                for reference in [*ended, *_overdue(running, ended)]:
                    yield _outcome_of(ray, reference, running.pop(reference))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def alone(self) -> Ray:
        """Return an executor that runs one cell at a time."""
        return replace(self, limit=1)

    @property
    def width(self) -> int:
        """The number of cells that the cluster has room for."""
        held = connected().cluster_resources()
        rooms = [int(held.get("CPU", 0) / self.threads)] if "cpu" in self.devices else []
        rooms += [int(held.get("GPU", 0) * self.per_gpu)] if "cuda" in self.devices else []
        return min(sum(rooms), self.limit or sum(rooms))

    def _require(self, held: dict[str, float]) -> None:
        """Refuse cells that the cluster can never place; Ray would wait for them forever."""
        for device, resource, need in (("cpu", "CPU", self.threads), ("cuda", "GPU", 1)):
            if device in self.devices and held.get(resource, 0) < need:
                raise InvalidInput(
                    f"Cells need {need} {resource}, but the Ray cluster has "
                    f"{held.get(resource, 0):g} in total. Start Ray on larger machines."
                )

    def _submit(self, ray: Any, job: Job) -> Any:
        gpus = 1 / self.per_gpu if job.settings["device"] == "cuda" else 0
        # no retries by Ray: a cell that was killed is recorded, and tried again alone
        remote = ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=0)(run_cell)
        return remote.remote(job)


def _take(jobs: Iterator[Job], count: int) -> list[Job]:
    taken: list[Job] = []
    while len(taken) < count and (job := next(jobs, None)) is not None:
        taken.append(job)
    return taken


def _overdue(running: dict[Any, Running], ended: list[Any]) -> list[Any]:
    now = time.monotonic()
    late = (r for r, (job, begun) in running.items() if now - begun > job.timeout)
    return [reference for reference in late if reference not in ended]


def _outcome_of(ray: Any, reference: Any, running: Running) -> Outcome:
    job, seconds = running.job, time.monotonic() - running.begun
    done, _ = ray.wait([reference], timeout=0)
    if not done:
        ray.cancel(reference, force=True)
        return fail(job, "timeout", seconds, f"It took longer than {job.timeout:g} s.")
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OSError | MemoryError):  # the store can't be written
            raise error.cause from error
        raise Broken(
            f"A node of the Ray cluster can't run cells: {first_line(str(error.cause))}. Every "
            "node needs this version of metabench and the folder of the study"
        ) from error
    except ray.exceptions.RayError as error:
        reason = f"Its process was killed: {first_line(str(error))}"
        return fail(job, "killed", seconds, reason)
    return outcome

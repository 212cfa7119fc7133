"""One cell, from its settings to its record: whatever becomes of it is written down."""

from __future__ import annotations

import functools
import resource
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.grid.execution import part_arrays
from metabench.probes.base import Part
from metabench.records import statuses
from metabench.records.record import compose
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    from metabench.measurement.measurement import Measurement

FINAL = ("ok", "diverged")  # results; all other statuses are failures
AGAIN = ("killed", "oom")  # failures that may be the neighbors' fault: tried once more, alone


class Job(NamedTuple):
    """A cell to measure, as plain values that travel to any process."""

    store: Store
    digest: str
    settings: dict[str, Any]
    spec: dict[str, Any]
    timeout: float = float("inf")  # seconds
    share: Part | None = None  # the only part of it to measure
    split: int = 1  # shares that are to be merged
    need: float = 0.0  # memory that cells like it took; 0 where none is known [bytes]


class Outcome(NamedTuple):
    """What a parent hears of a cell; the record itself stays in the store."""

    digest: str
    status: str
    seconds: float
    error: str = ""
    share: Part | None = None
    peak_bytes: float = 0.0

    @property
    def failed(self) -> bool:
        """Tell whether there is no result."""
        return self.status not in FINAL


def work(job: Job) -> Outcome:
    """Measure one cell and keep its record; only a store that can't be written raises."""
    if job.store.is_done(job.digest):  # by another parent, meanwhile
        return Outcome(job.digest, "ok", 0.0, share=job.share)
    begun = time.perf_counter()
    measured = _share(job, begun) if job.share else _measured(job)
    seconds = time.perf_counter() - begun
    if job.share and measured["outcome"] == "ok":
        peak = float(measured["peak_bytes"])
        return Outcome(job.digest, "ok", seconds, share=job.share, peak_bytes=peak)
    if measured["outcome"] not in FINAL and job.store.is_done(job.digest):
        return Outcome(job.digest, "ok", seconds)  # another parent merged, and took the parts away
    environment = job.store.keep_environment(_environment(job.settings["device"]))
    seconds += measured.pop("seconds", 0.0)
    outcome = keep(job, seconds, {**measured, "provenance": {"environment": environment}})
    if not outcome.failed:
        part_arrays.drop(job.store, job.digest)
    return outcome


def keep(job: Job, seconds: float, found: Mapping[str, Any]) -> Outcome:
    """Write a cell's record, with the attempts before this one."""
    outcome, error = found["outcome"], found.get("error", "")
    if job.share and error:
        error = f"share {job.share}: {error}"
    attempt = {"outcome": outcome, "seconds": seconds, "at": time.time(), "error": error}
    more = {key: value for key, value in found.items() if key not in ("rows", "provenance")}
    more |= {"digest": job.digest, "settings": job.settings, "seconds": seconds, "error": error}
    more["attempts"] = [*_attempts_before(job), attempt]
    record = compose(job.spec, found.get("rows", ()), None, found.get("provenance", {}), more)
    job.store.save(record, failed=outcome not in FINAL)
    peak = float(found.get("peak_bytes", 0.0))
    return Outcome(job.digest, outcome, seconds, error, job.share, peak)


def fail(job: Job, status: str, seconds: float, error: str) -> Outcome:
    """Record a cell whose process did not live to do so, unless it died just after it had."""
    if job.store.is_done(job.digest):
        return Outcome(job.digest, "ok", seconds)
    if job.share and part_arrays.is_there(job.store, job.digest, job.share):
        return Outcome(job.digest, "ok", seconds, share=job.share)
    return keep(job, seconds, {"outcome": status, "error": error})


def _attempts_before(job: Job) -> list[dict[str, Any]]:
    try:
        before = job.store.read(job.digest) or {}
    except InvalidInput:  # no record, which is set aside for this attempt's
        return []
    attempts: list[dict[str, Any]] = before.get("attempts", [])
    return attempts


def _measured(job: Job) -> dict[str, Any]:
    """Measure a cell, from its shares where they were measured apart."""
    try:
        held, took = (
            part_arrays.read(job.store, job.digest, job.split) if job.split > 1 else ((), None)
        )
        cell = _cell(job)
        rows = cell.measure(parts=held)
        statuses.check_statuses(row.status for row in rows)
    except Exception as error:  # a failing cell is data: the grid goes on
        return _failure(error)
    outcome = statuses.outcome_of(row.status for row in rows)
    found = {"outcome": outcome, "rows": rows, "settled": cell.spec()}
    peak = float(_peak_bytes(job.settings["device"]))
    if took is None:
        return {**found, "peak_bytes": peak}
    peak = max(peak, took.peak_bytes)
    return {**found, "peak_bytes": peak, "seconds": took.seconds, "split": job.split}


def _share(job: Job, begun: float) -> dict[str, Any]:
    """Measure one share of a cell, and keep its arrays."""
    assert job.share is not None
    if part_arrays.is_there(job.store, job.digest, job.share):
        return {"outcome": "ok", "peak_bytes": 0}
    try:
        arrays = _cell(job).measure_part(job.share)
    except Exception as error:  # a failing cell is data: the grid goes on
        return _failure(error)
    peak = _peak_bytes(job.settings["device"])
    took = part_arrays.PartCost(time.perf_counter() - begun, peak)
    part_arrays.keep(job.store, job.digest, job.share, arrays, took)
    return {"outcome": "ok", "peak_bytes": peak}


def _failure(error: Exception) -> dict[str, Any]:
    outcome = "oom" if _is_out_of_memory(error) else "error"
    told = f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "error": told, "traceback": traceback.format_exc()}


def _cell(job: Job) -> Measurement:
    """Make the cell, and choose what was left to `auto`: that needs the device, an address not."""
    from metabench.measurement.measurement import Measurement
    from metabench.settings import fields

    cell = Measurement.from_settings(job.settings)
    if (found := fields.digest(cell.spec())) != job.digest:
        raise RuntimeError(
            f"This process gives the cell the address {found}: its metabench, or a file that the "
            "study names, is not the one that the study was read with."
        )
    cell.require_device()
    return cell.resolved()


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    told = "not enough memory" in str(error)  # torch's CPU allocator raises a plain RuntimeError
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or told


def _peak_bytes(device: str) -> int:
    """Give the most memory the cell took on a GPU, or its process so far on a CPU."""
    import torch

    if device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@functools.cache
def _environment(device: str) -> dict[str, Any]:
    """Describe versions and machine, once a process; the command stands in no environment."""
    from metabench.records.provenance import provenance

    made = provenance(device)
    del made["command"]
    return made

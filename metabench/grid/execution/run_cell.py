"""Measurement of one cell, from its settings to the record of its result or failure."""

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
from metabench.records.store.environments import keep_environment
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import user_sentence

if TYPE_CHECKING:
    from metabench.measurement.measurement import Measurement

FINAL = ("ok", "diverged")  # results; all other statuses are failures
RETRIED = ("killed", "oom")  # failures that other cells may have caused: tried once more, alone


class Job(NamedTuple):
    """A cell, or part of one, to measure: plain values that any process can receive."""

    store: Store
    digest: str
    settings: dict[str, Any]
    spec: dict[str, Any]
    timeout: float = float("inf")  # seconds
    part: Part | None = None  # the part to measure; None: the whole cell
    split: int = 1  # parts that the cell is split into
    need: float = 0.0  # memory that similar cells used; 0 if unknown [bytes]


class Outcome(NamedTuple):
    """Status of a measured cell, as sent to the parent process; the record is in the store."""

    digest: str
    status: str
    seconds: float
    error: str = ""
    part: Part | None = None
    peak_bytes: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the cell has no result."""
        return self.status not in FINAL


def run_cell(job: Job) -> Outcome:
    """Measure one cell or part and write its record; raises only if the store can't be written."""
    if job.store.is_done(job.digest):  # by another process, meanwhile
        return Outcome(job.digest, "ok", 0.0, part=job.part)
    begun = time.perf_counter()
    measured = _measure_part(job, begun) if job.part else _measure_cell(job)
    seconds = time.perf_counter() - begun
    if job.part and measured["outcome"] == "ok":
        peak = float(measured["peak_bytes"])
        return Outcome(job.digest, "ok", seconds, part=job.part, peak_bytes=peak)
    if measured["outcome"] not in FINAL and job.store.is_done(job.digest):
        return Outcome(job.digest, "ok", seconds)  # another process merged it
    environment = keep_environment(job.store, _environment(job.settings["device"]))
    seconds += measured.pop("seconds", 0.0)
    outcome = save_record(job, seconds, {**measured, "provenance": {"environment": environment}})
    if not outcome.failed:
        part_arrays.remove(job.store, job.digest)
    return outcome


def save_record(job: Job, seconds: float, found: Mapping[str, Any]) -> Outcome:
    """Write a cell's record, earlier attempts included, and return its outcome.

    Args:
        job: the cell.
        seconds: time that this attempt took.
        found: entries of the record: `outcome`, and `rows` or `error`.
    """
    outcome, error = found["outcome"], found.get("error", "")
    if job.part and error:
        error = f"part {job.part}: {error}"
    attempt = {"outcome": outcome, "seconds": seconds, "at": time.time(), "error": error}
    more = {key: value for key, value in found.items() if key not in ("rows", "provenance")}
    more |= {"digest": job.digest, "settings": job.settings, "seconds": seconds, "error": error}
    more["attempts"] = [*_attempts_before(job), attempt]
    record = compose(job.spec, found.get("rows", ()), None, found.get("provenance", {}), more)
    job.store.save(record, failed=outcome not in FINAL)
    peak = float(found.get("peak_bytes", 0.0))
    return Outcome(job.digest, outcome, seconds, error, job.part, peak)


def fail(job: Job, status: str, seconds: float, error: str) -> Outcome:
    """Record the failure of a cell whose process ended, unless a result was written before.

    Args:
        job: the cell.
        status: why it failed: killed or timeout.
        seconds: time that the attempt took.
        error: the reason, a sentence.
    """
    if job.store.is_done(job.digest):
        return Outcome(job.digest, "ok", seconds)
    if job.part and part_arrays.is_there(job.store, job.digest, job.part):
        return Outcome(job.digest, "ok", seconds, part=job.part)
    return save_record(job, seconds, {"outcome": status, "error": error})


def _attempts_before(job: Job) -> list[dict[str, Any]]:
    try:
        before = job.store.read(job.digest) or {}
    except InvalidInput:  # an invalid file, which this attempt's record replaces
        return []
    attempts: list[dict[str, Any]] = before.get("attempts", [])
    return attempts


def _measure_cell(job: Job) -> dict[str, Any]:
    """Measure a cell, or merge its parts if it is split."""
    try:
        arrays, cost = (
            part_arrays.read(job.store, job.digest, job.split) if job.split > 1 else ((), None)
        )
        cell = _cell(job)
        rows = cell.measure(parts=arrays)
        statuses.check_statuses(row.status for row in rows)
    except Exception as error:  # a failing cell is data: the grid goes on
        return _damaged_parts(job) or _failure(error)
    outcome = statuses.outcome_of(row.status for row in rows)
    found = {"outcome": outcome, "rows": rows, "settled": cell.spec()}
    peak = float(_peak_bytes(job.settings["device"]))
    if cost is None:
        return {**found, "peak_bytes": peak}
    peak = max(peak, cost.peak_bytes)
    return {**found, "peak_bytes": peak, "seconds": cost.seconds, "split": job.split}


def _damaged_parts(job: Job) -> dict[str, Any] | None:
    """Return the failure of a cell whose parts are damaged or gone; None if they are whole.

    Its outcome is that of a killed process, so that the next grid measures them again.
    """
    if job.split == 1:
        return None
    kept = part_arrays.set_aside_damaged(job.store, job.digest, job.split)
    missing = part_arrays.missing(job.store, job.digest, job.split)
    if not missing:
        return None
    aside = f"; kept in {job.store.aside}" if kept else ""
    return {
        "outcome": "killed",
        "error": f"{len(missing)} of its {job.split} parts are damaged or gone{aside}. The next "
        "grid measures them again.",
    }


def _measure_part(job: Job, begun: float) -> dict[str, Any]:
    """Measure one part of a cell and save its arrays."""
    assert job.part is not None
    if part_arrays.is_there(job.store, job.digest, job.part):
        return {"outcome": "ok", "peak_bytes": 0}
    try:
        arrays = _cell(job).measure_part(job.part)
    except Exception as error:  # a failing cell is data: the grid goes on
        return _failure(error)
    peak = _peak_bytes(job.settings["device"])
    cost = part_arrays.PartCost(time.perf_counter() - begun, peak)
    part_arrays.save(job.store, job.digest, job.part, arrays, cost)
    return {"outcome": "ok", "peak_bytes": peak}


def _failure(error: Exception) -> dict[str, Any]:
    outcome = "oom" if _is_out_of_memory(error) else "error"
    message = user_sentence(error) or f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "error": message, "traceback": traceback.format_exc()}


def _cell(job: Job) -> Measurement:
    """Build the measurement and resolve its `auto` settings, which depend on the device."""
    from metabench.measurement.measurement import Measurement
    from metabench.settings import fields

    cell = Measurement.from_settings(job.settings)
    if (found := fields.digest(cell.spec())) != job.digest:
        raise RuntimeError(
            f"The cell's digest is {found} in this process and {job.digest} in the study: "
            "metabench or a file that the study names has changed since the study was read."
        )
    cell.require_device()
    return cell.resolved()


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    on_cpu = "not enough memory" in str(error)  # torch's CPU allocator raises a RuntimeError
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or on_cpu


def _peak_bytes(device: str) -> int:
    """Return the peak memory of the cell on a GPU, or of the whole process on a CPU."""
    import torch

    if device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@functools.cache
def _environment(device: str) -> dict[str, Any]:
    """Describe versions and machine, without the command."""
    from metabench.records.provenance import provenance

    made = provenance(device)
    del made["command"]
    return made

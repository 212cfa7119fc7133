"""One measurement by its settings: a probe on an algorithm, a family and a theta."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from metabench import spec
from metabench.algorithms.algorithm import Estimator
from metabench.draws import LARGEST_SEED
from metabench.families.family import Family
from metabench.lift import Lift
from metabench.misuse import Misuse, unknown
from metabench.own import Own
from metabench.probes.probe import Probe, Progress, silent
from metabench.probes.verify import Verify
from metabench.rows import LEVELS, Finding, Row
from metabench.subject import Subject
from metabench.weights import load_theta

if TYPE_CHECKING:
    import pandas as pd

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Cell:
    """What determines a measurement, `seconds` aside; its digest is its address."""

    probe: Probe
    algorithm: Estimator
    family: Family
    lift: Lift
    seed: int
    dtype: str
    device: str
    theta: str  # a file, or "" for the family's own initial theta

    def __post_init__(self) -> None:
        """Refuse a dtype or device that isn't there."""
        if not 0 <= self.seed <= LARGEST_SEED:
            raise Misuse(f"The seed is {self.seed}; it must lie in 0 .. 2^60 - 1.")
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        _check_device(self.device)
        if self.theta and not Path(self.theta).is_file():
            raise Misuse(f"There is no file {self.theta!r} to read theta from.")

    def spec(self) -> dict[str, Any]:
        """Give the settings as plain JSON values."""
        return {
            "probe": spec.to_json("probes", self.probe),
            "algo": spec.to_json("algorithms", self.algorithm),
            "family": spec.to_json("families", self.family),
            "lift": spec.settings(self.lift),
            "seed": self.seed,
            "dtype": self.dtype,
            "device": self.device,
            "theta": _fingerprint(self.theta) if self.theta else self._initial(),
        }

    def _initial(self) -> str:
        """Name the values of a module, which may change though its file doesn't."""
        if not isinstance(self.family, Own) or self.family.of.theta is None:
            return "initial"
        held = hashlib.sha256()
        for value in (self.family.of.theta, *self.family.of.fixed.values()):
            held.update(value.detach().cpu().contiguous().numpy().tobytes())
        return f"module@{held.hexdigest()[:12]}"

    def subject(self) -> Subject:
        """Build the problem and theta, on the device."""
        problem = self.family.problem()
        theta = (
            load_theta(Path(self.theta), problem.layouts.theta, problem.fixed)
            if self.theta
            else self.family.theta(self.seed)
        )
        theta = theta.to(self.device, DTYPES[self.dtype])
        # its own sampler says what it can't redraw
        sample = self.family.draw if isinstance(self.family, Own) else self.family.sample
        return Subject(problem, sample, self.algorithm, theta, self.lift)

    def measure(self, progress: Progress = silent) -> list[Row]:
        """Check that the meta-gradient is right, then run the probe; the checks' rows come last."""
        subject = self.subject()
        if isinstance(self.probe, Verify):
            return self.probe.measure(subject, self.seed, progress)
        checks = Verify().measure(subject, self.seed)
        return [*self.probe.measure(subject, self.seed, progress), *checks]

    def diagnose(self, table: pd.DataFrame) -> list[Finding]:
        """Say what the table holds, checks included, the weightiest first."""
        findings = self.probe.diagnose(table)
        if not isinstance(self.probe, Verify):
            findings = [*findings, *Verify().diagnose(table)]
        return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _fingerprint(path: str) -> str:
    """Name a file by its contents, so that another file of the same name is another cell."""
    return f"{Path(path).name}@{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]}"


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Misuse(f"There is no device {name!r}; give cpu, cuda or cuda:N.") from None
    found = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in ("cpu", "cuda") or (device.index or 0) >= found:
        raise Misuse(
            f"Device {name!r} isn't there: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices here. Use --device cpu."
        )

"""Provenance of a table: the command, the versions, the machine, the commit."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import metabench

PACKAGES = ("torch", "numpy", "scipy", "pandas")


def provenance(device: str) -> dict[str, Any]:
    """Describe the run that is going on."""
    import torch

    chip = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {
        "command": shlex.join(["metabench", *sys.argv[1:]]),
        "metabench": metabench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "device": chip,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _commit() -> str | None:
    """Return the commit of the checkout that metabench runs from, marked if it was changed."""
    folder = Path(metabench.__file__).parent
    if not (folder.parent / ".git").exists():
        return None
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + (" with changes" if dirty.stdout.strip() else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "cpu"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "cpu")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

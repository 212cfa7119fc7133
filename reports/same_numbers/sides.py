"""Two revisions, side by side: each checked out, and asked the same in one thread."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reports.same_numbers.renames import Renames

HERE = Path(__file__).parent
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
ASKED = "import metabench, torch; print(torch.get_num_threads(), metabench.__file__)"


@dataclass(frozen=True)
class Ran:
    """How one command ended on one side."""

    folder: Path  # where it ran and wrote
    code: int  # its exit code
    seconds: float  # of processor time

    @property
    def complaint(self) -> str:
        """The last line of what it said on stderr."""
        return ((self.folder / "stderr").read_text().strip().splitlines() or [""])[-1]


@dataclass(frozen=True)
class Side:
    """A revision's checkout, and a folder with a folder a command."""

    checkout: Path
    scratch: Path
    renames: Renames  # from the names in commands.toml to this side's

    def prepare(self) -> None:
        """Write the study and the custom problem, and check what is going to be run.

        Raises:
            SystemExit: if another package than the checkout's is imported, or many threads.
        """
        self.scratch.mkdir()
        for name, translated in (
            ("own.py", self.renames.python),
            ("study.toml", self.renames.study),
        ):
            text = (HERE / self.renames("files", name)).read_text()
            (self.scratch / name).write_text(translated(text))
        words = [sys.executable, "-c", ASKED]
        threads, _, file = subprocess.run(
            words, cwd=self.scratch, env=self._env, check=True, capture_output=True, text=True
        ).stdout.partition(" ")
        if threads != "1" or not Path(file.strip()).is_relative_to(self.checkout):
            raise SystemExit(f"torch takes {threads} threads, and metabench is {file}.")

    def run(self, name: str, words: Sequence[str]) -> Ran:
        """Run one command of the list in a folder of its own."""
        folder = self.scratch / name
        folder.mkdir()
        asked = [sys.executable, "-m", "metabench", *self.renames.words(words)]
        with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
            process = subprocess.Popen(asked, cwd=folder, env=self._env, stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return Ran(folder, process.returncode, usage.ru_utime + usage.ru_stime)

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, **ONE_THREAD, "PYTHONPATH": str(self.checkout)}


def commit_of(revision: str) -> str:
    """Give the full name of a revision's commit."""
    return _git("rev-parse", "--verify", f"{revision}^{{commit}}")


@contextmanager
def checked_out(commit: str, folder: Path) -> Generator[Path]:
    """Check a commit out as a worktree, and remove it at the end."""
    _git("worktree", "add", "--detach", "--quiet", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*words: str) -> str:
    """Ask git in this repository, or end with its own words."""
    done = subprocess.run(["git", "-C", HERE, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return done.stdout.strip()

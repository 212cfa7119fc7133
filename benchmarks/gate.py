"""Run the asv suites, or compare two commits by their counters.

    python benchmarks/gate.py                 # this commit: do they still run?
    python benchmarks/gate.py main            # this commit against main: exit code 1 if it is worse

asv builds each commit without its dependencies and finds those in the environment that runs this
script, `pip install -c constraints.txt -e '.[test,bench]'`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMOKE = r"MetaGradient|Probes\.track_products"  # all of the inner loop's, each probe once
WORSE = 1.1  # a counter that grew by more is flagged; counters don't vary


def main() -> None:
    """Set up asv for this machine and run it."""
    environment = os.environ | {"METABENCH_ASV_DEPS": sysconfig.get_path("purelib")}

    def asv(*words: str) -> int:
        command = [sys.executable, "-m", "asv", *words]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
        )
        print(ended.stdout, ended.stderr, sep="\n", flush=True)
        # asv exits with 0 where a benchmark failed.
        failed = re.search(r"\bfailed\s*$", ended.stdout + ended.stderr, re.MULTILINE)
        return ended.returncode or int(failed is not None)

    asv("machine", "--yes")
    if len(sys.argv) < 2:
        bench = ("--bench", SMOKE)
        sys.exit(asv("run", "--quick", "--show-stderr", *bench, f"--python={_python()}", "HEAD^!"))
    words = ("--bench", "track_", "--factor", str(WORSE), f"--python={_python()}", "--show-stderr")
    sys.exit(asv("continuous", *words, sys.argv[1], "HEAD"))


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    main()

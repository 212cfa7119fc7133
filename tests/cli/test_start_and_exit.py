"""Does a command speak before its imports, import only what it needs, and end without delay?"""

from __future__ import annotations

import subprocess
import sys

SMALL = ["variance", "--family", "quadratic", "--tasks", "256", "--set", "probe.sizes=1,2,4"]


def run(code, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_the_first_line_is_printed_before_torch_is_imported(tmp_path):
    (tmp_path / "heavy.py").write_text(
        "import sys; print('torch' in sys.modules, file=sys.stderr); sys.exit()"
    )
    code = "from metabench.cli import main, measuring_start; measuring_start.HEAVY = ['heavy']; "

    said = run(code + "main.main()", *SMALL, cwd=tmp_path)

    assert said.stderr.splitlines() == ["variance: maml on quadratic, seed 0", "False"]


def test_a_wrong_name_is_answered_without_that_line(tmp_path):
    said = run(
        "from metabench.cli.main import main; main()", "variance", "--algo", "mamml", cwd=tmp_path
    )

    assert said.returncode == 2
    assert "seed 0" not in said.stderr
    assert "did you mean 'maml'" in said.stderr


def test_a_page_is_drawn_without_scipy_stats_and_the_end_is_not_searched_for_cycles(tmp_path):
    """Objects that were left out of the search are counted by the exit function that runs last."""
    code = """
import atexit, gc, sys
first = gc.get_freeze_count()
atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 200_000, file=sys.stderr))
from metabench.cli.main import main
try:
    main()
finally:
    print(sorted({"scipy.stats", "seaborn"} & sys.modules.keys()), file=sys.stderr)
"""
    said = run(code, *SMALL, cwd=tmp_path)

    assert said.returncode == 0
    assert said.stdout.splitlines()[-1].startswith("next ")
    assert (tmp_path / "metabench-runs").is_dir()
    assert said.stderr.splitlines()[-2:] == ["[]", "False True"]

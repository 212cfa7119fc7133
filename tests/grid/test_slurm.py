"""Is what Slurm gets what was asked for, and does a job near its limit go back into the queue?

`test_slurm_cluster.py` asks a real Slurm.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import clusters
import pytest
from shell import metabench

from metabench.cli.grid.slurm import submission
from metabench.grid.execution.executors.slots import cpu_slots
from metabench.grid.scheduling.slurm_script import quoted
from metabench.records.store.store import Store

VARIANCE = 'name = "variance"\ntasks = 64\nsizes = [1, 2]'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clusters.write_study("small.toml", 4, VARIANCE)
    return tmp_path


def written(*options, study="small.toml", code=0):
    result = metabench("slurm", study, *options)
    assert result.exit_code == code, result.output
    return Path(study).with_suffix(".sbatch").read_text() if code == 0 else result.stderr


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A scontrol that writes down what it was asked, and refuses if there is a file `refuse`."""
    tool = tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        f'if [ -e {tmp_path}/refuse ]; then echo "disabled for it" >&2; exit 1; fi\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    return tmp_path / "asked"


def near_the_limit(cells=3, fails=False, signal="SIGUSR1"):
    """One job of the array, warned during its first cell."""
    warned = f"os.kill(os.getpid(), signal.{signal})"  # as Slurm does
    clusters.write_probe("warned.py", "Warned", warned, 'Row("number", value=seed + 0.5)')
    probe = f'name = "warned.py:Warned"\nfails = {str(fails).lower()}'
    clusters.write_study("warned.toml", cells, probe)
    options = ("--executor", "inline", "--part", "0/1", "--sbatch", "my jobs.sbatch")
    return metabench("worker", "warned.toml", *options)


def test_every_option_is_a_line_of_the_script():
    options = "--array 3 --gpus 1 --cores 2 --mem 16G --partition a,b --account me --grace 120"

    text = written(*options.split())

    lines = {line.removeprefix("#SBATCH --") for line in text.splitlines() if "#SBATCH" in line}
    assert lines >= {
        "array=0-2", "gpus-per-task=1", "cpus-per-task=2", "mem=16G", "partition=a,b",
        "account=me", "time=04:00:00", "signal=B:USR1@120", "requeue", "job-name=metabench-small",
    }  # fmt: skip
    assert '--part "$SLURM_ARRAY_TASK_ID/3"' in text


def test_no_job_is_without_a_cell():
    said = metabench("slurm", "small.toml", "--array", "64").stdout

    assert "#SBATCH --array=0-3\n" in Path("small.sbatch").read_text()
    assert "4 cells over 4 jobs (more of the 64 would have none)" in said


def test_an_array_beyond_the_clusters_bound_is_refused(folder, monkeypatch):
    tool = folder / "scontrol"
    tool.write_text("#!/bin/sh\necho 'MaxArraySize            = 3'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    assert "at most 3 jobs in an array here (MaxArraySize); give --array 3" in written(
        "--array", "4", code=2
    )
    assert "#SBATCH --array=0-2\n" in written("--array", "3")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--time", "banana", "--time is 'banana'; give minutes"),
        ("--time", "1:2:3:4", "hours:minutes:seconds"),
        ("--time", "10\n#SBATCH --gpus=8", "give minutes"),
        ("--time", "0", "above 0 and of at most 365 days"),
        ("--time", "900000000", "above 0 and of at most 365 days"),
        ("--time", "٣", "give minutes"),
        ("--partition", "a b", "--partition is 'a b'; give names separated by commas"),
        ("--partition", "gpu\n#SBATCH --exclusive", "give names"),
        ("--partition", "a,", "give names"),
        ("--partition", "-x", "give names"),
        ("--partition", "x" * 500, "give names"),
        ("--account", "me;rm", "--account is 'me;rm'; give one name"),
        ("--account", "a,b", "give one name"),
        ("--mem", "lots", "--mem is 'lots'; give a whole number with the unit"),
        ("--mem", "4G\n", "give a whole number"),
        ("--mem", "-1", "give a whole number"),
        ("--grace", "14400", "no cell might start. Give a --grace of at most 14340"),
        ("--grace", "14341", "Give a --grace of at most 14340"),
    ],
)
def test_options_that_slurm_would_misread_are_refused(option, value, said):
    assert said in written("--array", "1", option, value, code=2)

    assert not Path("small.sbatch").exists()


@pytest.mark.parametrize(
    ("limit", "seconds"), [("04:00:00", 300), ("6:00", 150), ("2", 30), ("1", 0)]
)
def test_the_warning_leaves_most_of_a_short_limit(limit, seconds):
    text = written("--array", "1", "--time", limit)

    assert (f"#SBATCH --signal=B:USR1@{seconds}\n" in text) == (seconds > 0)
    assert ("--signal" in text) == (seconds > 0)


def test_bash_reads_every_word_as_it_was():
    words = ["a b", "it's", 'say "so"', "$HOME", "`id`", "a\nb", "#SBATCH", "*", "é", "\udcff",
             "-x", "\\", "a\\012", "!!", "\t", "\x1b[31m", "~"]  # fmt: skip
    text = " ".join(map(quoted, words))

    read = subprocess.run(["bash", "-c", f"printf '%s\\0' {text}"], capture_output=True, check=True)

    assert read.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)
    assert text.isprintable()


def test_the_script_runs_in_a_folder_of_any_name_and_imports_nothing_from_it(folder, monkeypatch):
    home = folder / "my $runs'\n#SBATCH --x"
    home.mkdir()
    monkeypatch.chdir(home)
    Path("torch.py").write_text("raise SystemExit('the torch.py of the folder')")
    name = '-st "u" dy.toml'
    clusters.write_study(name, 2, VARIANCE)
    result = metabench("slurm", "--array", "2", "--", name)
    assert result.exit_code == 0, result.output
    text = Path(name).with_suffix(".sbatch").read_text()

    options, _, commands = text.partition("trap")
    assert "--x" not in options
    assert all(line.startswith("#") for line in options.splitlines())
    commands = f"trap{commands}".replace("--part", "--executor inline --part")
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "1"}
    subprocess.run(["bash", "-c", commands], env=environment, cwd=folder, check=True)

    assert len(Store(Path("metabench-runs") / '-st "u" dy').standing()) == 1


def test_a_job_near_its_limit_is_requeued_with_what_is_left(scontrol):
    result = near_the_limit()

    assert result.exit_code == 0
    assert scontrol.read_text() == "requeue 77\n"
    assert "2 cells are left near the job's time limit; the job goes back" in result.stdout
    assert "Continue with" not in result.stdout
    assert set(Store(Path("metabench-runs/warned")).standing().values()) == {"done"}


def test_where_requeueing_is_refused_the_command_to_submit_is_named(scontrol, folder):
    (folder / "refuse").touch()

    result = near_the_limit()

    assert result.exit_code == 0
    assert "(disabled for it). Continue with: sbatch 'my jobs.sbatch'" in result.stdout


def test_a_job_that_measured_nothing_is_not_requeued(scontrol):
    result = near_the_limit(fails=True)

    assert result.exit_code == 3
    assert not scontrol.exists()
    assert "none was measured in this job" in result.stdout
    assert "longer --time" in result.stdout


def test_a_cancelled_job_names_the_command_to_submit():
    result = near_the_limit(signal="SIGTERM")

    assert result.exit_code in {130, 143}
    assert "Resume with: sbatch 'my jobs.sbatch'" in result.stdout


def test_a_job_warned_during_its_last_cell_is_done(scontrol):
    result = near_the_limit(cells=1)

    assert result.exit_code == 0
    assert not scontrol.exists()


def test_workers_are_as_many_as_the_granted_cores(monkeypatch):
    free = len(cpu_slots(0, 1))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")

    assert len(cpu_slots(0, 1)) == 1

    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4096")
    assert len(cpu_slots(0, 1)) == free


def test_a_script_whose_name_begins_like_an_option_is_submitted_as_a_file():
    assert submission(Path("-x.sbatch")) == "sbatch ./-x.sbatch"

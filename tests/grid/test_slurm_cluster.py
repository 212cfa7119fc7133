"""Does a real Slurm run, stop, requeue and kill the job array of a study without losing a cell?

.ci/with_slurm pytest -m cluster tests/grid/test_slurm_cluster.py
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import clusters
import pytest
from shell import metabench

from metabench.grid.scheduling.slurm_options import limit_seconds
from metabench.records.store.store import Store

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    home = tmp_path / "my $runs'"
    home.mkdir()
    monkeypatch.chdir(home)
    # takes three seconds while there is a file `slow`; its number names its process
    slow = 'time.sleep(3 if Path("slow").exists() else 0)'
    clusters.write_probe("slow.py", "Slow", slow, 'Row("process", value=float(os.getpid()))')
    Path("torch.py").write_text("raise SystemExit('the torch.py of the folder')")
    return home


def submitted(*options, cells=4, name="a study"):
    """The number of an array that Slurm has accepted, of a study with a blank in its name."""
    clusters.write_study(f"{name}.toml", cells, 'name = "slow.py:Slow"')
    result = metabench("slurm", f"{name}.toml", "--cores", "1", *options)
    assert result.exit_code == 0, result.output
    return slurm("sbatch", "--parsable", f"{name}.sbatch").strip()


def slurm(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def job(number, index=0):
    """Slurm's own description of one job of the array."""
    return dict(re.findall(r"(\w+)=(\S*)", slurm("scontrol", "show", "job", f"{number}_{index}")))


def until(true, seconds=120):
    clusters.until(true, seconds, lambda: slurm("scontrol", "show", "job"))


def ended(number, index=0):
    going_on = {"PENDING", "REQUEUED", "CONFIGURING", "RUNNING", "COMPLETING"}
    until(lambda: job(number, index)["JobState"] not in going_on)
    return job(number, index)


def start_now(number):
    """Cut the two minutes for which Slurm holds a requeued job; its last node would refuse it."""
    slurm("scontrol", "update", f"JobId={number}_0", "StartTime=now")


def log(number, index=0):
    return Path(f"slurm-{number}_{index}.out").read_text()


def done(name="a study"):
    return list(Store(Path("metabench-runs") / name).standing().values()).count("done")


def records(name="a study"):
    kept = Store(Path("metabench-runs") / name)
    return [kept.read(digest) for digest in kept.standing()]


def test_an_array_measures_every_cell_once_with_one_worker_a_core():
    number = submitted("--array", "3", "--mem", "100M", "--partition", "all", cells=9)

    jobs = [ended(number, index) for index in range(3)]

    assert [(each["JobState"], each["ExitCode"]) for each in jobs] == [("COMPLETED", "0:0")] * 3
    assert [each["NumCPUs"] for each in jobs] == ["1"] * 3
    assert done() == 9
    assert [len(record["attempts"]) for record in records()] == [1] * 9
    assert len({record["rows"][0]["value"] for record in records()}) == 3


def test_near_its_limit_a_job_goes_back_into_the_queue_and_what_depends_on_it_waits():
    """Slurm itself warns, a minute to a minute and a half before the limit of two minutes."""
    Path("slow").touch()
    number = submitted("--array", "1", "--time", "2", "--grace", "60", cells=30)
    after = f'exec "{sys.executable}" -P -m metabench status "a study.toml" --json > after.json'
    slurm("sbatch", f"--dependency=afterok:{number}", f"--wrap={after}")

    until(lambda: job(number)["NodeList"] in {"one", "two"})
    node = job(number)["NodeList"]
    until(lambda: job(number)["JobState"] == "PENDING" and job(number)["Restarts"] == "1")
    slurm("scontrol", "update", f"NodeName={node}", "State=drain", "Reason=test")
    measured = done()
    assert not Path("after.json").exists()
    Path("slow").unlink()
    start_now(number)

    last = ended(number)
    slurm("scontrol", "update", f"NodeName={node}", "State=resume")
    assert (last["JobState"], last["ExitCode"]) == ("COMPLETED", "0:0")
    assert f"{30 - measured} cells are left near the job's time limit; the job goes back" in log(
        number
    )
    assert 1 <= measured < 30
    assert done() == 30
    assert [len(record["attempts"]) for record in records()] == [1] * 30
    until(lambda: Path("after.json").exists() and Path("after.json").read_text())
    assert json.loads(Path("after.json").read_text())["open"] == 0


def test_a_job_that_may_not_be_requeued_ends_well_and_names_the_command():
    Path("slow").touch()
    number = submitted("--array", "1", cells=30)
    slurm("scontrol", "update", f"JobId={number}_0", "Requeue=0")
    until(lambda: done() >= 1)

    slurm("scancel", "--signal=USR1", "--batch", f"{number}_0")  # as Slurm does near the limit

    last = ended(number)
    assert (last["JobState"], last["ExitCode"]) == ("COMPLETED", "0:0")
    assert "Continue with: sbatch 'a study.sbatch'" in log(number)
    assert f"{30 - done()} cells are left" in log(number)


def test_a_cancelled_job_loses_no_finished_cell_and_the_next_submission_goes_on():
    Path("slow").touch()
    number = submitted("--array", "1", cells=8)
    until(lambda: done() >= 2)

    slurm("scancel", number)

    assert ended(number)["JobState"] == "CANCELLED"
    measured = done()
    Path("slow").unlink()
    again = slurm("sbatch", "--parsable", "a study.sbatch").strip()
    assert ended(again)["JobState"] == "COMPLETED"
    assert 2 <= measured < 8
    assert done() == 8
    assert sum(len(record["attempts"]) > 1 for record in records()) <= 1


def test_jobs_of_a_killed_node_are_measured_on_another():
    slurm("scontrol", "update", "NodeName=one", "State=drain", "Reason=test")
    Path("slow").touch()
    number = submitted("--array", "1", cells=8)
    until(lambda: done() >= 1)
    assert job(number)["NodeList"] == "two"
    slurm("scontrol", "update", "NodeName=one", "State=resume")

    kill_node("two", job(number)["JobId"])

    try:
        until(lambda: job(number)["Restarts"] == "1")
        Path("slow").unlink()
        start_now(number)
        assert (ended(number)["JobState"], job(number)["NodeList"]) == ("COMPLETED", "one")
    finally:
        slurm("slurmd", "-N", "two")
    assert done() == 8


def kill_node(node, number):
    """End a node's daemon and every process of a job, as a power cut does."""
    daemon = Path(os.environ["SLURM_FOLDER"], f"slurmd-{node}.pid").read_text()
    steps = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/environ")
        if f"SLURM_JOB_ID={number}".encode() in read(path).split(b"\0")
    ]
    shepherds = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if read(path).startswith(f"slurmstepd: [{number}.".encode())
    ]
    for pid in (int(daemon), *shepherds, *steps):
        os.kill(pid, signal.SIGKILL)


def read(path):
    try:
        return path.read_bytes()
    except OSError:  # the process has ended
        return b""


@pytest.mark.parametrize(
    "limit", ["90", "10:30", "04:00:00", "0:30", "1-12", "2-0:1", "1-02:03:04", "0-0:0:61"]
)
def test_slurm_reads_a_time_limit_as_it_was_checked(limit):
    text = slurm("sbatch", "--parsable", "--hold", f"--time={limit}", "--wrap=true")
    number = text.strip()

    found = slurm("squeue", "--noheader", "--format=%l", f"--job={number}").strip()

    days, _, clock = found.rpartition("-")
    parts = [0, 0, *map(int, clock.split(":"))][-3:]
    seconds = 86400 * int(days or 0) + 3600 * parts[0] + 60 * parts[1] + parts[2]
    slurm("scancel", number)
    assert limit_seconds(limit) == seconds

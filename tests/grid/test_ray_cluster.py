"""Does a real Ray measure every cell, though one of two nodes is killed or none answers?

pytest -m cluster tests/grid/test_ray_cluster.py
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import clusters
import pytest

from metabench.records.store.store import Store

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "7" * 64)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # of 15, a busy machine's cells take minutes
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # Ray's sockets need a short path
    # its number names the node: the parent of a worker is its node's raylet
    begun = f'Path({str(tmp_path)!r}, f"begun-{{os.getppid()}}").touch(); time.sleep(2)'
    clusters.write_probe("slow.py", "Slow", begun, 'Row("raylet", value=float(os.getppid()))')
    clusters.write_study("study.toml", 12, 'name = "slow.py:Slow"')
    return tmp_path


@pytest.fixture
def nodes(request):
    """The processes of two nodes of a cluster and its address; the second has a core."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    both: list[subprocess.Popen] = []
    try:
        both.append(
            node(
                getattr(request, "param", 1),
                "--head",
                "--include-dashboard=false",
                f"--port={port}",
            )
        )
        until(lambda: reached(port))
        both.append(node(1, f"--address={address}"))
        yield both, address
    finally:
        for started in reversed(both):
            end(started)


def node(cores, *options):
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    command += [f"--num-cpus={cores}"]
    command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def end(started):
    started.terminate()  # `ray start --block` ends what it started
    try:
        started.wait(20)
    except subprocess.TimeoutExpired:
        kill(started)
        started.wait(20)


def family(pid):
    """A process and all of its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def reached(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def until(true, seconds=180):
    clusters.until(true, seconds, lambda: "it took too long")


def kill(node):
    """End a node as a power cut does."""
    for pid in family(node.pid):
        os.kill(pid, signal.SIGKILL)


def status(address):
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    return subprocess.run(command, capture_output=True, text=True).stdout


def grid(address, **popen):
    command = [sys.executable, "-P", "-m", "metabench", "grid", "study.toml", "--executor", "ray"]
    environment = {**os.environ, "RAY_ADDRESS": address}
    return subprocess.Popen(command, env=environment, text=True, stdout=-1, stderr=-1, **popen)


def test_a_killed_node_loses_nothing_and_the_other_measures_its_cells(nodes):
    (_, second), address = nodes
    until(lambda: "2.0 CPU" in status(address), seconds=60)
    run = grid(address)
    until(lambda: len(list(Path().glob("begun-*"))) == 2)

    kill(second)

    said, error = run.communicate(timeout=300)
    assert run.returncode == 0, said + error
    kept = Store(Path("metabench-runs/study"))
    records = [kept.read(digest) for digest in kept.standing()]
    assert [record["outcome"] for record in records] == ["ok"] * 12
    killed = [r["attempts"] for r in records if len(r["attempts"]) > 1]
    assert all([a["outcome"] for a in attempts] == ["killed", "ok"] for attempts in killed)
    assert len(killed) <= 1
    assert "12 done, 0 to go" in said


@pytest.mark.parametrize("nodes", [0], indirect=True)  # cores of the head
@pytest.mark.parametrize(
    ("lost", "said"), [(1, "has no node left that can run cells"), (0, "no longer answers")]
)
def test_without_a_head_or_a_node_the_run_ends_and_keeps_its_cells(nodes, lost, said):
    both, address = nodes
    until(lambda: "1.0 CPU" in status(address), seconds=60)
    run = grid(address)
    kept = Store(Path("metabench-runs/study"))
    until(lambda: list(kept.standing().values()).count("done") >= 1)

    kill(both[lost])

    _, error = run.communicate(timeout=240)
    assert run.returncode == 4, error
    assert f"The Ray cluster {said}; start it and run the command again" in error
    assert "Traceback" not in error
    assert 1 <= list(kept.standing().values()).count("done") < 12


def test_a_port_that_says_nothing_ends_with_a_sentence():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()

        run = grid(address)
        said, error = run.communicate(timeout=120)

    assert run.returncode == 4, said + error
    assert f"No Ray cluster answers at RAY_ADDRESS={address} within 30 s" in error
    assert "Traceback" not in error
    assert time.monotonic() - begun < 90


def test_a_wrong_token_is_named(nodes, monkeypatch):
    _, address = nodes
    monkeypatch.setenv("RAY_AUTH_TOKEN", "8" * 64)

    run = grid(address)
    said, error = run.communicate(timeout=120)

    assert run.returncode == 4, said + error
    assert "Authentication token is missing or incorrect" in error
    assert "Traceback" not in error


def test_a_cluster_of_this_machine_measures_every_cell():
    run = grid("")
    said, error = run.communicate(timeout=300)

    assert run.returncode == 0, said + error
    assert "12 done, 0 to go" in said

"""Is a Ray cluster that can't be used refused at once, and its token kept from others?

`test_ray_cluster.py` asks a real Ray.
"""

from __future__ import annotations

import socket
import stat
import threading

import pytest

from metabench.grid.execution.executors import ray_connection, ray_watch
from metabench.grid.execution.executors.executor import Broken
from metabench.settings.errors import InvalidInput


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("address", ["nonsense", "host:port", "http://", "host:99999", ":6379"])
def test_an_address_of_another_form_is_invalid(address):
    with pytest.raises(InvalidInput, match="give host:port, ray://host:port, auto or local"):
        ray_connection.require_answer(address)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_closed_port_is_said_to_be_one(scheme):
    with socket.socket() as bound:  # bound, so that nobody else listens there; and not listening
        bound.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{bound.getsockname()[1]}"

        with pytest.raises(Broken, match=f"RAY_ADDRESS={address}.*Connection refused.*unset it"):
            ray_connection.require_answer(address)


def test_the_first_token_is_its_users_alone(home):
    ray_connection.keep_token_private()

    place = home / ".ray" / "auth_token"
    token = place.read_text()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(token)) == 32
    assert [path.name for path in place.parent.iterdir()] == ["auth_token"]

    ray_connection.keep_token_private()
    assert place.read_text() == token


def test_first_runs_at_the_same_time_agree_on_one_token(home):
    found = []

    def first_run():
        ray_connection.keep_token_private()
        found.append((home / ".ray" / "auth_token").read_text())

    runs = [threading.Thread(target=first_run) for _ in range(8)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()

    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620])
def test_a_token_of_others_too_is_refused(home, mode):
    ray_connection.keep_token_private()
    (home / ".ray" / "auth_token").chmod(mode)

    with pytest.raises(InvalidInput, match=r"Other users can read .*chmod 600"):
        ray_connection.keep_token_private()


def test_a_token_from_the_environment_needs_no_file(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)

    ray_connection.keep_token_private()
    ray_connection.require_token()

    assert not (home / ".ray").exists()


def test_a_cluster_of_somebody_else_needs_its_token():
    with pytest.raises(InvalidInput, match="set RAY_AUTH_TOKEN, or copy"):
        ray_connection.require_token()


@pytest.fixture
def head():
    """A port that takes connections, and its address."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen()
        yield port, port.getsockname()


def test_a_cluster_that_lost_its_head_or_all_nodes_ends_the_run(head, monkeypatch):
    port, address = head
    watch = ray_watch.ClusterWatch(address)
    assert watch.room(lambda: 3) == 3
    assert watch.room(lambda: 0) == 0  # a node may come back

    monkeypatch.setattr(ray_watch, "LONGEST_LOSS", 0)
    with pytest.raises(Broken, match="has no node left that can run cells"):
        watch.room(lambda: 0)
    assert watch.room(lambda: 2) == 2

    port.close()
    with pytest.raises(Broken, match="no longer answers"):
        watch.room(lambda: pytest.fail("a call to a lost head waits"))

"""The connection to a Ray cluster: no wait without end, and a token that only its user can read.

Ray's ports run whatever they are sent, so they always ask for a token
(https://nvd.nist.gov/vuln/detail/CVE-2023-48022).
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from metabench.grid.execution.executors.executor import Broken
from metabench.grid.execution.executors.slots import cores
from metabench.settings.errors import InvalidInput

OF_THIS_MACHINE = ("", "local")  # values of RAY_ADDRESS for which Ray starts a cluster
LONGEST_CONNECTION = 10  # seconds
LONGEST_ANSWER = 30  # seconds
TOKEN = Path(".ray") / "auth_token"  # in the home folder
GIVEN = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # these replace the file
OTHERS = 0o077  # the rights of group and others in a file's mode


def connected() -> Any:
    """Connect to the cluster of RAY_ADDRESS, or start one on this machine, once per process.

    Raises:
        Broken: if the cluster can't be started or doesn't answer.
        InvalidInput: if Ray is missing, the address is none, or others can read the token.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    try:
        import ray
    except ImportError as error:
        raise InvalidInput("The ray executor needs Ray: pip install 'metabench[ray]'.") from error
    if ray.is_initialized():
        return ray
    address = os.environ.get("RAY_ADDRESS", "")
    options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if address in OF_THIS_MACHINE:
        keep_token_private()
        options |= {"address": "local", "include_dashboard": False, "num_cpus": cores()}
    else:
        require_token()
        if address != "auto":
            require_answer(address)
    try:
        ray.init(**options)
    except (RuntimeError, ConnectionError, ValueError, ray.exceptions.RayError) as error:
        raise Broken(f"Ray can't be started or reached: {first_line(str(error))}") from error
    return ray


def require_answer(address: str) -> None:
    """Ask a cluster for its state; `ray.init` would wait many minutes for one that is silent.

    Args:
        address: `host:port`, or `ray://host:port` of a Ray client server.

    Raises:
        Broken: if it isn't reached, doesn't answer, or refuses the token.
        InvalidInput: if the address has another form.
    """
    silent = f"No Ray cluster answers at RAY_ADDRESS={address}"
    repair = "start it, correct RAY_ADDRESS, or unset it to use this machine"
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise InvalidInput(
            f"RAY_ADDRESS is {address!r}; give host:port, ray://host:port, auto or local."
        )
    try:
        socket.create_connection((host, port), timeout=LONGEST_CONNECTION).close()
        if parts.scheme != "ray":  # Ray's client has a limit of its own
            _require_status(address)
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{silent} within {LONGEST_ANSWER} s; {repair}") from error
    except OSError as error:
        raise Broken(f"{silent} ({error}); {repair}") from error


def require_token() -> None:
    """Check that there is a token for a cluster that somebody else started.

    Raises:
        InvalidInput: if there is none.
    """
    if not any(map(os.environ.get, GIVEN)) and not (Path.home() / TOKEN).exists():
        raise InvalidInput(
            "RAY_ADDRESS is set, but not the token that the cluster asks for: set RAY_AUTH_TOKEN, "
            f"or copy {Path.home() / TOKEN} from the machine that started the cluster."
        )


def keep_token_private() -> None:
    """Make the token of this user's clusters, where there is none: Ray would let others read it.

    Raises:
        InvalidInput: if there is one that others can read.
    """
    if any(map(os.environ.get, GIVEN)):
        return
    place = Path.home() / TOKEN
    if not place.exists():
        place.parent.mkdir(mode=0o700, exist_ok=True)
        _write_once(place, secrets.token_hex(32))
    if place.stat().st_mode & OTHERS:
        raise InvalidInput(
            f"Other users can read {place}, and run code on your Ray clusters with it. "
            f"Delete it, and the next run makes another; or, if none has read it: chmod 600 {place}"
        )


def _write_once(place: Path, text: str) -> None:
    """Write a file that only its user can read, unless another process has just done so."""
    with tempfile.NamedTemporaryFile("w", dir=place.parent) as file:  # of mode 0600
        file.write(text)
        file.flush()
        try:
            os.link(file.name, place)
        except FileExistsError:
            return


def _require_status(address: str) -> None:
    """Run `ray status` in another process, since a thread that waits in Ray can't be stopped."""
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "status", "--address", address]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_ANSWER)
    if asked.returncode:
        *_, reason = ["no reason given", *asked.stderr.strip().splitlines()]
        raise ConnectionError(reason.partition(". ")[0])


def first_line(text: str) -> str:
    """Return the first line of one of Ray's messages, most of which end with a stack."""
    return text.strip().partition("\n")[0].rstrip(".") or "no reason given"

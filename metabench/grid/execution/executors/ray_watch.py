"""Is a Ray cluster still there? Calls to a head that is gone wait, until Ray ends the process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from metabench.grid.execution.executors.executor import Broken

LONGEST_LOSS = 30  # below the minute after which Ray ends this process without a word [seconds]


@dataclass
class ClusterWatch:
    """How many cells fit, and since when none does."""

    address: tuple[str, int]  # of the head
    had_room: float = field(default_factory=time.monotonic)

    def room(self, width: Callable[[], int]) -> int:
        """Return the number of cells that fit, 0 while the head is silent.

        Args:
            width: asks the cluster for the number.

        Raises:
            Broken: if none has fit for half a minute, since the head or all nodes are gone.
        """
        there = is_reached(self.address)
        found = width() if there else 0
        if found:
            self.had_room = time.monotonic()
        elif time.monotonic() - self.had_room > LONGEST_LOSS:
            what = "has no node left that can run cells" if there else "no longer answers"
            raise Broken(f"The Ray cluster {what}; start it and run the command again")
        return found


def watch(ray: Any) -> ClusterWatch:
    """Watch the cluster to which this process is connected."""
    given = os.environ.get("RAY_ADDRESS", "")
    head = given if given.startswith("ray://") else f"//{ray.get_runtime_context().gcs_address}"
    parts = urlsplit(head)
    assert parts.hostname is not None
    assert parts.port is not None
    return ClusterWatch((parts.hostname, parts.port))


def is_reached(address: tuple[str, int], seconds: float = 5) -> bool:
    """Return whether a port takes connections.

    Args:
        address: host and port.
        seconds: how long to wait for it.
    """
    try:
        socket.create_connection(address, timeout=seconds).close()
    except OSError:
        return False
    return True

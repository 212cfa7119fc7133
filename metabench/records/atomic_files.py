"""How is a file written so that neither a kill nor a full disk harms the old one?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def write(path: Path, content: bytes) -> None:
    """Write beside the file, then rename: what is read later is the old file or the new one.

    Raises:
        OSError: if the disk is full or the folder gone; the old file is as it was.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """Open a file beside `path` that takes its place, whole, once all is written."""
    path = path.resolve()  # through a link, rather than in its place
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise

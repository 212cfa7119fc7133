"""Where a study's results live: one immutable JSON record a cell, so that nothing is ever lost.

    store.json                        the schema's number
    cells/ab/abcdef012345.json        a result (ok or diverged): never replaced
    cells/ab/abcdef012345.failed.json a failure, until a later attempt replaces it or succeeds
    environments/<hash>.json          versions and machine, once for all cells measured on it
    shards/<digest>/3-of-8.npz        shares of a cell that is cut, until they are merged

A record is written to a file beside its place and renamed, so that a kill at any moment leaves the
old state or the new one. What is done is read off the names: no record is opened for it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.records import record_files
from metabench.settings.errors import Misuse

SCHEMA = 1
FAILED = ".failed"
STALE = 3600.0  # seconds after which a file that a killed writer left behind is removed


@dataclass(frozen=True)
class Store:
    """A folder of records; any number of processes may read and write it at once."""

    folder: Path

    def open(self) -> Store:
        """Make the folder ready to be written to, or say why it can't be.

        Raises:
            Misuse: if it can't be written to, or a newer metabench wrote it.
        """
        self.require_readable()
        mark = self.folder / "store.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            record_files.check_writable(mark)
            if not mark.exists():
                record_files.write(mark, json.dumps({"schema": SCHEMA}) + "\n")
        except OSError as error:
            raise Misuse(
                f"Results go to {self.folder}, which can't be made here ({error.strerror}); give "
                "--store FOLDER."
            ) from error
        self._sweep()
        return self

    def require_readable(self) -> Store:
        """Refuse a store of a newer schema; what it holds is left alone.

        Raises:
            Misuse: if a newer metabench wrote it.
        """
        mark = self.folder / "store.json"
        if mark.exists():
            _check_schema(_parsed(mark), self.folder)
        return self

    def path(self, digest: str, failed: bool = False) -> Path:
        """Name the file of a cell's result, or of its failure."""
        return self.folder / "cells" / digest[:2] / f"{digest}{FAILED if failed else ''}.json"

    def is_done(self, digest: str) -> bool:
        """Tell whether a cell has a whole result, by one look at the disk."""
        path = self.path(digest)
        return path.exists() and not _is_cut_short(path)

    def on_record(self) -> set[str]:
        """Name every cell that has a record of any kind, without a look inside."""
        return {entry.name.partition(".")[0] for entry in _entries(self.folder / "cells")}

    def standing(self) -> dict[str, str]:
        """Map every cell on record to `done`, `failed` or `broken` (half a file), by the names."""
        found: dict[str, str] = {}
        for entry in _entries(self.folder / "cells"):
            digest, _, failed = entry.name.removesuffix(".json").partition(".")
            if _is_cut_short(entry):
                found.setdefault(digest, "broken")
            elif not failed:
                found[digest] = "done"
            elif found.get(digest) != "done":
                found[digest] = "failed"
        return found

    def save(self, record: Mapping[str, Any], failed: bool) -> None:
        """Keep a record, whole or not at all; a result that is there already stays."""
        digest = record["digest"]
        place = self.path(digest, failed)
        if self.is_done(digest):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, allow_nan=False, ensure_ascii=False)
        record_files.write(place, text + "\n")
        if not failed:
            self.path(digest, failed=True).unlink(missing_ok=True)

    def read(self, digest: str) -> dict[str, Any] | None:
        """Read a cell's result, or else its failure, or nothing.

        Raises:
            Misuse: if the file is half-written, or of a newer schema.
        """
        for failed in (False, True):
            path = self.path(digest, failed)
            try:
                record = _parsed(path)
            except FileNotFoundError:
                continue
            _check_schema(record, path)
            return record
        return None

    def remove(self, digest: str) -> bool:
        """Forget a cell, and tell whether there was one."""
        paths = [path for failed in (False, True) if (path := self.path(digest, failed)).exists()]
        for path in paths:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "shards" / digest, ignore_errors=True)
        return bool(paths)

    def keep_environment(self, environment: Mapping[str, Any]) -> str:
        """Write down versions and machine, once, and give their address."""
        text = json.dumps(environment, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        place = self.folder / "environments" / f"{name}.json"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            record_files.write(place, text + "\n")
        return name

    def find(self, prefix: str) -> list[str]:
        """List the cells on record whose digests begin like this."""
        return sorted(digest for digest in self.on_record() if digest.startswith(prefix))

    def _sweep(self) -> None:
        """Remove what killed writers left beside the records."""
        left = (self.folder.glob(f"{room}/*/.*-*") for room in ("cells", "shards"))
        for path in itertools.chain(*left):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    if not folder.is_dir():
        return
    for room in os.scandir(folder):
        if room.is_dir():
            yield from (e for e in os.scandir(room.path) if e.name.endswith(".json"))


def _is_cut_short(entry: os.DirEntry[str] | Path) -> bool:
    """Tell whether a file lacks its last line's end; our own writes never do, a bad copy may."""
    handle = os.open(entry, os.O_RDONLY)  # 10^4 are looked at when a grid is resumed
    try:
        size = os.fstat(handle).st_size
        return os.pread(handle, 2, max(size - 2, 0)) != b"}\n"
    finally:
        os.close(handle)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Misuse(
            f"{path} is half-written or no record ({error}). Everything else is intact; run the "
            "grid again, and it measures that cell once more."
        ) from error
    return record


def _check_schema(record: Mapping[str, Any], where: Path) -> None:
    found = record.get("schema", 0)
    if found > SCHEMA:
        raise Misuse(
            f"{where} was written by a newer metabench (schema {found}; this one reads up to "
            f"{SCHEMA}). Nothing was changed; update metabench."
        )

"""Where a study's results live: one immutable JSON record a cell, so that nothing is ever lost.

    store.json                        the schema's number
    cells/ab/abcdef012345.json        a result (ok or diverged): never replaced
    cells/ab/abcdef012345.failed.json a failure, until a later attempt replaces it or succeeds
    environments/<hash>.json          versions and machine, once for all cells measured on it
    parts/<digest>/3-of-8.npz        shares of a cell that is cut, until they are merged
    read_in_full.txt                  which records were read in full, as they are
    set_aside/                        what was found in a record's place and is no record of it

A record is written to a file beside its place and renamed, so that a kill at any moment leaves the
old state or the new one. Every record is held against its checksum and its file's name when it is
read, and once in full after each change of its file. The records alone matter: all else is made
again if it is lost or damaged.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.records import ordinary_files, run_folders
from metabench.records.record import SCHEMA, parse
from metabench.records.store import read_in_full
from metabench.settings.errors import InvalidInput

FAILED = ".failed"
STALE = 3600.0  # seconds after which a file that a killed writer left behind is removed


@dataclass(frozen=True)
class Store:
    """A folder of records; any number of processes may read and write it at once."""

    folder: Path

    @property
    def aside(self) -> Path:
        """The folder of what was found in a record's place and is none."""
        return self.folder / "set_aside"

    def is_there(self) -> bool:
        """Tell a store from other folders, also if its mark was lost."""
        return (self.folder / "store.json").is_file() or (self.folder / "cells").is_dir()

    def open(self) -> Store:
        """Make the folder ready to be written to, or say why it can't be.

        Raises:
            InvalidInput: if it can't be written to, or a newer metabench wrote it.
        """
        self.require_readable()
        mark = self.folder / "store.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            ordinary_files.make_room(mark, self.aside)
            run_folders.check_writable(mark)
            if self._schema() != SCHEMA:
                run_folders.write(mark, json.dumps({"schema": SCHEMA}) + "\n")
        except OSError as error:
            raise InvalidInput(
                f"Results go to {self.folder}, which can't be created ({error.strerror}); give "
                "--store FOLDER."
            ) from error
        self._sweep()
        return self

    def require_readable(self) -> Store:
        """Refuse a store of a newer schema; what it holds is left alone.

        Raises:
            InvalidInput: if a newer metabench wrote it.
        """
        found = self._schema()
        if found > SCHEMA:
            raise InvalidInput(
                f"{self.folder} was written by a newer metabench (schema {found}; this one reads "
                f"{SCHEMA}). Nothing was changed; update metabench."
            )
        return self

    def path(self, digest: str, failed: bool = False) -> Path:
        """Name the file of a cell's result, or of its failure."""
        return self.folder / "cells" / digest[:2] / f"{digest}{FAILED if failed else ''}.json"

    def is_done(self, digest: str) -> bool:
        """Tell whether a cell has a whole result; it is read for that."""
        try:
            self._read(self.path(digest))
        except (OSError, InvalidInput):
            return False
        return True

    def on_record(self) -> set[str]:
        """Name every cell that has a record of any kind, without a look inside."""
        return {entry.name.partition(".")[0] for entry in _records(self.folder / "cells")}

    def standing(self, known: Collection[str] | None = None) -> dict[str, str]:
        """Map every cell on record to `done`, `failed` or `broken` (its file is no record of it).

        What was read in full before and has not changed since isn't opened.

        Args:
            known: lines of `read_in_full` that are believed; None: those of the store's list.
        """
        known = read_in_full.load(self.folder) if known is None else set(known)
        lines: list[str] = []
        found: dict[str, str] = {}
        for entry in _records(self.folder / "cells"):
            digest, _, rest = entry.name.partition(".")
            if line := self._line(entry, known):
                lines.append(line)
            if rest == "json":
                found[digest] = "done" if line else "broken"
            else:
                found.setdefault(digest, "failed" if line else "broken")
        if not known.issuperset(lines):
            read_in_full.save(self.folder, lines)
        return found

    def broken(self, digests: Iterable[str]) -> list[str]:
        """Say, a sentence each, why the records of these cells can't be used; most can."""
        said = []
        for digest in digests:
            try:
                self.read(digest)
            except InvalidInput as error:
                said.append(str(error))
        return said

    def set_aside(self, digests: Iterable[str]) -> list[str]:
        """Move away what is no record of these cells, though it has one's name; say what moved."""
        said = []
        for digest in digests:
            for failed in (False, True):
                path = self.path(digest, failed)
                try:
                    self._read(path)
                except FileNotFoundError:
                    continue
                except InvalidInput as error:
                    if place := ordinary_files.set_aside(path, self.aside):
                        said.append(f"{error} The file is kept as {place}.")
        return said

    def save(self, record: Mapping[str, Any], failed: bool) -> None:
        """Keep a record, whole or not at all; a result that is there already stays."""
        digest = record["digest"]
        place = self.path(digest, failed)
        if self.is_done(digest):
            return
        self.set_aside([digest])
        for folder in (place.parent.parent, place.parent):
            ordinary_files.make_folder(folder, self.aside)
        text = json.dumps(record, allow_nan=False, ensure_ascii=False)
        run_folders.write(place, text + "\n")
        if not failed:
            self.path(digest, failed=True).unlink(missing_ok=True)

    def read(self, digest: str) -> dict[str, Any] | None:
        """Read a cell's result, or else its failure, or nothing.

        Raises:
            InvalidInput: if the file is no record of that cell, or not what was written.
        """
        for failed in (False, True):
            with contextlib.suppress(FileNotFoundError):
                return self._read(self.path(digest, failed))
        return None

    def remove(self, digest: str) -> bool:
        """Forget a cell, and tell whether there was one."""
        paths = [path for failed in (False, True) if (path := self.path(digest, failed)).is_file()]
        for path in paths:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "parts" / digest, ignore_errors=True)
        return bool(paths)

    def find(self, prefix: str) -> list[str]:
        """List the cells on record whose digests begin like this."""
        return sorted(digest for digest in self.on_record() if digest.startswith(prefix))

    def _line(self, entry: os.DirEntry[str], known: set[str]) -> str:
        """Say which file this is, if it is a whole record; known lines are believed."""
        try:
            line = read_in_full.line(entry)
            if line not in known:
                self._read(Path(entry.path))
        except (OSError, InvalidInput):
            return ""
        return line

    def _read(self, path: Path) -> dict[str, Any]:
        """Read one file, which must be the record of the cell that it is named after.

        Raises:
            FileNotFoundError: if there is none.
            InvalidInput: if it isn't.
        """
        try:
            content = ordinary_files.read(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error
        except OSError as error:
            raise InvalidInput(f"{path} can't be read ({error.strerror}).") from error
        found = parse(content, str(path))
        if found.digest != path.name.partition(".")[0]:
            raise InvalidInput(f"{path} is the record of another cell, {found.digest}.")
        return found.whole

    def _schema(self) -> int:
        """Read the schema of the store; 0 if it is missing or unreadable."""
        try:
            found = json.loads(ordinary_files.text_of(self.folder / "store.json"))["schema"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return 0
        return found if isinstance(found, int) else 0

    def _sweep(self) -> None:
        """Remove what killed writers left beside the records."""
        for room in ("cells", "parts"):
            for entry in _entries(self.folder / room):
                if entry.name.startswith(".") and "-" in entry.name:
                    with contextlib.suppress(OSError):  # another process removed it
                        at = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(at.st_mode) and time.time() - at.st_mtime > STALE:
                            Path(entry).unlink()


def _records(folder: Path) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in _entries(folder) if entry.name.endswith(".json"))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    if not folder.is_dir():
        return
    for room in os.scandir(folder):
        if room.is_dir():
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                yield from os.scandir(room.path)

"""The store and the record that a command names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabench.records import run_folders
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput


def store_of(study: Path, given: Path | None) -> Store:
    """Return the store of a study: the given folder, or `metabench-runs/<study>`.

    Args:
        study: path of the study file.
        given: folder of the results; None is the default one.

    Raises:
        InvalidInput: if it can't be a folder, since a file is in its way.
    """
    folder = given or run_folders.RUNS / study.stem
    if blocking := next(filter(Path.is_file, (folder, *folder.parents)), None):
        raise InvalidInput(f"{blocking} is a file, not a folder; give another --store.")
    return Store(folder)


def existing_store(study: Path, given: Path | None) -> Store:
    """Return the store of a study, which must be there.

    Args:
        study: path of the study file.
        given: folder of the results; None is the default one.

    Raises:
        InvalidInput: if there is none, or a newer metabench wrote it.
    """
    found = store_of(study, given)
    if not found.is_there():
        raise InvalidInput(
            f"There is no store {found.folder}: nothing was measured into it. Give the folder that "
            "metabench grid has measured into as --store."
        )
    return found.require_readable()


def find_record(digest: str, folder: Path | None) -> dict[str, Any]:
    """Read the one record whose digest begins like this, in a store or in all of the runs.

    Raises:
        InvalidInput: if there is none, or more than one.
    """
    folders = (
        [folder]
        if folder
        else sorted(place for place in run_folders.RUNS.glob("*") if Store(place).is_there())
    )
    hits = [(Store(place), hit) for place in folders for hit in Store(place).find(digest)]
    if not hits:
        places = ", ".join(map(str, folders)) or run_folders.RUNS
        raise InvalidInput(
            f"No recorded cell in {places} has a digest that begins with {digest!r}; give --store "
            "FOLDER."
        )
    if len({hit for _, hit in hits}) > 1:
        raise InvalidInput(
            f"{len(hits)} cells have a digest that begins with {digest!r}; give more digits."
        )
    (kept, whole), *_ = hits
    record = kept.require_readable().read(whole)
    assert record is not None
    return record

"""Versions and machines of a store's cells: `environments/<hash>.json`, each written once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabench.records import ordinary_files, run_folders
from metabench.records.store.store import Store


def keep_environment(store: Store, environment: Mapping[str, Any]) -> str:
    """Write down versions and machine, once, and give their address."""
    text = json.dumps(environment, sort_keys=True)
    place = store.folder / "environments" / f"{_address(text)}.json"
    if ordinary_files.text_of(place) != text + "\n":
        ordinary_files.make_folder(place.parent, store.aside)
        ordinary_files.make_room(place, store.aside)
        run_folders.write(place, text + "\n")
    return _address(text)


def environments_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all versions and machines of a store, by address; what is damaged is left out."""
    found = {}
    for path in sorted(folder.glob("environments/*.json")):
        with contextlib.suppress(ValueError):
            content = ordinary_files.text_of(path)
            if _address(content.strip()) == path.stem:
                found[path.stem] = json.loads(content)
    return found


def _address(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Files of a result that Python saves: what is written follows from the ending of the name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.records import run_folders
from metabench.report.canvas import FORMATS, save_figure
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {".json": "record", ".csv": "table", ".html": "page"}  # of the files in a folder


def save_as(
    path: str | os.PathLike[str],
    texts: Mapping[str, Callable[[], str]],
    figure: Callable[[], Figure] | None = None,
) -> Path:
    """Write one file of a result, or a folder with its record, table and page.

    Args:
        path: the file; without an ending it is a folder.
        texts: what makes the text of a file, by ending.
        figure: makes the figure, if there is one, which is saved as SVG, PNG or PDF.

    Returns:
        The path.

    Raises:
        InvalidInput: if the ending is another, or the path can't be written.
    """
    place = Path(path)
    if not place.suffix:
        run_folders.make_folder(place)
        for ending, name in NAMES.items():
            run_folders.write(place / f"{name}{ending}", texts[ending]())
        return place
    drawn = FORMATS if figure else ()
    if place.suffix not in (*texts, *drawn):
        raise InvalidInput(
            f"{place} ends in {place.suffix!r}; give one of {', '.join((*texts, *drawn))}, or a "
            "folder."
        )
    run_folders.check_writable(place)
    if figure and place.suffix in FORMATS:
        save_figure(figure(), place)
    else:
        run_folders.write(place, texts[place.suffix]())
    return place

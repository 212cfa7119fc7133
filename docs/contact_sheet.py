"""Photograph the pages of all probes' default jobs, wide and light beside narrow and dark.

`python docs/contact_sheet.py` writes docs/contact_sheet.png from the tables in tests/report/tables;
look at it after a change to pages or figures.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from default_jobs import PROBES, default_job  # ruff: ignore[module-import-not-at-top-of-file]

from metabench.report.page import page  # ruff: ignore[module-import-not-at-top-of-file]

VIEWS = (("light", 1280, 1500), ("dark", 400, 1500))  # scheme, width and height [pixels]
SHRUNK = 0.42  # of a page's size on the sheet
COLUMNS = 3


def document(name: str) -> str:
    """Return the page of a probe's default job."""
    job = default_job(name)
    return page(job.probe, job.table, job.findings, {"command": f"metabench {name}"}, job.settings)


def main() -> None:
    """Write the sheet."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    tiles = []
    with sync_playwright() as play, tempfile.TemporaryDirectory() as folder:
        browser = play.chromium.launch(executable_path=browser_path, args=flags)
        for name in PROBES:
            file = Path(folder) / f"{name}.html"
            file.write_text(document(name), encoding="utf-8")
            shots = []
            for scheme, width, height in VIEWS:
                size = {"width": width, "height": height}
                opened = browser.new_page(color_scheme=scheme, viewport=size)
                opened.goto(file.as_uri())
                shots.append(Image.open(io.BytesIO(opened.screenshot())))
                opened.close()
            tiles.append(beside(shots))
        browser.close()
    sheet(tiles).quantize(128).save(HERE / "contact_sheet.png", optimize=True)


def beside(shots: list[Image.Image]) -> Image.Image:
    """Return pictures side by side, shrunk."""
    width, height = sum(shot.width for shot in shots), max(shot.height for shot in shots)
    tile = Image.new("RGB", (width, height), "white")
    at = 0
    for shot in shots:
        tile.paste(shot, (at, 0))
        at += shot.width
    return tile.resize((int(width * SHRUNK), int(height * SHRUNK)), Image.Resampling.LANCZOS)


def sheet(tiles: list[Image.Image]) -> Image.Image:
    """Return tiles in rows."""
    width, height = tiles[0].size
    rows = -(-len(tiles) // COLUMNS)
    made = Image.new("RGB", (width * COLUMNS, height * rows), "white")
    for i, tile in enumerate(tiles):
        made.paste(tile, (i % COLUMNS * width, i // COLUMNS * height))
    return made


if __name__ == "__main__":
    main()

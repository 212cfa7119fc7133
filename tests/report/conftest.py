"""The browser of all tests of pages."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium; where METABENCH_BROWSER=required, as in .ci/run, it must be there."""
    absent = None if CHROMIUM else "there is no chromium: apt-get install chromium"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent = absent or "there is no playwright: pip install playwright"
    if absent:
        if os.environ.get("METABENCH_BROWSER") == "required":
            pytest.fail(absent)
        pytest.skip(absent)
    with sync_playwright() as play:
        # root, as in a container, has no sandbox of Chromium's to run in
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        with play.chromium.launch(executable_path=CHROMIUM, args=flags) as opened:
            yield opened

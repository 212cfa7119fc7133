"""Take the README's picture: the page of reports/variance_sources, in Debian's Chromium."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
PAGE = HERE.parent / "reports" / "variance_sources" / "page.html"

with sync_playwright() as play:
    browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1140, "height": 760}, color_scheme="light")
    page.goto(PAGE.as_uri())
    page.screenshot(path=HERE / "page.png")
    browser.close()

"""Is the page of every probe's default job whole in a browser, narrow or wide, light or dark?"""

from __future__ import annotations

import pytest
from default_jobs import PROBES, default_job
from pages import ABOUT, grid

from metabench.report.page import page
from metabench.report.study_page import study_page

WIDTHS, SCHEMES = (1280, 400), ("light", "dark")
LEAST_CONTRAST = 4.5  # of text to its ground (WCAG 2.2, level AA)
PAGES = (*PROBES, "study")

CHECK = """least => {
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const name = e => `${e.tagName} ${e.textContent.trim().slice(0, 40)}`;
  const scrolls = e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
  const wide = [...document.querySelectorAll('body *')].filter(e =>
    !e.closest('svg') && shown(e) && e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1
    && !scrolls(e) && getComputedStyle(e).display !== 'inline').map(name);
  const beyond = document.documentElement.scrollWidth > innerWidth + 1 ? ['the page'] : [];
  const over = [];
  for (const svg of document.querySelectorAll('figure svg')) {
    const boxes = [...svg.querySelectorAll('text')].filter(shown)
      .map(e => [e.textContent, e.getBoundingClientRect()]);
    boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
      const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      const area = Math.min(p.width * p.height, q.width * q.height);
      if (w > 0 && h > 0 && w * h > 0.3 * area) over.push(`${a} | ${b}`);
    }));
  }
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (let at = e; at; at = at.parentElement) {
    const c = rgb(getComputedStyle(at).backgroundColor);
    if (c.length === 3 || c[3] > 0.99) return c.slice(0, 3); } return [255, 255, 255]; };
  const faint = [...document.querySelectorAll('body *')].filter(e => shown(e)
    && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
    && !['SCRIPT', 'STYLE', 'TITLE', 'DESC'].includes(e.tagName.toUpperCase())).filter(e => {
      const style = getComputedStyle(e);
      const ink = rgb(e.closest('svg') ? style.fill : style.color).slice(0, 3);
      const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < least; }).map(name);
  return {wide: [...beyond, ...wide], over, faint};
}"""


def document(name: str) -> str:
    if name == "study":
        return study_page(grid(seeds=2), ABOUT)
    job = default_job(name)
    return page(job.probe, job.table, job.findings, {"command": name}, job.settings, "All adapt.")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_too_wide_covered_or_faint(browser, name, tmp_path):
    (tmp_path / "page.html").write_text(document(name), encoding="utf-8")
    found = {}
    for scheme in SCHEMES:
        opened = browser.new_page(color_scheme=scheme)
        opened.goto((tmp_path / "page.html").as_uri())
        for width in WIDTHS:
            opened.set_viewport_size({"width": width, "height": 900})
            found[scheme, width] = opened.evaluate(CHECK, LEAST_CONTRAST)
        opened.close()

    faults = {key: {k: v for k, v in each.items() if v} for key, each in found.items()}
    assert {key: each for key, each in faults.items() if each} == {}

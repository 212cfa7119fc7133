"""A drawing as inline SVG: text stays text, ids are unique on the page, same table same bytes."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


class Figure(NamedTuple):
    """One picture of the page: what it asks, how to read it, and the SVG itself."""

    title: str
    caption: str
    svg: str


def render(name: str, title: str, caption: str, draw: Callable[[Axes], None]) -> Figure:
    """Draw on fresh axes and give an SVG whose ids begin with `name`."""
    import matplotlib.figure
    import matplotlib.style

    with matplotlib.style.context([STYLE, {"svg.hashsalt": name}]):
        # A figure of its own, not pyplot's: nothing global is left behind.
        figure = matplotlib.figure.Figure(figsize=(5.0, 3.5), layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(title, caption, _inlined(buffer.getvalue(), name, title, caption))


def _inlined(svg: str, name: str, title: str, caption: str) -> str:
    """Cut the XML prologue, prefix every id, and give the picture a title and a description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # matplotlib leaves black fills unsaid: they inherit this one
    label = f'fill="currentColor" role="img" aria-labelledby="{name}-title {name}-desc"'
    words = (
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(caption)}</desc>'
    )
    # black text and lines follow the page's colour, so that a dark page needs no other figure
    svg = re.sub(r"#000000|\bblack\b", "currentColor", svg)
    return re.sub(r"<svg([^>]*)>", rf"<svg {label}\1>{words}", svg, count=1)

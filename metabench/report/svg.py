"""Drawings as inline SVG with text as text; the same table gives the same bytes."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metabench.report.readable_ticks import make_readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
DPI = 150  # of rasterized parts
MARGIN = 0.08  # around a picture [inches]
# Lines without a style of their own differ in color and dashes.
COLORS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161")
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
MOST_POINTS = 2000  # of one artist as vectors; with more it is rasterized


class Figure(NamedTuple):
    """A picture of the page: title, caption and SVG."""

    title: str
    caption: str
    svg: str


def render(name: str, title: str, caption: str, draw: Callable[[Axes], None]) -> Figure:
    """Draw on new axes and return the picture.

    Args:
        name: prefix of the ids in the SVG, unique on a page.
        title: read aloud by screen readers.
        caption: how to read the picture.
        draw: draws on the axes.
    """
    import matplotlib.figure
    import matplotlib.style
    from cycler import cycler
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    cycle = cycler(color=COLORS) + cycler(linestyle=DASHES)
    style = [STYLE, {"svg.hashsalt": name, "axes.prop_cycle": cycle}]
    with matplotlib.style.context(style):
        # not pyplot's, which would keep it in global state
        figure = matplotlib.figure.Figure((5.0, 3.5), dpi=DPI)
        draw(figure.subplots())
        for axes in figure.axes:
            make_readable(axes)
        _rasterize(figure)
        _fit(figure)
        buffer = io.StringIO()
        # not `savefig`, which draws everything twice
        plain = {"Date": None, "Creator": None}
        FigureCanvasSVG(figure).print_svg(buffer, metadata=plain)  # type: ignore[no-untyped-call]
    return Figure(title, caption, _inlined(buffer.getvalue(), name, title, caption))


def _fit(figure: Canvas) -> None:
    """Fit the margins to the labels; matplotlib's layouts measure everything twice."""
    whole, room = figure.get_tightbbox(), figure.subplotpars
    width, height = figure.get_size_inches()
    # the axes keep a fifth of the picture at least
    figure.subplots_adjust(
        left=min(room.left + (MARGIN - whole.x0) / width, 0.6),
        right=max(room.right - (whole.x1 + MARGIN - width) / width, 0.8),
        bottom=min(room.bottom + (MARGIN - whole.y0) / height, 0.4),
        top=max(room.top - (whole.y1 + MARGIN - height) / height, 0.6),
    )


def _rasterize(figure: Canvas) -> None:
    """Rasterize lines and collections of very many points; text and axes stay vectors."""
    for axes in figure.axes:
        for line in axes.lines:
            line.set_rasterized(np.size(line.get_xdata()) > MOST_POINTS)
        for cloud in axes.collections:
            colors = cloud.get_array()
            points = max(
                np.size(cloud.get_offsets()) // 2,
                sum(np.size(path.vertices) // 2 for path in cloud.get_paths()),
                0 if colors is None else np.size(colors),
            )
            cloud.set_rasterized(points > MOST_POINTS)


def _inlined(svg: str, name: str, title: str, caption: str) -> str:
    """Remove what a page doesn't need, prefix every id, and add title and description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    pointed = set(re.findall(r'xlink:href="#([^"]*)"|url\(#([^)]*)\)', svg))
    used = {one or other for one, other in pointed}
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"<[^>]*>", _shorter, svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><").strip()
    # matplotlib omits black fills: they inherit this one
    label = f'fill="currentColor" role="img" aria-labelledby="{name}-title {name}-desc"'
    words = (
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(caption)}</desc>'
    )
    # black text and lines follow the page's color, so that a dark page needs no other figure
    svg = re.sub(r"#000000|\bblack\b", "currentColor", svg)
    return re.sub(r"<svg([^>]*)>", rf"<svg {label}\1>{words}", svg, count=1)


def _shorter(tag: re.Match[str]) -> str:
    """Round the numbers of a tag, not those of text, to a hundredth of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", tag[0])

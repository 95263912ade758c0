"""Drawings as SVG that fit the page they stand in: its colours, its font, names of their own, words for a reader.

matplotlib draws with stand-in colours, which become the page's CSS variables here, so that one drawing serves a light
page, a dark page and paper. Texts stay texts. Nothing of a drawing is taken from results as markup: matplotlib and
ElementTree both escape what they write.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from balance_core.errors import ToolNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = 8
"""Colours of backends; with more of them, colours come again."""
SERIES_COLOURS = tuple(f"#0500{number:02x}" for number in range(SERIES))
INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
"""Stand-ins for the page's colours."""
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--card"} | {
    colour: f"--s{number}" for number, colour in enumerate(SERIES_COLOURS)
}
_NAMESPACE = "http://www.w3.org/2000/svg"
_LINKS = "{http://www.w3.org/1999/xlink}href"
_COLOUR = re.compile("|".join(_VARIABLES))
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FONT = re.compile(r"font(?:-family)?:(?: (?P<size>[\d.]+px))?[^;]*")
EXTRA_HINT = "pip install 'balance-core[compare]'"


@dataclass
class Drawing:
    """A figure in the making: what to draw on, and what is said of its parts when a pointer rests on them."""

    figure: Figure
    axes: Axes
    tips: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)

    def name(self, tip: str, style: str) -> str:
        """Return a new part's name, to hand to matplotlib as `gid`."""
        name = f"part-{len(self.tips)}"
        self.tips[name], self.classes[name] = tip, style
        return name


@contextmanager
def drawing(width: float, height: float) -> Iterator[Drawing]:
    """Lend a figure of so many inches, without a frame; raises ToolNotFound without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ToolNotFound("the page's drawings need matplotlib", hint=EXTRA_HINT) from error
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "balance",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.axisbelow": True,
        "figure.facecolor": "none",
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "path.simplify": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield Drawing(figure, figure.add_subplot())


def write(made: Drawing, name: str, title: str, description: str) -> str:
    """Return the drawing as SVG text to stand in a page, with `name` before every id of it."""
    stream = io.BytesIO()
    made.figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(stream.getvalue())  # noqa: S314 - matplotlib's own output, of a moment ago
    for outside in ("metadata", "defs"):  # the second holds a style that would apply to the whole page
        for found in root.findall(f"{{{_NAMESPACE}}}{outside}"):
            if outside == "metadata" or found.find(f"{{{_NAMESPACE}}}style") is not None:
                root.remove(found)
    for element in root.iter():
        _adapt(element, name, made)
    for attribute in ("width", "height"):
        del root.attrib[attribute]
    width = float(root.attrib["viewBox"].split()[2])
    root.set("style", f"max-width:{width * 1.35:.0f}px")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{{{_NAMESPACE}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    ET.register_namespace("", _NAMESPACE)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return ET.tostring(root, encoding="unicode")


def _adapt(element: ET.Element, name: str, made: Drawing) -> None:
    """Give an element the page's colours and font, and an id that no other drawing has."""
    own = element.get("id")
    if own is not None:
        element.set("id", f"{name}-{own}")
        if own in made.tips:
            element.set("class", made.classes[own])
            tip = ET.Element(f"{{{_NAMESPACE}}}title")
            tip.text = made.tips[own]
            element.insert(0, tip)
    link = element.get(_LINKS)
    if link is not None and link.startswith("#"):
        element.set(_LINKS, f"#{name}-{link[1:]}")
    for attribute in ("style", "clip-path"):
        text = element.get(attribute)
        if text is not None:
            text = _REFERENCE.sub(rf"url(#{name}-\1)", text)
            text = _COLOUR.sub(lambda found: f"var({_VARIABLES[found[0]]},{_fallback(found[0])})", text)
            element.set(attribute, _FONT.sub(_inherited, text))


def _inherited(found: re.Match[str]) -> str:
    """Return the page's font in a style's place, of the size that was asked for."""
    return (f"font-size: {found['size']}; " if found["size"] else "") + "font-family: inherit"


def _fallback(stand_in: str) -> str:
    """Return the colour of a drawing that is taken out of its page."""
    return {INK: "#1b1f24", MUTED: "#57606a", GRID: "#d8dee4", PAPER: "#ffffff"}.get(stand_in, "#0969da")

"""Figures of a page: inline SVG that follows the page's colours, and the index's thumbnails."""

import base64
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup, escape

from partialpool.plots import palette

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
#: What draws. A page reads an SVG as HTML, where an element of another kind ends the drawing.
ELEMENTS = {
    *("a", "circle", "clipPath", "defs", "desc", "ellipse", "g", "image", "line"),
    *("linearGradient", "marker", "mask", "path", "pattern", "polygon", "polyline"),
    *("radialGradient", "rect", "stop", "svg", "switch", "symbol", "text", "textPath"),
    *("title", "tspan", "use"),
}
#: Figures do not shrink below this part of their size: their labels have 9 points.
LEAST_SCALE = 0.8
#: Larger thumbnails would make the index slow; a page with such a figure goes without.
MAX_THUMBNAIL = 600_000


def inline_svg(text: str, alt: str, prefix: str) -> Markup:
    """Prepare an SVG figure to stand in a page.

    Its ids get a prefix, so that several figures do not share any; text and axes take the page's
    text colour; it has a label for those who cannot see it; scripts and links are dropped.

    Parameters
    ----------
    text : str
        The SVG document.
    alt : str
        What the figure shows.
    prefix : str
        Unique in the page.
    """
    root = _parse(text)
    if root is None:
        return Markup("")
    root.set("role", "img")
    root.set("aria-label", alt)
    _rename_ids(root, prefix)
    width = _points(root.get("width"))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    style = "stroke-linejoin:round;stroke-linecap:butt"
    if width:  # on a narrow screen labels stay readable, and the frame scrolls
        style = f"max-width:{width:.0f}px;min-width:{LEAST_SCALE * width:.0f}px;{style}"
    root.set("style", style)
    return Markup(_written(root))


def image(data: str, mime: str, alt: str) -> Markup:
    """Prepare a bitmap to stand in a page."""
    safe = re.sub(r"[^A-Za-z0-9+/=]", "", data)
    return Markup(f'<img class="bitmap" alt="{escape(alt)}" src="data:{mime};base64,{safe}">')


def alt_text(output: Any, mime: str) -> str:
    """Read a figure's description from the metadata of its output."""
    metadata = output.get("metadata", {})
    found = metadata.get(mime, {}).get("alt") or metadata.get("alt")
    return str(found or "Figure without a description")


def write_thumbnail(notebook: Any, folder: Path) -> str | None:
    """Write a small picture of the run beside its page, for the index.

    It is the figure of the cell tagged ``thumbnail``, or else the first figure.

    Returns
    -------
    str or None
        The file's name.
    """
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    tagged = [c for c in cells if "thumbnail" in c.metadata.get("tags", ())]
    for cell in tagged + cells:
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/svg+xml" in data:
                picture = _standalone(data["image/svg+xml"])
                if picture and len(picture) < MAX_THUMBNAIL:
                    (folder / "thumbnail.svg").write_text(picture, encoding="utf-8")
                    return "thumbnail.svg"
            elif "image/png" in data:
                (folder / "thumbnail.png").write_bytes(base64.b64decode(data["image/png"]))
                return "thumbnail.png"
    return None


def _standalone(text: str) -> str | None:
    """An SVG file of its own, which follows light and dark by itself."""
    root = _parse(text)
    if root is None:
        return None
    return palette.dressed(_written(root), ground=False)


def _parse(text: str) -> ElementTree.Element | None:
    """Parse an SVG and take out what is not drawing."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    if root.tag != f"{{{SVG}}}svg":
        return None
    drawing = {f"{{{SVG}}}{name}" for name in ELEMENTS}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in drawing:
                parent.remove(child)
        for name, value in list(parent.attrib.items()):
            link = name.endswith("href") and not value.startswith(("#", "data:image/"))
            if link or name.lower().startswith("on"):
                del parent.attrib[name]
    return root


def _rename_ids(root: ElementTree.Element, prefix: str) -> None:
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            if name == "id":
                element.set(name, prefix + value)
            elif name.endswith("href") and value.startswith("#"):
                element.set(name, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(name, value.replace("url(#", f"url(#{prefix}"))


def _written(root: ElementTree.Element) -> str:
    """The drawing as text; ink and colours have the names by which a page knows them."""
    for element in root.iter():
        for name in {"d", "x", "y", "points"} & element.attrib.keys():
            # hundredths of a point are enough: further digits were a fifth of a page
            element.set(name, re.sub(r"(\.\d\d)\d+", r"\1", element.attrib[name]))
    return palette.named(ElementTree.tostring(root, encoding="unicode"))


def _points(length: str | None) -> float | None:
    """Length of an SVG attribute in CSS pixels."""
    found = re.fullmatch(r"([\d.]+)(pt|px|)", (length or "").strip())
    if not found:
        return None
    return float(found[1]) * (4 / 3 if found[2] == "pt" else 1)

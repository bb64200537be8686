"""Text of a page: Markdown, maths as MathML, code, what a terminal shows, and displayed HTML.

What may stand in a page of all that a notebook displays is named here, and nothing else passes.
What a browser would make of the text is decided by a parser of HTML 5 (nh3, a binding of Ammonia),
and what it leaves is written anew, so that no odd spelling passes. Nothing that is allowed reads
its content in a way of its own (as ``style`` or ``svg`` do), loads anything, or leaves its place.
"""

import html
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import nh3
from latex2mathml.converter import convert
from markupsafe import Markup
from mistune.util import safe_entity
from nbconvert import filters
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

from partialpool.data.text import bound

#: Ids that the page uses itself.
RESERVED = {"content", "broken", "code-switch"}
RESERVED |= {f"run-{part}" for part in ("result", "method", "estimates", "settings")}
RESERVED |= {f"run-{part}" for part in ("checks", "provenance", "reproduce")}

MATHS = {
    *("math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded"),
    *("mphantom", "mprescripts", "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub"),
    *("msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover", "none"),
}
#: Parts that a page itself is made of, which a displayed text has no business to add.
LANDMARKS = {"area", "article", "aside", "footer", "header", "hgroup", "map", "nav"}
TAGS = (nh3.ALLOWED_TAGS - LANDMARKS) | {"tfoot"} | MATHS
#: Go with all that is in them; of any other element the text stays.
REMOVED = {
    *("annotation", "annotation-xml", "iframe", "noembed", "noframes", "noscript", "object"),
    *("script", "select", "style", "svg", "template", "textarea", "title", "xmp"),
}
SIZES = {
    *("columnspacing", "linethickness", "lspace", "mathsize", "maxsize", "minsize"),
    *("rowspacing", "rspace", "width"),
}
MATHS_ATTRIBUTES = SIZES | {
    *("accent", "accentunder", "columnalign", "columnlines", "columnspan", "display"),
    *("displaystyle", "fence", "form", "largeop", "linebreak", "mathbackground", "mathcolor"),
    *("mathvariant", "movablelimits", "notation", "rowalign", "rowlines", "rowspan"),
    *("scriptlevel", "separator", "stretchy", "symmetric"),
}
CELL = {"align", "colspan", "headers", "rowspan", "scope"}
ATTRIBUTES = {
    **dict.fromkeys(MATHS, MATHS_ATTRIBUTES),
    "*": {"dir", "id", "lang", "style", "title"},
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "data": {"value"},
    "details": {"open"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"reversed", "start", "type"},
    "td": CELL,
    "th": CELL,
    "time": {"datetime"},
}
#: Classes of what displays and Markdown make; the others of the style sheet are the page's own.
CLASSES = {
    "div": {"highlight", "math"},
    "span": set(STANDARD_TYPES.values()),
    "table": {"dataframe", "short"},
    "td": {"words", "prose"},
    "th": {"words", "prose"},
}
#: Styles that a text may give itself. None moves or enlarges anything.
STYLES = {
    *("background-color", "color", "font-style", "font-weight", "text-align"),
    *("text-decoration", "vertical-align", "white-space"),
}
IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]")
#: One or more lengths, each below ten, and backwards less than one.
LENGTHS = re.compile(r"(?: ?(?:-?0?\.\d+|\d(?:\.\d+)?)(?:em|ex|pt|px)?)+")
BOX = '<div class="{}" tabindex="0" role="group" aria-label="{}">'


@dataclass
class Outline:
    """What a page's Markdown has so far: its title, its other headings, its ids.

    Attributes
    ----------
    title : str or None
        The first heading of level one that an author wrote; it stands on top of the page.
    headings : list of dict
        ``id``, ``level`` and ``text`` of each of the others.
    ids : set of str
        Taken in the page.
    """

    title: str | None = None
    headings: list[dict[str, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=RESERVED.copy)

    def add(self, level: int, inner: str) -> str:
        """Take a heading up; return it with an id and a link to itself."""
        text = Markup(inner).striptags()
        slug = re.sub(r"[^\w]+", "-", text.lower()).strip("-") or "section"
        name, number = slug, 1
        while name in self.ids:
            number += 1
            name = f"{slug}-{number}"
        self.ids.add(name)
        self.headings.append({"id": name, "level": level, "text": text})
        return (
            f'<h{level} id="{name}">{inner}<a class="anchor" href="#{name}" '
            f'aria-label="Link to this section">#</a></h{level}>'
        )


def mathml(formula: str, *, block: bool) -> str:
    """Convert LaTeX to MathML, which browsers show without any help.

    Examples
    --------
    >>> "<mi>x</mi>" in mathml("x^2", block=False)
    True
    """
    formula = formula.strip()
    # The converter knows `align*`, and numbers the lines of `align`.
    source = re.sub(r"\{(aligned|align|split|gathered|gather)\}", "{align*}", formula)
    try:
        result = convert(source, display="block" if block else "inline")
    except Exception:  # it has no common error of its own; show what was written
        return f"<code>{html.escape(formula)}</code>"
    result = result.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    result = re.sub(r"&(?!#?\w+;)", "&amp;", result)
    return f'<div class="math">{result}</div>' if block else result


class _Renderer(IPythonRenderer):
    """Markdown to HTML that needs nothing from anywhere."""

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        return f"<h{level}>{text}</h{level}>\n"

    def text(self, text: str) -> str:
        # `&lt;` is a character, in text that is shown as it is too
        return bound(str(safe_entity(text)))

    def block_math(self, body: str) -> str:
        return mathml(body, block=True)

    def inline_math(self, body: str) -> str:
        return mathml(body, block=False)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if urllib.parse.urlsplit(url).scheme not in ("", "attachment", "data"):
            return f'<a href="{html.escape(url)}">{text or html.escape(url)}</a>'
        return str(super().image(text, url, title))

    def block_mermaidjs(self, code: str) -> str:
        return f"<pre>{html.escape(code)}</pre>"

    def task_list_item(self, text: str, checked: bool = False) -> str:
        return f"<li>{'☑' if checked else '☐'} {text}</li>\n"


def markdown(
    text: str,
    outline: Outline,
    *,
    trusted: bool,
    attachments: dict[str, Any] | None = None,
    folder: str = "",
) -> Markup:
    """Convert Markdown to HTML.

    Parameters
    ----------
    text : str
        Markdown with ``$...$`` and ``$$...$$``.
    outline : Outline
        Extended by the headings of this text.
    trusted : bool
        Whether HTML in the text is meant as such (a cell that an author wrote) or shown as text
        (output, which may hold names and values from data).
    attachments : dict, optional
        Images pasted into the cell.
    folder : str
        Where image files are sought, to be put into the page.
    """
    renderer = _Renderer(
        escape=not trusted,
        allow_harmful_protocols=True,  # the sanitizer knows better
        embed_images=trusted,
        attachments=attachments,
        path=folder,
    )
    page = MarkdownWithMath(renderer=renderer).render(text)
    page = sanitize(page, outline.ids if trusted else None).replace("<p></p>", "")

    def headed(found: re.Match[str]) -> str:
        level, inner = int(found[1]), found[2]
        if level == 1 and trusted and outline.title is None:
            outline.title = Markup(inner).striptags()
            return ""
        return outline.add(level, inner)

    return Markup(re.sub(r"<h([1-6])>(.*?)</h\1>", headed, page, flags=re.DOTALL))


def terminal(text: str) -> Markup:
    """Convert text as a terminal shows it; its exact colours become the page's."""
    # Where a cell's code lies while it runs says nothing to a reader.
    text = re.sub(r"\S*/ipykernel_\d+/\d+\.py:(\d+)", r"line \1 of this cell", text.strip("\n"))
    result = filters.ansi2html(text)
    return Markup(re.sub(r'style="(background-)?color: rgb\([^)]*\)[^"]*"', 'class="tint"', result))


def code(source: str, language: str = "python") -> Markup:
    """Highlight code; the page's style sheet gives the colours."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        lexer = TextLexer()
    return Markup(highlight(source, lexer, HtmlFormatter(nowrap=True)))


def sanitize(shown: str, ids: set[str] | None = None) -> Markup:
    """Make displayed HTML fit for a page: nothing that runs, loads or moves; tables that scroll.

    Parameters
    ----------
    shown : str
        HTML from anywhere, MathML included.
    ids : set of str, optional
        Ids that the page has already, which are extended by those that the HTML brings; default
        lets it bring none.
    """

    def kept(element: str, name: str, value: str) -> str | None:
        good = True
        if name == "id":
            good = ids is not None and value not in ids
            if good and ids is not None:
                ids.add(value)
        elif name == "src":
            good = IMAGE.match(value) is not None
        elif name == "href":
            good = not value.strip().lower().startswith("data:")
        elif name == "style":
            good = "url" not in value.lower() and "\\" not in value
        elif element in MATHS and name in SIZES:
            good = LENGTHS.fullmatch(value) is not None
        return value if good else None

    text = nh3.clean(
        shown,
        tags=TAGS,
        clean_content_tags=REMOVED,
        attributes=ATTRIBUTES,
        attribute_filter=kept,
        allowed_classes=CLASSES,
        filter_style_properties=STYLES,
        set_tag_attribute_values={"pre": {"tabindex": "0"}},
        url_schemes={"data", "http", "https", "mailto"},
    )
    text = text.replace(' class=""', "")
    # what nh3 writes has no "<" or ">" but those of its elements
    text = re.sub(r"<img(?![^>]* src=)[^>]*>", "", text)
    text = re.sub(r"<img(?![^>]* alt=)", '<img alt=""', text)
    # an empty header is announced, and heads nothing
    text = re.sub(r"<th((?: [^>]*)?)>\s*</th>", r"<td\1></td>", text)
    text = re.sub(r"<table\b", BOX.format("scroll", "Table") + "<table", text)
    text = text.replace("</table>", "</table></div>")
    text = text.replace('<div class="math">', BOX.format("math", "Formula"))
    return Markup(text)

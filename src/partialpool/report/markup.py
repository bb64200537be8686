"""Text of a page: Markdown, maths as MathML, code, and HTML that a notebook displayed."""

import html
import re
import urllib.parse
from typing import Any

from bs4 import BeautifulSoup
from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.filters import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

#: Ids that the page uses itself (others of its own begin with ``run-``).
RESERVED = ("content", "broken", "code-switch")
#: Elements of displayed HTML that could run, ask for something, or change the page around them.
FORBIDDEN = ("script", "link", "iframe", "object", "embed", "base", "meta", "form", "title")


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
    if not block:
        return result
    return f'<div class="math" tabindex="0" role="group" aria-label="Formula">{result}</div>'


class _Renderer(IPythonRenderer):
    """Markdown to HTML that needs nothing from anywhere; collects the headings on its way."""

    def __init__(self, headings: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.headings = headings

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        plain = BeautifulSoup(text, "html.parser").get_text()
        slug = re.sub(r"[^\w]+", "-", plain.lower()).strip("-") or "section"
        taken = {*RESERVED, *(heading["id"] for heading in self.headings)}
        name, number = slug, 1
        while name in taken:
            number += 1
            name = f"{slug}-{number}"
        self.headings.append({"id": name, "level": level, "html": Markup(text), "text": plain})
        return (
            f'<h{level} id="{name}">{text}<a class="anchor" href="#{name}" '
            f'aria-label="Link to this section">#</a></h{level}>\n'
        )

    def block_math(self, body: str) -> str:
        return mathml(body, block=True)

    def inline_math(self, body: str) -> str:
        return mathml(body, block=False)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if urllib.parse.urlsplit(url).scheme not in ("", "attachment", "data"):
            return f'<a href="{html.escape(url)}">{text or html.escape(url)}</a>'
        return super().image(text, url, title)

    def block_mermaidjs(self, code: str) -> str:
        return f"<pre>{html.escape(code)}</pre>"


def markdown(
    text: str,
    headings: list[dict[str, Any]],
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
    headings : list of dict
        Extended by the headings of this text: ``id``, ``level``, ``html`` and ``text``.
    trusted : bool
        Whether HTML in the text is meant as such (a cell that an author wrote) or shown as text
        (output, which may hold names and values from data).
    attachments : dict, optional
        Images pasted into the cell.
    folder : str
        Where image files are sought, to be put into the page.
    """
    renderer = _Renderer(
        headings,
        escape=not trusted,
        allow_harmful_protocols=False,
        embed_images=trusted,  # parses HTML, which the untrusted has none of
        attachments=attachments,
        path=folder,
    )
    result = MarkdownWithMath(renderer=renderer).render(text)
    return clean(result) if "<table" in result or trusted else Markup(result)


def clean(fragment: str) -> Markup:
    """Make displayed HTML fit for a page: nothing that runs or loads, and tables that scroll."""
    soup = BeautifulSoup(fragment, "html.parser")
    for tag in soup.find_all(FORBIDDEN):
        tag.decompose()
    for tag in soup.find_all("style", attrs={"scoped": True}):
        tag.decompose()  # pandas' own, which every table would repeat
    for tag in soup.find_all(True):
        for name in list(tag.attrs):
            value = str(tag.attrs[name]).strip().lower()
            remote = name in ("src", "srcset", "background", "poster") and not value.startswith(
                "data:"
            )
            if name.startswith("on") or remote or value.startswith("javascript:"):
                del tag.attrs[name]
    for tag in soup.find_all("img"):
        if not tag.get("src"):
            tag.decompose()
        else:
            tag.attrs.setdefault("alt", "")
    for table in soup.find_all("table"):
        del table["border"]
        for cell in table.find_all("th"):
            if not cell.get_text(strip=True):
                cell.name = "td"  # an empty header is announced, and heads nothing
        box = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"}
        table.wrap(soup.new_tag("div", attrs=box))
    return Markup(str(soup))


def terminal(text: str) -> Markup:
    """Convert text as a terminal shows it; its exact colours become the page's."""
    # Where a cell's code lies while it runs says nothing to a reader.
    text = re.sub(r"\S*/ipykernel_\d+/\d+\.py:(\d+)", r"line \1 of this cell", text)
    result = ansi2html(text)
    return Markup(re.sub(r'style="(background-)?color: rgb\([^)]*\)[^"]*"', 'class="tint"', result))


def code(source: str) -> Markup:
    """Highlight Python code; the page's style sheet gives the colours."""
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))

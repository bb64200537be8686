"""The page of one run: an executed notebook and its summary become one HTML file.

The file needs nothing else: no server, no network. Its security policy even forbids both, so
that nothing that came from data can ask for anything or run.
"""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import partialpool
from partialpool.data import paths
from partialpool.plots import palette
from partialpool.report import summaries

TEMPLATES = Path(__file__).parent / "templates"
#: The rooms that make pages and no numbers. A change there makes pages anew, and does no run again.
MAKERS = ("report",)
#: What each status means, beside the badge.
MEANING = {
    "passed": "All checks passed.",
    "warned": "Usable, but look at what is named here.",
    "failed": "Do not use these results.",
    "error": "The notebook did not run to its end.",
}
#: Code cells with one of these tags are left out of the page.
HIDDEN = {"remove-cell", "hide"}
PREFERRED = (
    *("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg"),
    *("text/latex", "text/plain"),
)


def makers() -> list[Path]:
    """Files that decide what a page looks like; a page made by others is made again."""
    names = (*MAKERS, "plots/palette.py")
    package = Path(partialpool.__file__).parent
    return [file for name in names for file in paths.code(package / name)]


@cache
def version() -> str:
    """Identify the code and the templates that make a page."""
    digest = hashlib.sha256()
    for path in makers():
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def made_by(page: Path) -> str | None:
    """Read which version made a page."""
    try:
        with page.open(encoding="utf-8") as file:
            found = re.search(r'name="generator" content="partialpool (\w+)"', file.read(2000))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None


@cache
def environment() -> jinja2.Environment:
    """Templates; every value is escaped unless it is marked as HTML."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters |= {
        "number": summaries.number,
        "estimate": summaries.estimate,
        "seconds": seconds,
        "value": value,
    }
    env.globals |= {"meaning": MEANING, "version": version()}
    return env


def asset(*names: str) -> dict[str, str]:
    """Read a style sheet or scripts, with the hash by which the page's policy allows them."""
    text = "\n".join((TEMPLATES / name).read_text(encoding="utf-8").strip() for name in names)
    if "style.css" in names:
        text += palette.rules()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {"text": Markup(text), "hash": f"sha256-{digest}"}


def seconds(duration: float | None) -> str:
    """A duration as people say it."""
    if duration is None:
        return "–"
    if duration < 60:
        return f"{duration:.3g} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def value(setting: Any) -> str:
    """A setting as it stands in a study file."""
    if isinstance(setting, str):
        return setting
    if isinstance(setting, dict):
        return ", ".join(f"{key}: {value(item)}" for key, item in setting.items())
    if isinstance(setting, list):
        return ", ".join(map(value, setting))
    return json.dumps(setting)


def title(notebook: Any) -> str | None:
    """Find the first heading of level one."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.search(r"^# +(.+?)\s*#*$", cell.source, flags=re.MULTILINE)
            if found:
                return re.sub(r"[*_`$]", "", found[1])
    return None


def render(notebook: Any, summary: dict[str, Any], folder: str = "") -> str:
    """Make the page of a run.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        As executed.
    summary : dict
        The content of ``summary.json``.
    folder : str
        Where image files named in Markdown are sought.

    Returns
    -------
    str
        A complete HTML document.
    """
    headings: list[dict[str, Any]] = []
    broken = summary["error"]["cell"] if summary["error"] else None
    cells = [
        _cell(cell, number, headings, folder, broken)
        for number, cell in enumerate(notebook.cells)
        if not HIDDEN & set(cell.metadata.get("tags", ()))
    ]
    contents = [h for h in headings if h["level"] in (2, 3)]
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            run=summary,
            cells=[cell for cell in cells if cell],
            contents=contents,
            reason=summaries.reason(summary),
            has_code=any(cell and cell["kind"] == "code" for cell in cells),
            style=asset("style.css"),
            script=asset("page.js", "scroll.js"),
        )
    )


def _cell(
    cell: Any, number: int, headings: list[dict[str, Any]], folder: str, broken: int | None
) -> dict[str, Any] | None:
    from partialpool.report import markup

    if cell.cell_type == "markdown":
        source = cell.source
        if not any(h["level"] == 1 for h in headings):
            # The first heading of level one stands on top of the page already.
            source, found = re.subn(r"^# +.+$", "", source, count=1, flags=re.MULTILINE)
            if found:
                headings.append({"id": "", "level": 1, "html": "", "text": ""})
        text = markup.markdown(
            source, headings, trusted=True, attachments=cell.get("attachments"), folder=folder
        )
        return {"kind": "markdown", "html": text} if text.strip() else None
    if cell.cell_type != "code" or not cell.source.strip():
        return None
    outputs = [
        _output(output, f"f{number}-{position}-", headings)
        for position, output in enumerate(cell.outputs)
    ]
    return {
        "kind": "code",
        "count": cell.execution_count,
        "source": markup.code(cell.source),
        "outputs": [output for output in outputs if output],
        "broken": broken is not None and cell.execution_count == broken,
    }


def _output(output: Any, prefix: str, headings: list[dict[str, Any]]) -> dict[str, Any] | None:
    from partialpool.report import drawings, markup

    if output.output_type == "stream":
        kind = "stderr" if output.name == "stderr" else "stdout"
        return {"kind": kind, "html": markup.terminal(output.text.strip("\n"))}
    if output.output_type == "error":
        return {"kind": "traceback", "html": markup.terminal("\n".join(output.traceback))}
    data = output.get("data", {})
    mime = next((kind for kind in PREFERRED if kind in data), None)
    if mime is None:
        return None
    content = data[mime] if isinstance(data[mime], str) else "".join(data[mime])
    alt = drawings.alt_text(output, mime)
    if mime == "text/html":
        return {"kind": "html", "html": markup.clean(content)}
    if mime in ("text/markdown", "text/latex"):
        return {"kind": "markdown", "html": markup.markdown(content, headings, trusted=False)}
    if mime == "image/svg+xml":
        return {"kind": "figure", "html": drawings.inline_svg(content, alt, prefix)}
    if mime.startswith("image/"):
        return {"kind": "figure", "html": drawings.image(content, mime, alt)}
    return {"kind": "stdout", "html": markup.terminal(content)}

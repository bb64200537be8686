"""What all pages share: templates, style sheet, scripts, words for figures, and their version.

A page needs nothing else: no server, no network. Its security policy even forbids both, so
that nothing that came from data can ask for anything or run.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from partialpool.data import paths
from partialpool.data.text import bound, duration, number, renamed, rounded, typeset
from partialpool.plots import palette

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
#: The same for the verdict on the model beside its data.
FITTING = {
    "good": "The model reproduces what was looked at.",
    "look": "The draws may be right and the model wrong in this:",
    "poor": "The draws may be right, but the model misses most of what was looked at:",
}


def makers() -> list[Path]:
    """Files that decide what a page looks like; a page made by others is made again."""
    names = (
        *MAKERS,
        "plots/palette.py",
        "plots/study_answer.py",
        "plots/study_plots.py",
        "simulation/figures.py",
        "data/text.py",
    )
    return [file for name in names for file in paths.code(paths.PACKAGE / name)]


@cache
def version() -> str:
    """Identify the code and the templates that make a page."""
    return paths.digest(makers())[:16]


def mark(page: Path, name: str) -> str:
    """Read a mark in the head of a page: ``generator``, ``story``, or ``summaries`` it shows.

    Returns
    -------
    str
        Empty where there is no such page or mark.
    """
    try:
        with page.open(encoding="utf-8") as file:
            found = re.search(f'<meta name="{name}" content="([^"]*)"', file.read(2000))
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def is_current(page: Path, story: Mapping[str, str] | None = None) -> bool:
    """Whether a page was made by the code and templates that there are, and tells this story."""
    made = mark(page, "generator") == f"partialpool {version()}"
    return made and (story is None or mark(page, "story") == digest(story))


def digest(content: Any) -> str:
    """Tell contents of a page apart in few characters."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def environment() -> jinja2.Environment:
    """Templates of the index and of studies' pages."""
    return prepared(jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES)))


def prepared(env: jinja2.Environment) -> jinja2.Environment:
    """Give an environment what all templates use; they escape what is not marked as HTML."""
    env.autoescape = True
    env.undefined = jinja2.StrictUndefined
    env.trim_blocks = env.lstrip_blocks = True
    env.filters |= {
        "number": number,
        "estimate": estimate,
        "duration": duration,
        "value": value,
        "digest": digest,
        "renamed": renamed,
        "ticked": ticked,
        "bound": bound,
        "typeset": typeset,
    }
    env.globals |= {"asset": asset, "bitmaps": Markup(palette.bitmap_filter())}
    env.globals |= {"meaning": MEANING, "fitting": FITTING, "version": version()}
    return env


def asset(*names: str) -> dict[str, str]:
    """Read a style sheet or scripts, with the hash by which the page's policy allows them."""
    content = "\n".join((TEMPLATES / name).read_text(encoding="utf-8").strip() for name in names)
    if "style.css" in names:
        content += palette.rules()
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return {"text": Markup(content), "hash": f"sha256-{digest}"}


def ticked(text: str) -> Markup:
    """Text, in which what stands between backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def value(setting: Any) -> str:
    """A setting as it stands in a study file."""
    if isinstance(setting, str):
        return setting
    if isinstance(setting, dict):
        return ", ".join(f"{key}: {value(item)}" for key, item in setting.items())
    if isinstance(setting, list):
        return ", ".join(map(value, setting))
    return json.dumps(setting)


def reason(summary: Mapping[str, Any]) -> str:
    """Say in one line why a run is not `passed`; empty if it is."""
    if summary["status"] == "error":
        error = summary["error"]
        where = f"cell {error['cell']}: " if error["cell"] is not None else ""
        message = str(error["message"]).strip().splitlines()
        return f"{where}{error['type']}: {message[0] if message else ''}".rstrip(": ")
    missed = [check for check in summary["checks"] if not check["passed"]]
    return "; ".join(
        f"{check['name']} {number(check['value'])}, wanted {check['threshold']}" for check in missed
    )


def estimate(figures: Mapping[str, Any], *names: str) -> str:
    """Figures of a parameter to a sensible number of decimals, joined by "to".

    The decimals are those of `rounded`. The median stands for a mean that there is not.

    Examples
    --------
    >>> estimate({"mean": 251.3934, "sd": 7.5, "q05": 239.1, "q95": 263.72}, "q05", "q95")
    '239.1 to 263.7'
    """
    values = [figures.get(name) for name in names]
    if names == ("mean",) and values == [None]:  # there is no finite mean
        values = [figures.get("q50")]
    if any(value is None for value in values):
        return ""
    return " to ".join(rounded(value, figures.get("sd")) for value in values)  # type: ignore[arg-type]

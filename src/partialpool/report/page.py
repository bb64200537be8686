"""What all pages share: templates, style sheet, scripts, and the version of what makes them.

A page needs nothing else: no server, no network. Its security policy even forbids both, so
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

from partialpool.data import paths, text
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
#: The same for the verdict on the model beside its data.
FITTING = {
    "good": "The model reproduces what was looked at.",
    "look": "The draws may be right and the model wrong in this:",
    "poor": "The draws may be right, but the model misses most of what was looked at:",
}


def makers() -> list[Path]:
    """Files that decide what a page looks like; a page made by others is made again."""
    names = (*MAKERS, "plots/palette.py", "plots/study_plots.py", "data/text.py")
    return [file for name in names for file in paths.code(paths.PACKAGE / name)]


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
    """Templates of the index and of studies' pages."""
    return prepared(jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES)))


def prepared(env: jinja2.Environment) -> jinja2.Environment:
    """Give an environment what all templates use; they escape what is not marked as HTML."""
    env.autoescape = True
    env.undefined = jinja2.StrictUndefined
    env.trim_blocks = env.lstrip_blocks = True
    env.filters |= {
        "number": text.number,
        "estimate": summaries.estimate,
        "seconds": text.duration,
        "value": value,
    }
    env.globals |= {"asset": asset, "meaning": MEANING, "fitting": FITTING, "version": version()}
    return env


def asset(*names: str) -> dict[str, str]:
    """Read a style sheet or scripts, with the hash by which the page's policy allows them."""
    content = "\n".join((TEMPLATES / name).read_text(encoding="utf-8").strip() for name in names)
    if "style.css" in names:
        content += palette.rules()
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return {"text": Markup(content), "hash": f"sha256-{digest}"}


def value(setting: Any) -> str:
    """A setting as it stands in a study file."""
    if isinstance(setting, str):
        return setting
    if isinstance(setting, dict):
        return ", ".join(f"{key}: {value(item)}" for key, item in setting.items())
    if isinstance(setting, list):
        return ", ".join(map(value, setting))
    return json.dumps(setting)

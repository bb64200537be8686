"""What a study file may say, as a JSON schema: editors complete keys and mark mistakes with it.

Made from the parameter cells of the notebooks and their comments, as ``docs/studies.md`` is. What
only data can tell is checked by `partialpool.batch.study_data`.
"""

import json
from pathlib import Path
from typing import Any

from partialpool.batch import notebooks, study_file
from partialpool.batch.runs import STORY
from partialpool.batch.settings import CHOICES, COUNTS
from partialpool.data.paths import write
from partialpool.design.priors import FAMILIES

#: Where a project keeps it, and the line with which a study file beside it names it to editors.
PLACE = Path("params", ".schema.json")
LINE = f"# yaml-language-server: $schema={PLACE.name}"
#: The keys of a study, in words.
WORDS = {
    "notebook": "one of the project's notebooks, or one that comes with partialpool",
    "title": "what pages and the index call the study",
    "question": "what the study asks, in a sentence",
    "about": "where the data come from and what is known, in Markdown, with sources",
    "settings": "settings of the notebook; those left out keep its defaults",
    "seeds": "one run for each; all randomness comes from it",
    "grid": "lists of values for some settings: one run for each combination and seed",
    "expect": "for a study that shows a failure on purpose",
}


def write_schema(root: Path) -> Path:
    """Write the schema of a project's studies into its ``params/``."""
    text = json.dumps(schema(root), indent=1, ensure_ascii=False) + "\n"
    if not (root / PLACE).is_file() or (root / PLACE).read_text(encoding="utf-8") != text:
        write(root / PLACE, text)
    return root / PLACE


def schema(root: Path) -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) of studies that use a project's notebooks.

    Notebooks that cannot run a study, having no settings, are left out.
    """
    declared = {}
    for name, path in notebooks.available(root).items():
        try:
            declared[name] = notebooks.settings(path)
        except ValueError:
            continue
    seed = {"type": "integer", "minimum": 0}
    kinds: dict[str, dict[str, Any]] = {
        "notebook": {"enum": list(declared)},
        **{key: {"type": ["string", "null"]} for key in STORY},
        "settings": {"type": ["object", "null"]},
        "seeds": {"type": "array", "items": seed, "minItems": 1, "uniqueItems": True},
        "grid": {"type": ["object", "null"]},
        "expect": {"enum": ["failed", None]},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a study of partialpool",
        "type": "object",
        "required": ["notebook"],
        "additionalProperties": False,
        "properties": {key: {"description": WORDS[key]} | kinds[key] for key in study_file.KEYS},
        "allOf": [
            {
                "if": {"properties": {"notebook": {"const": name}}, "required": ["notebook"]},
                "then": {"properties": _of_notebook(settings)},
            }
            for name, settings in declared.items()
        ],
    }


def _of_notebook(settings: dict[str, tuple[Any, str]]) -> dict[str, Any]:
    """What a study of one notebook may set."""
    values = {name: _value(name, *setting) for name, setting in settings.items()}
    swept = {
        name: {"type": "array", "items": value, "minItems": 1} for name, value in values.items()
    }
    return {
        "settings": {"properties": values, "additionalProperties": False},
        "grid": {"properties": swept, "additionalProperties": False},
    }


def _value(name: str, default: Any, says: str) -> dict[str, Any]:
    """What one setting may be, by its name and the type of its default."""
    found: dict[str, Any] = {"description": says} if says else {}
    if default is notebooks.UNKNOWN:
        return found
    found["default"] = default
    if name in CHOICES:
        words = list(CHOICES[name])
        return found | {"enum": words if default in words else [*words, None]}
    if default is None:
        return found
    found["type"] = _type(default)
    if name in COUNTS:
        found["minimum"] = COUNTS[name]
    if name == "priors":
        found["additionalProperties"] = {
            "type": "string",
            "pattern": rf"^\s*({'|'.join(FAMILIES)})\s*(\(.*\)\s*)?$",
            "examples": [
                f"{name}({', '.join(arguments)})" for name, (arguments, _) in FAMILIES.items()
            ],
        }
    return found


def _type(default: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}
    return kinds.get(type(default), "array")

"""What a setting of a study may be: its type, and what it means wherever it stands."""

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialpool.batch.notebooks import RESERVED
from partialpool.batch.runs import PATHS, data_files, data_path
from partialpool.data.text import closest
from partialpool.design.families import LINKS, RESPONSES
from partialpool.design.priors import METHODS, MISSING, PARAMETRIZATIONS, parse

#: What a setting must be, by the type of the notebook's default. Numbers: see `_number`.
TYPES: tuple[tuple[type | tuple[type, ...], str, str], ...] = (
    (bool, "true or false", ""),
    (str, "text", "; put it in quotes if it is meant as text"),
    ((list, tuple), "a list", ""),
    (dict, "`name: value` pairs", ""),
)

#: Most of a wrong value that a sentence repeats.
LONG = 80
#: Settings that are one of a few words.
CHOICES = {
    "method": METHODS,
    "parametrization": PARAMETRIZATIONS,
    "family": RESPONSES,
    "missing": MISSING,
}
#: Settings that give a column, or a level of it, words.
WORDS = ("labels", "units")
#: Settings that count something, and the least they may be.
COUNTS = {
    "draws": 1,
    "tune": 0,
    "chains": 2,
    "n": 2,
    "data_sets": 1,
    "probe_draws": 1,
    "sample_rows": 1,
}


def setting(
    root: Path, notebook: Path, declared: dict[str, Any], key: str, value: Any
) -> tuple[str, Any]:
    """What is wrong with a setting, or nothing; and its value in the type of the default."""
    if key in RESERVED:
        return f"cannot be set here: {RESERVED[key]}", value
    if key not in declared:
        names = [name for name in declared if name not in RESERVED]
        return f"{notebook.name} declares no such setting{closest(key, names)}", value
    problem, value = _in_type_of(declared[key], value)
    if problem or key not in PATHS or data_path(value, root) is None:
        return problem, value
    missing = not data_files(value, root)
    return f"there is no file {value}, seen from the project's folder" if missing else "", value


def _in_type_of(default: Any, value: Any) -> tuple[str, Any]:
    """What is wrong (or nothing), and the value converted where YAML is known to mislead."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return f"{brief(value)} is not text, a number, true or false, a list or a mapping", value
    if isinstance(default, int | float) and not isinstance(default, bool):
        return _number(default, value)
    for kind, wanted, hint in TYPES:
        if isinstance(default, kind) and not isinstance(value, kind):
            return f"needs {wanted}, not {brief(value)}{hint}", value
    return "", value


def _number(default: float, value: Any) -> tuple[str, Any]:
    whole = isinstance(default, int)
    kind = "a whole number" if whole else "a number"
    try:
        number = float(value)  # YAML reads 1e-3 as text
    except (TypeError, ValueError, OverflowError):
        text = "the text " if isinstance(value, str) else ""
        return f"needs {kind}, not {text}{brief(value)}", value
    if isinstance(value, bool) or not math.isfinite(number) or (whole and number % 1):
        return f"needs {kind}, not {brief(value)}", value
    if not whole:
        return "", number
    return "", value if isinstance(value, int) else int(number)


def brief(value: Any) -> str:
    """A value as a sentence repeats it: as it is written in Python, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:LONG]} …"


def validate(settings: Mapping[str, Any]) -> None:
    """Check the settings of a study that have the same meaning everywhere.

    Raises
    ------
    ValueError
        With a sentence that begins with the setting's name.
    """
    for name, known in CHOICES.items():
        value = settings.get(name)
        if value is not None and value not in known:
            raise ValueError(f"{name}: there is no {value!r}; choose from {', '.join(known)}.")
    method, form = settings.get("method"), settings.get("parametrization")
    if method == "exact" and form is not None:
        raise ValueError("parametrization: the exact fit has none; leave it out.")
    if settings.get("family") == "student" and (method == "exact" or form == "marginal"):
        raise ValueError(
            "family: Student's t has no exact fit and no marginal form; leave method and "
            "parametrization out, or choose nutpie or nuts."
        )
    if settings.get("family") in LINKS and form == "marginal" and method != "nutpie":
        raise ValueError(
            f"parametrization: the marginal form of `family: {settings['family']}` is sampled by "
            "nutpie alone; choose method: nutpie, or leave parametrization out."
        )
    for name in WORDS:
        for text in itertools.chain(*(settings.get(name) or {}).items()):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name}: {text!r} is not text; put it in quotes.")
    for name, least in COUNTS.items():
        value = settings.get(name)
        if isinstance(value, int) and value < least:
            raise ValueError(f"{name}: must be at least {least}, not {value}.")
    priors = settings.get("priors")
    if isinstance(priors, Mapping):
        for name, text in priors.items():
            try:
                parse(text)
            except ValueError as error:
                raise ValueError(f"priors: {name}: {error}") from None

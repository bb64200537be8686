"""Settings that mean the same in every notebook, checked before anything runs.

Imported by the command line on every call, so it must stay quick to import.
"""

from collections.abc import Mapping
from typing import Any

from partialpool.design.choices import METHODS, MISSING, NOISE, PARAMETRIZATIONS
from partialpool.design.priors import parse

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


def validate(settings: Mapping[str, Any]) -> None:
    """Check the settings of a study that have the same meaning everywhere.

    Raises
    ------
    ValueError
        With a sentence that begins with the setting's name.
    """
    method = settings.get("method")
    if method is not None and method not in METHODS:
        raise ValueError(f"method: there is no {method!r}; choose from {', '.join(METHODS)}.")
    form = settings.get("parametrization")
    if form is not None and form not in PARAMETRIZATIONS:
        raise ValueError(
            f"parametrization: there is no {form!r}; choose from {', '.join(PARAMETRIZATIONS)}."
        )
    if method == "exact" and form is not None:
        raise ValueError("parametrization: the exact fit has none; leave it out.")
    family = settings.get("family", "gaussian")
    if family not in NOISE:
        raise ValueError(f"family: choose from {', '.join(NOISE)}, not {family!r}.")
    if family == "student" and (method == "exact" or form == "marginal"):
        raise ValueError(
            "family: Student's t has no exact fit and no marginal form; leave method and "
            "parametrization out, or choose nutpie or nuts."
        )
    missing = settings.get("missing", "refuse")
    if missing not in MISSING:
        raise ValueError(f"missing: choose from {', '.join(MISSING)}, not {missing!r}.")
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

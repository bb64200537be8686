"""Whether a response looks like something that noise with one spread does not fit."""

import numpy as np

#: Fewer rows than this tell nothing.
LEAST = 10
#: Kind -> what the response is, and what fits it.
KINDS = {
    "binary": (
        "has only two values",
        "Its mean is a share between them, which a line can leave; logistic regression fits it",
    ),
    "ordinal": (
        "has {n} whole numbers from {low:.0f} to {high:.0f}, as ordered answers do",
        "Distances between answers are taken at face value; ordinal regression fits them",
    ),
    "count": (
        "has whole numbers from {low:.0f} up, a quarter of them below 10, as counts do",
        "Small counts spread less than large ones; Poisson or negative-binomial regression fits",
    ),
}


def response_kind(y: np.ndarray) -> str:
    """Kind of a response (N,), from its values alone.

    Returns
    -------
    {"binary", "ordinal", "count", ""}
        ``"binary"`` for two values; ``"ordinal"`` for 3 to 7 successive whole numbers that start
        at 0 or 1; ``"count"`` for other whole numbers from 0 up, of which at least a quarter are
        below 10; ``""`` for anything else, and for fewer than 10 rows.
    """
    values = np.unique(y)
    if len(y) < LEAST:
        return ""
    if len(values) == 2:
        return "binary"
    if values[0] < 0 or np.any(values != np.round(values)):
        return ""
    if len(values) <= 7 and values[0] <= 1 and np.all(np.diff(values) == 1):
        return "ordinal"
    return "count" if np.quantile(y, 0.25) < 10 else ""


def kind_sentence(y: np.ndarray, name: str) -> str:
    """What a reader of a Gaussian fit should know of the response; empty where it is nothing."""
    kind = response_kind(y)
    if not kind:
        return ""
    what, remedy = KINDS[kind]
    said = what.format(n=len(np.unique(y)), low=np.min(y), high=np.max(y))
    return f"The response {name} {said}. {remedy}, for instance with Bambi."

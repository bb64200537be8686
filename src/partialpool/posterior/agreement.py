"""Whether two results agree: their means, in units of Monte Carlo error."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

#: Chance of calling right results different when only Monte Carlo error is between them.
FALSE_ALARM = 1e-3


def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Difference of two means in units of its Monte Carlo error; infinite where that is unknown.

    Examples
    --------
    >>> distance({"mean": 1.0, "mcse_mean": 0.3}, {"mean": 2.0, "mcse_mean": 0.4})
    2.0
    """
    means = one.get("mean"), other.get("mean")
    if means[0] == means[1]:
        return 0.0
    if means[0] is None or means[1] is None:
        return math.inf
    error = math.hypot(one.get("mcse_mean") or 0, other.get("mcse_mean") or 0)
    return abs(means[0] - means[1]) / error if error else math.inf


def explained(count: int) -> float:
    """Largest `distance` that chance explains when as many means as this are compared."""
    return NormalDist().inv_cdf(1 - FALSE_ALARM / 2 / max(count, 1))

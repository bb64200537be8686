"""Reading a run's ``summary.json``, and putting its figures into words."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialpool.data.text import number


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Read a run's ``summary.json``; None if the run has not ended or the file is not whole."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and "status" in summary else None


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

    The decimals come from the posterior's width, so that all of a parameter's figures show the
    same number of them: two digits of its standard deviation. The median stands for a mean that
    there is not.

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
    sd = figures.get("sd")
    if not sd or not 1e-6 < sd < 1e9 or any(abs(value) > 1e9 for value in values):  # type: ignore[arg-type]
        return " to ".join(map(number, values))
    decimals = max(0, 1 - math.floor(math.log10(sd)))
    return " to ".join(f"{value:,.{decimals}f}".replace("-", "−") for value in values)

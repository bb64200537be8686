"""`make verify`: do finished runs once more, in a temporary place, and compare the numbers.

With the same code, packages and data a run must give the same draws, bit for bit. Where one of
these differs, or the machine, means are compared in units of their Monte Carlo error.
"""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partialpool.batch import execute, staleness, study_file, surroundings
from partialpool.batch.runs import Run, read_summary
from partialpool.data.text import duration
from partialpool.posterior import agreement
from partialpool.report.page import reason


@dataclass(frozen=True)
class Comparison:
    """What a run and its repetition have to do with each other.

    Attributes
    ----------
    same : bool
        Whether all numbers are identical.
    worst : float
        Largest difference of a mean, in units of its Monte Carlo error; infinite where there is a
        difference and no error.
    name : str
        The parameter it belongs to.
    count : int
        How many numbers were compared so.
    """

    same: bool
    worst: float
    name: str
    count: int

    @property
    def limit(self) -> float:
        """Largest difference that chance explains, for as many numbers as there are."""
        return agreement.explained(self.count)


def verify(root: Path, studies: Sequence[str] = ()) -> int:
    """Repeat the finished runs of some studies and say how they compare.

    Parameters
    ----------
    root : Path
        The project's folder.
    studies : sequence of str
        Names or paths; default is all of ``params/``.

    Returns
    -------
    int
        0 if every run was finished and could be reproduced, 1 if not.
    """
    root = root.resolve()
    runs = study_file.plan(root, study_file.find(root, studies))
    width = max(len(run.label) for run in runs)
    bad = 0
    for run in runs:
        begun = time.monotonic()
        word, says = _repeat(run)
        bad += word in ("missing", "different", "error")
        took = duration(time.monotonic() - begun)
        print(f"  {word:<9}  {run.label:<{width}}  {says} ({took})", flush=True)
    print(f"{len(runs) - bad} of {len(runs)} runs reproduced.")
    return 1 if bad else 0


def _repeat(run: Run) -> tuple[str, str]:
    """The outcome in a word and in a sentence."""
    earlier = read_summary(run.folder)
    if earlier is None or earlier["status"] == "error":
        return "missing", f"has no finished result; make report STUDY={run.study} makes one"
    changed = changes(earlier, run)
    with tempfile.TemporaryDirectory(prefix="partialpool-verify-") as folder:
        place = Path(folder) / run.name
        place.mkdir()
        again = execute.fill(run, place, None)
        if again["status"] == "error":
            return "error", reason(again)
        found = compare(earlier, again, run.folder, place)
    differs = f"; changed since: {', '.join(changed)}" if changed else ""
    if found.same:
        return "identical", f"{_count(earlier)}{differs}"
    largest = f"largest difference {found.worst:.2g} Monte Carlo errors ({found.name})"
    if not changed:
        return "different", f"{largest}, though code, packages, data and machine are the same"
    if found.worst > found.limit:
        return "different", f"{largest}, where chance explains {found.limit:.2g}{differs}"
    return "agrees", f"{largest}, within the {found.limit:.2g} that chance explains{differs}"


def _count(summary: dict[str, Any]) -> str:
    draws = " and all draws" if summary.get("posterior") else ""
    return f"{len(summary['parameters'])} parameters{draws}"


def changes(summary: dict[str, Any], run: Run) -> list[str]:
    """Name what is no longer as it was when a run was made; machine and packages too."""
    then, now = summary["provenance"], surroundings.versions()
    found = [key for key in ("python", "platform") if then.get(key) != now[key]]
    packages = then.get("packages", {})
    found += [name for name, version in now["packages"].items() if packages.get(name) != version]
    why = staleness.why_stale(run, summary, staleness.fingerprint(run))
    return [*found, why.removesuffix(" changed")] if why else found


def compare(
    one: dict[str, Any], other: dict[str, Any], folder: Path, other_folder: Path
) -> Comparison:
    """Compare two results of a run.

    Parameters
    ----------
    one, other : dict
        Their
    folder, other_folder : Path
        Where their posteriors are.
    """
    keys = ("status", "parameters", "log_evidence", "estimates")
    same = all(one.get(key) == other.get(key) for key in keys)
    same = same and _same_draws(folder / "posterior.nc", other_folder / "posterior.nc")
    worst, name = 0.0, "status"
    shared = one["parameters"].keys() & other["parameters"].keys()
    if one["parameters"].keys() != other["parameters"].keys():
        worst, name = math.inf, "names of parameters"
    for parameter in sorted(shared):
        distance = agreement.distance(one["parameters"][parameter], other["parameters"][parameter])
        if distance > worst:
            worst, name = distance, parameter
    return Comparison(same, worst, name, len(shared))


def _same_draws(one: Path, other: Path) -> bool:
    """Whether two posteriors hold the same draws; times and other attributes do not count."""
    if not one.is_file() or not other.is_file():
        return one.is_file() == other.is_file()
    import xarray as xr

    try:
        first, second = (xr.load_datatree(path) for path in (one, other))
    except (OSError, ValueError):  # cut off or overwritten
        return False
    groups, others = (set(tree.children) - {"sample_stats"} for tree in (first, second))
    return groups == others and all(
        _same(first[group].to_dataset(), second[group].to_dataset()) for group in groups
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two groups hold the same values; how long each fit of many took does not count."""
    names = set(one) - {"seconds"}
    return names == set(other) - {"seconds"} and all(
        np.array_equal(one[name].to_numpy(), other[name].to_numpy(), equal_nan=_numeric(one[name]))
        for name in names
    )


def _numeric(values: Any) -> bool:
    return values.dtype.kind in "fc"

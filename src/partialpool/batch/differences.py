"""Two results of a run: whether their numbers agree, and why there is a second one.

Means are compared in units of their Monte Carlo error, draws bit for bit.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from partialpool.posterior.agreement import distance, explained
from partialpool.report.page import estimate

#: Posterior standard deviations, below which two results differ by rounding alone.
ROUNDING = 1e-8
#: Most names in a list of what changed.
NAMES = 3
#: What an input of a run is, by the ending of its name; anything else is data.
KINDS = {".py": "code", ".ipynb": "notebook"}


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
    in_sds : float
        Largest difference of a mean or a standard deviation, in posterior standard deviations.
    """

    same: bool
    worst: float
    name: str
    count: int
    in_sds: float

    @property
    def rounding(self) -> bool:
        """Whether the two differ by no more than processors do that add in another order."""
        return 0 < self.in_sds < ROUNDING

    @property
    def limit(self) -> float:
        """Largest difference that chance explains, for as many numbers as there are."""
        return explained(self.count)


def compare(
    one: dict[str, Any], other: dict[str, Any], folder: Path, other_folder: Path
) -> Comparison:
    """Compare two summaries of a run, and the posteriors in their folders."""
    keys = ("status", "parameters", "log_evidence", "estimates")
    same = all(one.get(key) == other.get(key) for key in keys)
    same = same and _same_draws(folder / "posterior.nc", other_folder / "posterior.nc")
    worst, name = 0.0, "status"
    mine, others = one["parameters"], other["parameters"]
    shared = sorted(mine.keys() & others.keys())
    if mine.keys() != others.keys():
        worst, name = math.inf, "names of parameters"
    for parameter in shared:
        if (far := distance(mine[parameter], others[parameter])) > worst:
            worst, name = far, parameter
    in_sds = max((_in_sds(mine[n], others[n]) for n in shared), default=0.0)
    missing = mine.keys() != others.keys()
    return Comparison(same, worst, name, len(shared), math.inf if missing else in_sds)


def _in_sds(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Difference of two means or standard deviations in units of the latter."""
    if all(one.get(key) == other.get(key) for key in ("mean", "sd")):
        return 0.0
    if None in (one.get("mean"), other.get("mean")) or not (one.get("sd") and other.get("sd")):
        return math.inf
    return max(abs(one[key] - other[key]) for key in ("mean", "sd")) / one["sd"]


def _same_draws(one: Path, other: Path) -> bool:
    """Whether two posteriors hold the same draws; times and other attributes do not count."""
    if not one.is_file() or not other.is_file():
        return one.is_file() == other.is_file()
    import xarray as xr

    def kept(path: Path) -> xr.DataTree:
        tree = xr.load_datatree(path).drop_nodes("sample_stats", errors="ignore")
        # how long each fit of many took
        return tree.map_over_datasets(lambda group: group.drop_vars("seconds", errors="ignore"))

    try:
        return kept(one).equals(kept(other))
    except (OSError, ValueError):  # cut off or overwritten
        return False


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name the keys, sorted, that have another value or are in one of two mappings only."""
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the changes from one set of runs to another; see `listing.update`.

    An estimate counts as changed when its two means are further apart than Monte Carlo error
    explains for as many comparisons as there are, or when there is no such error.
    """
    labels = differing(then, now)
    repeated = [label for label in labels if label in then and label in now]
    pairs = sum(len(then[x]["estimates"].keys() & now[x]["estimates"].keys()) for x in repeated)
    found = []
    for label in labels:
        shown = now.get(label) or then[label]
        change = {key: shown[key] for key in ("study", "run", "status")}
        change |= {"kind": "removed" if label in then else "new"}
        change |= {"why": "", "verdict": None, "estimates": []}
        if label in repeated:
            old, new = then[label], now[label]
            moved = _moved(old["estimates"], new["estimates"], explained(pairs))
            change |= {"kind": "repeated", "why": why(old, new), "estimates": moved}
            if old["status"] != new["status"]:
                change["verdict"] = [old["status"], new["status"]]
        found.append(change)
    return sorted(found, key=lambda change: (change["study"], change["run"]))


def why(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say why a run was done again: what is different in what it was made from.

    Examples
    --------
    >>> old = {"status": "passed", "settings": {"n": 10}, "inputs": {}, "expect": None, "data": ""}
    >>> why(old, old | {"settings": {"n": 20}})
    'settings changed: n'
    """
    reasons = ["it broke last time"] if old["status"] == "error" else []
    settings = differing(old["settings"], new["settings"])
    settings += ["expect"] if old["expect"] != new["expect"] else []
    kinds: dict[str, list[str]] = {"settings": settings, "code": [], "notebook": [], "data": []}
    for name in differing(old["inputs"], new["inputs"]):
        if name in ("requirements.lock", "python"):
            reasons.append(f"{'packages' if name != 'python' else 'Python'} changed")
        else:
            path = PurePath(name)
            kinds[KINDS.get(path.suffix, "data")].append(path.name)
    if old["data"] != new["data"] and not kinds["data"] and old["data"] and new["data"]:
        reasons.append("data changed")
    for kind, names in kinds.items():
        rest = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        if names:
            reasons.append(f"{kind} changed: {', '.join(names[:NAMES])}{rest}")
    return "; ".join(reasons) or "asked for once more"


def _moved(old: Mapping[str, Any], new: Mapping[str, Any], limit: float) -> list[dict[str, Any]]:
    moved = []
    for name in new:
        if name in old and (far := distance(old[name], new[name])) > limit:
            means = {"old": estimate(old[name], "mean"), "new": estimate(new[name], "mean")}
            known = bool(old[name]["mcse_mean"] and new[name]["mcse_mean"])
            shown = {key: mean or "–" for key, mean in means.items()}
            moved.append({"name": name, **shown, "errors": far if known else None})
    return moved


def groups(changes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put runs together whose change is the same; those with other results first.

    Each has its ``runs``, as ``study/run``, and the number of ``studies`` that they are of.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for change in changes:
        told = bool(change["verdict"] or change["estimates"])
        label, broken = f"{change['study']}/{change['run']}", change["status"] == "error"
        key = (change["kind"], change["why"], broken, label if told else "")
        group = found.setdefault(key, dict(change) | {"runs": [], "told": told})
        group["runs"].append(label)
    for group in found.values():
        group["studies"] = len({label.split("/")[0] for label in group["runs"]})
    return sorted(found.values(), key=lambda group: not group["told"])

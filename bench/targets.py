"""Ours against the best peer, and against the numbers that the project sets out to reach."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from data import LINKED
from peers import PEERS

SAMPLERS = tuple(name for name, peer in PEERS.items() if peer.kind == "sampler")
ESTIMATES = tuple(name for name, peer in PEERS.items() if peer.kind == "estimate")
FORMULA_PEERS = ("bambi-nutpie", "bambi-pymc", "pymc-lkj", "rstanarm", "brms")


@dataclass(frozen=True)
class Target:
    """A number to reach: a rate to exceed `times` over, or a time to stay within.

    Attributes
    ----------
    dataset, figure : str
        `figure` is ``"ess_per_second"``, ``"ess_per_fit_second"`` (compiling and loading not
        counted) or ``"seconds"``.
    times : float
        Of the best of `peers`.
    peers : tuple of str
        Empty where `noted` is the number itself.
    noted : float
        The best figure of those peers when the target was set, for machines without them.
    """

    dataset: str
    figure: str
    times: float
    peers: tuple[str, ...]
    noted: float


TARGETS = (
    Target("origin", "ess_per_second", 1e6, ("metropolis",), 0.3),
    *(
        Target(dataset, "ess_per_second", 1000, FORMULA_PEERS, noted)
        for dataset, noted in (("sleepstudy", 254), ("radon", 119), ("Exam", 78))
    ),
    *(Target(name, "seconds", 1, ("lme4",), 0.07) for name in ("sleepstudy", "radon", "Exam")),
    Target("1000x100", "seconds", 1, ("gpboost",), 0.14),
    Target("InstEval", "seconds", 1, ("gpboost",), 1.19),
    Target("InstEval-dept", "seconds", 0.5, ("gpboost",), 6.5),
    Target("ratings", "seconds", 0.5, ("gpboost",), 1.86),
    *(
        Target(dataset, "ess_per_fit_second", 10, ("bambi-nutpie",), noted)
        for dataset, noted in (("cbpp", 3850), ("epil", 448), ("VerbAgg", 17))
    ),
    Target("binary-500", "seconds", 1, (), 0.3),
    Target("VerbAgg", "seconds", 1, (), 2.0),
    Target("binary-50000", "seconds", 1, (), 10.0),
)


def best(cell: dict[str, Any]) -> dict[str, Any]:
    """Figures of the best later call, or of the first one where there is no other."""
    first, later = cell.get("first", {}), cell.get("later", {})
    return later if later and later["seconds"] < first["seconds"] else first


def best_of(
    cells: dict[str, Any], peers: Iterable[str], figure: str
) -> tuple[str, float] | tuple[None, None]:
    """The peer with the highest rate or the shortest time, and that figure."""
    found = {p: best(cells[p])[figure] for p in peers if figure in best(cells.get(p, {}))}
    if not found:
        return None, None
    peer = (min if figure == "seconds" else max)(found, key=found.__getitem__)
    return peer, found[peer]


def held(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Every target whose data set was measured: what was needed, what ours reached."""
    rows = []
    for target in TARGETS:
        cells = results.get(target.dataset, {})
        ours = best(cells.get("exact", {})).get(target.figure)
        if ours is None:
            continue
        peer, measured = best_of(cells, target.peers, target.figure)
        needed = target.times * (target.noted if measured is None else measured)
        rate = target.figure != "seconds"
        rows.append(
            {
                "dataset": target.dataset,
                "figure": target.figure,
                "times": target.times,
                "peer": peer or ("no peer was measured" if target.peers else ""),
                "needed": needed,
                "noted": target.times * target.noted,
                "ours": ours,
                "reached": ours / needed if rate else needed / ours,
            }
        )
    return rows


def leaders(results: dict[str, Any]) -> list[str]:
    """For every data set, ours against the best sampler and the fastest point estimate."""
    sentences = []
    for dataset, cells in results.items():
        ours, parts = best(cells.get("exact", {})), []
        sampler, rate = best_of(cells, SAMPLERS, "ess_per_second")
        estimate, seconds = best_of(cells, ESTIMATES, "seconds")
        if ours and rate is not None:
            share = ours["ess_per_second"] / rate
            parts.append(f"{share:,.0f} times the effective draws/s of the best sampler, {sampler}")
        if ours and seconds is not None:
            share = ours["seconds"] / seconds
            share = float(f"{share:.2g}")
            parts.append(f"{share:,g} times the seconds of the fastest estimate, {estimate}")
        if ours and dataset in LINKED:
            error = ours.get("error")
            parts.append(
                "not certified" if error is None else f"log likelihood right to {error:.1g}"
            )
        if parts:
            sentences.append(f"{dataset}: {'; '.join(parts)}")
    return sentences


def against(cells: dict[str, Any], name: str) -> float | None:
    """How many times better ours is: in effective draws per second, or in time for an estimate."""
    figure = "ess_per_second" if "ess" in best(cells.get(name, {})) else "seconds"
    ours = best(cells.get("exact", {})).get(figure)
    theirs = best(cells.get(name, {})).get(figure)
    if ours is None or theirs is None or PEERS[name].kind == "ours":
        return None
    return ours / theirs if figure == "ess_per_second" else theirs / ours


def agree(cells: dict[str, Any], reference: dict[str, Any]) -> None:
    """Add to every call how far its estimates lie from the exact means, in posterior sd."""
    exact = reference.get("first")
    if exact is None:
        return
    for cell in cells.values():
        for call in ("first", "later"):
            estimates = cell.get(call, {}).get("estimates", {})
            distances = {
                name: abs(value - exact["estimates"][name]) / exact["sds"][name]
                for name, value in estimates.items()
                if name in exact["estimates"]
            }
            if distances:
                farthest = max(distances, key=distances.__getitem__)
                cell[call] |= {"distance": distances[farthest], "farthest": farthest}

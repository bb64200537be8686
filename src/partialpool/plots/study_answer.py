"""What a study of several runs says, in words, from nothing but its runs' summaries.

Does without matplotlib, so that the index can be written without loading it.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from partialpool.data.text import listed, number, percent, short
from partialpool.simulation.figures import ERROR, PROMISE, SIZES

#: Most parameters in one picture, or one sentence.
MOST = 6
#: Most different answers of runs that stand beside each other.
MANY = 4
#: Metric of every study, computed from its summaries: of whole fits, with the code they load.
RATE = "effective draws per second, worst parameter"
Rows = Sequence[Mapping[str, Any]]


def answers(rows: Rows) -> list[tuple[str, str]]:
    """What a study says: pairs of the runs that say it, in words, and what they say.

    One answer where it has one as a whole, or all runs agree, with no words before it; otherwise
    that of each run, and none where these are more than can be read side by side.
    """
    if not rows:
        return []
    if whole := answer(rows):
        return [("", whole)]
    said: dict[str, list[str]] = {}
    for row, words in zip(rows, runs_in_words(rows), strict=True):
        if headline := row["summary"].get("headline"):
            said.setdefault(headline, []).append(words)
    if len(said) == 1:
        return [("", next(iter(said)))]
    return [(listed(who), what) for what, who in said.items()] if len(said) <= MANY else []


def answer(rows: Rows) -> str:
    """What a study of many fits says as a whole: how errors change, and whether intervals hold.

    Of one setting, from its least value to its largest; of several, from the least error to the
    largest. Runs that differ only by their seeds count by their mean. Empty where runs have no
    `ERROR`, or all the same settings.
    """
    swept = rows[0]["swept"]
    places: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if ERROR not in row["metrics"]:
            return ""
        place = tuple(row["settings"][key] for key in swept)
        places.setdefault(place, []).append(row["metrics"][ERROR])
    if len(places) < 2:
        return ""
    called, order_of = called_in(rows), sorted(places, key=lambda place: [*map(order, place)])
    each = []
    for name in estimated(rows):
        errors = {
            place: fmean([one[name] for one in places[place]])
            for place in order_of
            if all(one.get(name) is not None for one in places[place])
        }
        if len(swept) == 1 and {order_of[0], order_of[-1]} <= {*errors}:
            ends = (short(errors[place]) for place in (order_of[0], order_of[-1]))
            each.append(f"{' to '.join(ends)} for the {called.get(name, name)}{_true(rows, name)}")
        elif len(swept) > 1 and len(errors) > 1:
            least, most = (choose(errors, key=lambda e: errors[e]) for choose in (min, max))
            ends = (f"{short(errors[e])} ({_at(swept, e)})" for e in (least, most))
            each.append(f"{' to '.join(ends)} for the {called.get(name, name)}{_true(rows, name)}")
    if not each:
        return ""
    if len(swept) > 1:
        return f"The {ERROR} goes from {'; from '.join(each)}.{_promise(rows)}"
    ends = (_at(swept, place) for place in (order_of[0], order_of[-1]))
    return f"From {' to '.join(ends)} the {ERROR} goes from {listed(each)}.{_promise(rows)}"


def _true(rows: Rows, name: str) -> str:
    """The true value of a parameter, where all runs have the same."""
    values = {(row["summary"].get("truth") or {}).get(name) for row in rows}
    value = values.pop() if len(values) == 1 else None
    return "" if value is None else f" (true value {number(value)})"


def _promise(rows: Rows) -> str:
    """Whether 95 % intervals hold truths from the prior as often as they say."""
    shares = [
        share
        for row in rows
        for share in row["metrics"].get(PROMISE, {}).values()
        if share is not None
    ]
    if not shares:
        return ""
    says = (
        f" Of data sets with truths from the prior the 95 % intervals hold the truth in "
        f"{percent(min(shares), 1)} to {percent(max(shares), 1)}, by run and parameter"
    )
    counts = {row["summary"].get("settings", {}).get("calibrations") for row in rows}
    n = counts.pop() if len(counts) == 1 else None
    if n:
        ends = (percent(0.95 + 1.96 * side * (0.95 * 0.05 / n) ** 0.5, 1) for side in (-1, 1))
        says += f"; chance leads 95 of 100 such shares of {n:,} data sets to {' to '.join(ends)}"
    return f"{says}."


def _at(swept: Sequence[str], place: Sequence[Any]) -> str:
    """A place among the settings: 10 points, noise 0."""
    return ", ".join(told(key, value) for key, value in zip(swept, place, strict=True))


def told(key: str, value: Any) -> str:
    """A setting in words: 10 points, noise 0."""
    return f"{number(value)} {SIZES[key]}" if key in SIZES else f"{key} {number(value)}"


def runs_in_words(rows: Rows) -> list[str]:
    """What runs are called beside each other: by what differs, or by their names."""
    keys = [*rows[0]["swept"], "seed"]
    differ = [key for key in keys if len({str(row["settings"].get(key)) for row in rows}) > 1]
    called = [", ".join(told(key, row["settings"].get(key)) for key in differ) for row in rows]
    return called if len({*called}) == len(rows) else [row["name"] for row in rows]


def estimated(rows: Rows) -> list[str]:
    """Parameters that runs record as their estimates, those of the first run first."""
    found: list[str] = []
    for row in rows:
        found += [n for n in row["summary"]["estimates"] if n not in found]
    return found[:MOST]


def called_in(rows: Rows) -> dict[str, str]:
    """Words for parameters, as the runs have them."""
    return {n: words for row in rows for n, words in row["summary"].get("names", {}).items()}


def order(value: Any) -> tuple[int, Any]:
    """Sort numbers before words."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))

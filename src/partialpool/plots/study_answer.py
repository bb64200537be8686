"""What a study of several runs says, in words, from nothing but its runs' summaries.

Does without matplotlib, so that the index can be written without loading it.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from partialpool.data.text import listed, number, short

#: Most parameters in one picture, or one sentence.
MOST = 6
#: Most different answers of runs that stand beside each other.
MANY = 4
#: The metric by which a study of many fits is told as a whole.
ERROR = "root mean squared error"
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
    """What a study of many fits says as a whole: how errors change with its swept settings.

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
            each.append(f"{' to '.join(ends)} for the {called.get(name, name)}")
        elif len(swept) > 1 and len(errors) > 1:
            least, most = (choose(errors, key=lambda e: errors[e]) for choose in (min, max))
            ends = (f"{short(errors[e])} ({_at(swept, e)})" for e in (least, most))
            each.append(f"{' to '.join(ends)} for the {called.get(name, name)}")
    if not each:
        return ""
    if len(swept) > 1:
        return f"The {ERROR} goes from {'; from '.join(each)}."
    ends = (_at(swept, place) for place in (order_of[0], order_of[-1]))
    return f"From {' to '.join(ends)} the {ERROR} goes from {listed(each)}."


def _at(swept: Sequence[str], place: Sequence[Any]) -> str:
    """A place among the settings: n = 10, noise = 0."""
    return ", ".join(f"{key} = {number(v)}" for key, v in zip(swept, place, strict=True))


def runs_in_words(rows: Rows) -> list[str]:
    """What runs are called beside each other: by what differs, or by their names."""
    keys = [*rows[0]["swept"], "seed"]
    differ = [key for key in keys if len({str(row["settings"].get(key)) for row in rows}) > 1]
    called = [
        ", ".join(f"{key} {number(row['settings'].get(key))}" for key in differ) for row in rows
    ]
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

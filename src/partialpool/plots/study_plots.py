"""Pictures of a whole study, drawn from nothing but its runs' summaries."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from scipy.stats import binom

from partialpool.data.text import capital, listed, number, percent, rounded, short, typeset
from partialpool.plots import heat_map, theme
from partialpool.plots.study_answer import (
    MOST,
    RATE,
    Rows,
    called_in,
    estimated,
    order,
    runs_in_words,
    told,
)
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import POOLING
from partialpool.simulation.figures import BIAS, ERROR, PROMISE, RATIO, SIZES

#: Letters in a line where panels stand side by side.
NARROW = 24
#: Difference from the nominal coverage at which the colours of a heat map end.
FAR = 0.15
#: Colours of what has a sign, pale in the middle, and of what has none, dark at its least.
SIGNED, UNSIGNED = "PRGn", "cividis"
#: Most values of a setting that all have a tick.
TICKS = 8


def pictures(rows: Rows) -> list[tuple[str, Finding]]:
    """All that the page of a study shows of its runs, each under its title.

    Parameters
    ----------
    rows : sequence of mappings
        Each with ``name``, ``settings``, ``swept``, ``summary``, ``metrics`` and the ``folder``.
    """
    found, swept = [("Estimates", estimates(rows))], rows[0]["swept"]
    if {"formula", "family"} & {*swept}:
        from partialpool.plots import study_formulas  # which loads ArviZ

        found += study_formulas.comparisons(rows)
    kept = any(_nominal(metric) is not None for row in rows for metric in row["metrics"])
    for metric in dict.fromkeys(name for row in rows for name in row["metrics"]):
        if metric == PROMISE:  # which the answer tells
            continue
        shown = [row for row in rows if row["metrics"].get(metric)]
        if len(swept) == 2:
            picture = over_two(shown, metric, *swept)
        else:
            picture = over_one(shown, metric, swept[0] if swept else "seed")
        says = f"{picture.sentence}{_left_out(rows, shown, metric)}"
        if kept and _nominal(metric) is not None:
            says += (
                " Intervals need not hold one truth as often as they say, but on average over the "
                "prior."
            )
            kept = False  # said once
        found.append((capital(typeset(metric)), replace(picture, sentence=says)))
    return found


def _left_out(rows: Rows, shown: Rows, metric: str) -> str:
    """Which runs have no such figure, by the settings that tell them apart, and why."""
    absent = [row for row in rows if row not in shown]
    if not absent:
        return ""
    by = []
    for key in rows[0]["swept"]:
        values, others = ({r["settings"][key] for r in some} for some in (absent, shown))
        if not values & others:
            by += [told(key, value) for value in sorted(values, key=order)]
    names = by or [
        name for row, name in zip(rows, runs_in_words(rows), strict=True) if row in absent
    ]
    why = ": without noise no pooling has no error" if metric == RATIO else ""
    return f" Left out {'is' if len(names) == 1 else 'are'} {listed(names)}{why}."


def estimates(rows: Rows) -> Finding:
    """Estimates with 90 % intervals, run by run, true values marked.

    Parameters
    ----------
    rows : sequence of mappings
        Each with ``name`` and ``summary``.
    """
    names = estimated(rows)
    called = called_in(rows)
    columns = _columns(len(names))
    lines = -(-len(names) // columns)
    runs = [theme.wrapped(name, NARROW) for name in runs_in_words(rows)]
    height = sum(0.14 * (name.count("\n") + 2) for name in runs) + 0.9
    figure = Figure((8.8 if columns > 1 else 5.0, height * lines))
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    at = np.arange(len(rows))[::-1]
    sentences, marked = [], False
    for panel, name in zip(panels.flat, names, strict=False):
        means, widths = [], []
        for y, row in zip(at, rows, strict=True):
            found = row["summary"]["parameters"].get(name)
            if found is None:
                continue
            if found.get("q05") is not None:
                panel.plot([found["q05"], found["q95"]], [y, y], lw=3, **theme.INTERVAL)
            panel.plot(found["mean"], y, "o", ms=4.5, color=theme.PARTIAL)
            means.append(found["mean"])
            widths += [found["sd"]] if found.get("sd") else []
            true = row["summary"].get("truth", {}).get(name)
            if true is not None:
                marked = True
                panel.vlines(true, y - 0.4, y + 0.4, **theme.TRUTH)
        words = theme.wrapped(called.get(name, name), NARROW if columns > 2 else 34)
        panel.set(xlabel=words, ylim=(-0.7, len(rows) - 0.3))
        panel.set_yticks(at, runs)
        panel.locator_params(axis="x", nbins=4)
        if means:
            ends = [rounded(mean, min(widths, default=None)) for mean in (min(means), max(means))]
            ends = list(dict.fromkeys(ends))
            sentences.append(f"{called.get(name, name)} {' to '.join(ends)}")
    says = f"Posterior means over {len(rows)} runs: {'; '.join(sentences)}."
    if any(row["summary"].get("averaged") for row in rows):
        says += (
            " A dot is the average of the posterior means of many data sets, its bar the range "
            "that holds 90 % of them."
        )
    else:
        says += " A dot is a posterior mean, its bar a 90 % equal-tailed interval."
    says += " Upright marks stand at true values." * marked
    what = "Estimates with 90 % intervals, a line per run."
    return theme.finding("estimates", figure, what, says)


def over_one(rows: Rows, metric: str, key: str) -> Finding:
    """A metric against one swept setting, a panel per parameter; of ways to pool all in one.

    Of a coverage the band is where chance alone leads from the right one, in 95 % of so many data
    sets; a bias has a 95 % Monte Carlo interval. A seed is no quantity, and joined by no line.
    """
    values = sorted({row["settings"][key] for row in rows}, key=order)
    numeric = key != "seed" and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )
    found = _metric(rows, metric)
    ways = {words: theme.COLORS[way] for way, words in POOLING.items()}
    together = {*found} <= {*ways}
    names = list(found)[:MOST]
    columns = _columns(len(names))
    size = (6, 3.2) if together or len(names) == 1 else (8.8 / columns, 2.2)
    figure, panels = theme.panels(1 if together else len(names), columns, size, sharey=True)
    nominal, n, errors = _nominal(metric), _data_sets(rows), _errors(rows, metric)
    for k, name in enumerate(names):
        panel = panels[0 if together else k]
        for row, value in found[name]:
            if (error := errors.get((name, row["name"]))) is not None:
                place = row["settings"][key]
                place = place if numeric else values.index(place)
                ends = value - 1.96 * error, value + 1.96 * error
                panel.plot([place, place], ends, lw=3, **theme.INTERVAL)
        points = [
            np.nanmean([v for row, v in found[name] if row["settings"][key] == value] or [np.nan])
            for value in values
        ]
        style = "o-" if numeric else "o"
        places = values if numeric else range(len(values))
        panel.plot(places, points, style, ms=5, label=name, color=ways.get(name, theme.PARTIAL))
        if len(names) > 1 and not together:
            panel.set_title(theme.wrapped(name, NARROW + 6), fontsize=10)
    for panel in panels:
        if nominal is not None:
            panel.axhline(nominal, color=theme.INK, lw=0.9, ls=":")
            if n:
                panel.axhspan(*binom.ppf([0.025, 0.975], n, nominal) / n, **theme.CHANCE)
        elif metric == BIAS:
            panel.axhline(0, color=theme.INK, lw=0.9, ls=":")
        panel.set_xlabel(SIZES.get(key, key))
        if numeric:
            if min(values) > 0 and max(values) / min(values) >= 8:
                panel.set_xscale("log")
                panel.set_xlabel(f"{SIZES.get(key, key)} (log scale)")
            if len(values) <= TICKS:
                panel.set_xticks(values, [f"{v:g}" for v in values], minor=False)
                panel.minorticks_off()
        else:
            panel.set_xticks(range(len(values)), [str(v) for v in values])
            panel.set_xlim(-0.5, len(values) - 0.5)
    all_points = [value for pairs in found.values() for _, value in pairs]
    first = panels[0]
    says_log = ""
    if min(all_points) > 0 and max(all_points) / min(all_points) >= 8:
        says_log = " (log scale)"
        first.set_yscale("log")
        first.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        first.yaxis.set_minor_locator(NullLocator())
    share = metric.startswith("coverage")  # ticks stand between whole per cents too
    first.yaxis.set_major_formatter(
        lambda value, _: f"{number(100 * value, 3)} %" if share else number(value, 3)
    )
    for panel in panels:
        panel.tick_params(labelleft=True)  # each may stand alone, on a telephone
    for panel in panels[::columns]:
        panel.set_ylabel(theme.wrapped(f"{typeset(metric)}{says_log}", 26))
    if together and len(names) > 1:
        theme.legend(figure)
    says = _words(found, metric, key) + _beyond(rows, found, metric, "the band of ")
    return theme.finding(metric, figure, f"{typeset(metric)}, by {key}.", says)


def _beyond(rows: Rows, found: Mapping[str, Any], metric: str, band: str = "") -> str:
    """How many figures lie beyond what chance explains, beside how many would by chance alone."""
    values = [value for pairs in found.values() for _, value in pairs]
    nominal, n = _nominal(metric), _data_sets(rows)
    if nominal is not None and n:
        low, high = binom.ppf([0.025, 0.975], n, nominal)
        out = sum(not low - 0.5 < value * n < high + 0.5 for value in values)
        chance = len(values) * (binom.cdf(low - 1, n, nominal) + binom.sf(high, n, nominal))
        return (
            f" Of {len(values)} shares of {n:,} data sets {out} {'lies' if out == 1 else 'lie'} "
            f"outside {band}{percent(low / n)} to {percent(high / n)}, where of a coverage of "
            f"{percent(nominal)} chance alone leaves about {chance:.1f}."
        )
    errors = _errors(rows, metric)
    if errors:
        pairs = [
            (value, errors[name, row["name"]])
            for name, of_name in found.items()
            for row, value in of_name
            if (name, row["name"]) in errors
        ]
        out = sum(abs(value) > 1.96 * error for value, error in pairs)
        verb = "excludes" if out == 1 else "exclude"
        return (
            f" Of {len(pairs)} Monte Carlo intervals (95 %) {out} {verb} zero, where chance alone "
            f"makes about {0.05 * len(pairs):.1f}; a posterior mean leans towards the prior where "
            "data say little."
        )
    if metric == RATIO:
        worse = [
            f"{name} at {_place(row)} ({_short(value, metric)})"
            for name, of_name in found.items()
            for row, value in of_name
            if value < 1
        ]
        where = ", which it is nowhere here"
        if worse:
            where = f", as for {listed(worse)}; pages of the runs have the Monte Carlo intervals"
        return f" Below 1 partial pooling is the worse of the two{where}."
    if metric == RATE:
        return (
            " Seconds are those of one whole fit, with the code that it compiles or loads; only "
            "orders of magnitude count."
        )
    return ""


def _place(row: Mapping[str, Any]) -> str:
    return ", ".join(told(key, row["settings"][key]) for key in row["swept"] or ["seed"])


def _errors(rows: Rows, metric: str) -> dict[tuple[str, str], float]:
    """Monte Carlo errors of a bias by parameter in words and run, from the scatter about it."""
    n, called = _data_sets(rows), called_in(rows)
    if metric != BIAS or n < 2:
        return {}
    return {
        (called.get(name, name), row["name"]): float(np.sqrt(max(off**2 - bias**2, 0) / (n - 1)))
        for row in rows
        for name, bias in row["metrics"][BIAS].items()
        if bias is not None and (off := row["metrics"].get(ERROR, {}).get(name)) is not None
    }


def over_two(rows: Rows, metric: str, across: str, down: str) -> Finding:
    """Heat maps of a metric over two swept settings, a panel per parameter.

    Bias and coverage have the same colours in all panels, pale at what they should be.
    """
    found = _metric(rows, metric)
    names = list(found)[:MOST]
    columns = _columns(len(names))
    lines, nominal, errors = -(-len(names) // columns), _nominal(metric), _errors(rows, metric)
    xs, ys = (sorted({r["settings"][k] for r in rows}, key=order) for k in (across, down))
    figure = Figure((min((0.75 * len(xs) + 1.1) * columns, 9.0), (0.45 * len(ys) + 1.1) * lines))
    panels = figure.subplots(lines, columns, squeeze=False)
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    signed = nominal is not None or metric == BIAS
    colors, middle = mpl.colormaps[SIGNED if signed else UNSIGNED], nominal or 0.0
    far = FAR if nominal is not None else max(abs(v) for n in names for _, v in found[n]) or 1.0
    for panel, name in zip(panels.flat, names, strict=False):
        grid = np.full((len(ys), len(xs)), np.nan)
        texts = np.full(grid.shape, "", object)
        for row, value in found[name]:
            at = ys.index(row["settings"][down]), xs.index(row["settings"][across])
            error = errors.get((name, row["name"]))
            grid[at], texts[at] = value, rounded(value, error) if error else _short(value, metric)
        ends = (middle - far, middle + far) if signed else (np.nanmin(grid), np.nanmax(grid))
        heat_map.cells(panel, grid, colors, ends, texts)
        panel.set_xticks(range(len(xs)), [number(x) for x in xs])
        panel.set_yticks(range(len(ys)), [number(y) for y in ys])
        panel.set(xlabel=SIZES.get(across, across), ylabel=SIZES.get(down, down))
        panel.set_title(theme.wrapped(name, 40) if len(found) > 1 else "")
        panel.tick_params(length=0)
        for spine in panel.spines.values():
            spine.set_visible(False)
    what, says = f"{typeset(metric)}, by {across} and {down}.", _words(found, metric, across, down)
    says += _beyond(rows, found, metric)
    if signed:
        theme.legend(figure, heat_map.key(colors, middle, far, nominal is not None))
    elif len(names) > 1:
        says += " Colours go from the least of each panel, dark, to its largest."
    if nominal is not None and (edge := [n for n in _on_the_edge(rows, metric) if n in names]):
        says += (
            f" A cell of {listed(edge)} is empty where the true value is 0, the boundary of a "
            "standard deviation, which no interval can hold."
        )
    return theme.finding(metric, figure, what, says)


def _on_the_edge(rows: Rows, metric: str) -> list[str]:
    """Parameters in words that a run with a true value of 0 has no such metric of."""
    found: dict[str, None] = {}
    for row in rows:
        truth = row["summary"].get("truth") or {}
        zero = [name for name, value in truth.items() if value == 0]
        found |= dict.fromkeys(name for name in zero if name not in row["metrics"].get(metric, {}))
    called = called_in(rows)
    return [called.get(name, name) for name in found]


def _columns(panels: int) -> int:
    """Panels side by side, without one alone in the last line."""
    return 2 if panels == 4 else min(3, panels)


def _metric(rows: Rows, metric: str) -> dict[str, list[tuple[Mapping[str, Any], float]]]:
    """Parameter in words, those of the estimates first -> its runs with the metric's value."""
    found: dict[str, list[tuple[Mapping[str, Any], float]]] = {}
    for row in rows:
        for name, value in row["metrics"].get(metric, {}).items():
            if value is not None:
                found.setdefault(name, []).append((row, value))
    first = [name for name in estimated(rows) if name in found]
    called = called_in(rows)
    return {called.get(name, name): found[name] for name in dict.fromkeys([*first, *found])}


def _words(found: Mapping[str, Any], metric: str, *keys: str) -> str:
    """From where to where a metric goes, where it is told by the settings that differ."""
    points = [(value, name, row) for name, pairs in found.items() for row, value in pairs]
    low, high = min(points, key=lambda p: p[0]), max(points, key=lambda p: p[0])
    ends = []
    for value, name, row in (low, high):
        at = [told(key, row["settings"][key]) for key in keys]
        ends.append(f"{_short(value, metric)} ({', '.join([*([name] * (len(found) > 1)), *at])})")
    return f"{capital(typeset(metric))}: from {ends[0]} to {ends[1]}."


def _data_sets(rows: Rows) -> int:
    """How many data sets of the fixed truth each run has; 0 where runs differ or have one."""
    counts = {row["summary"].get("settings", {}).get("recoveries", 0) for row in rows}
    return counts.pop() if len(counts) == 1 else 0


def _nominal(metric: str) -> float | None:
    """The value that a coverage should have; None for other metrics."""
    if not metric.startswith("coverage of "):
        return None
    return float(metric.split()[2].rstrip("%")) / 100


def _short(value: float, metric: str) -> str:
    if metric.startswith("coverage"):
        return percent(value)
    if metric == RATE:
        return short(value)
    return number(float(value), 2 if metric in (BIAS, ERROR) else 3, zeros=True)

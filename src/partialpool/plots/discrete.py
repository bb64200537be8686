"""Pictures of counts and answers beside what a model makes of them: bars and reliability."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from partialpool.data.text import number, percent, rounded
from partialpool.design.families import LINKS
from partialpool.fit.regression import Regression
from partialpool.plots import theme
from partialpool.posterior import data_fit
from partialpool.posterior.contrasts import response
from partialpool.posterior.draws import PROBABILITY, interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.leave_one_out import LeftOut
from partialpool.posterior.responses import observed, scores

#: Most bars; of more values some share one.
MAX_BARS = 30
#: Most bars that are labelled.
MOST_LABELS = 12
#: How many times the data's mean, or what part of it, a mean under the priors is told of as far.
FAR_OFF = 100
#: Bins of a reliability diagram, each of as many rows.
BINS = 10


def prior_check(model: Regression, replicated: np.ndarray, rows: np.ndarray) -> Finding:
    """Where the priors alone expect the mean of the response, beside the data's.

    Parameters
    ----------
    model : Regression
    replicated : (S, n) array
        Data sets drawn from the priors.
    rows : (n,) int array
        Rows of the data.
    """
    drawn, ours = _means(model, replicated, rows), _means(model, model.design.y[rows][None], rows)
    middle = float(ours[0])
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 3.0))
    counts = LINKS[model.family] == "log"
    low, high = (0.0, 1.0) if model.design.trials is not None else (drawn.min(), drawn.max())
    bins = np.linspace(low, high, 26)
    if counts:  # from less than one to more than anybody believes
        axes.set_xscale("log")
        bins = np.geomspace(1 / len(rows), max(drawn.max(), 2.0), 26)
    color = theme.COLORS["prior"]
    shown = np.maximum(drawn, bins[0])
    axes.hist(shown, bins=list(bins), color=color, alpha=0.5, label="priors")
    axes.axvline(middle, color=theme.INK, lw=2, label="the data")
    name = model.words(model.design.response)
    what = "share of successes" if model.family == "binomial" else f"mean {name}"
    theme.without_heights(axes, f"{what} in {len(drawn)} data sets that the priors imply")
    theme.legend(figure)
    low, high = interval(drawn)
    position = stats.percentileofscore(drawn, middle, "mean")
    inside = 1 <= position <= 99
    says = (
        f"In data sets that the priors imply the {what} is {number(low, 3)} to {number(high, 3)} "
        f"({PROBABILITY:.0%} equal-tailed), and {number(middle, 3)} in the data, at the "
        f"{position:.0f} % point: the prior is "
        + (
            "not at odds with it (between the 1 % and the 99 % point)."
            if inside
            else "off beside the data (beyond the 1 % or 99 % point): see the sensitivity below."
        )
    )
    wide = np.mean((drawn > FAR_OFF * middle) | (drawn < middle / FAR_OFF))
    if counts and wide > 0:
        says += (
            f" In {percent(wide)} of these data sets it is more than {FAR_OFF} times that of the "
            f"data, or less than a {FAR_OFF}th of it."
        )
    if counts and (drawn == 0).any():
        says += " The first bar holds data sets of nothing but zeros too."
    return theme.finding("prior_check", figure, f"Histogram of the {what} under the priors.", says)


def _means(model: Regression, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean (S,) of data sets (S, n): a share of successes, or a mean count or answer."""
    if model.design.trials is not None:
        return y.sum(1) / model.design.trials[rows].sum()
    if model.thresholds:
        return scores(model)[y.astype(int) - 1].mean(1)
    return y.mean(1)


def bars(model: Regression, replicated: np.ndarray, rows: np.ndarray) -> Finding:
    """How often each value occurs, with the interval of replications (S, n) of rows (n,).

    Of counts on the scale of square roots, on which rare values are seen as well as frequent ones:
    a rootogram (Kleiber & Zeileis 2016).
    """
    y = model.design.y[rows]
    values, names = _values(model, y, replicated)
    found = np.array([_counts(one, values) for one in replicated])
    ours, (low, high) = _counts(y, values), interval(found)
    counts = model.spreads
    shape = np.sqrt if counts else np.asarray
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 3.2))
    places = np.arange(len(names))
    axes.bar(places, shape(ours), width=0.7, color=theme.DATA, alpha=0.6, label="the data")
    middle = found.mean(0)
    errors = np.array([shape(middle) - shape(low), shape(high) - shape(middle)])
    label = f"replications: mean and {PROBABILITY:.0%} interval"
    axes.errorbar(
        places,
        shape(middle),
        np.maximum(errors, 0),
        fmt="o",
        ms=4,
        color=theme.PARTIAL,
        label=label,
    )
    every = -(-len(places) // MOST_LABELS)
    axes.set_xticks(places[::every], names[::every])
    axes.set(xlabel=model.label(model.design.response))
    axes.set_ylabel("square root of rows" if counts else "rows")
    theme.legend(figure)
    there = zip(names, ours, low, high, strict=True)
    outside = [name for name, n, least, most in there if not least <= n <= most]
    what = "ranges of values" if "–" in names[0] else "values"
    says = (
        f"Of {len(names)} {what}, {len(names) - len(outside)} occur as often as the "
        f"{PROBABILITY:.0%} interval of the model's own replications says"
    )
    says += f"; not {', '.join(outside[:6])}" if outside else ""
    says += " and others" if len(outside) > 6 else ""
    what = f"Bars of how often each value of {model.design.response} occurs."
    return theme.finding("bars", figure, what, f"{says}.")


def _values(
    model: Regression, y: np.ndarray, replicated: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Edges (k + 1,) of bars, and what these are called."""
    if model.thresholds:
        answers = list(model.design.answers)
        return np.arange(0.5, len(answers) + 1), answers
    top = int(max(y.max(), np.quantile(replicated, 0.99)))
    if model.design.answers:
        return np.array([-0.5, 0.5, 1.5]), list(model.design.answers)
    step = max(1, -(-(top + 1) // MAX_BARS))
    low = np.arange(0, top + 1, step)
    names = [f"{a}" if step == 1 else f"{a}–{a + step - 1}" for a in low]
    names[-1] = f"{low[-1]}+" if model.design.trials is None else names[-1]
    return np.append(low - 0.5, np.inf), names


def _counts(y: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many of y (n,) lie between edges (k + 1,)."""
    places = np.searchsorted(edges, y) - 1
    return np.bincount(places, minlength=len(edges) - 1)[: len(edges) - 1]


def reliability(model: Regression, left_out: LeftOut) -> Finding:
    """Observed shares against probabilities predicted without the row, in bins of as many rows.

    Of ordered answers the mean answer takes the place of the share.
    """
    y, p = observed(model, left_out.rows), left_out.mean
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    x = np.array([p[part].mean() for part in parts])
    seen = np.array([y[part].mean() for part in parts])
    error = np.array([np.sqrt((left_out.sd[part] ** 2).sum()) / len(part) for part in parts])
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 4.2))
    ends = np.array([min(x.min(), seen.min()), max(x.max(), seen.max())])
    axes.plot(ends, ends, color=theme.INK, lw=0.8, ls=":", label="calibrated")
    width = float(stats.norm.isf(data_fit.LEVEL / 2 / len(parts)))
    label = "range of a calibrated model"
    axes.vlines(x, x - width * error, x + width * error, color=theme.DATA, lw=5, alpha=0.4,
                label=label)  # fmt: skip
    axes.scatter(x, seen, color=theme.PARTIAL, s=28, zorder=3, label="the data")
    what = "mean answer" if model.thresholds else "share of successes"
    axes.set(xlabel=f"predicted without the row: {response(model)}", ylabel=f"observed {what}")
    theme.legend(figure)
    off = int((np.abs(seen - x) > width * error).sum())
    check = data_fit.calibration_check(left_out)
    word = "give no reason to doubt it" if check["passed"] else "speak against it"
    says = (
        f"In {len(parts) - off} of {len(parts)} bins of {len(parts[0]):,} rows the observed {what} "
        f"lies where a calibrated model's would, all bins together in {1 - data_fit.LEVEL:.0%} of "
        f"data sets. The tests of the rows' randomized probabilities (Kolmogorov and Smirnov's, "
        f"and that 10 % lie outside 90 % intervals) {word}: the smaller p-value times two is "
        f"{check['value']:.2g} (limit {data_fit.LEVEL:g})."
    )
    return theme.finding("reliability", figure, f"Observed {what} against predictions.", says)


def predictions_in_words(model: Regression, table: pd.DataFrame, names: Sequence[str]) -> str:
    """The least and the largest predicted mean, and which is least sure."""
    wide = table["upper"] - table["lower"]
    ends = []
    for at in (int(table["mean"].argmin()), int(table["mean"].argmax())):
        row = table.iloc[at]
        mean, low, high = (rounded(row[name], row["sd"]) for name in ("mean", "lower", "upper"))
        ends.append(f"{mean} ({low} to {high}) for {names[at]}")
    what = response(model)
    return (
        f"{what[0].upper()}{what[1:]} goes from {' to '.join(ends)}; its widest interval is that "
        f"for {names[int(wide.argmax())]}. For a new group it is averaged over where groups lie. "
        f"Intervals are {PROBABILITY:.0%} equal-tailed."
    )

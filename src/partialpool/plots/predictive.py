"""Pictures of what a model says about data, before and after it has seen them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from partialpool.data.text import number
from partialpool.design.matrices import Grouping
from partialpool.fit.regression import Regression
from partialpool.plots import discrete, theme
from partialpool.plots.groups import spread
from partialpool.plots.marginals import density, ecdf_pit
from partialpool.posterior import data_fit, sensitivity
from partialpool.posterior.contrasts import response
from partialpool.posterior.data_fit import FAR
from partialpool.posterior.draws import PROBABILITY, interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.headline_groups import unit_of
from partialpool.posterior.leave_one_out import LeftOut
from partialpool.posterior.names import groups_of, readable
from partialpool.posterior.predictions import replicate_prior, statistics

#: Replicated data sets that are drawn.
SHOWN = 50
#: Rows, and different values of them, from which on a density is drawn.
FEW_ROWS = 20
#: Share of the replications that a histogram of a figure with long tails shows.
NEARBY = 0.99
#: Letters in a line of what a predicted row is called: on a telephone no more have room.
LETTERS = 24
#: How many times as wide as the next an interval must be to be called the widest.
APART = 1.06
#: Groups that get a column of their own in residual plots.
MAX_GROUPS = 80


def prior_check(model: Regression, rows: np.ndarray, rng: np.random.Generator) -> Finding:
    """Where the priors alone expect the response: a bar for each data set, the data behind.

    Parameters
    ----------
    model : Regression
    rows : (n,) int array
        Rows of the data at which responses are drawn.
    rng : numpy.random.Generator
    """
    replicated = replicate_prior(model, rows, rng)
    if replicated is None:
        return Finding("prior_check", "One of the priors is flat; nothing can be drawn from it.")
    if model.linked:
        return discrete.prior_check(model, replicated, rows)
    y, shown = model.design.y[rows], replicated[:SHOWN]
    shown = shown[np.argsort(np.median(shown, axis=1))]
    low, high = interval(shown, axis=1)
    ends = interval(y)
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 3.2))
    axes.axhspan(*ends, color=theme.DATA, alpha=0.45, linewidth=0, label="the data")
    label, color = "a data set that the priors imply", theme.COLORS["prior"]
    axes.vlines(range(len(shown)), low, high, lw=3, color=color, label=label)
    limits = np.quantile([*low, *high, *ends], [0.03, 0.97])
    pad = 0.05 * np.ptp(limits)
    axes.set_ylim(min(limits[0], ends[0]) - pad, max(limits[1], ends[1]) + pad)
    order = f"{len(shown)} data sets in the order of their medians"
    axes.set(xticks=[], xlabel=order, ylabel=model.label(model.design.response))
    theme.legend(figure)
    ratio = np.median(replicated.std(1)) / max(y.std(), 1e-300)
    position = stats.percentileofscore(replicated.mean(1), y.mean())
    says = (
        "In the median data set that the priors imply, "
        f"{model.words(model.design.response)} spreads {number(ratio, 3)} times as much as in the "
        "data, and the mean of the data lies at the "
        f"{position:.0f} % point of the means: the prior is {_width(ratio, position)}. Bars and "
        "band go from the 5 % to the 95 % point of the rows."
    )
    what = f"Ranges of {len(shown)} data sets drawn from the priors beside that of the data."
    return theme.finding("prior_check", figure, what, says)


def _width(ratio: float, position: float) -> str:
    """A prior's width in words, with the rule, from its spread over that of the data.

    `position` is the point (0 to 100) of the means that the prior implies at which the data's is.
    """
    if not 1 <= position <= 99:
        return "off beside the data (beyond the 1 % or 99 % point): see the sensitivity below"
    if ratio > 10:
        return "far wider than the data (more than 10 times): much of it is on what nobody believes"
    if ratio > 3:
        return "wider than the data (3 to 10 times)"
    if ratio < 1 / 3:
        return "narrow beside the data (less than a third): see the sensitivity below"
    return "of the data's order (within a factor of 3)"


def densities(model: Regression, replicated: np.ndarray, rows: np.ndarray) -> Finding:
    """Density of the response at rows (n,) and of replications (S, n) of it.

    Of few rows, or few different values, it is the cumulative distribution.
    """
    if model.linked:
        return discrete.bars(model, replicated, rows)
    y, name = model.design.y[rows], model.design.response
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 3.2))
    thin: dict[str, Any] = {"color": theme.PARTIAL, "lw": 0.7, "alpha": 0.35}
    smooth = len(y) >= FEW_ROWS and len(np.unique(y)) >= FEW_ROWS
    for k, one in enumerate(spread(replicated, SHOWN)):
        label = f"{SHOWN} replications" if k == 0 else None
        if smooth:
            axes.plot(*density(one), **thin, label=label)
        else:
            axes.ecdf(one, **thin, label=label)
    if smooth:
        axes.plot(*density(y), color=theme.INK, lw=2, label="the data")
        theme.without_heights(axes, model.label(name))
    else:  # of which a density is mostly the width of its kernel
        axes.ecdf(y, color=theme.INK, lw=2, label="the data")
        axes.set(xlabel=model.label(name), ylabel="share of rows up to there")
    theme.legend(figure)
    low, high = interval(replicated)
    inside = np.mean((y >= low) & (y <= high))
    says = (
        f"The 90 % interval of its own replications holds {inside:.0%} of the rows (more than "
        "90 % is usual, for the model has seen them)."
    )
    shape = "Density" if smooth else "Cumulative distribution"
    what = f"{shape} of {name} over those of {SHOWN} replications."
    return theme.finding("densities", figure, what, says)


def statistics_check(model: Regression, replicated: np.ndarray, rows: np.ndarray) -> Finding:
    """Histograms of figures of replications (S, n), with those of the data at rows (n,)."""
    found = statistics(model, rows)
    y = model.design.y[rows][None]
    figure, panels = theme.panels(len(found), 4, (2.4, 2.0))
    beyond = False
    for panel, (name, statistic) in zip(panels, found.items(), strict=True):
        values, own = statistic(replicated), float(statistic(y)[0])
        shown = _nearby(values, own)
        beyond |= len(shown) < len(values)
        panel.hist(shown, bins=25, rwidth=0.9, lw=0, **theme.INTERVAL, label="replications")
        panel.axvline(own, color=theme.INK, lw=2, label="the data")
        theme.without_heights(panel, theme.wrapped(name, 26))
    theme.legend(figure)
    table = data_fit.figures(replicated, model, rows)
    check = data_fit.statistics_check(table)
    words = "; ".join(f"{name} {above:.1%}" for name, above in table["above"].items())
    worst = table["corrected"].idxmin()
    odd = table.index[table["corrected"] < data_fit.FIGURES_LEVEL]
    verdict = (
        "The model reproduces all of them."
        if check["passed"]
        else f"The model does not reproduce: **{', '.join(odd)}**."
    )
    says = (
        f"Share of replications at or above the data: {words}. Farthest in a tail is the {worst}: "
        f"p = {table.at[worst, 'p']:.2g} by both tails, {check['value']:.2g} when corrected for "
        f"{len(table)} figures (limit {data_fit.FIGURES_LEVEL:g}). {verdict}"
    )
    if beyond:
        says += (
            f" Of figures with long tails the middle {NEARBY:.0%} of the replications are drawn."
        )
    what = f"Histograms of {len(found)} figures of replications."
    return theme.finding("statistics_check", figure, what, says)


def _nearby(values: np.ndarray, own: float) -> np.ndarray:
    """Values to draw: all, or the middle `NEARBY` where these would be a fifth of the axis."""
    low, high = np.quantile(values, [(1 - NEARBY) / 2, (1 + NEARBY) / 2])
    width = max(high, own) - min(low, own)
    return values[(values >= low) & (values <= high)] if np.ptp(values) > 5 * width else values


def pit(model: Regression, left_out: LeftOut) -> Finding:
    """ArviZ's ECDF difference of the leave-one-out probability integral transform."""
    if model.linked and not model.spreads:
        return discrete.reliability(model, left_out)
    name, n = model.design.response, len(left_out.pit)
    hidden = dict.fromkeys(("title", "xlabel", "ylabel", "p_value_text"), False)
    figure, (axes,), _ = ecdf_pit(
        {name: left_out.pit}, figure_kwargs={"figsize": (theme.WIDTH, 3.2)}, visuals=hidden
    )
    axes.set_xlabel(
        f"probability that a prediction without the row is below its {model.words(name)}"
    )
    axes.set_ylabel("ECDF minus uniform")
    check, found = data_fit.calibration_check(left_out), data_fit.calibration(left_out)
    word = "do not reject that" if check["passed"] else "together reject that"
    says = (
        f"If the predictions are calibrated the {n:,} probabilities are uniform, and 10 % of the "
        f"rows fall outside their 90 % predictive interval; here {found.outside:.0%} do. Two tests "
        f"{word}: Kolmogorov and Smirnov's of the curve (p = {found.curve:.2g}) and the binomial "
        f"one of the share (p = {found.tails:.2g}), of which the smaller times two is "
        f"{check['value']:.2g} (limit {data_fit.LEVEL:g}). "
        "The band holds the "
        "whole curve of a calibrated model with probability 99 % or more."
    )
    if model.linked:
        says += (
            " Of a count there is a step rather than a point: a random place on it is taken (Dunn "
            "& Smyth 1996)."
        )
    return theme.finding("pit", figure, "Calibration curve of leave-one-out predictions.", says)


def residuals(model: Regression, left_out: LeftOut) -> Finding:
    """Standardized leave-one-out residuals, against the prediction and by each factor's groups."""
    groupings = model.design.groupings
    z = data_fit.normal_residuals(model, left_out)
    figure, (left, *others) = theme.panels(max(2, 1 + len(groupings)), 2, (5, 3.4), sharey=True)
    left.scatter(left_out.mean, z, s=12, **theme.dots(len(z)))
    gaussian = model.family == "gaussian"
    what = "residual in predictive sd" if gaussian else "residual as a standard normal quantile"
    left.set(xlabel=f"predicted: {response(model)}", ylabel=what)
    if not model.linked:
        left.set_xlabel(f"predicted {model.label(model.design.response)}")
    for axes, grouping in zip(others, groupings, strict=False):
        _by_group(axes, z, model, grouping, left_out.rows)
    if not groupings:
        others[0].scatter(left_out.rows, z, s=12, **theme.dots(len(z)))
        others[0].set_xlabel("rows")
    for axes in (left, *others):
        axes.axhline(0, color=theme.INK, lw=0.8)
        for end in (-FAR, FAR):
            axes.axhline(end, color=theme.INK, lw=0.6, ls=":", label=f"±{FAR:g}")
    if groupings:
        theme.legend(figure)
    says = [_far_in_words(model, left_out, z)]
    if not model.linked or model.spreads:
        says += [_noise_in_words(model, left_out, grouping) for grouping in groupings]
    what = "Residuals against predictions and by group."
    return theme.finding("residuals", figure, what, " ".join(filter(None, says)))


def _by_group(
    axes: Axes, z: np.ndarray, model: Regression, grouping: Grouping, rows: np.ndarray
) -> None:
    """Residuals (n,) of rows (n,), a column for each group, sorted by their means."""
    codes = grouping.codes[rows]
    means = pd.Series(z).groupby(codes).mean().sort_values()
    order = spread(means.index.to_numpy(), MAX_GROUPS)
    shown = np.isin(codes, order)
    axes.scatter(pd.Index(order).get_indexer(codes[shown]), z[shown], s=12, **theme.dots(len(z)))
    mark: dict[str, Any] = {"color": theme.PARTIAL, "marker": "_", "label": "mean of the group"}
    axes.scatter(range(len(order)), means[order], s=40, **mark)
    of = "" if len(order) == len(means) else f"{len(order)} of "
    axes.set(xticks=[], xlabel=f"{of}{len(means):,} {groups_of(model, grouping)}, sorted")


def _far_in_words(model: Regression, left_out: LeftOut, z: np.ndarray) -> str:
    """How many residuals are far, and which is farthest, by the checks of that."""
    farthest, far = data_fit.residual_checks(model, left_out)[:2]
    row, unit = np.abs(z).argmax(), data_fit.UNITS[model.family]
    expected, lie = 2 * stats.norm.sf(FAR) * len(z), "lies" if far["value"] == 1 else "lie"
    says = (
        f"{far['value']:.0f} of {len(z):,} rows {lie} more than {FAR:g} {unit} from what the "
        f"others predict, where the model's own noise gives about {expected:.1f} (limit "
        f"{far['threshold']}); the farthest is {data_fit.where(model, left_out.rows[row])}, "
        f"at {z[row]:+.1f} (limit {farthest['threshold']} either way)."
    )
    says += _at_an_end(model, left_out, np.abs(z) > FAR)
    if far["passed"] and farthest["passed"]:
        return says
    remedy = data_fit.HEAVIER[model.family]
    return f"{says} {remedy[0].upper()}{remedy[1:]}."


def _at_an_end(model: Regression, left_out: LeftOut, far: np.ndarray) -> str:
    """How many far rows (n,) have the smallest or the largest value of all, where several have.

    Of few different values many rows have these.
    """
    y, says = model.design.y[left_out.rows], ""
    if model.linked or len(np.unique(y)) < FEW_ROWS:
        return says
    for word, end in (("smallest", y.min()), ("largest", y.max())):
        if (count := int((far & (y == end)).sum())) > 1:
            says += (
                f" {count} of them have one value, {number(end)}, the {word} there is, as where "
                "something could not be measured beyond it."
            )
    return says


def _noise_in_words(model: Regression, left_out: LeftOut, grouping: Grouping) -> str:
    """How alike the noise of groups is, by the check of that; empty where there is none."""
    p = data_fit.same_noise(model, left_out, grouping)
    found = data_fit.spreads(model, left_out, grouping)
    if not found:
        return ""
    if p is None:
        return (
            f"Whether {groups_of(model, grouping)} are equally noisy is not tested: {len(found):,} "
            f"of {grouping.n_levels:,} have {data_fit.MIN_ROWS} rows or more among these "
            f"{len(left_out.rows):,}."
        )
    away = pd.Series({grouping.levels[code]: values.mean() for code, values in found.items()})
    called = model.words(grouping.name)
    word = "does not reject" if data_fit.noise_check(p, "group")["passed"] else "rejects"
    return (
        f"Residuals lie farthest from their group's median in {called} {away.idxmax()} "
        f"({away.max():.2f} on average) and closest in {away.idxmin()} ({away.min():.2f}); Brown "
        f"and Forsythe's test of these distances {word} that groups are equally noisy "
        f"(p = {p:.2g}, limit {data_fit.LEVEL:g})."
    )


def predictions(model: Regression, table: pd.DataFrame, names: Sequence[str]) -> Finding:
    """Intervals of the line and of a new observation for chosen rows.

    Parameters
    ----------
    model : Regression
    table : pandas.DataFrame
        From `predict`, with intervals of `PROBABILITY`.
    names : sequence of str
        What to call each row.
    """
    called = [theme.wrapped(name, LETTERS) for name in names]
    lines = max(name.count("\n") for name in called)
    figure, axes = plt.subplots(figsize=(theme.WIDTH, (0.34 + 0.13 * lines) * len(table) + 1.1))
    places = np.arange(len(table))[::-1]
    for kind, label, color, width in (
        ("observation_", "a new observation", theme.DATA, 1.5),
        ("", "the mean" if model.linked else "the line", theme.PARTIAL, 4),
    ):
        if f"{kind}lower" not in table or (kind and model.design.trials is not None):
            continue  # one answer, or a number of successes beside a probability
        ends = table[f"{kind}lower"], table[f"{kind}upper"]
        axes.hlines(places, *ends, color=color, lw=width, label=label)
    axes.scatter(table["mean"], places, color=theme.INK, s=18, zorder=3)
    axes.set_yticks(places, called)
    axes.set(xlabel=response(model), ylim=(-0.6, len(table) - 0.4))
    theme.legend(figure)
    if model.linked:
        return theme.finding(
            "predictions",
            figure,
            f"Predictions for {len(table)} rows with intervals.",
            discrete.predictions_in_words(model, table, names),
        )
    wide = (table["observation_upper"] - table["observation_lower"]).to_numpy()
    share = ((table["upper"] - table["lower"]) / wide) ** 2
    least, second = np.argsort(-wide)[:2] if len(wide) > 1 else (0, 0)
    # quantiles of some thousand draws: closer ones could as well come in another order
    named = f", widest for {names[least]}" if wide[least] > APART * wide[second] else ""
    says = (
        f"The interval of a new observation is {number(wide.min(), 3)} to {number(wide.max(), 3)}"
        f"{unit_of(model)} wide{named}. The line's own interval makes up {share.median():.0%} of "
        "the squared width of a new observation's in the median. Intervals are "
        f"{PROBABILITY:.0%} equal-tailed."
    )
    what = f"Predictions for {len(table)} rows with intervals."
    return theme.finding("predictions", figure, what, says)


def sensitivities(fitted: Fitted) -> Finding:
    """Sensitivity to prior and likelihood: a pair of marks for each parameter, and the table."""
    found, threshold = sensitivity.finding(fitted), sensitivity.THRESHOLD
    table: Any = found.table
    if table["prior"].isna().all():
        return replace(found, names=readable(fitted.model))
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 0.32 * len(table) + 1.1))
    places = np.arange(len(table))[::-1]
    for column, color, marker in (("prior", "prior", "D"), ("likelihood", "partial", "o")):
        axes.scatter(table[column], places, color=theme.COLORS[color], marker=marker, label=column)
    axes.axvline(threshold, color=theme.INK, lw=0.8, ls=":")
    called = readable(fitted.model)
    axes.set_yticks(places, [called.get(name, name) for name in table.index])
    axes.set(xlim=(0, None), ylim=(-0.6, len(table) - 0.4))
    axes.set_xlabel(f"power-scaling sensitivity (dotted: {threshold:g})")
    theme.legend(figure)
    worst = table["prior"].idxmax()
    description = (
        f"Sensitivity of {len(table)} parameters to prior and likelihood; the largest to the "
        f"prior is that of {worst}, {table.at[worst, 'prior']:.3f}."
    )
    return replace(found, figure=figure, description=description, names=called)

"""Pictures of several samplers at work on one posterior, all from a `methods.Comparison`."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from partialpool.data.text import duration, in_words, listed, short
from partialpool.plots import theme
from partialpool.plots.marginals import density
from partialpool.posterior import checks
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import thinned
from partialpool.posterior.names import readable
from partialpool.simulation.method_words import APART, grade, unpunctuated
from partialpool.simulation.methods import Comparison

#: Most points of one chain in a trace, and of one method in a funnel.
TRACE_POINTS, POINTS = 400, 1500
#: Bitmaps inside an SVG get this resolution; the rest of it has none.
DPI = 140
#: Part of the exact posterior that counts as the neck of the funnel.
NECK = 0.05
#: Narrowing below which a posterior is no funnel.
FUNNEL = 2.0


def sampler_traces(comparison: Comparison, name: str | None = None) -> Finding:
    """Trace of one parameter by each method, and each chain's density over the exact one.

    Parameters
    ----------
    comparison : Comparison
    name : str, optional
        A parameter that is no group effect; when not given, the one that the methods explored
        worst. Standard deviations are drawn on a log axis.
    """
    name = name or hardest(comparison)
    log = name in _scales(comparison)
    called = in_words(name, readable(comparison.model))
    value = _truth(comparison).get(name)
    exact = comparison.reference.values[name]
    grid, height = _density(exact, log)
    ends = [np.quantile(exact, [0.001, 0.999])]
    labels = list(comparison.rows.index)
    shape: dict[str, Any] = {"width_ratios": [3, 1], "sharex": "col", "sharey": True, "dpi": DPI}
    figure, panels = theme.panels(2 * len(labels), 2, (4.4, 1.25), **shape)
    rhat = {}
    for left, right, words in zip(panels[::2], panels[1::2], labels, strict=True):
        draws = comparison.fits[words].dataset[name]
        ends.append(np.quantile(draws, [0.005, 0.995]))
        right.fill_betweenx(grid, height, color=theme.EXACT, alpha=0.5, lw=0)
        every = max(1, draws.shape[1] // TRACE_POINTS)
        for k, chain in enumerate(draws.to_numpy()):
            style: dict[str, Any] = {"color": theme.PARTIAL}
            style["alpha"] = theme.CHAINS[k % len(theme.CHAINS)]
            at = np.arange(0, len(chain), every) / len(chain)
            left.plot(at, chain[::every], lw=0.5, rasterized=True, **style)
            if np.std(chain) > 1e-3 * np.std(exact):  # a chain that never moved has no density
                right.plot(*_density(chain, log)[::-1], lw=0.9, **style)
        rhat[words] = float(azs.rhat(comparison.fits[words].dataset[[name]])[name])
        left.set_title(f"{words}: R-hat {rhat[words]:.3f}, {draws.size:,} draws", loc="left")
        if value is not None and (not log or value > 0):
            left.axhline(value, **theme.TRUTH)
            right.axhline(value, **theme.TRUTH)
        right.set(xticks=[], xlim=(0, 1.35 * height.max()))
        right.spines["bottom"].set_visible(False)
    panels[0].set(yscale="log" if log else "linear", ylim=_ends(ends, log))
    if log:
        theme.round_numbers(panels[0].yaxis)
    panels[-2].set(xlabel="share of the kept draws", xlim=(0, 1))
    panels[-1].set_xlabel("density")
    figure.supylabel(f"{called} (log scale)" if log else called, fontsize=10)  # panels are too low
    shaded = f"{comparison.kind} posterior"
    handles: list[Any] = [Patch(color=theme.EXACT, alpha=0.5, lw=0, label=shaded)]
    if value is not None and (not log or value > 0):
        handles.append(Line2D([], [], label="true value", **theme.TRUTH))
    theme.legend(figure, handles)
    sampled = {words: rhat[words] for words in comparison.sampled}
    says = _trace_conclusion(called, sampled, comparison.kind)
    if value is not None and log and value <= 0:
        says += f" The true {called} is {value:g}, below any log axis."
    what = (
        f"Traces of {called}, one row for each of {', '.join(labels)}, a shade per chain, with "
        f"each chain's density over the {comparison.kind} one."
    )
    return theme.finding("sampler-traces", figure, what, says)


def _trace_conclusion(name: str, rhat: Mapping[str, float], kind: str) -> str:
    if not rhat:
        return f"Draws of {name} from the {kind} fit are independent."
    apart = [words for words, value in rhat.items() if value > checks.MAX_RHAT]
    together = [words for words in rhat if words not in apart]
    says, chains = [], f"On {name}, the chains of"
    stuck = [words for words in apart if rhat[words] > APART]
    slow = [words for words in apart if words not in stuck]
    if stuck:
        says.append(
            f"{chains} {_names(stuck)} contradict each other (R-hat up to "
            f"{max(rhat.values()):.3f}): each tells of the part in which it is stuck."
        )
        chains = "Those of"
    if slow:
        top = max(rhat[words] for words in slow)
        says.append(f"{chains} {_names(slow)} {grade(top)} (R-hat at most {top:.3f}).")
        chains = "Those of"
    if together:
        top = max(rhat[words] for words in together)
        says.append(f"{chains} {_names(together)} tell one story (R-hat at most {top:.3f}).")
    says.append("R-hat is that of this parameter; the table has the largest of all.")
    return " ".join(says)


def funnels(comparison: Comparison) -> Finding:
    """Each sampler's draws over the exact ones, where the posterior is most like a funnel.

    The plane is a standard deviation (log scale) against one group's effect, its deviation from
    the population, chosen by `funnel_pair`; divergent transitions are marked.
    """
    scale, effect, k, ratio = funnel_pair(comparison)
    groupings = comparison.model.design.groupings
    levels = next(grouping.levels for grouping in groupings if effect in grouping.effects)
    called = readable(comparison.model)
    name, spread = in_words(f"{effect}[{levels[k]}]", called), in_words(scale, called)
    values = comparison.reference.values
    exact = values[effect][:, k], values[scale]
    neck = np.quantile(exact[1], NECK)
    true = _truth(comparison).get(effect)
    labels, kind = comparison.sampled or [comparison.own], comparison.kind
    figure, panels = theme.panels(len(labels), 3, (3.1, 2.9), sharex=True, sharey=True, dpi=DPI)
    said = []
    ends = [np.quantile(exact[1], [0.0005, 1])]
    style: dict[str, Any] = {"lw": 0, "rasterized": True}
    for panel, words in zip(panels, labels, strict=True):
        fitted = comparison.fits[words]
        x, y = fitted.values[effect][:, k], fitted.values[scale]
        panel.scatter(*exact, s=4, color=theme.EXACT, alpha=0.25, **style)
        every = max(1, len(x) // POINTS)
        panel.scatter(x[::every], y[::every], s=5, color=theme.PARTIAL, alpha=0.5, **style)
        stats = fitted.posterior["sample_stats"].to_dataset()
        count = "cannot report divergences"
        if "diverging" in stats:
            shown = thinned(stats, len(x))["diverging"]  # as the draws of very many groups are
            bad = shown.to_numpy().ravel().astype(bool)
            panel.scatter(x[bad], y[bad], s=9, rasterized=True, **theme.DIVERGED)
            count = _divergences(int(stats["diverging"].sum()), x[bad], y[bad])
        if true is not None:  # in the order of the levels
            panel.axvline(true[k], **theme.TRUTH | {"linewidth": 1.2})
        ends.append(np.quantile(y, [0.005, 0.5]))
        panel.set_title(f"{words}\n{count}", loc="left")
        said.append(f"{unpunctuated(words)} {100 * np.mean(y < neck):.2g} %")
    for panel in panels[-3:]:
        panel.tick_params(labelbottom=True)  # nothing is below it
    inside = np.quantile(exact[0], [0.0005, 0.9995])
    panels[0].set(yscale="log", xlim=_ends([inside]), ylim=_ends(ends, log=True))
    theme.round_numbers(panels[0].yaxis)
    figure.supxlabel(f"{name}, deviation from the population", fontsize=10)
    figure.supylabel(f"{spread} (log scale)", fontsize=10)
    marks = {
        f"{kind} draws": ("o", theme.EXACT),
        "the sampler's draws": ("o", theme.PARTIAL),
        "divergences": ("x", theme.INK),
    }
    handles = [
        Line2D([], [], color=color, label=what, marker=marker, ls="", ms=4)
        for what, (marker, color) in marks.items()
    ]
    if true is not None:
        handles.append(Line2D([], [], label="true effect", **theme.TRUTH))
    theme.legend(figure, handles)
    says = (
        f"Where {spread} is in its lowest {100 * NECK:.0f} %, the {kind} posterior of "
        f"{name}, of which the deviation from the population is drawn, is {ratio:.1f} times "
        f"narrower than where it is above its median, which {'is' if ratio >= FUNNEL else 'is not'}"
        f" called a funnel here (from {FUNNEL:g} times on). "
        f"The {kind} posterior has {100 * NECK:.0f} % of its draws there, {', '.join(said)}."
    )
    what = (
        f"Scatter plots of {spread} against {name}, one for each of {', '.join(labels)}, over the "
        f"{kind} draws."
    )
    return theme.finding("funnels", figure, what, says)


def _divergences(count: int, x: np.ndarray, y: np.ndarray) -> str:
    """How many transitions diverged, and at how many places where crosses coincide."""
    says = f"{count:,} divergence{'' if count == 1 else 's'}"
    places = len({*zip(x.tolist(), y.tolist(), strict=True)})
    return f"{says} at {places:,} place{'' if places == 1 else 's'}" if places < len(x) else says


def funnel_pair(comparison: Comparison) -> tuple[str, str, int, float]:
    """Standard deviation, effect and group between which the exact posterior narrows most.

    Returns
    -------
    scale, effect : str
    group : int
        Its code.
    ratio : float
        How much narrower the effect is where the scale is in its lowest part (`NECK`) than where
        it is above its median.
    """
    values, design = comparison.reference.values, comparison.model.design
    found = []
    sds = [name for name in _scales(comparison) if name != "shape"]  # a large one narrows
    for scale in sds:
        draws = values[scale]
        if np.std(draws) == 0:
            continue
        low, high = draws < np.quantile(draws, NECK), draws > np.median(draws)
        for effect in design.effects:
            b = values[effect]
            ratios = b[high].std(0) / np.maximum(b[low].std(0), 1e-300)
            k = int(np.argmax(ratios))
            found.append((scale, effect, k, float(ratios[k])))
    return max(found, key=lambda pair: pair[3])


def speed(comparison: Comparison) -> Finding:
    """Effective draws per second of the worst parameter, on a log axis."""
    rows = comparison.rows[["seconds", "ess", "ess_per_second"]].assign(good=comparison.good)
    rows = rows.sort_values("ess_per_second")
    pace, own, kind = rows["ess_per_second"], comparison.own, comparison.kind
    figure, (axes,) = theme.panels(1, 1, (7.6, 0.42 * len(rows) + 0.5))
    _dots(axes, pace, rows["good"], own)
    above: dict[str, Any] = {"xytext": (0, 5), "textcoords": "offset points", "va": "bottom"}
    for at, value in enumerate(pace):
        axes.annotate(short(value), (value, at), fontsize=9, ha="center", **above)
    axes.set_xlabel("effective draws of the worst parameter per second (log scale)")
    axes.set_xlim(pace.min() / 3, pace.max() * 3)
    _verdict_legend(figure, comparison)
    others = rows.loc[comparison.sampled]
    passed = others.loc[others["good"], "ess_per_second"]
    says = f"The {kind} fit gives {short(pace[own])} effective draws per second"
    if len(passed):
        says += (
            f", about {short(pace[own] / passed.max())} times as many as the fastest sampler whose "
            f"checks all passed, {unpunctuated(passed.idxmax())}"
        )
    elif len(others):
        says += ", and no sampler passed all checks"
    if len(others):
        slow = others["ess_per_second"].idxmin()
        says += (
            f". At the pace of {unpunctuated(slow)}, what the {kind} fit drew in "
            f"{duration(rows.at[own, 'seconds'])} would take "
            f"{duration(rows.at[own, 'ess'] / pace[slow])}"
        )
    says += (
        ". Seconds are those of one whole fit, with the code that it compiles or loads, on a "
        "machine that may have had other work: only orders of magnitude count."
    )
    what = f"Dot plot of effective draws per second for {', '.join(rows.index[::-1])}."
    return theme.finding("speed", figure, what, says)


def distances(comparison: Comparison) -> Finding:
    """Largest distance of each method from the exact posterior, of means and of marginals."""
    rows = comparison.rows.iloc[::-1]
    limit = checks.MAX_WASSERSTEIN
    columns = {
        "z": ("means: |z|, Monte Carlo errors", rows["z_limit"].max()),
        "wasserstein": ("marginals: Wasserstein distance, posterior sd", limit),
    }
    figure, panels = theme.panels(2, 2, (4.3, 0.42 * len(rows) + 0.6), sharey=True)
    for panel, (column, (title, most)) in zip(panels, columns.items(), strict=True):
        _dots(panel, rows[column], comparison.good, comparison.own)
        panel.axvline(most, color=theme.INK, lw=1, ls=":")
        span = [*rows[column], most]
        panel.set(xlabel=title, xlim=(min(span) / 1.6, max(span) * 1.6))
        theme.round_numbers(panel.xaxis)
    limits = Line2D([], [], color=theme.INK, lw=1, ls=":", label="limit")
    _verdict_legend(figure, comparison, limits)
    far_from = rows["wasserstein"][comparison.sampled]
    far, near = far_from[far_from > limit], far_from[far_from <= limit]
    says = (
        f"Two {comparison.kind} fits are {rows.at[comparison.own, 'wasserstein']:.3f} posterior "
        "standard deviations apart at most, by chance alone."
    )
    if len(far):
        says += f" Beyond the limit of {limit:g} {_are(far.index)}, by up to {far.max():.2f}."
    if len(near):
        says += f" Within the limit of {limit:g} {_are(near.index)} (at most {near.max():.3f})."
    named = ", ".join(rows.index[::-1])
    what = f"Dot plots of the distance of {named} from the {comparison.kind} fit."
    return theme.finding("distances", figure, what, says)


def hardest(comparison: Comparison) -> str:
    """The parameter, not a group effect, whose chains agree least over all methods."""
    names = comparison.model.parameters
    figures = [checks.summarize(fitted.dataset, names) for fitted in comparison.fits.values()]
    rhats = pd.concat([found.loc[found["sd"] > 0, "rhat"] for found in figures], axis=1)
    return str(rhats.max(axis=1).idxmax())


def _truth(comparison: Comparison) -> Mapping[str, Any]:
    """True values of simulated data by parameter name; of other data none."""
    return comparison.model.table.attrs.get("truth", {})


def _scales(comparison: Comparison) -> list[str]:
    """Names of the parameters that are positive, which are drawn on log axes."""
    model = comparison.model
    return [name for name in model.parameters if name in (*model.design.sd_names, "sigma", "shape")]


def _density(draws: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Grid and density, on a log axis that of the logarithm."""
    if not log:
        return density(draws)
    grid, height = density(np.log10(np.maximum(draws, 1e-300)))
    return 10**grid, height


def _ends(intervals: list[np.ndarray], log: bool = False) -> tuple[float, float]:
    """Limits of an axis on which all intervals are, with a tenth of room around them."""
    low, high = float(np.min(intervals)), float(np.max(intervals))
    if log:
        room = (high / max(low, 1e-300)) ** 0.1
        return low / room, high * room
    return low - 0.1 * (high - low), high + 0.1 * (high - low)


def _dots(axes: Axes, values: Any, good: Any, own: str) -> None:
    """A row for each method: its figure on a log axis, an open dot where it missed a check."""
    for at, (words, value) in enumerate(values.items()):
        color = theme.COLORS["exact" if words == own else "partial"]
        face = color if good[words] else "none"
        axes.plot(value, at, "o", ms=8, mfc=face, mec=color, mew=1.8, clip_on=False)
    axes.set(xscale="log", ylim=(-0.7, len(values) - 0.3))
    axes.set_yticks(range(len(values)), values.index)
    axes.grid(axis="x", alpha=0.3)


def _verdict_legend(figure: Figure, comparison: Comparison, *more: Line2D) -> None:
    """Our fit, and samplers by their checks, those against the exact posterior among them."""
    style: dict[str, Any] = {"marker": "o", "ls": "", "ms": 7}
    handles = [Line2D([], [], color=theme.EXACT, label=f"{comparison.kind} fit", **style)]
    style |= {"mec": theme.PARTIAL}
    handles += [
        Line2D([], [], mfc=theme.PARTIAL, label="checks passed", **style),
        Line2D([], [], mfc="none", mew=1.8, label="a check missed", **style),
    ]
    theme.legend(figure, [*handles, *more])


def _names(labels: Iterable[str]) -> str:
    return listed([unpunctuated(label) for label in labels])


def _are(labels: Collection[str]) -> str:
    return f"{'is' if len(labels) == 1 else 'are'} {_names(labels)}"

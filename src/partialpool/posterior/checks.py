"""Diagnostics with a verdict, and the distance of a fit from a reference.

The diagnostics are ArviZ's; here they get thresholds, plain words, and one word for the whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr

from partialpool.data.text import in_words, listed
from partialpool.fit.importance import MAX_GAP, MAX_KHAT
from partialpool.fit.integral import LIMIT
from partialpool.fit.small_factors import split
from partialpool.fit.surrogate import EDGE, FRESH, MAX_EDGE, MAX_ERROR
from partialpool.posterior.agreement import FALSE_ALARM, explained
from partialpool.posterior.draws import diagnostics, names_of, values_of, wasserstein
from partialpool.posterior.finding import CHANCE, ESTIMATE, Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import readable
from partialpool.posterior.verdict import Verdict, missed, one

#: Thresholds and what it means to miss them (Vehtari et al. 2021, 2024; Betancourt 2017).
MAX_RHAT, MIN_ESS, MIN_BFMI = 1.01, 400, 0.3
#: Farthest that a marginal may lie from the exact one, in posterior standard deviations.
MAX_WASSERSTEIN = 0.1
#: Above this many groups only `CHECKED_GROUPS` are checked: ArviZ takes milliseconds for each.
MAX_ELEMENTS, CHECKED_GROUPS = 2000, 500
#: What each check of a fit is about.
MEANING = {
    "R-hat": "chains, or batches of independent draws, agree; worst is {}; limit of Vehtari et al. "
    "(2021)",
    "Bulk ESS": "effective draws for the centre; worst is {}; limit of Vehtari et al. (2021)",
    "Tail ESS": "effective draws for the 5 % and 95 % quantiles; worst is {}; limit of "
    "Vehtari et al. (2021)",
    "Divergences": "transitions that left the typical set, as where the posterior has a part "
    "that the sampler cannot enter; none should be",
    "Tree depth": "transitions cut off at the largest tree; the sampler is slow, not wrong",
    "Energy (BFMI)": "how well momentum refreshes explore the energy; limit of Betancourt (2017)",
    "Pareto k̂": "tail of the importance weights of the exact fit; limit of Vehtari et al. (2024)",
    "Effective draws": "importance sampling's own count for the exact fit; as many as of chains",
    "Integral": "error of the log likelihood by the integral over group effects, K nodes against "
    "2K + 1 at the draws, largest of them summed over groups",
    "Surrogate": "root mean square error of the log density that was sampled, at fresh posterior "
    f"draws ({FRESH}) where it was computed in full; the limit is a convention",
    "Surrogate's edge": f"largest share of draws in the outer {EDGE:.0%} of a coordinate's range, "
    "beyond which nothing is sampled; the limit, 2 of 4,000, is a convention",
    "Evidence twice": "two proposals agree on the evidence, difference in standard errors; chance "
    "alone is above the limit once in 16,000 fits",
}


def checked(dataset: xr.Dataset) -> xr.Dataset:
    """The draws that are checked: all, or of very many groups `CHECKED_GROUPS` evenly spaced."""
    for dim in set(dataset.dims) - {"chain", "draw"}:
        dataset = dataset.isel({dim: some_groups(dataset.sizes[dim])})
    return dataset


def some_groups(size: int) -> np.ndarray:
    """Which of so many groups are checked."""
    few = size <= MAX_ELEMENTS
    return np.arange(size) if few else np.linspace(0, size - 1, CHECKED_GROUPS).astype(int)


def summarize(dataset: xr.Dataset, names: Iterable[str] | None = None) -> pd.DataFrame:
    """Figures of every scalar parameter: the ``parameters`` of a run's summary.

    Columns mean, sd, q05, q50, q95 (a 90 % equal-tailed interval and the median), ess_bulk,
    ess_tail, rhat, mcse_mean; one row per name. A fixed parameter has no diagnostics.

    Parameters
    ----------
    dataset : xarray.Dataset
        Draws over ``chain`` and ``draw``.
    names : iterable of str, optional
        Variables; all when not given, which takes milliseconds for each group.
    """
    if names is not None:
        dataset = dataset[list(names)]
    values = values_of(dataset)
    q05, q50, q95 = np.quantile(values, [0.05, 0.5, 0.95], axis=(1, 2))
    figures = {"mean": values.mean((1, 2)), "sd": values.std((1, 2))}
    figures |= {"q05": q05, "q50": q50, "q95": q95}
    table = pd.DataFrame(figures | diagnostics(dataset), index=names_of(dataset))
    for own, variable in dataset.items():
        rows = names_of(dataset[[own]])
        if "sd" in variable.attrs:  # a heavy tail: median and quantiles are what there is
            table.loc[rows, ["sd", "mcse_mean"]] = np.nan
        if "mean" in variable.attrs:
            table.loc[rows, "mean"] = np.nan
    return table


#: Column of a summary -> its heading and format where people read it.
HEADINGS = {
    "mean": ("mean", ESTIMATE),
    "sd": ("sd", ESTIMATE),
    "q05": ("5 %", ESTIMATE),
    "q50": ("median", ESTIMATE),
    "q95": ("95 %", ESTIMATE),
    "ess_bulk": ("bulk ESS", "{:,.0f}"),
    "ess_tail": ("tail ESS", "{:,.0f}"),
    "rhat": ("R-hat", "{:.3f}"),
    "mcse_mean": ("MC error", "{:.2g}"),
    "positive": ("probability of > 0", CHANCE),
    "exact": ("exact", ESTIMATE),
    "reference": ("reference", ESTIMATE),
    "z": ("difference in MC errors", "{:.2f}"),
    "shift": ("difference in sd", "{:.3f}"),
    "wasserstein": ("Wasserstein distance in sd", "{:.3f}"),
}


class Summary(pd.DataFrame):
    """Figures of parameters: a table that shows itself with those digits that say something.

    What is made of it, such as a column or a selection of rows, is pandas' own.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _readable(self) -> pd.DataFrame:
        """The first and the last rows where there are more than pandas would show."""
        columns = {name: (name, form) for name, (_, form) in HEADINGS.items()}
        shown = Finding("summary", table=pd.DataFrame(self), columns=columns).readable()
        if len(shown) <= (pd.get_option("display.max_rows") or np.inf):
            return shown
        left_out = pd.DataFrame({name: "..." for name in shown}, index=["..."])
        return pd.concat([shown.head(), left_out, shown.tail()])

    def __repr__(self) -> str:
        return self._readable().to_string()

    def _repr_html_(self) -> str:
        return self._readable().to_html(border=0)


def estimates(fitted: Fitted) -> Finding:
    """The population's parameters, with how they were drawn in words."""
    table = summarize(fitted.dataset, fitted.model.parameters)
    says, names = how_fitted(fitted), readable(fitted.model)
    return Finding("estimates", says, table=table, columns=HEADINGS, names=names)


def route(fitted: Fitted) -> str:
    """How the fit was made, for readers who do not know our theta."""
    return str(fitted.attrs["route"]).replace("theta", "standard deviations and correlations")


def how_fitted(fitted: Fitted) -> str:
    """By which method, how fast, and the evidence: Markdown."""
    attrs = fitted.attrs
    says = f"Drawn by **{attrs['method']}** ({route(fitted)}) in {attrs['fit_seconds']:.2f} s. "
    if "surrogate_error" in attrs:
        says += (
            f"The surrogate, from {attrs['surrogate_nodes']} nodes, is within "
            f"{attrs['surrogate_error_max']:.1g} of the log density at {FRESH} fresh draws. "
        )
    if attrs.get("loading_seconds", 0) > 1:
        says += f"Before that, compiling or loading code took {attrs['loading_seconds']:.0f} s. "
    if "log_evidence" in attrs:
        says += (
            f"The log evidence is {attrs['log_evidence']:,.3f} with Monte Carlo error "
            f"{attrs['log_evidence_se']:.3f}. "
        )
    if "integral_error_max" in attrs:
        integrated, small = split(fitted.model.design)
        which, beside, around = "Group effects", "", ""
        if small or len(integrated) > 1:
            which = listed([fitted.model.words(grouping.name) for grouping in integrated])
            which = f"Effects of {which}"
        if small:
            names = listed([fitted.model.words(grouping.name) for grouping in small])
            beside = f"those of {names} are drawn with the coefficients; "
        if len(integrated) > 1:
            nodes = zip(attrs["nodes_around"], integrated[1:], strict=True)
            each = [f"{k} a group of {fitted.model.words(g.name)}" for k, g in nodes]
            around = f" for {fitted.model.words(integrated[0].name)}, and {listed(each)} around it"
        says += (
            f"{which} are integrated out numerically with {attrs['nodes_mean']:.0f} nodes a group "
            f"on average{around}; {beside}the log likelihood is right to "
            f"{attrs['integral_error_max']:.1g} (more than {LIMIT:.0e} is not called certified). "
        )
    return says + "Intervals from 5 % to 95 % are equal-tailed."


def check(fitted: Fitted) -> Verdict:
    """Verdict on a fit: its diagnostics, and its distance from the exact posterior."""
    reference = fitted.reference
    groups = [some_groups(grouping.n_levels) for grouping in fitted.model.design.groupings]
    against = None if reference is None else reference.with_effects_of(groups)
    names = readable(fitted.model)
    found = verdict(fitted.with_effects_of(groups), against, names)
    return replace(found, checks=found.checks + missed("Identified", fitted.model.unidentified))


def compare(
    posterior: xr.DataTree, reference: xr.DataTree, summary: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Distance of a fit from a reference, for every parameter that is `checked`.

    `verdict` holds ``z`` against docs/method.md, eq. (36).

    Parameters
    ----------
    posterior, reference : xarray.DataTree
    summary : pandas.DataFrame, optional
        `summarize` of the fit, where it is at hand.

    Returns
    -------
    pandas.DataFrame
        Index: parameter names. ``mean`` and ``exact`` (``reference``, if that is not exact) are
        posterior means; ``z`` their difference in units of its Monte Carlo error; ``shift`` the
        difference in the reference's posterior standard deviations; ``wasserstein`` the
        1-Wasserstein distance of the marginals in the same unit.
    """
    ours, theirs = (checked(tree["posterior"].to_dataset()) for tree in (posterior, reference))
    names = [name for name in ours.data_vars if name in theirs.data_vars]
    ours, theirs = ours[names], theirs[names]
    own = summarize(ours) if summary is None else summary.loc[names_of(ours)]
    other = summarize(theirs)
    here, there = own.index.isin(other.index), other.index.isin(own.index)
    own, other, sd = own[here], other[there], other.loc[there, "sd"]
    gap = own["mean"] - other["mean"]
    table = pd.DataFrame(
        {
            "mean": own["mean"],
            "exact" if _is_exact(reference) else "reference": other["mean"],
            "z": gap / np.hypot(own["mcse_mean"], other["mcse_mean"]),
            "shift": gap / sd,
            "wasserstein": wasserstein(values_of(ours)[here], values_of(theirs)[there]) / sd,
        }
    )
    return table[(sd > 0).to_numpy()]


def of_population(dataset: xr.Dataset, names: pd.Index) -> np.ndarray:
    """Which of some scalars belong to no group; a coefficient may end in a level, ``sex[F]``."""
    return np.asarray(names.isin([str(name) for name, v in dataset.items() if v.ndim == 2]))


def _is_exact(tree: xr.DataTree) -> bool:
    """Whether a fit is exact; one that fell back to a sampler is not."""
    return tree.attrs.get("method") == "exact"


def verdict(
    posterior: xr.DataTree,
    reference: xr.DataTree | None = None,
    names: Mapping[str, str] | None = None,
) -> Verdict:
    """Check a fit.

    Parameters
    ----------
    posterior : xarray.DataTree
        From `Model.fit`.
    reference : xarray.DataTree, optional
        A fit of the same model to hold it against; the exact one, where there is one.
    names : mapping, optional
        Words for the short names of parameters.
    """
    called = names or {}
    table = summarize(checked(posterior["posterior"].to_dataset()))
    moving = table[table["sd"] != 0]
    rhat, bulk, tail = (moving[name] for name in ("rhat", "ess_bulk", "ess_tail"))
    found: list[tuple[str, float, str, float, str]] = [
        ("R-hat", rhat.max(), "≤", MAX_RHAT, rhat.idxmax()),
        ("Bulk ESS", bulk.min(), "≥", MIN_ESS, bulk.idxmin()),
        ("Tail ESS", tail.min(), "≥", MIN_ESS, tail.idxmin()),
    ]
    stats = posterior["sample_stats"].to_dataset() if "sample_stats" in posterior else xr.Dataset()
    if "diverging" in stats:
        found.append(("Divergences", int(stats["diverging"].sum()), "≤", 0, ""))
    depth = next((n for n in ("reached_max_treedepth", "maxdepth_reached") if n in stats), None)
    if depth:
        found.append(("Tree depth", int(stats[depth].sum()), "≤", 0, ""))
    if "energy" in stats:
        bfmi = float(azs.bfmi(posterior)["energy"].min())
        found.append(("Energy (BFMI)", bfmi, "≥", MIN_BFMI, ""))
    attrs = posterior.attrs
    if "pareto_khat" in attrs:
        found += [
            ("Pareto k̂", attrs["pareto_khat"], "≤", MAX_KHAT, ""),
            ("Effective draws", attrs["effective_draws"], "≥", MIN_ESS, ""),
            ("Evidence twice", abs(attrs["evidence_gap"]), "≤", MAX_GAP, ""),
        ]
    if "integral_error_max" in attrs:
        found.append(("Integral", attrs["integral_error_max"], "≤", LIMIT, ""))
    if "surrogate_error" in attrs:
        found += [
            ("Surrogate", attrs["surrogate_error"], "≤", MAX_ERROR, ""),
            ("Surrogate's edge", attrs["surrogate_edge_share"], "≤", MAX_EDGE, ""),
        ]
    checks = [
        one(name, value, sense, limit, MEANING[name].format(in_words(at, called)))
        for name, value, sense, limit, at in found
    ]
    if reference is None:
        return Verdict(checks, table)
    comparison = compare(posterior, reference, table)
    z, limit = comparison["z"].abs(), round(explained(len(comparison)), 2)
    population = of_population(posterior["posterior"].to_dataset(), comparison.index)
    far = comparison.loc[population, "wasserstein"]
    name, what = ("Exact", "exact") if _is_exact(reference) else ("Reference", "reference's")
    means = (
        f"largest difference from the {what} posterior means in Monte Carlo errors, at "
        f"{in_words(z.idxmax(), called)}; chance passes the limit for {len(z):,} means once in "
        f"{1 / FALSE_ALARM:,.0f} fits"
    )
    marginals = (
        f"largest Wasserstein distance from the {what} marginals in posterior standard "
        f"deviations, at {in_words(far.idxmax(), called)}; the limit, a tenth, is a convention"
    )
    checks += [
        one(f"{name}: means", z.max(), "≤", limit, means),
        one(f"{name}: marginals", far.max(), "≤", MAX_WASSERSTEIN, marginals),
    ]
    return Verdict(checks, table, comparison)

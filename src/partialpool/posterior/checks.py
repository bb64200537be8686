"""Diagnostics with a verdict, and the distance of a fit from a reference.

The diagnostics are ArviZ's; here they get thresholds, plain words, and one word for the whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from partialpool.fit.importance import MAX_GAP, MAX_KHAT
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.scalars import diagnostics, names_of, values_of, wasserstein

#: Thresholds and what it means to miss them (Vehtari et al. 2021, 2024; Betancourt 2017).
MAX_RHAT, MIN_ESS, MIN_BFMI = 1.01, 400, 0.3
#: Farthest that a marginal may lie from the exact one, in posterior standard deviations.
MAX_WASSERSTEIN = 0.1
#: Probability that a right fit is called far from the exact one.
FALSE_ALARM = 1e-3
#: Above this many groups only `CHECKED_GROUPS` are checked: ArviZ takes milliseconds for each.
MAX_ELEMENTS, CHECKED_GROUPS = 2000, 500
#: Checks that warn rather than fail: they say "look", not "wrong".
WARNINGS = {"Tree depth", "Energy (BFMI)", "Identified"}


@dataclass(frozen=True)
class Verdict:
    """Checks of one fit; shows itself as a table in Jupyter.

    Attributes
    ----------
    checks : list of dict
        Each with ``name``, ``value``, ``threshold``, ``passed`` and ``help``.
    summary : pandas.DataFrame
        The fit's figures, parameter by parameter: `summarize` of what is `checked`.
    comparison : pandas.DataFrame or None
        Distance from the exact posterior, parameter by parameter.
    """

    checks: list[dict[str, Any]]
    summary: pd.DataFrame
    comparison: pd.DataFrame | None = None

    @property
    def status(self) -> str:
        """``"passed"``, ``"warned"`` or ``"failed"``."""
        missed = {c["name"] for c in self.checks if not c["passed"]}
        return "failed" if missed - WARNINGS else "warned" if missed else "passed"

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        missed = [c for c in self.checks if not c["passed"]]
        if not missed:
            return f"All {len(self.checks)} checks passed."
        reasons = "; ".join(f"{c['name']}: {c['help']}" for c in missed)
        return f"{len(missed)} of {len(self.checks)} checks were missed. {reasons}"

    def finding(self) -> Finding:
        """The checks as a table, with the verdict in a sentence."""
        return shown("checks", self.checks, f"Verdict: **{self.status}**. {self.sentence}")

    def _ipython_display_(self) -> None:
        self.finding()._ipython_display_()

    def __str__(self) -> str:
        return str(self.finding())

    __repr__ = __str__


def one(
    name: str, value: float, sense: str, limit: float, meaning: str, remedy: str = ""
) -> dict[str, Any]:
    """One check of a verdict.

    Parameters
    ----------
    name, meaning : str
        What it is called, and what it is about.
    value, limit : float
    sense : {"≤", "≥"}
        On which side of the limit the value must be.
    remedy : str, optional
        What to try where it is not.
    """
    passed = value <= limit if sense == "≤" else value >= limit
    return {
        "name": name,
        "value": float(value),
        "threshold": f"{sense} {limit:g}",
        "passed": bool(passed),
        "help": f"{meaning}; {remedy}" if remedy and not passed else meaning,
    }


def shown(name: str, checks: list[dict[str, Any]], sentence: str) -> Finding:
    """Checks as a table, with the verdict in a sentence."""
    table = pd.DataFrame(checks)
    table.insert(0, "mark", ["✓" if passed else "✗" for passed in table.pop("passed")])
    columns = {
        "mark": ("", "{}"),
        "name": ("check", "{}"),
        "value": ("value", "{:.4g}"),
        "help": ("meaning", "{}"),
    }
    return Finding(name, sentence, table=table, columns=columns, index=False)


def with_warning(verdict: Verdict, name: str, sentence: str) -> Verdict:
    """The verdict with one more check, missed for the reason given; itself where there is none."""
    if not sentence:
        return verdict
    missed = {"name": name, "value": 0.0, "threshold": "≥ 1", "passed": False, "help": sentence}
    return replace(verdict, checks=[*verdict.checks, missed])


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
    "mean": ("mean", "{:.4g}"),
    "sd": ("sd", "{:.3g}"),
    "q05": ("5 %", "{:.4g}"),
    "q50": ("median", "{:.4g}"),
    "q95": ("95 %", "{:.4g}"),
    "ess_bulk": ("bulk ESS", "{:,.0f}"),
    "ess_tail": ("tail ESS", "{:,.0f}"),
    "rhat": ("R-hat", "{:.3f}"),
    "mcse_mean": ("MC error", "{:.2g}"),
    "positive": ("probability of > 0", "{:.3f}"),
    "exact": ("exact", "{:.4g}"),
    "reference": ("reference", "{:.4g}"),
    "z": ("difference in MC errors", "{:.2f}"),
    "shift": ("difference in sd", "{:.3f}"),
    "wasserstein": ("Wasserstein distance in sd", "{:.3f}"),
}


def estimates(fitted: Fitted) -> Finding:
    """The population's parameters, with how they were drawn in words."""
    table = summarize(fitted.dataset, fitted.model.parameters)
    return Finding("estimates", how_fitted(fitted), table=table, columns=HEADINGS)


def how_fitted(fitted: Fitted) -> str:
    """By which method, how fast, and the evidence: Markdown."""
    attrs = fitted.attrs
    says = f"Drawn by **{attrs['method']}** ({attrs['route']}) in {attrs['fit_seconds']:.2f} s. "
    if attrs.get("loading_seconds", 0) > 1:
        says += f"Before that, compiling or loading code took {attrs['loading_seconds']:.0f} s. "
    if "log_evidence" in attrs:
        says += (
            f"The log evidence is {attrs['log_evidence']:.3f} with Monte Carlo error "
            f"{attrs['log_evidence_se']:.3f}. "
        )
    return says + "Intervals from 5 % to 95 % are equal-tailed."


def check(fitted: Fitted) -> Verdict:
    """Verdict on a fit: its diagnostics, and its distance from the exact posterior."""
    reference = fitted.reference
    groups = some_groups(fitted.model.design.n_groups)
    against = None if reference is None else reference.with_effects_of(groups)
    found = verdict(fitted.with_effects_of(groups), against)
    return with_warning(found, "Identified", fitted.model.unidentified)


def compare(posterior: xr.DataTree, reference: xr.DataTree) -> pd.DataFrame:
    """Distance of a fit from a reference, for every parameter that is `checked`.

    `verdict` holds ``z`` against docs/method.md, eq. (36).

    Returns
    -------
    pandas.DataFrame
        Index: parameter names. ``mean`` and ``exact`` (``reference``, if that is not exact) are
        posterior means; ``z`` their difference in units of its Monte Carlo error; ``shift`` the
        difference in the reference's posterior standard deviations; ``wasserstein`` the
        1-Wasserstein distance of the marginals in the same unit.
    """
    ours, theirs = (checked(tree["posterior"].to_dataset()) for tree in (posterior, reference))
    names = [str(name) for name in ours.data_vars if name in theirs.data_vars]
    return _distances(ours[names], theirs[names], summarize(ours, names), _is_exact(reference))


def _is_exact(tree: xr.DataTree) -> bool:
    """Whether a fit is exact; one that fell back to a sampler is not."""
    return tree.attrs.get("method") == "exact"


def _distances(
    ours: xr.Dataset, theirs: xr.Dataset, summary: pd.DataFrame, exact: bool
) -> pd.DataFrame:
    """`compare` for two datasets with the same variables, the first one's summary at hand."""
    other = summarize(theirs)
    levels = summary.index.isin(other.index), other.index.isin(summary.index)
    draws, others = values_of(ours)[levels[0]], values_of(theirs)[levels[1]]
    summary, other = summary[levels[0]], other[levels[1]]
    moves = (other["sd"] > 0).to_numpy()
    sd = other["sd"]
    gap = summary["mean"] - other["mean"]
    table = pd.DataFrame(
        {
            "mean": summary["mean"],
            "exact" if exact else "reference": other["mean"],
            "z": gap / np.hypot(summary["mcse_mean"], other["mcse_mean"]),
            "shift": gap / sd,
            "wasserstein": wasserstein(draws, others) / sd,
        }
    )
    return table[moves]


def verdict(posterior: xr.DataTree, reference: xr.DataTree | None = None) -> Verdict:
    """Check a fit.

    Parameters
    ----------
    posterior : xarray.DataTree
        From `Model.fit`.
    reference : xarray.DataTree, optional
        A fit of the same model to hold it against; the exact one, where there is one.
    """
    dataset = checked(posterior["posterior"].to_dataset())
    table = summarize(dataset)
    figures = table[table["sd"] != 0]
    checks = [
        one(
            "R-hat",
            figures["rhat"].max(),
            "≤",
            MAX_RHAT,
            f"chains agree; worst is {figures['rhat'].idxmax()}",
        ),
        one(
            "Bulk ESS",
            figures["ess_bulk"].min(),
            "≥",
            MIN_ESS,
            f"effective draws for the centre; worst is {figures['ess_bulk'].idxmin()}",
        ),
        one(
            "Tail ESS",
            figures["ess_tail"].min(),
            "≥",
            MIN_ESS,
            f"effective draws for the 5 % and 95 % quantiles; worst is "
            f"{figures['ess_tail'].idxmin()}",
        ),
    ]
    stats = posterior["sample_stats"].to_dataset() if "sample_stats" in posterior else xr.Dataset()
    if "diverging" in stats:
        checks.append(
            one(
                "Divergences",
                int(stats["diverging"].sum()),
                "≤",
                0,
                "transitions that left the typical set; the posterior has a part that the "
                "sampler cannot enter",
            )
        )
    depth = next((n for n in ("reached_max_treedepth", "maxdepth_reached") if n in stats), None)
    if depth:
        checks.append(
            one(
                "Tree depth",
                int(stats[depth].sum()),
                "≤",
                0,
                "transitions cut off at the largest tree; the sampler is slow, not wrong",
            )
        )
    if "energy" in stats:
        checks.append(
            one(
                "Energy (BFMI)",
                float(azs.bfmi(posterior)["energy"].min()),
                "≥",
                MIN_BFMI,
                "how well momentum refreshes explore the energy",
            )
        )
    attrs = posterior.attrs
    if "pareto_khat" in attrs:
        checks += [
            one(
                "Pareto k̂",
                attrs["pareto_khat"],
                "≤",
                MAX_KHAT,
                "tail of the importance weights of the exact fit",
            ),
            one(
                "Effective draws",
                attrs["effective_draws"],
                "≥",
                MIN_ESS,
                "importance sampling's own count for the exact fit",
            ),
            one(
                "Evidence twice",
                abs(attrs["evidence_gap"]),
                "≤",
                MAX_GAP,
                "two proposals agree on the evidence, difference in standard errors",
            ),
        ]
    if reference is None:
        return Verdict(checks, table)
    theirs = checked(reference["posterior"].to_dataset())
    shared = [name for name in dataset.data_vars if name in theirs.data_vars]
    exact = _is_exact(reference)
    comparison = _distances(
        dataset[shared], theirs[shared], table.loc[names_of(dataset[shared])], exact
    )
    limit = float(norm.isf(FALSE_ALARM / 2 / len(comparison)))
    population = comparison.loc[~comparison.index.str.endswith("]"), "wasserstein"]
    name, what = ("Exact", "exact") if exact else ("Reference", "reference's")
    checks += [
        one(
            f"{name}: means",
            comparison["z"].abs().max(),
            "≤",
            round(limit, 2),
            f"largest difference from the {what} posterior means in Monte Carlo errors, at "
            f"{comparison['z'].abs().idxmax()}",
        ),
        one(
            f"{name}: marginals",
            population.max(),
            "≤",
            MAX_WASSERSTEIN,
            f"largest Wasserstein distance from the {what} marginals in posterior standard "
            f"deviations, at {population.idxmax()}",
        ),
    ]
    return Verdict(checks, table, comparison)

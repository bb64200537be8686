"""One model, many ways to draw from its posterior, each held against the exact one.

A method is written as in a study file: ``"nuts centered"``, ``"nutpie marginal"``, or ``"exact"``.
With a link the exact fit is the certified one, and is called so.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.text import capital, listed, number
from partialpool.design.priors import METHODS, PARAMETRIZATIONS
from partialpool.fit.fitting import CERTIFIED
from partialpool.fit.regression import Regression
from partialpool.posterior import checks
from partialpool.posterior.agreement import explained
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.verdict import WARNINGS, Verdict

#: What a reader sees instead of the words of a study file.
WORDS = {
    "nuts": "NUTS",
    "nutpie": "nutpie",
    "metropolis": "Metropolis",
    "centered": "centred",
    "noncentered": "non-centred",
    "marginal": "marginal",
}
#: How checks against the reference end; all others are a method's own.
AGAINST = (": means", ": marginals")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Fits of one model by several methods, ours first.

    Attributes
    ----------
    rows : pandas.DataFrame
        A row per method, in words: ``seconds`` of the fit with all it compiles or loads, ``draws``
        in all chains, ``ess`` and ``worst`` (bulk effective draws of the parameter that has the
        fewest, and its name), ``ess_per_second``, ``rhat`` (largest), ``divergences`` (NaN where
        there are none to count), ``z`` and ``wasserstein`` (largest distances from the exact
        posterior, see `checks.compare`), ``z_at``, ``z_limit``, ``wasserstein_at``, ``reached``
        (whether both distances are within their limits), and ``missed`` (checks of its own, which
        need no exact posterior, that it missed, in words).
    fits : dict of str to Fitted
        By the same words.
    reference : Fitted
        An exact fit, with a link a certified one, with a seed that no method has.
    """

    rows: pd.DataFrame
    fits: dict[str, Fitted]
    reference: Fitted

    @property
    def model(self) -> Regression:
        """What was fitted."""
        return self.reference.model

    @property
    def kind(self) -> str:
        """What our fit and its posterior are called: "exact", or "certified" with a link."""
        return kind_of(self.model)

    @property
    def own(self) -> str:
        """The label of our fit."""
        return capital(self.kind)

    @property
    def sampled(self) -> list[str]:
        """Methods other than ours."""
        return [label for label in self.rows.index if label != self.own]

    @property
    def good(self) -> pd.Series:
        """Whether a method reached the posterior and missed no check of its own."""
        return self.rows["reached"] & (self.rows["missed"] == "")

    @property
    def verdict(self) -> Verdict:
        """The verdict on our fit, by which a comparison passes or fails."""
        found = checks.check(self.fits[self.own])
        return replace(found, of=f"the {self.kind} fit")


def kind_of(model: Regression) -> str:
    """What the fit of a model is that samplers are held against, in a word."""
    return CERTIFIED if model.linked else "exact"


def label(method: str) -> str:
    """A sampler in words: ``"nuts centered"`` is ``"NUTS, centred"``."""
    return ", ".join(WORDS[word] for word in split(method) if word)


def split(method: str) -> tuple[str, str | None]:
    """Method and parametrization, the method's own one where none is written.

    Raises
    ------
    ValueError
        For a method or a parametrization that there is not.
    """
    name, _, parametrization = str(method).strip().partition(" ")
    if name not in METHODS:
        raise ValueError(f"methods: there is no {name!r}; choose from {', '.join(METHODS)}.")
    if name == "exact" and not parametrization:
        return name, None
    if name == "exact" or (parametrization and parametrization not in PARAMETRIZATIONS):
        raise ValueError(
            f"methods: {method!r} is not understood; write a sampler and one of "
            f"{', '.join(PARAMETRIZATIONS)}, such as 'nuts centered', or 'exact' alone."
        )
    return name, parametrization or METHODS[name]


def compare_methods(
    model: Regression,
    methods: Iterable[str],
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    metropolis_draws: int = 5000,
    seed: int = 0,
    progress: Callable[[str], Any] | None = None,
) -> Comparison:
    """Fit a model by each method and hold the fits against the exact posterior.

    Parameters
    ----------
    model : Regression
        With a group term and an exact fit, which with a link is the certified one.
    methods : iterable of str
        Such as ``"nuts centered"``. The exact fit comes first, whether it is listed or not.
    draws, tune, chains : int
        Of every method but Metropolis.
    metropolis_draws : int
        Draws that Metropolis keeps in each chain, after throwing away as many.
    seed : int
        Of every method.
    progress : callable, optional
        Told about each fit before it begins, in words.

    Raises
    ------
    ValueError
        For an unknown method, or a model without groups or without an exact fit, before anything is
        fitted; and where the integral over the effects of groups turns out not to be certified.
    """
    own = capital(kind_of(model))
    samplers = [method for method in methods if split(method)[0] != "exact"]
    wanted = {own: split("exact")} | {label(method): split(method) for method in samplers}
    if not model.design.groupings:
        raise ValueError(
            f"{model.formula!r} has no group term, so that every parametrization is the same; "
            "add one, such as (1 | group)."
        )
    if not model.exact:
        raise ValueError(
            f"{model.formula!r} has no exact or certified posterior with family {model.family}, so "
            "that there is nothing to hold samplers against."
        )
    marginal = [name for name, form in wanted.values() if form == "marginal"]
    if marginal and not (model.integrates or model.linked):
        raise ValueError(
            f"methods: the noise of {model.formula!r} leaves no marginal model; choose centered or "
            "noncentered."
        )
    if model.linked and {*marginal} - {"nutpie"}:
        raise ValueError(
            f"methods: the marginal model of family {model.family} is sampled by nutpie alone; "
            "choose nutpie marginal, or centered or noncentered."
        )
    if len(wanted) > 1:
        # importing PyMC is not part of anybody's time
        from partialpool.fit import pymc_models  # noqa: F401
    fits = {}
    for k, (words, (name, parametrization)) in enumerate(wanted.items(), 1):
        if progress:
            progress(f"{k} of {len(wanted)}: {words}")
        kept = metropolis_draws if name == "metropolis" else draws
        burnt = metropolis_draws if name == "metropolis" else tune
        sizes = {"draws": kept, "tune": burnt, "chains": chains, "seed": seed}
        with warnings.catch_warnings():
            # Overflow is how a divergence ends, and divergences are counted.
            warnings.simplefilter("ignore", RuntimeWarning)
            fits[words] = Fitted.of(model, method=name, parametrization=parametrization, **sizes)
        if words == own:
            reference = _certified(fits[own])
    rows = {words: _row(fitted, reference) for words, fitted in fits.items()}
    return Comparison(pd.DataFrame.from_dict(rows, orient="index"), fits, reference)


def _certified(fitted: Fitted) -> Fitted:
    """The reference of our own fit; raises where either is not what it should be."""
    reference = fitted.reference
    assert reference is not None  # there is an exact fit
    if fitted.model.linked:
        for one in (fitted, reference):
            if "integral_error_max" not in one.attrs:
                raise ValueError(
                    f"{fitted.model.formula!r}: the fit is not certified, so that there is nothing "
                    f"to hold samplers against ({one.attrs['route']})."
                )
    return reference


def _row(fitted: Fitted, reference: Fitted) -> dict[str, Any]:
    verdict = checks.verdict(fitted.posterior, reference.posterior)
    values = {check["name"]: check for check in verdict.checks}
    ess = verdict.summary.loc[verdict.summary["sd"] > 0, "ess_bulk"]
    distances = verdict.comparison
    assert distances is not None  # there is a reference
    shown = distances.loc[checks.of_population(fitted.dataset, distances.index), "wasserstein"]
    z, limit = distances["z"].abs(), round(explained(len(distances)), 2)
    reached = z.max() <= limit and shown.max() <= checks.MAX_WASSERSTEIN
    own = [check for check in verdict.missed if not check["name"].endswith(AGAINST)]
    seconds = fitted.attrs["fit_seconds"] + fitted.attrs["loading_seconds"]
    return {
        "seconds": seconds,
        "draws": fitted.dataset.sizes["chain"] * fitted.dataset.sizes["draw"],
        "ess": ess.min(),
        "worst": ess.idxmin(),
        "ess_per_second": ess.min() / seconds,
        "rhat": values["R-hat"]["value"],
        "divergences": values.get("Divergences", {"value": np.nan})["value"],
        "z": z.max(),
        "z_at": z.idxmax(),
        "z_limit": limit,
        "wasserstein": shown.max(),
        "wasserstein_at": shown.idxmax(),
        "reached": bool(reached),
        "missed": listed([_missed(check) for check in own if check["name"] not in WARNINGS]),
    }


def _missed(check: Mapping[str, Any]) -> str:
    """A missed check in few words: "R-hat of 1.012 (limit 1.01)", "5 divergences"."""
    name, value = check["name"], check["value"]
    if name == "Divergences":
        return f"{value:,.0f} divergence{'' if value == 1 else 's'}"
    told = f"{value:.3f}" if name == "R-hat" else number(value, 3)
    return f"{name} of {told} (limit {check['threshold'].split()[1]})"

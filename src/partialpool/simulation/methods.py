"""One model, many ways to draw from its posterior, each held against the exact one.

A method is written as in a study file: ``"nuts centered"``, ``"nutpie marginal"``, or ``"exact"``.
"""

import html
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr

from partialpool.data.tables import load, table_digest
from partialpool.design.choices import METHODS
from partialpool.model import Model
from partialpool.posterior import checks
from partialpool.simulation.simulate import origin

#: What a reader sees instead of the words of a study file.
WORDS = {
    "exact": "Exact",
    "nuts": "NUTS",
    "nutpie": "nutpie",
    "metropolis": "Metropolis",
    "centered": "centred",
    "noncentered": "non-centred",
    "marginal": "marginal",
}
#: Key of the stream from which the reference gets a seed of its own.
REFERENCE_STREAM = 3


@dataclass(frozen=True)
class Comparison:
    """Fits of one model by several methods; shows itself as a table in Jupyter.

    Attributes
    ----------
    rows : pandas.DataFrame
        A row per method, in words: ``seconds`` of the fit with everything it compiles, ``draws``
        in all chains, ``ess`` and ``worst`` (bulk effective draws of the parameter that has the
        fewest, and its name), ``ess_per_second``, ``rhat`` (largest), ``divergences`` (NaN where
        there are none to count), ``z`` and ``wasserstein`` (largest distances from the exact
        posterior, see `checks.compare`), ``z_at``, ``z_limit``, ``wasserstein_at``, ``verdict``.
    posteriors : dict of str to xarray.DataTree
        By the same words.
    reference : xarray.DataTree
        An exact fit with a seed that no method has.
    model : Model
        What was fitted.
    """

    rows: pd.DataFrame
    posteriors: dict[str, xr.DataTree]
    reference: xr.DataTree
    model: Model

    @property
    def sampled(self) -> list[str]:
        """Methods other than the exact one."""
        return [label for label in self.rows.index if label != WORDS["exact"]]

    def _repr_html_(self) -> str:
        heads = (
            *("method", "seconds", "draws", "effective draws", "effective per second"),
            *("largest R-hat", "divergences", "means: |z|", "marginals: Wasserstein", "verdict"),
        )
        body = "".join(
            f"<tr><th scope='row'>{html.escape(label)}</th>"
            + "".join(
                f"<td>{text}</td>"
                for text in (
                    short(row["seconds"]),
                    f"{row['draws']:,}",
                    f"{row['ess']:,.0f}",
                    short(row["ess_per_second"]),
                    f"{row['rhat']:.3f}",
                    "–" if np.isnan(row["divergences"]) else f"{row['divergences']:,.0f}",
                    f"{row['z']:.1f}",
                    f"{row['wasserstein']:.3f}",
                    row["verdict"],
                )
            )
            + "</tr>"
            for label, row in self.rows.iterrows()
        )
        head = "".join(f"<th>{name}</th>" for name in heads)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def label(method: str) -> str:
    """A method in words: ``"nuts centered"`` is ``"NUTS, centred"``.

    Raises
    ------
    ValueError
        For a method or a parametrization that there is not.
    """
    name, parametrization = split(method)
    return ", ".join(WORDS[word] for word in (name, parametrization) if word)


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
    forms = ("centered", "noncentered", "marginal")
    if name == "exact" and not parametrization:
        return name, None
    if name == "exact" or (parametrization and parametrization not in forms):
        raise ValueError(
            f"methods: {method!r} is not understood; write a sampler and one of "
            f"{', '.join(forms)}, such as 'nuts centered', or 'exact' alone."
        )
    return name, parametrization or METHODS[name]


def data_set(
    data: str, formula: str, priors: Mapping[str, str] | None, rng: np.random.Generator
) -> Model:
    """The model of a notebook's settings.

    Parameters
    ----------
    data : str
        ``"origin"`` for the origin's data, simulated from `rng` with their truth, or anything
        `tables.load` reads.
    formula : str
    priors : mapping of str to str, optional
    rng : numpy.random.Generator
    """
    if data != "origin":
        return Model(formula, load(data), priors)
    table = origin(rng)
    table.attrs |= {"source": "the origin's simulation", "sha256": table_digest(table)}
    return Model(formula, table, priors)


def compare_methods(
    model: Model,
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
    model : Model
        With a group term.
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
        For an unknown method or a model without groups; before anything is fitted.
    """
    wanted = {label(method): split(method) for method in ("exact", *methods)}
    if not model.design.group:
        raise ValueError(
            f"{model.formula!r} has no group term, so that every parametrization is the same; "
            "add one, such as (1 | group)."
        )
    if any(name != "exact" for name, _ in wanted.values()):
        import pymc  # noqa: F401  importing it is not part of anybody's time
    posteriors = {}
    for number, (words, (name, parametrization)) in enumerate(wanted.items(), 1):
        if progress:
            progress(f"{number} of {len(wanted)}: {words}")
        walk = name == "metropolis"
        with warnings.catch_warnings():
            # Overflow is how a divergence ends, and divergences are counted.
            warnings.simplefilter("ignore", RuntimeWarning)
            posteriors[words] = model.fit(
                name,
                parametrization,
                draws=metropolis_draws if walk else draws,
                tune=metropolis_draws if walk else tune,
                chains=chains,
                seed=seed,
            )
    own_seed = int(np.random.SeedSequence(seed, spawn_key=(REFERENCE_STREAM,)).generate_state(1)[0])
    reference = model.fit(seed=own_seed)
    rows = {words: _row(posterior, reference) for words, posterior in posteriors.items()}
    return Comparison(pd.DataFrame.from_dict(rows, orient="index"), posteriors, reference, model)


def _row(posterior: xr.DataTree, reference: xr.DataTree) -> dict[str, Any]:
    verdict = checks.verdict(posterior, reference)
    values = {check["name"]: check for check in verdict.checks}
    # What does not vary (a fixed scale) has no effective draws.
    dataset = posterior["posterior"].to_dataset()
    ess = {
        name: float(figure[0, 0])
        for name, figure in checks.flat(
            azs.ess(dataset, method="bulk").expand_dims(chain=1, draw=1)
        ).items()
    }
    worst = min(ess, key=lambda name: np.nan_to_num(ess[name], nan=np.inf))
    comparison = verdict.comparison
    assert comparison is not None  # there is a reference
    shown = comparison[~comparison.index.str.endswith("]")]
    divergences = values.get("Divergences", {"value": np.nan})
    return {
        "seconds": posterior.attrs["fit_seconds"],
        "draws": dataset.sizes["chain"] * dataset.sizes["draw"],
        "ess": ess[worst],
        "worst": worst,
        "ess_per_second": ess[worst] / posterior.attrs["fit_seconds"],
        "rhat": values["R-hat"]["value"],
        "divergences": divergences["value"],
        "z": comparison["z"].abs().max(),
        "z_at": comparison["z"].abs().idxmax(),
        "z_limit": float(values["Exact: means"]["threshold"].split()[-1]),
        "wasserstein": shown["wasserstein"].max(),
        "wasserstein_at": shown["wasserstein"].idxmax(),
        "verdict": verdict.status,
    }


def sentences(comparison: Comparison) -> str:
    """A Markdown list: for each method, what came of it, from the numbers of the comparison."""
    return "\n".join(
        f"* **{words}** {row['verdict']}. {_about(comparison, words)}"
        for words, row in comparison.rows.iterrows()
    )


def _about(comparison: Comparison, words: str) -> str:
    row = comparison.rows.loc[words]
    if words == WORDS["exact"]:
        again = comparison.reference.attrs["fit_seconds"]
        return (
            f"{row['draws']:,} draws in {duration(row['seconds'])}, and in {duration(again)} the "
            f"second time, when its code was loaded (route: {_route(comparison)}). Two exact fits "
            f"with different seeds have means at most {row['z']:.1f} Monte Carlo errors apart and "
            f"marginals at most {row['wasserstein']:.3f} posterior standard deviations: that much "
            "is chance."
        )
    agree = row["rhat"] <= checks.MAX_RHAT
    parts = [
        f"Its chains {'agree' if agree else 'tell different stories'} (R-hat {row['rhat']:.3f})"
    ]
    if row["divergences"] > 0:
        parts[0] += f" and {row['divergences']:,.0f} of {row['draws']:,} transitions diverged"
    worst = (
        f"{code(row['worst'])} is worth {row['ess']:,.0f} independent draws out of "
        f"{row['draws']:,}, {short(row['ess_per_second'])} per second"
    )
    if row["ess"] < checks.MIN_ESS:
        need = checks.MIN_ESS / row["ess_per_second"]
        worst += f", so that {checks.MIN_ESS} of them would take {duration(need)} at best"
    parts.append(worst)
    means = (
        f"Its means are within {row['z']:.1f} Monte Carlo errors of the exact ones, which chance "
        "explains"
    )
    wrong = row["z"] > row["z_limit"]
    if wrong:
        means = (
            f"Its means are up to {row['z']:.1f} Monte Carlo errors from the exact ones "
            f"({code(row['z_at'])}), which chance does not explain"
        )
    elif not agree:
        means = "Its Monte Carlo error is so large that its means say little"
    far = row["wasserstein"] > checks.MAX_WASSERSTEIN
    parts.append(
        f"{means}, {'and' if far == (wrong or not agree) else 'but'} its farthest marginal, that "
        f"of {code(row['wasserstein_at'])}, lies {row['wasserstein']:.2f} posterior standard "
        "deviations from the exact one"
    )
    return ". ".join(parts) + "."


def _route(comparison: Comparison) -> str:
    return str(comparison.posteriors[WORDS["exact"]].attrs["route"])


def short(value: float) -> str:
    """Two or three significant digits with thousands separated."""
    if value >= 100:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{value:#.2g}".rstrip(".")


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "minutes"), (172800, 3600, "hours")):
        if seconds < limit:
            return f"{short(seconds / unit)} {name}"
    return f"{short(seconds / 86400)} days"


def code(name: str) -> str:
    """A parameter's name as Markdown code, where ``|`` and ``_`` mean nothing else."""
    return f"`{str(name).replace('`', '')}`"

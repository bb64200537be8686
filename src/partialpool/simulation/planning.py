"""How many groups, and how many rows in each, it takes to tell a coefficient from zero.

Data sets of other sizes are made from a fit's own posterior: groups are drawn from its groups, with
replacement, each with its rows or some of them; values from its draws, or as they are given; and
the response from both. Each is fitted exactly with the priors of the fit. How often the interval
excludes zero is power where the values are given, and its expectation over what is known of
them, assurance, where they are the posterior's (O'Hagan, Stevens & Campbell 2005).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from partialpool.data.text import closest
from partialpool.design.matrices import Design
from partialpool.fit.exact_fit import population_draws
from partialpool.fit.regression import Regression
from partialpool.posterior.fitted import Fitted
from partialpool.simulation import many_fits

#: Share of data sets that should tell, as studies are planned by convention.
ENOUGH = 0.8
#: Heading and format of the table's columns.
HEADINGS = {
    "coefficient": ("coefficient", "{}"),
    "per_group": ("rows in each group", "{}"),
    "groups": ("groups", "{:,}"),
    "share": ("intervals that exclude zero", "{:.0%}"),
    "low": ("95 % Monte Carlo interval from", "{:.0%}"),
    "high": ("to", "{:.0%}"),
    "width": ("average width of the interval", "{:#.3g}"),
}


@dataclass(frozen=True)
class Plan:
    """What is asked.

    Attributes
    ----------
    groups : tuple of int
        Numbers of groups.
    per_group : tuple of int or None
        Numbers of rows in each; None leaves a group the rows it has.
    coefficients : tuple of str
        Whose intervals are looked at.
    truth : dict of str to float
        Values in the place of the posterior's draws.
    equivalence : dict of str to (float, float)
        Coefficient -> ends of a region within which it does not matter: its intervals tell where
        they lie inside, those of others where they exclude zero.
    probability : float
        Of the equal-tailed intervals.
    draws : int
        Of each posterior.
    """

    groups: tuple[int, ...]
    per_group: tuple[int | None, ...]
    coefficients: tuple[str, ...]
    truth: dict[str, float]
    equivalence: dict[str, tuple[float, float]]
    probability: float = 0.95
    draws: int = 400


def plan(
    model: Regression,
    groups: Sequence[int],
    per_group: Sequence[int | None] = (None,),
    truth: Mapping[str, float] | None = None,
    rope: Mapping[str, Sequence[float]] | None = None,
    probability: float = 0.95,
) -> Plan:
    """A plan for a regression with one grouping factor and Gaussian noise.

    Parameters
    ----------
    model : Regression
    groups, per_group, truth, probability
        As in `Plan`.
    rope : mapping of str to (float, float), optional
        `Plan.equivalence`; when not given, all coefficients but the intercept are held against
        zero.

    Raises
    ------
    ValueError
        For a model of another kind, a size below one, and a name that is no parameter.
    """
    design = model.design
    if not model.closed_form or len(design.groupings) != 1 or design.sampled:
        raise ValueError(
            "How many groups it takes is found for Gaussian noise, one grouping factor and a table "
            "that is not in parts."
        )
    truth, rope = dict(truth or {}), dict(rope or {})
    coefficients = [name for name in design.x_names if name != "Intercept"] or ["Intercept"]
    for what, given, known in (
        ("truth", truth, model.parameters),
        ("rope", rope, [*design.x_names]),
    ):
        for name in given:
            if name not in known:
                hint = closest(name, known) or f"; there are {', '.join(known)}."
                raise ValueError(f"{what}: there is no {name!r}{hint}")
    sizes = [*groups, *(size for size in per_group if size is not None)]
    if not groups or not per_group or min(sizes) < 1 or min(groups) < 2:
        raise ValueError("groups and per_group: give sizes, of at least two groups and one row.")
    return Plan(
        tuple(groups),
        tuple(per_group),
        tuple(dict.fromkeys([*coefficients, *rope])),
        {name: float(value) for name, value in truth.items()},
        {name: (float(low), float(high)) for name, (low, high) in rope.items()},
        probability,
    )


def resized(design: Design, groups: int, per_group: int | None, rng: np.random.Generator) -> Design:
    """A design of groups drawn from its own, with replacement, and of their rows.

    With `per_group`, as many rows of each: without replacement where it has so many.
    """
    grouping = design.only
    order = np.argsort(grouping.codes, kind="stable")
    rows_of = np.split(order, np.cumsum(grouping.counts)[:-1])
    chosen = []
    for j in rng.integers(grouping.n_levels, size=groups):
        rows = rows_of[j]
        if per_group is not None:
            rows = rng.choice(rows, per_group, replace=per_group > len(rows))
        chosen.append(rows)
    kept, levels = design.of_rows(np.concatenate(chosen)), np.arange(groups)
    codes = np.repeat(levels, [len(some) for some in chosen])
    return replace(kept, groupings=(replace(kept.only, codes=codes, levels=levels),))


def batch(
    model: Regression,
    values: Mapping[str, np.ndarray],
    plan: Plan,
    seed: int,
    size: int,
    number: int,
) -> pd.DataFrame:
    """Data sets, `size` of them, for one pair of sizes; the `number`-th batch of all.

    Parameters
    ----------
    model : Regression
    values : mapping of str to (S,) array
        Draws of the population's parameters, from which the truths come.
    plan : Plan
    seed, size, number : int

    Returns
    -------
    pandas.DataFrame
        A row per data set and coefficient: ``groups``, ``per_group`` (0 for whole groups),
        ``data_set``, ``parameter``, ``truth``, ``low``, ``high``, ``trusted``.
    """
    per_cell = len(plan.groups) * len(plan.per_group)
    groups = plan.groups[number % len(plan.groups)]
    per_group = plan.per_group[number % per_cell // len(plan.groups)]
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(20, number)))
    noise = {"sigma": 0.0} if model.priors["sigma"].fixed else {}
    tails = (1 - plan.probability) / 2
    rows = []
    for k in range(size):
        draw = int(rng.integers(len(values["sigma"])))
        truth = noise | {name: float(values[name][draw]) for name in model.parameters} | plan.truth
        design = resized(model.design, groups, per_group, rng)
        _, _, y = many_fits.respond(model.with_design(design), truth, rng)
        found, _, sample = population_draws(
            model.with_design(replace(design, y=y)), plan.draws, rng
        )
        for name in plan.coefficients:
            low, high = np.quantile(found[name], (tails, 1 - tails))
            rows.append(
                {
                    "groups": groups,
                    "per_group": per_group or 0,
                    "data_set": number // per_cell * size + k,
                    "parameter": name,
                    "truth": truth[name],
                    "low": low,
                    "high": high,
                    "trusted": sample.trusted,
                }
            )
    return pd.DataFrame(rows)


def run(
    fitted: Fitted,
    plan: Plan,
    data_sets: int,
    *,
    seed: int = 0,
    workers: int | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Simulate and fit `data_sets` for every pair of sizes; see `batch` and `many_fits.run`."""
    attrs = fitted.attrs
    made = [attrs[name] for name in ("formula", "priors", "data_sha256", "seed", "draws", "chains")]
    text = json.dumps([asdict(plan), made, seed, data_sets], sort_keys=True, default=str)
    key = hashlib.sha256((text + many_fits.code_digest()).encode()).hexdigest()[:16]
    size = min(many_fits.BATCH, data_sets)
    cells = len(plan.groups) * len(plan.per_group)
    return many_fits.in_batches(
        partial(batch, _bare(fitted.model), fitted.population, plan, seed, size),
        f"planning-{key}",
        -(-data_sets // size) * cells,
        size,
        workers=workers,
        cache=cache,
        progress=progress,
    )


def _bare(model: Regression) -> Regression:
    """The model without what evaluates its formula on other rows, which no other process takes."""
    design = model.design
    groupings = tuple(replace(grouping, _varying=()) for grouping in design.groupings)
    return model.with_design(replace(design, groupings=groupings, _common=(), _offset=()))


def shares(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """How often the interval tells, for each coefficient and pair of sizes.

    Returns
    -------
    pandas.DataFrame
        ``coefficient``, ``per_group``, ``groups``, ``share`` with the ends ``low`` and ``high``
        of its 95 % Monte Carlo interval (Clopper & Pearson 1934), and the average ``width``.
    """
    rows = []
    keys = ["parameter", "per_group", "groups"]
    for (name, per_group, groups), found in table.groupby(keys, sort=False):
        if name in plan.equivalence:
            low, high = plan.equivalence[name]
            tells = (found["low"] > low) & (found["high"] < high)
        else:
            tells = (found["low"] > 0) | (found["high"] < 0)
        share = binomtest(int(tells.sum()), len(tells))
        interval = share.proportion_ci(0.95, method="exact")
        width = (found["high"] - found["low"]).mean()
        rows.append([name, per_group, groups, share.statistic, *interval, width])
    return pd.DataFrame(rows, columns=list(HEADINGS)).sort_values(
        ["coefficient", "per_group", "groups"], ignore_index=True
    )

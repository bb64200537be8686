"""What is said of planned studies: which are simulated, and how many groups it takes.

All numbers are those of `planning`.
"""

import numpy as np
import pandas as pd

from partialpool.data.text import capital, listed, number, percent, singular
from partialpool.fit.regression import Regression
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_in_words, groups_of, readable
from partialpool.simulation.planning import ENOUGH, HEADINGS, Plan


def sentence(model: Regression, found: pd.DataFrame, plan: Plan) -> str:
    """From about how many groups on the share is `ENOUGH`, for each coefficient."""
    words, groups = readable(model), groups_in_words(model, model.design.only)
    says = []
    for name, of_name in found.groupby("coefficient", sort=False):
        called = f"the {percent(plan.probability)} interval of the {words.get(name, name)}"
        if name in plan.truth:
            value = _with_unit(model, name, plan.truth[name])
            called = f"if the {words.get(name, name)} is {value}, its {called[4:].split(' of ')[0]}"
        found_by = [
            _enough(rows, groups, f" with {rows_each(model, int(size))} each")
            for size, rows in of_name.groupby("per_group", sort=False)
        ]
        says.append(
            f"{capital(called)} {aim(plan, name)} in {percent(ENOUGH)} of simulated studies or "
            f"more {listed(found_by)}."
        )
    return (
        f"{' '.join(says)} Numbers of {groups} are read off between those tried; in brackets is "
        "what the 95 % Monte Carlo intervals of the shares leave open."
    )


def rows_each(model: Regression, size: int) -> str:
    """The rows of each group in words: "4 rows", or for whole groups "all 10 rows"."""
    if size:
        return f"{size} rows"
    counts = {*model.design.only.counts.tolist()}
    return f"all {counts.pop()} rows" if len(counts) == 1 else "all rows of the data's"


def aim(plan: Plan, name: str) -> str:
    """What is asked of the interval of a coefficient."""
    if name in plan.equivalence:
        low, high = (number(float(end)) for end in plan.equivalence[name])
        return f"lies within {low} to {high}"
    return "excludes zero"


def _with_unit(model: Regression, name: str, value: float) -> str:
    """A coefficient with its unit, where the study gives those of both columns: "5 ms per day"."""
    return f"{value:g} {_unit(model, name)}".rstrip()


def _unit(model: Regression, name: str) -> str:
    """The unit of a coefficient, where the study gives those of both columns: "ms per day"."""
    unit, per = model.units.get(model.design.response), model.units.get(name)
    if not unit or not (per or name == "Intercept"):
        return ""
    return f"{unit} per {singular(per)}" if per else unit


def crossing(sizes: np.ndarray, shares: np.ndarray) -> float:
    """Where shares come to `ENOUGH` for good, by lines between those of the sizes tried.

    Zero where all are enough, infinite where that of the largest size is not. Sizes are on a
    logarithmic scale.
    """
    below = np.flatnonzero(shares < ENOUGH)
    if not len(below):
        return 0.0
    k = int(below[-1])
    if k + 1 == len(sizes):
        return np.inf
    part = (ENOUGH - shares[k]) / (shares[k + 1] - shares[k])
    return float(sizes[k] * (sizes[k + 1] / sizes[k]) ** part)


def _enough(rows: pd.DataFrame, groups: str, each: str) -> str:
    """From how many groups on the share is `ENOUGH`, and what its Monte Carlo errors leave open."""
    rows = rows.sort_values("groups")
    sizes = rows["groups"].to_numpy()
    at, fewest, most = (
        crossing(sizes, rows[curve].to_numpy()) for curve in ("share", "high", "low")
    )
    if np.isinf(at):
        best = rows.iloc[rows["share"].argmax()]
        share = f"{percent(best['share'])}; {percent(best['low'])} to {percent(best['high'])}"
        return f"with none of the numbers of {groups}{each} that were tried (at most {share})"
    first = f"{int(fewest):,}" if fewest else f"{sizes[0]:,} or fewer"
    last = "more" if np.isinf(most) else f"{int(np.ceil(most)):,}" if most else first
    if not at:
        return f"with {sizes[0]:,} {groups} already{each}" + (f" (up to {last})" if most else "")
    return f"from about {int(np.ceil(at)):,} {groups} on{each} ({first} to {last})"


def table(model: Regression, found: pd.DataFrame, plan: Plan) -> Finding:
    """The shares as a table."""
    words = readable(model)
    shown = found.assign(
        coefficient=[words.get(name, name) for name in found["coefficient"]],
        per_group=[rows_each(model, size).removesuffix(" rows") for size in found["per_group"]],
    )
    if len(plan.coefficients) == 1:  # which the picture and the sentence name
        shown = shown.drop(columns="coefficient")
    asked = {aim(plan, name).split()[0] for name in plan.coefficients}
    columns = HEADINGS | {"groups": (groups_in_words(model, model.design.only), "{:,}")}
    units = [_unit(model, name) for name in found["coefficient"]]
    heading, form = HEADINGS["width"]
    columns["width"] = (
        f"{heading}, {units[0]}" if len({*units}) == 1 and units[0] else heading,
        form,
    )
    if "lies" in asked:  # in a region, of all coefficients or of some
        says = "intervals that lie inside" if len(asked) == 1 else "intervals that tell"
        columns["share"] = (says, "{:.0%}")
    return Finding("sizes", table=shown, columns=columns, index=False)


def trust(table: pd.DataFrame) -> Finding:
    """How many of the fits did not trust themselves."""
    fits = table.drop_duplicates(["groups", "per_group", "data_set"])["trusted"]
    bad = int((~fits).sum())
    says = f"All {len(fits):,} fits passed the check that each makes of itself."
    if bad:
        says = (
            f"{bad:,} of {len(fits):,} fits did not pass the check that each makes of itself; "
            "their intervals are counted like the others."
        )
    return Finding("trust", says)


def describe(fitted: Fitted, plan: Plan, data_sets: int) -> Finding:
    """What is simulated, in words."""
    grouping = fitted.model.design.only
    words = readable(fitted.model)
    given = [
        f"{words.get(name, name)} = {_with_unit(fitted.model, name, value)}"
        for name, value in plan.truth.items()
    ]
    values = f"given values ({', '.join(given)}) and " if given else ""
    return Finding(
        "plan",
        f"For every pair of sizes {data_sets:,} data sets are simulated: groups, with their "
        f"predictors, are drawn from the {grouping.n_levels:,} {groups_of(fitted.model, grouping)} "
        f"of the data, parameters from {values}the posterior, and each data set is fitted exactly "
        f"with the same priors, {plan.draws} draws each. So the shares below average over what the "
        f"data leave open{', but for the given values' if given else ''}."
        f"{_caveats(fitted.model, plan)}",
    )


def _caveats(model: Regression, plan: Plan) -> str:
    """What a study that is planned may do otherwise."""
    groups, says = groups_in_words(model, model.design.only), ""
    if varying := [name for name in plan.truth if name in model.design.only.z_names]:
        words = readable(model)
        says += (
            f" How much {groups} differ in the {listed([words.get(n, n) for n in varying])} stays "
            "as the posterior has it, whatever value is given."
        )
    if any(plan.per_group):
        says += (
            " Rows that a group keeps are drawn at random; such as are chosen far apart in their "
            "predictors tell a slope better."
        )
    return says


def headline(model: Regression, found: pd.DataFrame, plan: Plan) -> str:
    """The study's result: `sentence` for the first coefficient."""
    first = found[found["coefficient"] == plan.coefficients[0]]
    return sentence(model, first, plan)

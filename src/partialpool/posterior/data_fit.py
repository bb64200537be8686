"""Does the model fit the data? A verdict beside that on the computation, with its own checks.

A fit can be computed perfectly and be one of a model that does not suit the data. Each check here
has a threshold, and the sentence on a page is made from the same check, so that the two agree.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from partialpool.data.text import in_words
from partialpool.design.families import RESPONSES
from partialpool.design.matrices import Grouping
from partialpool.fit.regression import Regression
from partialpool.posterior import draws, leave_one_out, predictions, sensitivity
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.leave_one_out import LeftOut
from partialpool.posterior.names import readable
from partialpool.posterior.verdict import DataVerdict, missed, one

#: Probability with which data from the model itself miss each check that is a test.
LEVEL = 0.01
#: The rule behind a p-value's limit, in words.
RULE = f"right models fall below the limit in {LEVEL:.0%} of data sets"
#: The same of the figures of replications, over all of them.
FIGURES_LEVEL = 0.05
#: Residuals from here on, in predictive standard deviations, are called far.
FAR = 3.0
#: Fewest rows of a group whose noise is compared with that of the others.
MIN_ROWS = 5
#: Share of the groups that must have as many.
MOST_GROUPS = 0.5
#: What residuals are measured in, by the family of the noise.
UNITS = dict.fromkeys(RESPONSES, "standard normal quantiles")
UNITS["gaussian"] = "predictive standard deviations"
#: What rows farther away than the noise allows say of it.
HEAVIER = {
    "gaussian": 'try "family: student", which bends less to outliers',
    "student": "the tails are heavier than those of Student's t",
    "poisson": 'try "family: negbinomial", which lets counts spread more',
    "negbinomial": "the counts' tails are heavier than the model's",
    "binomial": "look for groups or predictors that are not in the model",
    "cumulative": "look for groups or predictors that are not in the model",
}


def check(
    fitted: Fitted,
    left_out: LeftOut | None = None,
    replicated: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> DataVerdict:
    """Hold a model against its data.

    Parameters
    ----------
    fitted : Fitted
    left_out : LeftOut, optional
        From `leave_one_out.leave_out`; made here when not given, as are the next.
    replicated : (S, n) array, optional
        From `predictions.replicate`, at `rows`.
    rows : (n,) array, optional
        Rows of the data.
    """
    if left_out is None:
        left_out = leave_one_out.leave_out(fitted, fitted.seed)
    if rows is None or replicated is None:
        replicated, rows = replications(fitted)
    found = [
        statistics_check(figures(replicated, fitted.model, rows)),
        *residual_checks(fitted.model, left_out),
        calibration_check(left_out),
        *missed("Response", fitted.model.mismatch),
        *missed("Labels of groups", fitted.model.design.nesting),
        conflict_check(sensitivity.power_scaling(fitted), readable(fitted.model)),
    ]
    return DataVerdict(found)


def replications(fitted: Fitted) -> tuple[np.ndarray, np.ndarray]:
    """Replications (S, n) of rows of the data, and these rows (n,): all, or a sample of many."""
    rows = draws.some_rows(fitted.model.design, leave_one_out.MAX_ROWS, fitted.seed)
    stream = np.random.SeedSequence(fitted.seed, spawn_key=(11,))
    return predictions.replicate(fitted, rows, np.random.default_rng(stream)), rows


def figures(replicated: np.ndarray, model: Regression, rows: np.ndarray) -> pd.DataFrame:
    """How replications (S, n) of rows (n,) show the figures that the data show.

    Returns
    -------
    pandas.DataFrame
        A row for each of `predictions.statistics`: ``above``, the share of replications at or
        above the data; ``p``, the two-sided tail probability (Phipson & Smyth 2010); and
        ``corrected`` for as many figures as there are (Bonferroni).
    """
    y = model.design.y[rows][None]
    found = predictions.statistics(model, rows)
    drawn = {name: (f(replicated), f(y)[0]) for name, f in found.items()}
    above = pd.Series({name: float(np.mean(new >= old)) for name, (new, old) in drawn.items()})
    below = 1 - above
    if model.linked:  # whose figures tie with the data's
        below = pd.Series({name: float(np.mean(new <= old)) for name, (new, old) in drawn.items()})
    S = len(replicated)  # the data are one set more, so that no probability is zero
    p = (2 * (S * np.minimum(above, below) + 1) / (S + 1)).clip(upper=1.0)
    return pd.DataFrame({"above": above, "p": p, "corrected": (p * len(p)).clip(upper=1.0)})


def statistics_check(found: pd.DataFrame) -> dict[str, Any]:
    """Whether replications of the data show the `figures` that the data show."""
    p = found["corrected"]
    meaning = (
        f"tail probability of the figure that replications reproduce worst, the {p.idxmin()}, over "
        f"{len(p)} figures; right models fall below the limit in {FIGURES_LEVEL:.0%} of data sets "
        "or fewer"
    )
    remedy = "look whether noise or groups are shaped as assumed"
    return one("Replications", float(p.min()), "≥", FIGURES_LEVEL, meaning, remedy)


def normal_residuals(model: Regression, left_out: LeftOut) -> np.ndarray:
    """Leave-one-out residuals (n,) that are standard normal under the model.

    With Gaussian noise these are distances in predictive standard deviations; for another family
    the normal quantiles of the rows' predictive probabilities (Dunn & Smyth 1996), for a row that
    Student's t lets lie far is not far; of counts and answers these are randomized.
    """
    if model.family == "gaussian":
        return left_out.residuals(model.design.y)
    return stats.norm.ppf(np.clip(left_out.pit, 1e-15, 1 - 1e-15))


def where(model: Regression, row: int) -> str:
    """A row, the first of which is 1, with its groups, such as ``row 58 (Subject 332)``."""
    groups = ", ".join(
        f"{model.words(g.name)} {g.levels[g.codes[row]]}" for g in model.design.groupings
    )
    return f"row {row + 1} ({groups})" if groups else f"row {row + 1}"


def residual_checks(model: Regression, left_out: LeftOut) -> list[dict[str, Any]]:
    """Whether some rows lie where nothing predicts them, and whether groups are equally noisy."""
    design, unit, heavier = model.design, UNITS[model.family], HEAVIER[model.family]
    z = normal_residuals(model, left_out)
    worst = int(np.abs(z).argmax())
    away = f"distance of {where(model, left_out.rows[worst])} from what the others predict, in "
    away += f"{unit}; with right models it is above the limit in {LEVEL:.0%} of data sets"
    limit = round(float(stats.norm.isf(LEVEL / 2 / len(z))), 2)
    beyond = (
        f"of {len(z):,} rows beyond {FAR:g} {unit}; right models have more than the limit in "
        f"{LEVEL:.0%} of data sets or fewer"
    )
    far = int((np.abs(z) > FAR).sum())
    most = int(stats.binom.ppf(1 - LEVEL, len(z), 2 * stats.norm.sf(FAR)))
    found = [
        one("Farthest row", np.abs(z[worst]), "≤", limit, away, f"look at the row; {heavier}"),
        one("Far rows", far, "≤", most, beyond, heavier),
    ]
    if model.linked and not model.spreads:
        return found
    return found + [
        noise_check(p, model.words(grouping.name) if len(design.groupings) > 1 else "group")
        for grouping in design.groupings
        if (p := same_noise(model, left_out, grouping)) is not None
    ]


def noise_check(p: float, name: str) -> dict[str, Any]:
    """Whether groups are equally noisy, from the p-value of `same_noise`."""
    meaning = (
        "p-value of Brown and Forsythe's test that residuals spread alike in groups of "
        f"{MIN_ROWS} rows and more; {RULE}"
    )
    remedy = "intervals are too wide in quiet groups and too narrow in noisy ones"
    return one(f"Noise by {name}", p, "≥", LEVEL, meaning, remedy)


def spreads(model: Regression, left_out: LeftOut, grouping: Grouping) -> dict[int, np.ndarray]:
    """Distances of residuals from their group's median, by code of groups of `MIN_ROWS` rows."""
    z = pd.Series(normal_residuals(model, left_out))
    return {
        int(code): np.abs(part - part.median()).to_numpy()
        for code, part in z.groupby(grouping.codes[left_out.rows])
        if len(part) >= MIN_ROWS and part.std() > 0
    }


def same_noise(model: Regression, left_out: LeftOut, grouping: Grouping) -> float | None:
    """p-value of Brown and Forsythe's test; None where most groups have too few rows for it.

    Of very many rows only a sample is left out one by one, and what the few groups with enough of
    these say would be taken for all. It is an analysis of variance of distances from the groups'
    medians, so that one far row does not decide it.
    """
    groups = [*spreads(model, left_out, grouping).values()]
    enough = len(groups) > 1 and len(groups) >= MOST_GROUPS * grouping.n_levels
    return float(stats.f_oneway(*groups).pvalue) if enough else None


class Calibration(NamedTuple):
    """How the rows lie in their predictive distributions, by two tests.

    Attributes
    ----------
    curve : float
        p-value of Kolmogorov and Smirnov's test that their probabilities are uniform, which sees
        little of the tails.
    outside : float
        Share of the rows outside their 90 % predictive intervals.
    tails : float
        p-value of that share, by the binomial distribution.
    """

    curve: float
    outside: float
    tails: float

    @property
    def p(self) -> float:
        """The smaller p-value, for two tests (Bonferroni)."""
        return min(1.0, 2 * min(self.curve, self.tails))


def calibration(left_out: LeftOut) -> Calibration:
    """Hold the rows' leave-one-out probabilities against the uniform distribution."""
    outside = (left_out.pit < 0.05) | (left_out.pit > 0.95)
    return Calibration(
        float(stats.kstest(left_out.pit, "uniform").pvalue),
        float(outside.mean()),
        float(stats.binomtest(int(outside.sum()), len(outside), 0.1).pvalue),
    )


def calibration_check(left_out: LeftOut) -> dict[str, Any]:
    """Whether rows lie in their predictive distributions as often as these say."""
    meaning = (
        "p-value that the rows' leave-one-out probabilities are uniform (Kolmogorov–Smirnov) and "
        f"10 % lie outside 90 % intervals (binomial), the smaller of both times two; {RULE}"
    )
    remedy = "the noise has another shape or width than the model's"
    return one("Calibration", calibration(left_out).p, "≥", LEVEL, meaning, remedy)


def conflict_check(
    sensitivities: pd.DataFrame, called: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Whether prior and data pull a parameter apart."""
    names = [in_words(name, called or {}) for name in sensitivity.conflicts(sensitivities)]
    which = f": {', '.join(names)}" if names else ""
    meaning = f"parameters that prior and data pull to opposite sides{which}; none should be"
    remedy = "say why the prior is meant, or widen it"
    return one("Prior and data", len(names), "≤", 0, meaning, remedy)

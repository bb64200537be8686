"""Does the model fit the data? A verdict beside that on the computation, with its own checks.

A fit can be computed perfectly and be one of a model that does not suit the data. Each check here
has a threshold, and the sentence on a page is made from the same check, so that the two agree.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from partialpool.design.matrices import Design, Grouping
from partialpool.posterior import draws, leave_one_out, predictions, sensitivity
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.leave_one_out import LeftOut
from partialpool.posterior.verdict import DataVerdict, missed, one

#: Probability with which data from the model itself miss each check that is a test.
LEVEL = 0.01
#: Residuals from here on, in predictive standard deviations, are called far.
FAR = 3.0
#: Fewest rows of a group whose noise is compared with that of the others.
MIN_ROWS = 5


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
    seed = fitted.seed
    if left_out is None:
        left_out = leave_one_out.leave_out(fitted, seed)
    if rows is None or replicated is None:
        rows = draws.some_rows(fitted.model.design, leave_one_out.MAX_ROWS, seed)
        stream = np.random.SeedSequence(seed, spawn_key=(11,))
        replicated = predictions.replicate(fitted, rows, np.random.default_rng(stream))
    found = [
        statistics_check(replicated, fitted, rows),
        *residual_checks(fitted, left_out),
        calibration_check(left_out),
        *missed("Response", fitted.model.mismatch),
        conflict_check(sensitivity.power_scaling(fitted)),
    ]
    return DataVerdict(found)


def tail_shares(replicated: np.ndarray, design: Design, rows: np.ndarray) -> pd.Series:
    """Share of replications at or above the data, for each figure of `predictions.statistics`."""
    y = design.y[rows][None]
    return pd.Series(
        {
            name: float(np.mean(statistic(replicated) >= statistic(y)[0]))
            for name, statistic in predictions.statistics(design, rows).items()
        }
    )


def statistics_check(replicated: np.ndarray, fitted: Fitted, rows: np.ndarray) -> dict[str, Any]:
    """Whether replications of the data show the figures that the data show."""
    shares = tail_shares(replicated, fitted.model.design, rows)
    # two-sided, over as many figures as there are (Bonferroni)
    p = (2 * np.minimum(shares, 1 - shares) * len(shares)).clip(upper=1.0)
    meaning = (
        f"tail probability of the figure that replications reproduce worst, the {p.idxmin()}, over "
        f"{len(p)} figures"
    )
    remedy = "look whether noise or groups are shaped as assumed"
    return one("Replications", float(p.min()), "≥", 5 * LEVEL, meaning, remedy)


def normal_residuals(fitted: Fitted, left_out: LeftOut) -> np.ndarray:
    """Leave-one-out residuals (n,) that are standard normal under the model.

    With Gaussian noise these are distances in predictive standard deviations; with other noise
    the normal quantiles of the rows' predictive probabilities (Dunn & Smyth 1996), for a row that
    Student's t lets lie far is not far.
    """
    if fitted.model.family == "gaussian":
        return left_out.residuals(fitted.model.design.y)
    return stats.norm.ppf(np.clip(left_out.pit, 1e-15, 1 - 1e-15))


def residual_checks(fitted: Fitted, left_out: LeftOut) -> list[dict[str, Any]]:
    """Whether some rows lie where nothing predicts them, and whether groups are as noisy alike."""
    design = fitted.model.design
    z = normal_residuals(fitted, left_out)
    worst = int(np.abs(z).argmax())
    row = int(left_out.rows[worst])
    where = f"row {row}{groups_of(design, row)}"
    heavier = "the tails are heavier than those of Student's t"
    if fitted.model.family == "gaussian":
        heavier = 'try "family: student", which bends less to outliers'
    away = f"distance of {where} from what the others predict, in predictive standard deviations"
    limit = round(float(stats.norm.isf(LEVEL / 2 / len(z))), 2)
    beyond = f"of {len(z):,} rows beyond {FAR:g} predictive standard deviations"
    far = int((np.abs(z) > FAR).sum())
    most = int(stats.binom.ppf(1 - LEVEL, len(z), 2 * stats.norm.sf(FAR)))
    found = [
        one("Farthest row", np.abs(z[worst]), "≤", limit, away, f"look at the row; {heavier}"),
        one("Far rows", far, "≤", most, beyond, heavier),
    ]
    several = len(design.groupings) > 1
    for grouping in design.groupings:
        p = same_noise(fitted, left_out, grouping)
        if p is not None:
            of = f" of {grouping.name}" if several else ""
            meaning = (
                "p-value of Brown and Forsythe's test that residuals spread alike in groups"
                f"{of} of {MIN_ROWS} rows and more"
            )
            remedy = "intervals are too wide in quiet groups and too narrow in noisy ones"
            name = f"Noise by {grouping.name if several else 'group'}"
            found.append(one(name, p, "≥", LEVEL, meaning, remedy))
    return found


def groups_of(design: Design, row: int) -> str:
    """The groups that a row is in, in brackets; nothing for a model without groups."""
    where = [f"{g.name} {g.levels[g.codes[row]]}" for g in design.groupings]
    return f" ({', '.join(where)})" if where else ""


def same_noise(fitted: Fitted, left_out: LeftOut, grouping: Grouping | None = None) -> float | None:
    """p-value of Brown and Forsythe's test, groups of `MIN_ROWS` rows; None with fewer than two.

    It compares distances from the groups' medians, so that one far row does not decide it. The only
    grouping need not be given.
    """
    codes = (grouping or fitted.model.design.only).codes[left_out.rows]
    z = pd.Series(left_out.residuals(fitted.model.design.y))
    groups = [part.to_numpy() for _, part in z.groupby(codes) if len(part) >= MIN_ROWS]
    groups = [part for part in groups if part.std() > 0]
    return float(stats.levene(*groups, center="median").pvalue) if len(groups) > 1 else None


def calibration_check(left_out: LeftOut) -> dict[str, Any]:
    """Whether rows lie in their predictive distributions as often as these say."""
    p = stats.kstest(left_out.pit, "uniform").pvalue
    meaning = "p-value (Kolmogorov–Smirnov) that the rows' leave-one-out probabilities are uniform"
    remedy = "the noise has another shape or width than the model's"
    return one("Calibration", p, "≥", LEVEL, meaning, remedy)


def conflict_check(sensitivities: pd.DataFrame) -> dict[str, Any]:
    """Whether prior and data pull a parameter apart."""
    names = sensitivity.conflicts(sensitivities)
    which = f": {', '.join(names)}" if names else ""
    meaning = f"parameters that prior and data pull to different places{which}"
    remedy = "say why the prior is meant, or widen it"
    return one("Prior and data", len(names), "≤", 0, meaning, remedy)

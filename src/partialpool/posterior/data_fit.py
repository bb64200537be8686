"""Does the model fit the data? A verdict beside that on the computation, with its own checks.

A fit can be computed perfectly and be one of a model that does not suit the data. Each check here
has a threshold, and the sentence on a page is made from the same check, so that the two agree.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from partialpool.design.matrices import Design
from partialpool.fit.regression import Regression
from partialpool.posterior import draws, leave_one_out, predictions, sensitivity
from partialpool.posterior.checks import Verdict, one, shown
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.leave_one_out import LeftOut

#: Probability with which data from the model itself miss each check that is a test.
LEVEL = 0.01
#: Residuals from here on, in predictive standard deviations, are called far.
FAR = 3.0
#: Fewest rows of a group whose noise is compared with that of the others.
MIN_ROWS = 5
#: What each status means.
MEANING = {
    "good": "No check of the model against the data was missed.",
    "look": "The model misses something that the data show; look at what is named here.",
    "poor": "The model misses most of what was looked at; change it before you use it.",
}


@dataclass(frozen=True)
class DataVerdict:
    """Checks of a model against its data; shows itself as a table.

    Attributes
    ----------
    checks : list of dict
        Each with ``name``, ``value``, ``threshold``, ``passed`` and ``help``, which ends with what
        to try where the check is missed.
    """

    checks: list[dict[str, Any]]

    @property
    def missed(self) -> list[dict[str, Any]]:
        """The checks that were missed."""
        return [check for check in self.checks if not check["passed"]]

    @property
    def status(self) -> str:
        """``"good"`` if no check was missed, ``"poor"`` if more than half were, else ``"look"``."""
        if not self.missed:
            return "good"
        return "poor" if 2 * len(self.missed) > len(self.checks) else "look"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if not self.missed:
            return f"All {len(self.checks)} checks of the model against the data passed."
        reasons = "; ".join(f"{check['name']}: {check['help']}" for check in self.missed)
        return f"{len(self.missed)} of {len(self.checks)} checks were missed. {reasons}"

    def finding(self) -> Finding:
        """The checks as a table, with the verdict in a sentence."""
        return shown(
            "data_fit", self.checks, f"Fit to the data: **{self.status}**. {self.sentence}"
        )


@dataclass(frozen=True, kw_only=True)
class Verdicts(Verdict):
    """The verdict on the computation, by which a run passes or fails, and one that it is not for.

    Attributes
    ----------
    fit : DataVerdict
        Whether the model fits the data. All else is the computation's.
    """

    fit: DataVerdict

    @property
    def sentence(self) -> str:
        """Both verdicts in words."""
        return f"{super().sentence} {self.fit.sentence}"

    def findings(self) -> tuple[Finding, Finding]:
        """The checks of each as a table."""
        computation = Verdict(self.checks, self.summary, self.comparison)
        return computation.finding(), self.fit.finding()

    def _ipython_display_(self) -> None:
        for finding in self.findings():
            finding._ipython_display_()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.findings()))

    __repr__ = __str__


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
        *([kind_check(fitted.model)] if fitted.model.mismatch else []),
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
    return one(
        "Replications",
        float(p.min()),
        "≥",
        5 * LEVEL,
        f"tail probability of the figure that replications reproduce worst, the {p.idxmin()}, over "
        f"{len(p)} figures",
        "look whether noise or groups are shaped as assumed",
    )


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
    row, code = int(left_out.rows[worst]), int(design.codes[left_out.rows[worst]])
    where = f"row {row}" + (f" ({design.group} {design.levels[code]})" if design.group else "")
    heavier = "the tails are heavier than those of Student's t"
    if fitted.model.family == "gaussian":
        heavier = 'try "family: student", which bends less to outliers'
    found = [
        one(
            "Farthest row",
            float(np.abs(z[worst])),
            "≤",
            round(float(stats.norm.isf(LEVEL / 2 / len(z))), 2),
            f"distance of {where} from what the others predict, in predictive standard deviations",
            f"look at the row; {heavier}",
        ),
        one(
            "Far rows",
            int((np.abs(z) > FAR).sum()),
            "≤",
            int(stats.binom.ppf(1 - LEVEL, len(z), 2 * stats.norm.sf(FAR))),
            f"of {len(z):,} rows beyond {FAR:g} predictive standard deviations",
            heavier,
        ),
    ]
    p = same_noise(fitted, left_out)
    if p is not None:
        found.append(
            one(
                "Noise by group",
                p,
                "≥",
                LEVEL,
                "p-value of Brown and Forsythe's test that residuals spread alike in groups of "
                f"{MIN_ROWS} rows and more",
                "intervals are too wide in quiet groups and too narrow in noisy ones",
            )
        )
    return found


def same_noise(fitted: Fitted, left_out: LeftOut) -> float | None:
    """p-value of Brown and Forsythe's test, groups of `MIN_ROWS` rows; None with fewer than two.

    It compares distances from the groups' medians, so that one far row does not decide it.
    """
    codes = fitted.model.design.codes[left_out.rows]
    z = pd.Series(left_out.residuals(fitted.model.design.y))
    groups = [part.to_numpy() for _, part in z.groupby(codes) if len(part) >= MIN_ROWS]
    groups = [part for part in groups if part.std() > 0]
    return float(stats.levene(*groups, center="median").pvalue) if len(groups) > 1 else None


def calibration_check(left_out: LeftOut) -> dict[str, Any]:
    """Whether rows lie in their predictive distributions as often as these say."""
    return one(
        "Calibration",
        float(stats.kstest(left_out.pit, "uniform").pvalue),
        "≥",
        LEVEL,
        "p-value (Kolmogorov–Smirnov) that the rows' leave-one-out probabilities are uniform",
        "the noise has another shape or width than the model's",
    )


def kind_check(model: Regression) -> dict[str, Any]:
    """A missed check that says that the response is no quantity with Gaussian noise."""
    return {
        "name": "Response",
        "value": 0.0,
        "threshold": "≥ 1",
        "passed": False,
        "help": model.mismatch,
    }


def conflict_check(sensitivities: pd.DataFrame) -> dict[str, Any]:
    """Whether prior and data pull a parameter apart."""
    names = sensitivity.conflicts(sensitivities)
    which = f": {', '.join(names)}" if len(names) else ""
    return one(
        "Prior and data",
        len(names),
        "≤",
        0,
        f"parameters that prior and data pull to different places{which}",
        "say why the prior is meant, or widen it",
    )

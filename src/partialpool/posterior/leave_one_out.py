"""Leave-one-out prediction: how well a model predicts a row that it has not seen.

PSIS-LOO is ArviZ's (Vehtari, Gelman & Gabry 2017). What goes into it is ours: where the noise is
Gaussian, or the integral over group effects certified, the effects of its groups are integrated
out, given the *other* rows, so that the importance weights only carry what a row tells about the
population (Merkle, Furr & Rabe-Hesketh 2019): docs/method.md, eq. (32), (33) and (65).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
from scipy import special

from partialpool.fit import integrated_fit, left_out_rows, mixed_equations
from partialpool.fit.exact_fit import (
    coefficients,
    covariance_root,
    given_draws,
    integrated_values,
    interpolated,
)
from partialpool.fit.regression import Regression
from partialpool.fit.small_factors import split
from partialpool.posterior import draws
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted, way_name
from partialpool.posterior.psis import FEW_DRAWS_LIMIT, add_up, psis
from partialpool.posterior.responses import Rows, observed

#: Most rows that are left out in turn; of more, a random sample.
MAX_ROWS = 2000
#: Posterior draws used, in all chains together.
DRAWS = 1000
#: Most rows of bad Pareto k that are left out for real, by a fit of their own.
MAX_REFITS = 20
#: When rows are left out for real, in words.
RULE = (
    f"where the posterior is exact, or certified and of {MAX_ROWS:,} rows at most, and no more "
    f"than {MAX_REFITS} rows of a model need one"
)
#: Spreads of the response, from which on a predictive sd is no prediction.
LOST = 100.0
#: Numbers in a scratch array.
CHUNK = 10_000_000
#: Key of the stream that spreads discrete responses over their probability.
STREAM = 13


@dataclass(frozen=True, repr=False)
class LeftOut:
    """What leaving out each row in turn gives.

    Attributes
    ----------
    elpd : arviz_stats.ELPDData
        ArviZ's estimate of the expected log predictive density, with Pareto k by row.
    pit : (n,) array
        Probability that a prediction for the row, made without it, is at most the row; of counts
        and answers a random share of the row's own probability is taken, see `Rows.below`.
    mean, sd : (n,) arrays
        Of that prediction, on the scale of `responses.observed`.
    rows : (n,) int array
        The rows that were left out.
    of : int
        Rows of the data.
    refitted : int
        How many of them for real, by a fit without them.
    lost : int
        How many the model cannot predict: its predictive sd is `LOST` spreads of the response.
    """

    elpd: Any
    pit: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    rows: np.ndarray
    of: int
    refitted: int
    lost: int

    def residuals(self, y: np.ndarray) -> np.ndarray:
        """Residuals (n,) of all rows `y` (N,) of the data, in predictive standard deviations."""
        return (y[self.rows] - self.mean) / self.sd

    def __repr__(self) -> str:
        how = f"{len(self.rows):,} of {self.of:,} rows left out in turn"
        return f"{self.elpd}\n{how}, {self.refitted:,} of them by a fit without them."


def leave_out(fitted: Fitted, seed: int = 0) -> LeftOut:
    """Predict rows of the data as if each had been left out of the fit.

    Parameters
    ----------
    fitted : Fitted
    seed : int
        Of the sample of rows where there are more than `MAX_ROWS`.
    """
    model, design = fitted.model, fitted.model.design
    rows = draws.some_rows(design, MAX_ROWS, seed)
    y, most = design.y[rows], DRAWS
    if model.family == "gaussian" and len(design.groupings) > 1 and not interpolated(model):
        most = mixed_equations.affordable(design, DRAWS, len(rows))
    thin = fitted.thinned(most)
    if model.family == "gaussian":
        mean, sd = _without(model, thin.held, rows)
        z = (y - mean) / sd
        log, below = -(z**2) / 2 - np.log(2 * np.pi) / 2 - np.log(sd), special.ndtr(z)
    else:
        told, log = _told(thin, rows, seed)
        mean, sd = told.moments()
        below, y = told.below(_shares(seed)), observed(model, rows)
    elpd = psis(thin.with_densities(log_likelihood=log))
    weights = np.exp(elpd.log_weights.transpose("chain", "draw", "row").to_numpy())
    weights = weights.reshape(-1, len(rows))
    weights /= weights.sum(0)
    predicted = (weights * mean).sum(0)
    variance = (weights * (sd**2 + (mean - predicted) ** 2)).sum(0)
    pit = (weights * below).sum(0)
    bad = np.flatnonzero(elpd.pareto_k > elpd.good_k)
    if len(bad) > MAX_REFITS or not _refittable(thin):
        bad = bad[:0]
    for at in bad:
        elpd.elpd_i[at], pit[at], predicted[at], variance[at] = _refit(model, int(rows[at]), seed)
        elpd.pareto_k[at] = 0.0
    add_up(elpd)
    lost = int((variance > (LOST * np.std(y)) ** 2).sum())
    return LeftOut(elpd, pit, predicted, np.sqrt(variance), rows, design.n_rows, len(bad), lost)


def _refit(model: Regression, row: int, seed: int) -> tuple[float, float, float, float]:
    """Log density, probability integral transform, mean and variance of a row that was left out."""
    design = model.design
    keep = np.arange(len(design.y)) != row
    values = Fitted.of(model.with_design(design.of_rows(keep)), seed=seed).values
    alone = np.array([row])
    told = Rows(model, values, draws.line(design, values, alone), alone)
    log, (mean, sd) = told.log_density(), told.moments()
    below = told.below(_shares(seed, row)).mean()
    density = float(special.logsumexp(log) - np.log(len(log)))
    return density, below, mean.mean(), float(np.mean(sd**2) + np.var(mean))


def _refittable(fitted: Fitted) -> bool:
    """Whether rows can be left out for real, by exact fits of the others that take little."""
    model, design = fitted.model, fitted.model.design
    if model.linked:
        return len(design.y) <= MAX_ROWS and not design.sampled and _certified(fitted)
    return model.closed_form and not design.sampled


def _certified(fitted: Fitted) -> bool:
    """Whether the integral over the group effects of a family with a link is, at the draws."""
    model = fitted.model
    return model.certifiable and integrated_fit.certified(
        model, integrated_values(model, fitted.held)
    )


def _shares(seed: int, *row: int) -> np.random.Generator:
    """Random numbers that spread discrete responses over their probability."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM, *row)))


def _told(fitted: Fitted, rows: np.ndarray, seed: int) -> tuple[Rows, np.ndarray]:
    """The distribution of each row and its log densities (S, n), of noise that is not Gaussian.

    Given the other rows, theta and beta where the group effects integrate out and `left_out_rows`
    takes the row: the densities are integrals, the distribution that at an exact draw of the
    effects. Elsewhere at effects given all rows.
    """
    model, design = fitted.model, fitted.model.design
    if not (design.groupings and _certified(fitted)):
        told = Rows(model, fitted.values, draws.line(design, fitted.values, rows), rows)
        return told, told.log_density()
    values, (chain, small) = fitted.held, split(design)
    place = integrated_values(model, values)
    at, integrated, effects = left_out_rows.given_others(model, place, rows, seed)
    line = draws.line(replace(design, groupings=small), values, rows)
    rest = np.setdiff1d(np.arange(len(rows)), at)
    groups, of_row = zip(
        *(np.unique(grouping.codes[rows[rest]], return_inverse=True) for grouping in chain),
        strict=True,
    )
    drawn = integrated_fit.effect_draws(model, place, seed, groups)
    each = [effects[:, :, own] for effects, own in zip(drawn, of_row, strict=True)]
    line[:, rest] += left_out_rows.part_of_lines(chain, rows[rest], each)
    line[:, at] += effects
    told = Rows(model, values, line, rows)
    log = told.log_density()
    log[:, at] = integrated
    return told, log


def _without(
    model: Regression, values: dict[str, np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd (S, n) of each row given the other rows, theta and beta.

    What the row itself adds to its groups' effects is taken back: by its leverage h, which is the
    variance of the effects' part of its line given all rows, in units of the noise's.
    """
    design, y = model.design, model.design.y[rows]
    sigma, beta = values["sigma"], coefficients(design, values)
    noise = draws.noise(design, values, rows)
    left = y - beta @ design.X[rows].T
    if not design.groupings:
        return y - left, noise
    if len(design.groupings) == 1:
        mean, variance = _group_part(model, sigma, beta, covariance_root(design, values), rows)
    elif interpolated(model) and (effects := given_draws(model, values)) is not None:
        Z, codes = zip(*((g.Z[rows], g.codes[rows]) for g in design.groupings), strict=True)
        mean, variance = effects.at_rows(Z, codes)
    else:
        roots = [covariance_root(grouping, values) for grouping in design.groupings]
        mean, variance = mixed_equations.group_part(design, sigma, roots, beta, rows)
    rest = np.maximum(1 - variance / noise**2, 1e-14)
    return y - (left - mean) / rest, noise / np.sqrt(rest)


def _group_part(
    model: Regression, sigma: np.ndarray, beta: np.ndarray, L: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (S, n), given all rows, of the only grouping's part of the line."""
    (grouping,), cross = model.design.groupings, model.cross
    Z, q = grouping.Z[rows], len(grouping.z_names)
    groups, at = np.unique(grouping.codes[rows], return_inverse=True)
    mean, variance = np.empty((2, len(sigma), len(rows)))
    c = np.hstack([(cross.a - beta @ cross.A.T) / cross.y_scale, np.ones((len(sigma), 1))])
    size = max(1, CHUNK // (len(rows) * q * q))
    for first in range(0, len(sigma), size):
        chunk = slice(first, first + size)
        for some, unit, part, _ in cross.by_sigma(sigma[chunk]):
            s = np.arange(len(sigma))[chunk][some]
            root = (
                part.R[groups] @ (cross.T @ L[s] / (cross.y_scale * unit[:, None, None]))[:, None]
            )
            precision = np.eye(q) + np.swapaxes(root, -1, -2) @ root
            g = np.einsum("jim,sm->sji", part.G[groups], c[s]) / unit[:, None, None]
            right = np.einsum("sjik,sji->sjk", root, g)[..., None]
            effects = L[s][:, None] @ np.linalg.solve(precision, right)
            spread = L[s][:, None] @ np.linalg.inv(precision) @ np.swapaxes(L[s], 1, 2)[:, None]
            mean[s] = sum(Z[:, k] * effects[:, :, k, 0][:, at] for k in range(q))
            variance[s] = sum(
                Z[:, k] * Z[:, m] * spread[:, :, k, m][:, at] for k in range(q) for m in range(q)
            )
    return mean, variance


def pooling(ways: Mapping[str, Fitted], seed: int = 0) -> dict[str, LeftOut]:
    """Leave-one-out prediction of each way to pool, under its name for readers."""
    model = ways["partial"].model
    return {way_name(model, way): leave_out(fitted, seed) for way, fitted in ways.items()}


def comparison(left_out: Mapping[str, LeftOut]) -> Finding:
    """Models ranked by ArviZ's comparison of leave-one-out prediction, with what that says.

    Returns
    -------
    Finding
        A row for each model, best first: ``elpd``, how far it lies behind the best, ``elpd_diff``,
        the standard error ``dse`` of that, and the largest Pareto k.
    """
    able = {name: one for name, one in left_out.items() if not one.lost}
    elpds = {name: one.elpd for name, one in able.items()}
    table = ranking(elpds)
    one = next(iter(able.values()))
    n = len(one.rows)
    of = f"{n:,} rows" if n == one.of else f"{n:,} of the {one.of:,} rows, drawn at random,"
    refitted = sum(one.refitted for one in able.values())
    says = [in_words(table, elpds, f"each of {of}", "rows", refitted, RULE)] + [
        f"{name.capitalize()} cannot be compared: when a row is left out, what remains of its "
        f"group does not tell the group's coefficients (so for {one.lost:,} of "
        f"{len(one.rows):,} rows)."
        for name, one in left_out.items()
        if one.lost
    ]
    density = "log predictive density"
    columns = {
        "elpd": (density if n == one.of else f"{density} of {n:,} rows", "{:,.1f}"),
        "elpd_diff": ("behind the best", "{:,.1f}"),
        "dse": ("standard error of that", "{:,.1f}"),
        "pareto_k": ("largest Pareto k", "{:.2f}"),
    }
    return Finding("leave_one_out", " ".join(says), table=table, columns=columns)


def worse(gap: float, error: float) -> str:
    """What a difference of predictive densities means, with the rule.

    Below four the standard error itself cannot be relied on (Sivula, Magnusson, Matamoros &
    Vehtari 2025); above, two of them are asked for.
    """
    if gap < 4:
        return "too close to tell, as below 4 that error is not to be trusted"
    how = "clearly worse, by more than" if gap > 2 * error else "not clearly worse, within"
    return f"{how} two standard errors"


def ranking(elpds: Mapping[str, Any]) -> pd.DataFrame:
    """Estimates best first: ``elpd``, ``elpd_diff`` behind the best, its ``dse``, ``pareto_k``."""
    table = azs.compare(dict(elpds), round_to="none")
    table = table[["elpd", "elpd_diff", "dse"]].astype(float)
    table["elpd_diff"] = table["elpd_diff"].abs()
    table["pareto_k"] = [float(elpds[str(name)].pareto_k.max()) for name in table.index]
    return table


def in_words(
    table: pd.DataFrame,
    elpds: Mapping[str, Any],
    each: str,
    noun: str,
    refitted: int,
    rule: str,
) -> str:
    """What a ranking says, with the state of its Pareto k.

    Parameters
    ----------
    table : pandas.DataFrame
        From `ranking`, as are the estimates.
    elpds : mapping
    each, noun : str
        What is left out, such as ``"each of 180 rows"`` and ``"rows"``.
    refitted : int
        How many were left out for real.
    rule : str
        When that is done, in words.
    """
    best, *others = table.index
    k, n = elpds[best].good_k, elpds[best].elpd_i.size
    bad = {name: int((elpds[name].pareto_k > k).sum()) for name in table.index}
    gaps = []
    for name in others:
        gap, error = table.at[name, "elpd_diff"], table.at[name, "dse"]
        gaps.append(f"{name} is {gap:.1f} behind (standard error {error:.1f}: {worse(gap, error)})")
    text = f"Leaving out {each} in turn, **{best}** predicts best"
    text += f"; {'; '.join(gaps)}. " if gaps else ". "
    limit = f"above {k:.2f}"
    if k < FEW_DRAWS_LIMIT:
        limit += f" (the limit for these draws; {FEW_DRAWS_LIMIT:g} for more)"
    if refitted:
        were = f"{noun} were" if refitted != 1 else f"{noun.removesuffix('s')} was"
        text += f"{refitted} {were} left out by a fit without, for a Pareto k {limit}. "
        limit = f"above {k:.2f}"
    if not any(bad.values()):
        return text + f"No Pareto k is {'left ' if refitted else ''}{limit}: these figures hold."
    worst = "; ".join(f"{count} of {n:,} for {name}" for name, count in bad.items() if count)
    return text + (
        f"Pareto k is {'still ' if refitted else ''}{limit} in {worst}: what is told of these "
        f"{noun} is too optimistic. A fit of their own is made {rule}."
    )

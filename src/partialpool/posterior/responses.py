"""What a family makes of the line: the response's mean, its distribution, and new responses."""

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import expit, gammaln, xlog1py, xlogy

from partialpool.design.families import LINKS
from partialpool.fit.exact_fit import n_draws
from partialpool.fit.regression import Regression
from partialpool.posterior import draws

#: Largest mean of a count that is drawn; priors that are far too wide imply more.
MOST = 1e12


def mean(model: Regression, values: Mapping[str, np.ndarray], line: np.ndarray) -> np.ndarray:
    """Expected response at each draw of the line (S, ...): a probability, a rate, or itself.

    Of successes out of trials it is the probability of one; of ordered answers the mean of their
    `scores`.
    """
    if not model.linked:
        return line
    if LINKS[model.family] == "log":
        return np.exp(np.minimum(line, 700.0))
    if model.family == "binomial":
        return expit(line)
    places = scores(model)
    found = np.full(line.shape, places[0])
    for name, step in zip(model.thresholds, np.diff(places), strict=True):
        found += step * expit(line - _column(values[name], line))
    return found


def scores(model: Regression) -> np.ndarray:
    """Numbers (K,) of ordered answers: the answers themselves, or their places if they are text."""
    try:
        return np.array([float(answer) for answer in model.design.answers])
    except ValueError:
        return np.arange(1.0, len(model.design.answers) + 1)


def observed(model: Regression, rows: np.ndarray) -> np.ndarray:
    """The response at rows (n,) on the scale of `mean`: shares of successes, scores, or itself."""
    y = model.design.y[rows]
    if model.design.trials is not None:
        return y / model.design.trials[rows]
    return scores(model)[y.astype(int) - 1] if model.thresholds else y


def probabilities(
    model: Regression, values: Mapping[str, np.ndarray], line: np.ndarray
) -> np.ndarray:
    """Probability of each ordered answer: (K, S, ...)."""
    above = [expit(line - _column(values[name], line)) for name in model.thresholds]
    edges = [np.ones_like(line), *above, np.zeros_like(line)]
    return np.stack([a - b for a, b in pairwise(edges)])


class Rows:
    """The distribution of rows of the data given draws of the line.

    Parameters
    ----------
    model : Regression
    values : mapping of str to array
        Draws (S,) of the parameters.
    line : (S, n) array
        At the rows, offsets added.
    rows : (n,) int array
        Rows of the data.
    """

    def __init__(
        self,
        model: Regression,
        values: Mapping[str, np.ndarray],
        line: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        self.model, self.values, self.line = model, values, line
        self.trials = None if model.design.trials is None else model.design.trials[rows]
        self.y = model.design.y[rows]
        self.rows = rows

    @cached_property
    def of(self) -> Any:
        """SciPy's distribution; of ordered answers there is none."""
        from scipy import stats  # takes long to import, and no check of a study needs it

        model, line = self.model, self.line
        if model.family == "binomial":
            return stats.binom(self.trials, expit(line))
        if model.family == "poisson":
            return stats.poisson(mean(model, self.values, line))
        if model.family == "negbinomial":
            shape = _column(self.values["shape"], line)
            return stats.nbinom(shape, shape / (shape + mean(model, self.values, line)))
        noise = draws.noise(model.design, self.values, self.rows)
        if model.family == "student":
            return stats.t(_column(self.values["nu"], line), line, noise)
        return stats.norm(line, noise)

    @cached_property
    def shares(self) -> np.ndarray:
        """Probability of each ordered answer (K, S, n)."""
        return probabilities(self.model, self.values, self.line)

    def log_density(self) -> np.ndarray:
        """Log density of the response at each draw: (S, n)."""
        y, line, family = self.y, self.line, self.model.family
        if family == "cumulative":
            with np.errstate(divide="ignore"):
                return np.log(np.maximum(self._at(y - 1), 1e-300))
        if family == "binomial":  # without rounding where a probability is next to one
            n = self.trials
            assert n is not None
            constant = gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)
            return constant - y * np.logaddexp(0, -line) - (n - y) * np.logaddexp(0, line)
        if family == "poisson":
            return y * line - mean(self.model, self.values, line) - gammaln(y + 1)
        if family == "negbinomial":
            shape = _column(self.values["shape"], line)
            mu = mean(self.model, self.values, line)
            constant = gammaln(y + shape) - gammaln(shape) - gammaln(y + 1)
            return constant - xlog1py(shape, mu / shape) + xlogy(y, mu / (shape + mu))
        return np.asarray(self.of.logpdf(y))

    def below(self, rng: np.random.Generator | None = None) -> np.ndarray:
        """Probability (S, n) of less than the response, plus a share of that of the response.

        The share is random, one for each row, so that the whole is uniform under the model
        (Dunn & Smyth 1996); of responses that are not discrete it plays no part.
        """
        if not self.model.linked:
            return np.asarray(self.of.cdf(self.y))
        part = (rng or np.random.default_rng(0)).uniform(size=len(self.y))
        if self.model.thresholds:
            total = np.concatenate([np.zeros((1, *self.line.shape)), self.shares.cumsum(0)])
            places = self.y.astype(int)[None]
            low = np.take_along_axis(total, np.broadcast_to(places - 1, (1, *self.line.shape)), 0)
            return low[0] + part * self._at(self.y - 1)
        return np.asarray(self.of.cdf(self.y - 1) + part * self.of.pmf(self.y))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (S, n) of the response, on the scale of `observed`.

        Of noise about a line, its scale.
        """
        middle = mean(self.model, self.values, self.line)
        if not self.model.linked:
            return middle, draws.noise(self.model.design, self.values, self.rows)
        if self.model.thresholds:
            places = scores(self.model)[:, None, None]
            return middle, np.sqrt(np.maximum((self.shares * places**2).sum(0) - middle**2, 0))
        trials = 1.0 if self.trials is None else self.trials
        return middle, np.asarray(self.of.std()) / trials

    def _at(self, places: np.ndarray) -> np.ndarray:
        """Probability (S, n) of the answer at a place, from 0 on, of each row."""
        where = np.broadcast_to(places.astype(int)[None, None], (1, *self.line.shape))
        return np.take_along_axis(self.shares, where, 0)[0]


def new(
    model: Regression,
    values: Mapping[str, np.ndarray],
    line: np.ndarray,
    trials: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """New responses (S, n) of a family with a link, one for each draw of the line (S, n).

    Counts; of ordered answers their places.
    """
    if model.family == "binomial":
        n = 1 if trials is None else trials.astype(np.int64)
        return rng.binomial(n, expit(line)).astype(float)
    if model.family == "cumulative":
        latent = line + rng.logistic(size=line.shape)
        passed = [latent > _column(values[name], line) for name in model.thresholds]
        return 1.0 + np.sum(passed, axis=0)
    rate = np.minimum(mean(model, values, line), MOST)
    if model.family == "negbinomial":
        shape = _column(values["shape"], line)
        rate = np.minimum(rate / shape * rng.standard_gamma(shape, line.shape), MOST)
    return rng.poisson(rate).astype(float)


def _column(values: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Draws (S,) beside a line (S, ...)."""
    return values.reshape(-1, *[1] * (line.ndim - 1))


def respond(
    model: Regression, values: Mapping[str, np.ndarray], rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """New responses (S, n) at rows (n,) of the data, one of each draw of the parameters."""
    design = model.design
    line = draws.line(design, values, rows)
    if model.linked:
        trials = None if design.trials is None else design.trials[rows]
        return new(model, values, line, trials, rng)
    unit = draws.standard_noise(values, line.shape, rng)
    return line + draws.noise(design, values, rows) * unit


def summed(
    model: Regression, values: Mapping[str, np.ndarray], rows: np.ndarray, most: int = 2_000_000
) -> np.ndarray:
    """Log likelihood (S,) of rows (n,) given everything, some draws at a time."""
    total = np.empty(n_draws(values))
    size = max(1, most // len(rows))
    for first in range(0, len(total), size):
        some = {name: value[first : first + size] for name, value in values.items()}
        line = draws.line(model.design, some, rows)
        total[first : first + size] = Rows(model, some, line, rows).log_density().sum(1)
    return total

"""What draws of the parameters make of a design's rows: lines, noise, and values from the prior."""

from collections.abc import Mapping

import numpy as np

from partialpool.design.matrices import Design
from partialpool.design.priors import Prior

#: Most rows of the data at which lines are drawn; of more, a random sample.
MAX_ROWS = 10_000
#: Probability of the intervals in figures and in their sentences; all are equal-tailed.
PROBABILITY = 0.9


def interval(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Lower and upper end of the equal-tailed interval of draws along an axis: (2, ...)."""
    tail = (1 - PROBABILITY) / 2
    return np.quantile(values, [tail, 1 - tail], axis=axis)


def coefficient(z_name: str) -> str:
    """The population's coefficient from which groups deviate, by its name among theirs."""
    return "Intercept" if z_name == "1" else z_name


def some_rows(design: Design, most: int = MAX_ROWS, seed: int = 0) -> np.ndarray:
    """All rows of the data, or a random sample of `most` of them, in order."""
    n = len(design.y)
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def line(design: Design, values: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The regression line ``X beta + Z b`` at rows (n,) of the data: (S, n)."""
    total = population_line(design, values, design.X[rows])
    for k in range(len(design.z_names)):
        total += values[design.effect(k)][:, design.codes[rows]] * design.Z[rows, k]
    return total


def population_line(design: Design, values: Mapping[str, np.ndarray], X: np.ndarray) -> np.ndarray:
    """The population's part of the line, ``X beta``, at rows X (n, p): (S, n)."""
    total = np.zeros((len(values["sigma"]), len(X)))
    for k, name in enumerate(design.x_names):
        total += values[name][:, None] * X[:, k]
    return total


def noise(design: Design, values: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Scale of the noise at rows (n,), known standard errors included: (S, n)."""
    sigma = values["sigma"][:, None]
    if design.se is None:
        return np.broadcast_to(sigma, (len(sigma), len(rows)))
    return np.hypot(sigma, design.se[rows])


def standard_noise(
    values: Mapping[str, np.ndarray], shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Noise of scale one, of shape (S, ...): Student's t where there are degrees of freedom."""
    if "nu" not in values:
        return rng.standard_normal(shape)
    return rng.standard_t(values["nu"].reshape(-1, *[1] * (len(shape) - 1)), shape)


def from_prior(
    design: Design, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[str, float]:
    """Values of everything but group effects, drawn from the priors.

    Raises
    ------
    ValueError
        For a flat prior, from which one cannot draw.
    """
    truth = {
        name: float(priors[name].sample(rng))
        for name in [*design.x_names, "sigma", *design.sd_names]
    }
    cors = dict(zip(design.correlated_pairs, design.cor_names, strict=True))
    for block in design.blocks:
        L = np.zeros((len(block), len(block)))
        for i in range(len(block)):
            left = 1.0
            for j in range(i):
                eta = priors[cors[block[j], block[i]]].arguments[0]
                alpha = eta + (len(block) - 2 - j) / 2  # as in ThetaPosterior
                z = 2 * rng.beta(alpha, alpha) - 1
                L[i, j] = z * np.sqrt(left)
                left *= 1 - z**2
            L[i, i] = np.sqrt(left)
        for i, j in cors.keys() & {(a, b) for a in block for b in block}:
            truth[cors[i, j]] = float(L[block.index(i)] @ L[block.index(j)])
    return truth

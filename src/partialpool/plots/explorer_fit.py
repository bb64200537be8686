"""What the sliders compute: a truth, the data that it makes, and their exact posterior."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from partialpool.design.priors import Prior
from partialpool.fit.exact_fit import effect_draws, population_draws
from partialpool.fit.regression import Regression
from partialpool.simulation.simulate import ORIGIN_FORMULA, ORIGIN_NAMES, origin

#: Draws of one picture; a report uses `Model.fit`, which takes more.
DRAWS = 600
#: Priors to choose from, by field of the state, the origin's first.
PRIORS = {
    "prior_coefficients": ("Normal(0, 100)", "Normal(0, 10)", "Normal(0, 1)", "Flat()"),
    "prior_sd": ("Uniform(0, 100)", "HalfNormal(1)", "HalfCauchy(1)", "Exponential(1)"),
    "prior_sigma": ("Uniform(0, 10)", "HalfNormal(1)", "HalfCauchy(1)", "Exponential(1)"),
}
#: Key of the stream of the posterior's draws; the data use the seed itself.
DRAW_STREAM = 4


@dataclass(frozen=True)
class State:
    """Where the sliders stand: the truth, the priors and the seed."""

    n: int = 100
    a: float = 2.0
    mu_b: float = 2.0
    sigma_b: float = 1.0
    eps: float = 0.0
    prior_coefficients: str = PRIORS["prior_coefficients"][0]
    prior_sd: str = PRIORS["prior_sd"][0]
    prior_sigma: str = PRIORS["prior_sigma"][0]
    seed: int = 0

    @property
    def truth(self) -> dict[str, float]:
        """True values under the origin's names."""
        return {name: getattr(self, name) for name in ORIGIN_NAMES.values()}

    @property
    def priors(self) -> dict[str, str]:
        """The chosen priors, as `Model` takes them."""
        return {field.removeprefix("prior_"): getattr(self, field) for field in PRIORS}

    def table(self) -> pd.DataFrame:
        """The data that this truth makes.

        Raises
        ------
        ValueError
            For a truth without any variation.
        """
        if self.sigma_b == 0 and self.eps == 0:
            raise ValueError(
                "with sigma_b and eps both 0 every point lies on one line, and there is nothing "
                "to estimate; give one of them some room."
            )
        return origin(np.random.default_rng(self.seed), n=self.n, **self.truth)


@dataclass(frozen=True)
class OriginPosterior:
    """Exact draws under the origin's names, for n points and S draws, beside the truth.

    Attributes
    ----------
    state : State
        The truth, among others.
    x, y : (n,) array
    true_slopes : (n,) array
    priors : dict of str to Prior
    draws : dict of str to (S,) array
        ``a``, ``mu_b``, ``sigma_b`` and ``eps``.
    slopes : (S, n) array
        ``b_i``.
    trusted : bool
        Whether the fit found its own draws good.
    """

    state: State
    x: np.ndarray
    y: np.ndarray
    true_slopes: np.ndarray
    priors: dict[str, Prior]
    draws: dict[str, np.ndarray]
    slopes: np.ndarray
    trusted: bool

    def unpooled(self) -> np.ndarray:
        """Slope through each point alone (n,): from the posterior mean of the intercept."""
        return (self.y - self.draws["a"].mean()) / self.x

    def errors(self) -> dict[str, float]:
        """Root mean square error of the slopes, by kind of pooling."""
        estimates = {
            "no pooling": self.unpooled(),
            "partial pooling": self.slopes.mean(0),
            "complete pooling": np.full(len(self.x), self.draws["mu_b"].mean()),
        }
        return {
            kind: float(np.sqrt(np.mean((value - self.true_slopes) ** 2)))
            for kind, value in estimates.items()
        }

    def sentence(self) -> str:
        """What the draws say, in two sentences of Markdown."""
        parts = []
        for name, true in self.state.truth.items():
            low, high = np.quantile(self.draws[name], [0.05, 0.95])
            outside = "" if low <= true <= high else ", outside"
            parts.append(f"**{name}** {low:.2f} to {high:.2f} (true {true:g}{outside})")
        errors = self.errors()
        best = min(errors, key=errors.__getitem__)
        text = (
            f"90 % equal-tailed intervals: {', '.join(parts)}. Root mean square error of the "
            f"slopes: {', '.join(f'{v:.2g} with {k}' for k, v in errors.items())}; "
            f"{best} does best."
        )
        if not self.trusted:
            text += " **These draws are rough:** the posterior is too spiky for a quick look."
        return text


def quick_posterior(state: State) -> OriginPosterior:
    """The exact posterior of a state, in a few hundredths of a second.

    The same steps as `Model.fit`, with fewer draws, without packing them into a DataTree, and
    without the detour over NUTS when the draws are not trusted, which would take half a minute.

    Raises
    ------
    ValueError
        For a truth without any variation, or a prior that is none.
    """
    regression = Regression(ORIGIN_FORMULA, state.table(), state.priors)
    rng = np.random.default_rng(np.random.SeedSequence(state.seed, spawn_key=(DRAW_STREAM,)))
    values, _, sample = population_draws(regression, DRAWS, rng)
    (deviations,) = effect_draws(regression, values, rng)
    table = regression.table
    truth = table.attrs["truth"]
    return OriginPosterior(
        state=state,
        x=table["x"].to_numpy(),
        y=table["y"].to_numpy(),
        true_slopes=truth["x"] + np.asarray(truth["x|i"]),
        priors={name: regression.priors[ours] for ours, name in ORIGIN_NAMES.items()},
        draws={name: values[ours] for ours, name in ORIGIN_NAMES.items()},
        slopes=values["x"][:, None] + deviations,
        trusted=sample.trusted,
    )

"""Sliders over the exact posterior of the origin's model.

A `State` is where the sliders stand, `compute` turns it into a posterior, `redraw` draws that
into a `explorer_picture.Picture`, and `Explorer` is the widget. Everything but the widget works
without a browser.
"""

import base64
import html
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from partialpool.design.priors import Prior
from partialpool.fit import exact, importance
from partialpool.model import Model
from partialpool.plots.explorer_picture import CHOSEN, Picture
from partialpool.simulation.simulate import ORIGIN_FORMULA, ORIGIN_NAMES, origin

#: Draws of one picture; a report uses `Model.fit`, which takes more.
DRAWS = 600
#: Priors to choose from, the origin's first.
PRIORS = {
    "coefficients": ("Normal(0, 100)", "Normal(0, 10)", "Normal(0, 1)", "Flat()"),
    "sd": ("Uniform(0, 100)", "HalfNormal(1)", "HalfCauchy(1)", "Exponential(1)"),
    "sigma": ("Uniform(0, 10)", "HalfNormal(1)", "HalfCauchy(1)", "Exponential(1)"),
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
    prior_coefficients: str = PRIORS["coefficients"][0]
    prior_sd: str = PRIORS["sd"][0]
    prior_sigma: str = PRIORS["sigma"][0]
    seed: int = 0

    def model(self) -> Model:
        """The data that this truth makes, with the model and its priors.

        Raises
        ------
        ValueError
            For a truth without any variation, or a prior that is none.
        """
        if self.sigma_b == 0 and self.eps == 0:
            raise ValueError(
                "with sigma_b and eps both 0 every point lies on one line, and there is nothing "
                "to estimate; give one of them some room."
            )
        table = origin(
            np.random.default_rng(self.seed),
            n=self.n,
            a=self.a,
            mu_b=self.mu_b,
            sigma_b=self.sigma_b,
            eps=self.eps,
        )
        priors = {
            "coefficients": self.prior_coefficients,
            "sd": self.prior_sd,
            "sigma": self.prior_sigma,
        }
        return Model(ORIGIN_FORMULA, table, priors)


@dataclass(frozen=True)
class Fit:
    """A posterior under the origin's names, for n points and S draws.

    Attributes
    ----------
    x, y : (n,) array
    draws : dict of str to (S,) array
        ``a``, ``mu_b``, ``sigma_b`` and ``eps``.
    slopes : (S, n) array
        ``b_i``.
    truth : dict of str to float
    true_slopes : (n,) array
    priors : dict of str to Prior
    trusted : bool
        Whether the fit found its own draws good.
    """

    x: np.ndarray
    y: np.ndarray
    draws: dict[str, np.ndarray]
    slopes: np.ndarray
    truth: dict[str, float]
    true_slopes: np.ndarray
    priors: dict[str, Prior]
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

    def says(self) -> str:
        """What the picture shows, in two sentences of Markdown."""
        parts = []
        for name, values in self.draws.items():
            low, high = np.quantile(values, [0.05, 0.95])
            inside = low <= self.truth[name] <= high
            parts.append(
                f"**{name}** {low:.2f} to {high:.2f} (true {self.truth[name]:g}"
                f"{'' if inside else ', outside'})"
            )
        errors = self.errors()
        best = min(errors, key=lambda kind: errors[kind])
        text = (
            f"90 % equal-tailed intervals: {', '.join(parts)}. Root mean square error of the "
            f"slopes: {', '.join(f'{v:.2g} with {k}' for k, v in errors.items())}; "
            f"{best} does best."
        )
        if not self.trusted:
            text += " **These draws are rough:** the posterior is too spiky for a quick look."
        return text

    def alt(self) -> str:
        """Description of the picture for readers who do not see it."""
        return (
            f"Three panels. Left: {len(self.x)} points with posterior lines through {CHOSEN} of "
            "them. Middle: posterior, prior and true value of a, mu_b, sigma_b and eps. Right: "
            "slopes without pooling against slopes with partial pooling. "
            + self.says().replace("*", "")
        )


def compute(state: State) -> Fit:
    """The exact posterior of a state, in a few hundredths of a second.

    The same steps as `Model.fit`, with fewer draws, without packing them into a DataTree, and
    without the detour over NUTS when the draws are not trusted, which would take half a minute.
    """
    return fit(state.model(), state)


def fit(model: Model, state: State) -> Fit:
    """The exact posterior of a state's model."""
    rng = np.random.default_rng(np.random.SeedSequence(state.seed, spawn_key=(DRAW_STREAM,)))
    target = model.theta_posterior
    sample = importance.sample(target, exact.start(model.design, target), rng, effective=DRAWS)
    u = importance.resample(sample, DRAWS, rng)
    scales, _ = target.parameters(u)
    beta = exact.conditional_coefficients(target, u, rng)
    effects = exact.conditional_effects(model.cross, scales[:, 0], scales[:, 1:, None], beta, rng)
    truth = model.table.attrs["truth"]
    return Fit(
        x=model.table["x"].to_numpy(),
        y=model.table["y"].to_numpy(),
        draws={"a": beta[:, 0], "mu_b": beta[:, 1], "sigma_b": scales[:, 1], "eps": scales[:, 0]},
        slopes=beta[:, 1:] + effects[0],
        truth={name: float(truth[ours]) for ours, name in ORIGIN_NAMES.items()},
        true_slopes=truth["x"] + np.asarray(truth["x|i"]),
        priors={name: model.priors[ours] for ours, name in ORIGIN_NAMES.items()},
        trusted=sample.trusted,
    )


@dataclass(frozen=True)
class Frame:
    """A redrawn picture: PNG bytes, its words, and the seconds that each part took."""

    png: bytes
    alt: str
    says: str
    seconds: dict[str, float]


def redraw(state: State, picture: Picture) -> Frame:
    """Everything that happens when a slider has moved, without the widgets."""
    times = [time.perf_counter()]
    model = state.model()
    times.append(time.perf_counter())
    found = fit(model, state)
    times.append(time.perf_counter())
    picture.update(found, state.seed)
    times.append(time.perf_counter())
    png = picture.png()
    times.append(time.perf_counter())
    parts = ("data and model", "exact posterior", "moving artists", "drawing")
    return Frame(png, found.alt(), found.says(), dict(zip(parts, np.diff(times), strict=True)))


class Explorer(ipywidgets.VBox):
    """Sliders, the picture, and what it says; every move redraws.

    Where a notebook is shown without a kernel, the first picture stands in for the sliders.

    Parameters
    ----------
    state : State
        Where the sliders stand at first.
    """

    def __init__(self, state: State) -> None:
        self.picture = Picture()
        self.state = state
        self.controls = _controls(self.state)
        # not an image widget: JupyterLab fails to draw one with a tooltip, its only description
        self.image = ipywidgets.HTML()
        self.text = ipywidgets.HTML()
        names = list(self.controls)
        columns = [
            ipywidgets.VBox([self.controls[name] for name in part])
            for part in (names[:3], names[3:6], names[6:])
        ]
        self.frame = self._show()
        super().__init__([ipywidgets.HBox(columns), self.image, self.text])
        for name, control in self.controls.items():
            control.observe(self._moved(name), names="value")

    def _moved(self, name: str) -> Any:
        def react(change: Mapping[str, Any]) -> None:
            self.state = replace(self.state, **{name: change["new"]})
            try:
                self.frame = self._show()
            except (ValueError, FloatingPointError, np.linalg.LinAlgError) as error:
                self.text.value = f"No posterior here: {html.escape(str(error))}"

        return react

    def _show(self) -> Frame:
        frame = redraw(self.state, self.picture)
        data = base64.b64encode(frame.png).decode()
        self.image.value = (
            f'<img style="max-width:100%;width:1150px" alt="{html.escape(frame.alt)}" '
            f'src="data:image/png;base64,{data}">'
        )
        words = re.sub(r"\*\*(.*?)\*\*", r"<b>\1</b>", html.escape(frame.says))
        took = 1000 * sum(frame.seconds.values())
        self.text.value = f'<div role="status">{words} <i>Redrawn in {took:.0f} ms.</i></div>'
        return frame

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["image/png"] = base64.b64encode(self.frame.png).decode()
        return bundle, {"image/png": {"alt": self.frame.alt}}


def explorer(**initial: Any) -> Explorer:
    """Sliders over the exact posterior of the origin's model, for JupyterLab.

    Parameters
    ----------
    **initial
        Where the sliders stand at first: ``n``, ``a``, ``mu_b``, ``sigma_b``, ``eps``,
        ``prior_coefficients``, ``prior_sd``, ``prior_sigma``, ``seed``.

    Examples
    --------
    >>> import partialpool as pp
    >>> pp.explorer.explorer(n=20, eps=0.5).state.n
    20
    """
    return Explorer(State(**initial))


def first_picture(state: State) -> tuple[Figure, str, str]:
    """The picture of one state for a page without sliders: figure, alternative text, conclusion."""
    picture = Picture()
    found = compute(state)
    picture.update(found, state.seed)
    return picture.figure, found.alt(), found.says()


def _controls(state: State) -> dict[str, Any]:
    """A slider or a menu for every field of the state, wide enough for one given from outside."""
    style = {"description_width": "9.5em"}
    layout = {"width": "25em"}

    def slider(name: str, low: float, high: float, step: float, words: str) -> Any:
        value = getattr(state, name)
        whole = isinstance(getattr(State, name), int)
        return (ipywidgets.IntSlider if whole else ipywidgets.FloatSlider)(
            value=value, min=min(low, value), max=max(high, value), step=step,
            description=words, style=style, layout=layout,
        )  # fmt: skip

    def menu(name: str, kind: str, words: str) -> Any:
        value = getattr(state, name)
        return ipywidgets.Dropdown(
            options=list(dict.fromkeys([value, *PRIORS[kind]])), value=value,
            description=words, style=style, layout=layout,
        )  # fmt: skip

    return {
        "n": slider("n", 5, 200, 1, "points"),
        "a": slider("a", -10.0, 10.0, 0.1, "true a"),
        "mu_b": slider("mu_b", -5.0, 5.0, 0.1, "true mu_b"),
        "sigma_b": slider("sigma_b", 0.0, 3.0, 0.05, "true sigma_b"),
        "eps": slider("eps", 0.0, 5.0, 0.05, "true eps (noise)"),
        "seed": slider("seed", 0, 100, 1, "seed of the data"),
        "prior_coefficients": menu("prior_coefficients", "coefficients", "prior of a, mu_b"),
        "prior_sd": menu("prior_sd", "sd", "prior of sigma_b"),
        "prior_sigma": menu("prior_sigma", "sigma", "prior of eps"),
    }

"""Sliders over the exact posterior of the origin's model.

`draw` works without a browser: it moves a picture to where the sliders stand. `Explorer` is the
widget around it.
"""

import base64
import html
import re
import time
from typing import Any

import ipywidgets
import numpy as np

from partialpool.plots.explorer_picture import CHOSEN, PRIORS, Picture, State, quick_posterior
from partialpool.posterior.finding import Finding

#: Field of the state -> lowest and highest value, step, and what the slider is called.
SLIDERS: dict[str, tuple[float, float, float, str]] = {
    "n": (5, 200, 1, "points"),
    "a": (-10.0, 10.0, 0.1, "true a"),
    "mu_b": (-5.0, 5.0, 0.1, "true mu_b"),
    "sigma_b": (0.0, 3.0, 0.05, "true sigma_b"),
    "eps": (0.0, 5.0, 0.05, "true eps (noise)"),
    "seed": (0, 100, 1, "seed of the data"),
}
#: Field of the state -> what its menu is called.
MENUS = {
    "prior_coefficients": "prior of a, mu_b",
    "prior_sd": "prior of sigma_b",
    "prior_sigma": "prior of eps",
}


def draw(state: State, picture: Picture | None = None) -> Finding:
    """The picture of a state with its words, for a page without sliders.

    Parameters
    ----------
    state : State
    picture : Picture, optional
        One to move, which is quicker than making another.

    Raises
    ------
    ValueError
        For a truth without any variation, or a prior that is none.

    Examples
    --------
    >>> draw(State(n=20, eps=0.5)).sentence.startswith("90 % equal-tailed intervals: **a** ")
    True
    """
    picture = picture or Picture()
    found = quick_posterior(state)
    picture.move(found)
    sentence = found.sentence()
    description = (
        f"Three panels. Left: {state.n} points with posterior lines through {CHOSEN} of "
        "them. Middle: posterior, prior and true value of a, mu_b, sigma_b and eps. Right: "
        "slopes without pooling against slopes with partial pooling. " + sentence.replace("*", "")
    )
    return Finding("explorer", sentence, picture.figure, description=description)


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
        self.controls = {name: _slider(name, getattr(state, name)) for name in SLIDERS}
        self.controls |= {name: _menu(name, getattr(state, name)) for name in MENUS}
        # not an image widget: JupyterLab fails to draw one with a tooltip, its only description
        self.image = ipywidgets.HTML()
        self.text = ipywidgets.HTML()
        self._redraw()
        controls = list(self.controls.values())
        columns = [ipywidgets.VBox(controls[at : at + 3]) for at in (0, 3, 6)]
        super().__init__([ipywidgets.HBox(columns), self.image, self.text])
        for control in controls:
            control.observe(self._moved, names="value")

    def _moved(self, _: Any) -> None:
        self.state = State(**{name: control.value for name, control in self.controls.items()})
        try:
            self._redraw()
        except (ValueError, FloatingPointError, np.linalg.LinAlgError) as error:
            self.text.value = f"No posterior here: {html.escape(str(error))}"

    def _redraw(self) -> None:
        begun = time.perf_counter()
        self.finding = draw(self.state, self.picture)
        self.png = base64.b64encode(self.picture.png()).decode()
        took = 1000 * (time.perf_counter() - begun)
        self.image.value = (
            '<img style="max-width:100%;width:1150px" '
            f'alt="{html.escape(self.finding.description)}" src="data:image/png;base64,{self.png}">'
        )
        words = re.sub(r"\*\*(.*?)\*\*", r"<b>\1</b>", html.escape(self.finding.sentence))
        self.text.value = f'<div role="status">{words} <i>Redrawn in {took:.0f} ms.</i></div>'

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs) | {"image/png": self.png}
        return bundle, {"image/png": {"alt": self.finding.description}}


def _slider(name: str, value: float) -> Any:
    """A slider, as wide as a value from outside needs it."""
    low, high, step, words = SLIDERS[name]
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(
        value=value, min=min(low, value), max=max(high, value), step=step, **_labelled(words)
    )


def _menu(name: str, value: str) -> Any:
    """A menu of priors, with one given from outside on top."""
    options = list(dict.fromkeys([value, *PRIORS[name]]))
    return ipywidgets.Dropdown(options=options, value=value, **_labelled(MENUS[name]))


def _labelled(words: str) -> dict[str, Any]:
    style, layout = {"description_width": "9.5em"}, {"width": "25em"}
    return {"description": words, "style": style, "layout": layout}

"""Sliders over the exact posterior of the origin's model.

`draw` works without a browser: it moves a picture to where the sliders stand. `Explorer` is the
widget around it.
"""

from typing import Any

from partialpool.plots.explorer_picture import CHOSEN, PRIORS, Picture, State, quick_posterior
from partialpool.plots.sliders import Sliders, menu, slider
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


class Explorer(Sliders[Picture]):
    """Sliders for the truth and menus for the priors, above the picture.

    Parameters
    ----------
    state : State
        Where the sliders stand at first.
    """

    def __init__(self, state: State) -> None:
        controls = {
            name: slider(words, getattr(state, name), *ends)
            for name, (*ends, words) in SLIDERS.items()
        }
        for name, words in MENUS.items():
            value = getattr(state, name)
            # one given from outside stands on top
            controls[name] = menu(words, value, list(dict.fromkeys([value, *PRIORS[name]])))
        super().__init__(controls, Picture())

    def found(self, **values: Any) -> Finding:
        """The picture of a state; see `draw`."""
        self.state = State(**values)
        return draw(self.state, self.picture)

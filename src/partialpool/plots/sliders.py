"""Controls above a picture that is drawn anew while they move: the widget of every explorer."""

import base64
import html
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets
import numpy as np

from partialpool.data.text import renamed, typeset
from partialpool.plots.stage import Stage
from partialpool.posterior.finding import Finding

#: What a state without a posterior raises.
REFUSALS = (ValueError, FloatingPointError, np.linalg.LinAlgError)


class Sliders[Picture: Stage](ipywidgets.VBox):
    """Controls, the picture, and what it says; every move redraws.

    Where a notebook is shown without a kernel, the first picture stands in for the controls.

    Parameters
    ----------
    controls : mapping of str to widget
        By name, each with a `value`.
    picture : Stage
        What `found` moves.
    """

    def __init__(self, controls: Mapping[str, Any], picture: Picture) -> None:
        self.controls, self.picture = dict(controls), picture
        # not an image widget: JupyterLab fails to draw one with a tooltip, its only description
        self.image = ipywidgets.HTML()
        self.text = ipywidgets.HTML()
        self._redraw()
        each = list(self.controls.values())
        high = -(-len(each) // 3)
        columns = [ipywidgets.VBox(each[at : at + high]) for at in range(0, len(each), high)]
        super().__init__([ipywidgets.HBox(columns), self.image, self.text])
        for control in each:
            control.observe(self._moved, names="value")

    def found(self, **values: Any) -> Finding:
        """The picture moved to where the controls stand, with its words.

        Raises
        ------
        ValueError
            Where there is no posterior.
        """
        raise NotImplementedError

    def _moved(self, _: Any) -> None:
        try:
            self._redraw()
        except REFUSALS as error:
            self.text.value = f"No posterior here: {html.escape(str(error))}"

    def _redraw(self) -> None:
        begun = time.perf_counter()
        self.finding = self.found(**{name: one.value for name, one in self.controls.items()})
        self.png, self.dark = (base64.b64encode(png).decode() for png in self.picture.pngs())
        took = 1000 * (time.perf_counter() - begun)
        width, _ = self.picture.figure.get_size_inches() * self.picture.figure.dpi
        style, alt = f"max-width:100%;width:{width:.0f}px", html.escape(self.finding.description)
        # of the two `partialpool lab` shows the one that suits JupyterLab's theme; others the first
        self.image.value = "".join(
            f'<img class="partialpool-{theme}" style="{style}{hidden}" alt="{alt}" '
            f'src="data:image/png;base64,{png}">'
            for theme, png, hidden in (
                ("light", self.png, ""),
                ("dark", self.dark, ";display:none"),
            )
        )
        said = typeset(renamed(self.finding.sentence, self.finding.names))
        words = re.sub(r"\*\*(.*?)\*\*", r"<b>\1</b>", html.escape(said))
        self.text.value = f'<div role="status">{words} <i>Redrawn in {took:.0f} ms.</i></div>'

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs) | {"image/png": self.png}
        return bundle, {"image/png": {"alt": self.finding.description}}


def slider(words: str, value: float, low: float, high: float, step: float) -> Any:
    """A slider, as wide as a value from outside needs it; of whole numbers if its step is one."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(
        value=value, min=min(low, value), max=max(high, value), step=step, **labelled(words)
    )


def menu(words: str, value: Any, options: Sequence[Any]) -> Any:
    """A menu of values, or of pairs of words and value."""
    return ipywidgets.Dropdown(options=options, value=value, **labelled(words))


def stops(words: str, value: Any, options: Sequence[tuple[str, Any]]) -> Any:
    """A slider with a few stops, each with its words."""
    return ipywidgets.SelectionSlider(options=options, value=value, **labelled(words))


def labelled(words: str) -> dict[str, Any]:
    """What a control is called, and its size."""
    style, layout = {"description_width": "9.5em"}, {"width": "25em"}
    return {"description": words, "style": style, "layout": layout}

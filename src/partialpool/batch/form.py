"""A form for a first study: data, formula and priors, beside the study file that they make."""

import html
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd

from partialpool.batch.new_study import new_path, new_study, read, seen, text
from partialpool.data.parts import Parts
from partialpool.data.paths import find_root, shown
from partialpool.data.tables import EXAMPLES
from partialpool.data.text import safe
from partialpool.design.families import RESPONSES
from partialpool.design.priors import MISSING
from partialpool.fit.regression import Regression
from partialpool.posterior import contrasts
from partialpool.posterior.finding import Finding

#: Values of a column that are shown.
SHOWN = 3
#: What is said while a field is empty.
EMPTY = {
    "data": "Data: choose an example set, or write a path to CSV or Parquet.",
    "formula": "Formula: write one with the columns above, such as y ~ x + (x | g).",
    "name": "Name: give the study one, such as wages.",
}


class Form(ipywidgets.VBox):
    """Fields for data, formula and priors, the study file that they make, and a button to write it.

    A field counts when it is left, or with the enter key. What is wrong is said in one sentence.
    Priors appear with their defaults as soon as data and formula fit; those that were changed stay
    while the formula changes.

    Parameters
    ----------
    root : Path, optional
        The project's folder; found from the current one when not given.

    Attributes
    ----------
    fields : dict of str to widget
        ``name``, ``data``, ``formula``, ``family``, ``se``, ``missing`` and ``seed``.
    priors : dict of str to widget
        By parameter, or by the kind of those that share one.
    study : str
        The file as it would be written; empty while something is wrong.
    columns, problem, file, button, said : widgets
        The columns of the data, what is wrong, `study` as it is shown, the button that writes it,
        and what to do next.

    Raises
    ------
    FileNotFoundError
        Outside a project.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = find_root(root)
        self.study = ""
        self.priors: dict[str, Any] = {}
        self._written: dict[str, str] = {}
        self._table: tuple[str, Any] = ("", None)
        self._quiet = False
        line: dict[str, Any] = {"continuous_update": False}
        sets = {"options": [*EXAMPLES], "placeholder": "an example set, or a path"}
        self.fields = {
            "name": ipywidgets.Text(**line, **_named("name")),
            "data": ipywidgets.Combobox(**line, **sets, **_named("data")),
            "formula": ipywidgets.Text(
                **line, placeholder="y ~ x + (x | g)", **_named("formula", "45em")
            ),
            "family": ipywidgets.Dropdown(options=[*RESPONSES], **_named("family")),
            "se": ipywidgets.Text(
                **line, placeholder="a column, where they are known", **_named("standard errors")
            ),
            "missing": ipywidgets.Dropdown(options=MISSING, **_named("missing values")),
            "seed": ipywidgets.IntText(1, **line, **_named("seed")),
        }
        self.columns, self.problem, self.file, self.said = (ipywidgets.HTML() for _ in range(4))
        self.button = ipywidgets.Button(description="Write the study", button_style="primary")
        self._prior_box = ipywidgets.VBox()
        left = ipywidgets.VBox([self._prior_box, self.button, self.said])
        left.layout.flex = "none"
        super().__init__(
            [
                *(self.fields[name] for name in ("name", "data")),
                self.columns,
                *(self.fields[name] for name in ("formula", "family", "se", "missing", "seed")),
                self.problem,
                ipywidgets.HBox([left, self.file]),
            ]
        )
        for field in self.fields.values():
            field.observe(self._changed, names="value")
        self.button.on_click(self._write)
        self._look()

    def _changed(self, _: Any) -> None:
        if not self._quiet:
            self.said.value = ""
            self._look()

    def _prior_changed(self, change: Any) -> None:
        if not self._quiet:
            name = next(name for name, field in self.priors.items() if field is change["owner"])
            self._written[name] = change["new"].strip()
            self._changed(change)

    def _value(self, name: str) -> Any:
        value = self.fields[name].value
        return value.strip() if isinstance(value, str) else value

    def _look(self) -> None:
        """Read, check and show all that the fields say so far."""
        self.study = wrong = ""
        try:
            self._check()
            new_path(self._filled("name"), self.root)
        except Exception as error:  # whatever data and formula come to in other libraries
            kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
            wrong = f"{kind}{error}"
        said = html.escape(wrong, quote=False)
        self.problem.value = f'<div role="alert"><b>{said}</b></div>' if wrong else ""
        self.button.disabled = bool(wrong)
        study = html.escape(self.study, quote=False)
        style = "white-space:pre;margin:0 0 0 2em"
        self.file.value = f'<pre style="{style}">{study}</pre>' if study else ""

    def _check(self) -> None:
        """Make the study of what the fields say; a ValueError for the first that is wrong."""
        data = self._filled("data")
        if self._table[0] != data:
            self._table, self.columns.value = ("", None), ""
            place = seen(data, self.root)
            self._table = data, read(place, self.root)
            table = _columns(self._table[1]).to_html()
            self.columns.value = f'<div style="margin-left:11em">{table}</div>'
        formula = self._filled("formula")
        options = {name: self._value(name) for name in ("family", "missing")}
        options["se"] = self._value("se") or None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values far out, which a sentence names
            usual = Regression(formula, self._table[1], **options)
            self._show_priors(_defaults(usual))
            own = self._own
            model = Regression(formula, self._table[1], own, **options) if own else usual
        place = seen(data, self.root)
        self.study = text(model, place, options["missing"], self._value("seed"))

    def _filled(self, name: str) -> str:
        """A field's text; a ValueError while there is none."""
        if not self._value(name):
            raise ValueError(EMPTY[name])
        return str(self._value(name))

    @property
    def _own(self) -> dict[str, str]:
        """Priors that were written, of parameters that the formula has."""
        return {n: prior for n, prior in self._written.items() if prior and n in self.priors}

    def _show_priors(self, usual: dict[str, str]) -> None:
        """A field for each parameter, with what was written or else its default."""
        if list(usual) != list(self.priors):
            self.priors = {
                name: ipywidgets.Text(continuous_update=False, **_named(name, "30em"))
                for name in usual
            }
            for field in self.priors.values():
                field.observe(self._prior_changed, names="value")
            self._prior_box.children = [*self.priors.values()]
        with self._quietly():
            for name, field in self.priors.items():
                field.value = self._written.get(name) or usual[name]

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """While fields are filled in, nobody has changed them."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _write(self, _: Any) -> None:
        """Write the study, and say what to do next."""
        names = ("name", "data", "formula", "family", "missing", "seed")
        options = {name: self._value(name) for name in names}
        try:
            path = new_study(
                **options, se=self._value("se") or None, priors=self._own, root=self.root
            )
        except (ValueError, OSError) as error:
            said = html.escape(str(error), quote=False)
            self.said.value = f'<div role="alert"><b>{said}</b></div>'
            return
        self.button.disabled = True
        where, name = html.escape(shown(path)), html.escape(options["name"])
        self.said.value = (
            f'<div role="status">Wrote {where}. Next, in a terminal: '
            f"<code>make report STUDY={name}</code></div>"
        )


def _named(words: str, width: str = "30em") -> dict[str, Any]:
    """What a field is called, and its size."""
    style = {"description_width": "11em"}
    return {"description": words, "style": style, "layout": {"width": width}}


def _columns(table: pd.DataFrame | Parts) -> Finding:
    """The columns of a table with their kinds, and some of their values."""
    if isinstance(table, Parts):
        kinds = pd.DataFrame({"kind": {name: str(kind) for name, kind in table.schema.items()}})
        return Finding("columns", table=kinds)
    rows = {
        str(name): {
            "kind": "number" if pd.api.types.is_numeric_dtype(column) else "text",
            "different values": column.nunique(),
            "missing": int(column.isna().sum()),
            "the first": ", ".join(map(contrasts.text, column.dropna().unique()[:SHOWN])),
        }
        for name, column in table.items()
    }
    return Finding("columns", table=pd.DataFrame.from_dict(rows, orient="index"))


def _defaults(model: Regression) -> dict[str, str]:
    """Default priors by parameter, or by the kind of parameters that share one."""
    shared = dict.fromkeys(model.thresholds, "thresholds")
    for grouping in model.design.groupings:
        if len(grouping.cor_names) > 1:
            shared |= dict.fromkeys(grouping.cor_names, f"cor|{safe(grouping.name)}")
    return {shared.get(name, name): str(prior) for name, prior in model.priors.items()}

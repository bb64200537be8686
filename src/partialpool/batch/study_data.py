"""Studies held against their data before anything runs: formula, columns, priors, predictions.

Nothing is fitted, and PyMC is not imported.
"""

import ast
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from partialpool.batch import notebooks, study_file
from partialpool.batch.runs import Run, data_path
from partialpool.data.paths import shown

#: Settings that say what is read and predicted.
OWN = ("data", "formula", "predict", "sample_rows", "natural", "areas")
#: What `Regression` takes beside formula and table, where a notebook has a setting of that name.
TAKEN = ("priors", "family", "se", "missing", "labels")


def check(root: Path, studies: Sequence[str] = ()) -> int:
    """Check studies (see `study_file.find`) and say a line for each.

    Returns
    -------
    int
        0 if all of them can run, 1 if not.
    """
    root = root.resolve()
    files = study_file.find(root, studies)
    width = max(len(path.stem) for path in files)
    bad = 0
    for path in files:
        runs, problems = study_file.sort_out(root, [path])
        about, wrong = look(runs)
        problems += wrong.values()
        bad += bool(problems)
        mark = "✗" if problems else "✓"
        number = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
        says = " ".join(problems) or "; ".join([number, *about])
        print(f"  {mark} {path.stem:<{width}}  {says}", flush=True)
    if bad:
        print(f"{bad} of {len(files)} studies cannot run.")
    return 1 if bad else 0


def look(runs: Iterable[Run]) -> tuple[list[str], dict[Path, str]]:
    """Hold runs against their data; runs that differ in neither formula nor data count once.

    Returns
    -------
    list of str
        What there is: ``"180 rows in 18 groups of Subject"``.
    dict of Path to str
        Study file -> a sentence on what is wrong with it.
    """
    done: dict[str, str] = {}
    wrong: dict[Path, str] = {}
    for run in runs:
        settings = _settings(run)
        key = json.dumps([str(run.notebook), settings], sort_keys=True)
        if run.study_file in wrong or settings is None or key in done:
            continue
        try:
            done[key] = _held_against_data(run, settings)
        except Exception as error:  # whatever formula and data come to in other libraries
            kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
            wrong[run.study_file] = f"{shown(run.study_file)}: settings: {kind}{error}"
    return list(dict.fromkeys(done.values())), wrong


def _settings(run: Run) -> dict[str, Any] | None:
    """The settings of a regression, those of the notebook included; None if it is none."""
    cells = notebooks.read_notebook(run.notebook)
    settings = notebooks.parameters(cells) | run.settings
    if not _fits_formula(cells) or "data" not in settings:
        return None
    used = {name: settings[name] for name in (*OWN, *TAKEN) if name in settings}
    return None if notebooks.UNKNOWN in used.values() else used


def _fits_formula(cells: Iterable[dict[str, Any]]) -> bool:
    """Whether a notebook makes a model of its setting `formula`, by ``Model(formula, ...)``."""
    for tree in notebooks.trees(cells):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Name):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name == "Model" and node.args[0].id == "formula":
                    return True
    return False


def _held_against_data(run: Run, settings: dict[str, Any]) -> str:
    """What the data of a run are; raises what its notebook would raise before it fits."""
    from partialpool.data.areas import read
    from partialpool.data.columns import standard_errors
    from partialpool.data.tables import load
    from partialpool.fit.regression import Regression
    from partialpool.posterior.names import sizes
    from partialpool.posterior.natural_scale import Natural
    from partialpool.posterior.predictions import chosen_rows
    from partialpool.simulation.data_sets import data_set

    def place(name: str) -> Any:
        value = settings.get(name)
        path = data_path(value, run.root if name in run.settings else run.home)
        return value if path is None else str(path)

    if "sample_rows" in settings:  # what is kept of data in parts, the run finds again
        table = load(place("data"), sample_rows=settings["sample_rows"], seed=run.seed)
    else:
        table = data_set(place("data"), run.seed, settings.get("family", "gaussian"))
    taken = {name: settings[name] for name in TAKEN if name in settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values far out, which a sentence names
        model = Regression(settings["formula"], table, **taken)
        Natural.of(model, settings.get("natural"))
        if settings.get("areas") and model.design.groupings:
            read(place("areas")).of(model.design.groupings[0].levels)
        if "predict" in settings:
            rows = chosen_rows(model, place("predict"))
            model.design.rows(rows)
            if model.se is not None:
                standard_errors(rows, model.se)
    return ". ".join(filter(None, [sizes(model), model.table.attrs.get("read_as")]))

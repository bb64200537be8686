"""Examples in docstrings are run, and what a person types in JupyterLab has one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import partialpool as pp
from partialpool.design import default_priors

PACKAGE = Path(pp.__file__).parent
MODULES = [
    ".".join(p.relative_to(PACKAGE).with_suffix("").parts)
    for p in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in p.read_text(encoding="utf-8")
]
#: What a person types, or completes with the tab key.
TYPED = [
    pp.load,
    pp.Model,
    pp.Model.fit,
    pp.Fit.check,
    pp.Fit.summary,
    pp.Fit.predict,
    pp.Fit.predictions,
    pp.Fit.comparisons,
    pp.record,
    pp.simulation.origin,
    pp.simulation.grouped,
    pp.plots.shrinkage,
    default_priors.resolve,
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_hold(module):
    found = doctest.testmod(
        importlib.import_module(f"partialpool.{module}"), optionflags=doctest.ELLIPSIS
    )
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("name", TYPED, ids=lambda o: o.__qualname__)
def test_what_people_type_has_an_example(name):
    assert ">>> " in name.__doc__
    arguments = set(inspect.signature(name).parameters) - {"self"}
    assert not arguments or "Parameters" in name.__doc__

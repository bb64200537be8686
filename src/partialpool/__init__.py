"""Hierarchical linear regression in notebooks, where every report proves its own posterior.

Names are loaded when first used, so that an exact fit never pays for importing PyMC and the
command line never pays for either.
"""

from importlib import import_module
from typing import Any

from partialpool import plots, simulation  # rooms are empty: this loads nothing

#: Public name -> the module it lives in.
EXPORTS = {
    "load": "data.tables",
    "Model": "model",
    "Fit": "model",
    "Finding": "posterior.finding",
    "record": "batch.summary_file",
    "new_study": "batch.new_study",
    "Form": "batch.form",
}
#: The same for the two rooms that are open to people.
PLOTS = {
    **dict.fromkeys(["data", "group_lines", "predictive_lines"], "plots.groups"),
    **dict.fromkeys(["shrinkage", "forest", "variance"], "plots.varying"),
    **dict.fromkeys(["traces", "prior_and_posterior", "against_exact"], "plots.marginals"),
    "conditional_effects": "plots.conditional",
    **dict.fromkeys(["pit", "residuals", "predictions"], "plots.predictive"),
}
SIMULATION = dict.fromkeys(["origin", "grouped", "crossed"], "simulation.simulate")


def _open(names: dict[str, str], module: str) -> tuple[Any, Any]:
    """What a module needs to offer names that are loaded when first used (PEP 562)."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(f"partialpool.{names[name]}"), name)

    return get, lambda: sorted(names)


__getattr__, _ = _open(EXPORTS, "partialpool")
# The rooms' own files hold nothing but their law, so the door gives them their names.
for _room, _names in ((plots, PLOTS), (simulation, SIMULATION)):
    _room.__getattr__, _room.__dir__ = _open(_names, _room.__name__)  # type: ignore[method-assign]


def __dir__() -> list[str]:
    return sorted([*EXPORTS, "plots", "simulation"])

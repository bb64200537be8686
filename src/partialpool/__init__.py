"""Hierarchical linear regression in notebooks, where every report proves its own posterior.

Names are loaded when first used, so that an exact fit never pays for importing PyMC and the
command line never pays for either.
"""

from importlib import import_module
from typing import Any

#: Public name -> the module it lives in; a module's own name stands for itself.
EXPORTS = {
    "load": "tables",
    "Model": "model",
    "new_study": "newstudy",
    "predict": "predictions",
    "record": "results",
    "show": "theme",
    "summary": "checks",
    **{
        module: module
        for module in (
            "simulate",
            "tables",
            "design",
            "priors",
            "models",
            "exact",
            "fitting",
            "model",
            "checks",
            "studies",
            "calibration",
            "recovery_plots",
            "plots",
            "theme",
            "questions",
            "results",
            "pooling",
            "importance",
            "crossproducts",
            "methods",
            "sampler_plots",
            "funnels",
            "explorer",
            "batch",
            "parts",
            "moments",
            "totals",
            "newstudy",
            "predictions",
            "predictive",
            "predictive_plots",
            "sensitivity",
            "leaveout",
            "overview",
            "robust",
            "words",
            "centring",
            "draws",
            "fit_plots",
        )
    },
}
__all__ = sorted(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'partialpool' has no attribute {name!r}")
    module = import_module(f"partialpool.{EXPORTS[name]}")
    return module if EXPORTS[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    return __all__

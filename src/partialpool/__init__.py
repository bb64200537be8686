"""Hierarchical linear regression in notebooks, where every report proves its own posterior.

Names are loaded when first used, so that an exact fit never pays for importing PyMC and the
command line never pays for either.
"""

from importlib import import_module
from typing import Any

#: Public name -> the module it lives in; a module's own name stands for itself.
EXPORTS = {
    "load": "data.tables",
    "Model": "model",
    "model": "model",
    "predict": "posterior.predictions",
    "show": "plots.theme",
    "summary": "posterior.checks",
    "tables": "data.tables",
    "columns": "data.columns",
    "reading": "data.reading",
    "moments": "data.moments",
    "row_sample": "data.row_sample",
    "part_cache": "data.part_cache",
    "parts": "data.parts",
    "paths": "data.paths",
    "formula": "design.formula",
    "matrices": "design.matrices",
    "estimable": "design.estimable",
    "totals": "design.totals",
    "priors": "design.priors",
    "batches": "design.batches",
    "from_table": "design.from_table",
    "from_parts": "design.from_parts",
    "propriety": "design.propriety",
    "explained": "design.explained",
    "default_priors": "design.default_priors",
    "crossproducts": "fit.crossproducts",
    "kernels": "fit.kernels",
    "exact": "fit.exact",
    "importance": "fit.importance",
    "marginal": "fit.marginal",
    "pymc_models": "fit.pymc_models",
    "centring": "fit.centring",
    "fitting": "fit.fitting",
    "settings": "fit.settings",
    "draws": "posterior.draws",
    "checks": "posterior.checks",
    "leave_one_out": "posterior.leave_one_out",
    "sensitivity": "posterior.sensitivity",
    "predictions": "posterior.predictions",
    "replications": "posterior.replications",
    "pooling": "posterior.pooling",
    "words": "posterior.words",
    "robust": "posterior.robust",
    "overview": "posterior.overview",
    "simulate": "simulation.simulate",
    "many_fits": "simulation.many_fits",
    "calibration": "simulation.calibration",
    "methods": "simulation.methods",
    "theme": "plots.theme",
    "palette": "plots.palette",
    "groups": "plots.groups",
    "marginals": "plots.marginals",
    "predictive": "plots.predictive",
    "recovery": "plots.recovery",
    "samplers": "plots.samplers",
    "funnels": "plots.funnels",
    "explorer": "plots.explorer",
    "explorer_picture": "plots.explorer_picture",
    "study_plots": "plots.study_plots",
    "questions": "plots.questions",
    "page": "report.page",
    "markup": "report.markup",
    "drawings": "report.drawings",
    "index": "report.index",
    "study_page": "report.study_page",
    "changes": "report.changes",
    "summaries": "report.summaries",
    "project": "batch.project",
    "study_file": "batch.study_file",
    "runs": "batch.runs",
    "staleness": "batch.staleness",
    "execute": "batch.execute",
    "batch": "batch.batch",
    "verification": "batch.verification",
    "notebooks": "batch.notebooks",
    "summary_file": "batch.summary_file",
    "integrity": "batch.integrity",
    "new_study": "batch.new_study",
    "record": "batch.summary_file",
}
__all__ = sorted(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'partialpool' has no attribute {name!r}")
    module = import_module(f"partialpool.{EXPORTS[name]}")
    own = EXPORTS[name].rpartition(".")[2] == name and name not in ("new_study",)
    return module if own else getattr(module, name)


def __dir__() -> list[str]:
    return __all__

"""The table of peers: a function each, and what one must know to read its figures.

A function takes the data, a seed and the settings and returns a `Result`; its clock runs from the
table in memory on. Its module is imported only in the process that measures it.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Peer:
    """One row of the bench.

    Attributes
    ----------
    function : str
        Module and name of its function.
    kind : {"ours", "sampler", "estimate"}
    packages : tuple of str
        Imported, and timed, before the first call.
    note : str
        Where its model or priors differ from ours.
    unfit : dict of str to str
        Data sets it is not tried on, and why.
    responses : {"gaussian", "linked", "any"}
        What it is for: Gaussian noise, a response with a link, or both.
    """

    function: str
    kind: str
    packages: tuple[str, ...] = ()
    note: str = ""
    unfit: dict[str, str] | None = None
    responses: str = "gaussian"

    def takes(self, linked: bool) -> bool:
        """Whether it is for data whose response has a link, or for those with Gaussian noise."""
        return self.responses in ("any", "linked" if linked else "gaussian")

    def load(self) -> Callable[..., Any]:
        """The function."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)


OURS = ("partialpool.fit.fitting",)
NO_CORRELATION = "no correlation, for it has none; coefficients non-centred, predictors centred"
#: Data sets with several grouping factors, and all with many effects.
SEVERAL = ("InstEval", "InstEval-dept", "ratings")
MANY = ("10000x100", *SEVERAL)
ONE_FACTOR = dict.fromkeys(SEVERAL, "not written for several factors here")
LARGE = dict.fromkeys(MANY, "bambi-nutpie stands for samplers of all effects")
ONLY_ORIGIN = dict.fromkeys(
    ("sleepstudy", "radon", "Exam", "1000x100", *MANY), "the origin's method, on the origin's data"
)
PEERS = {
    "exact": Peer(
        "samplers:exact",
        "ours",
        OURS,
        "posterior of everything, group effects too; with a link the certified fit",
        responses="any",
    ),
    "exact-no-effects": Peer(
        "samplers:exact_without_effects",
        "ours",
        OURS,
        "without draws of the group effects",
        responses="any",
    ),
    "marginal-nutpie": Peer(
        "samplers:marginal",
        "ours",
        (*OURS, "pymc", "nutpie"),
        "NUTS on the marginal model",
        ONE_FACTOR,
        "any",
    ),
    "metropolis": Peer(
        "samplers:metropolis",
        "sampler",
        (*OURS, "pymc"),
        "centred, as in the origin; two chains",
        ONLY_ORIGIN,
    ),
    "bambi-nutpie": Peer(
        "samplers:bambi_nutpie",
        "sampler",
        ("bambi", "nutpie"),
        NO_CORRELATION,
        responses="any",
    ),
    "bambi-pymc": Peer("samplers:bambi_pymc", "sampler", ("bambi",), NO_CORRELATION, LARGE),
    "pymc-lkj": Peer(
        "samplers:pymc_lkj",
        "sampler",
        ("pymc", "nutpie"),
        "LKJCholeskyCov, centred, sampled by nutpie; the same priors",
        {"origin": "one varying coefficient has no correlation"} | LARGE,
    ),
    "rstanarm": Peer(
        "in_r:rstanarm",
        "sampler",
        note="its own prior of the standard deviations; sigma flat where ours is uniform",
        unfit=LARGE,
    ),
    "brms": Peer(
        "in_r:brms", "sampler", note="the intercept's prior is on centred predictors", unfit=LARGE
    ),
    "statsmodels": Peer(
        "estimators:statsmodels",
        "estimate",
        ("statsmodels.formula.api",),
        "REML",
        dict.fromkeys(SEVERAL, "its crossed form is one dense matrix of rows by rows"),
    ),
    "mixedlm": Peer("estimators:mixedlm", "estimate", ("mixedlm", "pandas"), "REML"),
    "gpboost": Peer(
        "estimators:gpboost",
        "estimate",
        ("gpboost", "pandas"),
        "ML; no correlation, for it has none",
    ),
    "lme4": Peer("in_r:lme4", "estimate", note="REML; by R's clock, in steps of 1 ms"),
    "glmer": Peer(
        "in_r:glmer",
        "estimate",
        note="lme4 as it comes: ML, Laplace's approximation; no priors",
        responses="linked",
    ),
    "glmer-25": Peer(
        "in_r:glmer_25", "estimate", note="lme4, nAGQ = 25: ML; no priors", responses="linked"
    ),
    "glmm": Peer(
        "estimators:glmm",
        "estimate",
        ("glmm",),
        "ML, adaptive quadrature with 25 nodes; no priors",
        responses="linked",
    ),
}
#: What would stand beside ours and does not, and why.
NOT_MEASURED = {
    "GLMMadaptive": "an R package that is on CRAN alone, not among Debian's or PyPI's packages",
}
#: Not a row: what the estimates of all rows are held against.
REFERENCE = Peer("samplers:reference", "ours", OURS)

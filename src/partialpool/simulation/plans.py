"""What is simulated in a study of many data sets, and how it is fitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.text import closest, listed, number, plural
from partialpool.design.families import LINKS
from partialpool.fit.regression import Regression
from partialpool.posterior.draws import from_prior
from partialpool.posterior.finding import NOTHING, Finding
from partialpool.posterior.names import readable
from partialpool.simulation import simulate
from partialpool.simulation.figures import SIZES


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes
    ----------
    formula : str
    sizes : tuple of str
        The sizes that its generator takes.
    make : callable
        The generator, of `simulate`.
    labels : dict of str to str
        Words for its factors.
    """

    formula: str
    sizes: tuple[str, ...]
    make: Callable[..., pd.DataFrame]
    labels: dict[str, str] = field(default_factory=dict)


KINDS = {
    "origin": Kind(simulate.ORIGIN_FORMULA, ("n",), simulate.origin, {"i": "point"}),
    "grouped": Kind("y ~ x + (x | group)", ("groups", "per_group"), simulate.grouped),
    "intercepts": Kind("y ~ x + (1 | group)", ("groups", "per_group"), simulate.grouped),
    "crossed": Kind(
        "y ~ x + (1 | group) + (1 | item)",
        ("groups", "items"),
        simulate.crossed,
        {"group": "subject", "item": "item"},
    ),
}
#: Those whose groups have several rows, which families with a link take.
LINKED_KINDS = ("grouped", "intercepts", "crossed")
#: Parameter -> the setting with its true value; that of the thresholds is a list.
TRUTH = {
    "Intercept": "intercept",
    "x": "slope",
    "1|group_sigma": "sd_intercept",
    "1|item_sigma": "sd_item",
    "x|group_sigma": "sd_slope",
    "x|i_sigma": "sd_slope",
    "cor(1,x|group)": "cor",
    "sigma": "noise",
    "shape": "shape",
}
#: Of a family with a link: x goes from 0 to 1, so that its slope is what changes from end to end.
#: Normal(0, 1.5) makes a probability that is about uniform, and rates from 1/20 to 20.
LINKED_PRIORS = {"coefficients": "Normal(0, 1.5)", "sd": "HalfNormal(1)"}
#: Priors of a study that gives none, for each family that can be studied: proper, and wide for the
#: truths one would think of.
PRIORS = {
    "gaussian": {
        "Intercept": "Normal(0, 5)",
        "x": "Normal(0, 5)",
        "sd": "HalfNormal(2)",
        "sigma": "HalfNormal(5)",
    },
    "binomial": LINKED_PRIORS,
    "poisson": LINKED_PRIORS,
    "negbinomial": LINKED_PRIORS | {"shape": "Exponential(0.1)"},
    "cumulative": LINKED_PRIORS | {"thresholds": "Normal(0, 1.5)"},
}
#: Family with a link -> its responses in words, and what their line is.
WORDS = {
    "binomial": ("answers of 0 or 1", "log odds"),
    "poisson": ("counts", "log rate"),
    "negbinomial": ("counts with extra spread", "log rate"),
    "cumulative": ("ordered answers", "log odds"),
}


@dataclass(frozen=True)
class Plan:
    """What is simulated and how it is fitted.

    Parameters
    ----------
    kind : {"origin", "grouped", "intercepts", "crossed"}
        Whose generator and formula: one slope per point, several rows per group with lines or
        intercepts of their own, or two crossed factors.
    sizes : dict
        Arguments of the generator that set sizes, see `Kind`, or the range of x.
    truth : dict, optional
        Fixed values of the population's parameters; from the prior when empty.
    priors : dict
        As `Model` takes them; proper ones where truths come from the prior.
    draws : int
        Draws of each posterior.
    method : {"exact", "nutpie"}
        nutpie samples PyMC's non-centred model, compiled once for all data sets.
    pooling : bool
        Whether to fit complete and no pooling too.
    family : str
        Of the response; one with a link takes the kinds `LINKED_KINDS`.
    answers : int
        How many ordered answers there are, for `cumulative`.
    """

    kind: str
    sizes: dict[str, Any]
    truth: dict[str, float] = field(default_factory=dict)
    priors: dict[str, str] = field(default_factory=dict)
    draws: int = 400
    method: str = "exact"
    pooling: bool = False
    family: str = "gaussian"
    answers: int = 4

    @property
    def scale(self) -> str:
        """What lines are counted in where that is not the response's unit; else empty."""
        return WORDS[self.family][1] if self.family in WORDS else ""


def plan(
    kind: str,
    sizes: Mapping[str, int],
    truth: Mapping[str, Any],
    priors: Mapping[str, str],
    method: str = "exact",
    draws: int = 400,
    family: str = "gaussian",
) -> Plan:
    """A recovery study from a notebook's settings.

    Parameters
    ----------
    kind, method, draws, family
        As in `Plan`.
    sizes, truth : mapping
        By the names in `KINDS` and `TRUTH`; those of other kinds are ignored. True values of
        ``thresholds`` are a list, one less than there are ordered answers.
    priors : mapping
        Replace those of `PRIORS`.

    Raises
    ------
    ValueError
        For a kind or a family that there is none of, or that do not go together, and for
        thresholds that are not in order.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no kind of data {kind!r}; choose from {', '.join(KINDS)}.")
    if family not in PRIORS:
        hint = closest(str(family), PRIORS) or f"; choose from {', '.join(PRIORS)}."
        raise ValueError(f"family: many data sets are not simulated from {family!r}{hint}")
    if family in LINKS and kind not in LINKED_KINDS:
        raise ValueError(
            f"kind: with `family: {family}` groups have several rows: choose from "
            f"{', '.join(LINKED_KINDS)}, not {kind!r}."
        )
    cuts = [float(cut) for cut in truth.get("thresholds", ())] if family == "cumulative" else []
    if family == "cumulative" and (not cuts or min(np.diff(cuts), default=1) <= 0):
        raise ValueError(
            f"thresholds: give true values in ascending order, such as [0, 1, 2], not {cuts}."
        )
    own: dict[str, Any] = {name: sizes[name] for name in KINDS[kind].sizes}
    own |= {"x_max": 1.0} if family in LINKS else {}
    chosen = Plan(
        kind,
        own,
        priors=PRIORS[family] | dict(priors),
        draws=draws,
        method=method,
        pooling=True,
        family=family,
        answers=len(cuts) + 1,
    )
    model = template(chosen, np.random.default_rng(0))
    values = dict(zip(model.thresholds, cuts, strict=True))
    values |= {name: float(truth[TRUTH[name]]) for name in model.parameters if name in TRUTH}
    return replace(chosen, truth={name: values[name] for name in model.parameters})


def calibrating(plan: Plan) -> Plan:
    """The same study with truths from the prior, and without the other ways to pool."""
    return replace(plan, truth={}, pooling=False)


def template(plan: Plan, rng: np.random.Generator) -> Regression:
    """A model with predictors and groups of the plan's sizes; its response means nothing."""
    kind = KINDS[plan.kind]
    table = kind.make(rng, **plan.sizes)
    if plan.family in LINKS:  # the generator's has noise about a line
        kinds = plan.answers if plan.family == "cumulative" else 2
        table["y"] = np.arange(len(table)) % kinds
    labels = kind.labels or None
    return Regression(kind.formula, table, plan.priors, family=plan.family, labels=labels)


def words(plan: Plan) -> dict[str, str]:
    """Each parameter in words, see `names.readable`."""
    return readable(template(plan, np.random.default_rng(0)))


def prior_sds(plan: Plan) -> dict[str, float]:
    """Prior standard deviations of the parameters, by simulation."""
    rng = np.random.default_rng(0)
    model = template(plan, rng)
    values = [from_prior(model.design, model.priors, rng) for _ in range(2000)]
    return {str(name): float(sd) for name, sd in pd.DataFrame(values).std().items()}


def describe(plan: Plan) -> Finding:
    """The study in words."""
    model = template(plan, np.random.default_rng(0))
    kind, called = KINDS[plan.kind], dict(SIZES)
    if "group" in kind.labels:
        called["groups"] = plural(kind.labels["group"])
    sizes = listed([f"{plan.sizes[name]:,} {called[name]}" for name in kind.sizes])
    end = plan.sizes.get("x_max", simulate.X_MAX)
    names = [name for name, prior in model.priors.items() if not prior.fixed]
    table = pd.DataFrame({"parameter": names, "prior": [str(model.priors[n]) for n in names]})
    if plan.truth:
        truths = [number(float(plan.truth[n])) if n in plan.truth else NOTHING for n in names]
        table["fixed truth"] = truths
    certified = plan.family in LINKS and plan.method == "exact"
    how = " (trusted where the integral over group effects is certified)" if certified else ""
    return Finding(
        "study",
        f"Model `{model.formula}` with {sizes}, fitted by **{plan.method}**{how} with {plan.draws} "
        f"draws each. `x` is drawn evenly from 0 to {end:g}, anew for every data set with the "
        f"fixed truth. {_response(plan)}".strip(),
        table=table,
        index=False,
        names=readable(model),
    )


def _response(plan: Plan) -> str:
    """What the responses of a family with a link are, in words."""
    if plan.family not in LINKS:
        return ""
    responses, line = WORDS[plan.family]
    says = f"The responses are {responses} (family {plan.family})"
    if plan.family == "cumulative":
        says += f", {plan.answers} of them; the line is in {line}, counted from the middle of the "
        says += "thresholds"
    else:
        says += f"; the line is their {line}"
    return f"{says}."

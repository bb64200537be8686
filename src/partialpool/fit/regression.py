"""What is fitted: data in matrices, priors, and what both come to."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.parts import Parts
from partialpool.data.tables import as_frame
from partialpool.data.text import closest
from partialpool.design import evaluation, from_distinct, from_parts, separation
from partialpool.design.default_priors import resolve
from partialpool.design.estimable import kind_sentence, unidentified
from partialpool.design.families import LINKS, OWN, RESPONSES, thresholds
from partialpool.design.formula import read
from partialpool.design.from_table import build, complete_rows
from partialpool.design.matrices import Design, Grouping
from partialpool.design.priors import MISSING, Prior
from partialpool.design.propriety import propriety
from partialpool.fit import exact
from partialpool.fit.crossproducts import CrossProducts, crossproducts
from partialpool.fit.elimination import Elimination
from partialpool.fit.integrated import Prepared, prepared
from partialpool.fit.integrated_design import integrated_posterior, start
from partialpool.fit.reduction import SMALL, Factor, eliminate, noise_weights
from partialpool.fit.small_factors import MOST_BESIDE, MOST_DEEP, split

#: Width of the prior of a group on its own, in spreads of the response; and in log odds or
#: logarithms, where more would let groups of one kind of answer run away.
ALONE, ALONE_LINKED = 1e4, 10.0
#: Varying coefficients that are integrated out of a family with a link.
MOST_INTEGRATED = 2
#: How far that width may vary, relative to itself, where it may not be fixed.
TIGHT = 0.01


class Regression:
    """A hierarchical regression: a formula, a table, and a prior for every parameter.

    `Model`, which adds the verbs, explains the arguments.

    Attributes
    ----------
    design : Design
        Matrices and groups.
    table : pandas.DataFrame
        The rows, or the sample of them.
    dropped : str
        A sentence about the rows that were left out; empty where none was.
    lacking : dict of str to int
        Missing values of each column in the rows that were left out.
    priors : dict of str to Prior
        One for every parameter.
    propriety : Propriety
        Which parameters have a posterior mean and variance.
    mismatch : str
        A sentence where the response is of a kind that this noise cannot make; else empty.
    unidentified : str
        A sentence where only the priors tell the noise from the group effects; else empty.
    sampled : ThetaPosterior, optional
        What the last exact fit of several factors sampled, by which effects are drawn later.
    """

    sampled: exact.ThetaPosterior | None = None

    def __init__(
        self,
        formula: str,
        table: pd.DataFrame | Parts,
        priors: Mapping[str, str] | None = None,
        *,
        family: str = "gaussian",
        se: str | None = None,
        missing: str = "refuse",
        labels: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        if missing not in MISSING:
            raise ValueError(f"missing: choose from {', '.join(MISSING)}, not {missing!r}.")
        if family not in RESPONSES:
            raise ValueError(
                f"family: choose from {', '.join(RESPONSES)}, not "
                f"{family!r}{closest(str(family), RESPONSES) or '.'}"
            )
        if se and family in LINKS:
            raise ValueError(
                f"se: known standard errors are of noise about a line, which `family: {family}` "
                "does not have; leave se out."
            )
        if isinstance(table, Parts) and (se or family == "student"):
            raise ValueError(
                "Data in parts take Gaussian noise without known standard errors, or a family with "
                "a link; for anything else read the table whole."
            )
        table = as_frame(table)
        self.formula, self.family, self.se = formula, family, se
        self.labels, self.units = dict(labels or {}), dict(units or {})
        self.dropped = ""
        self.lacking: dict[str, int] = {}
        if missing == "drop":
            if isinstance(table, Parts):
                raise ValueError("missing: rows of a table in parts cannot be dropped; fill them.")
            table, self.lacking, self.dropped = _drop(formula, table, se)
        self.source = table
        self.design: Design
        if isinstance(table, Parts) and family in LINKS:
            self.design, self.table = from_distinct.build(formula, table, family)
            self._require_certifiable()
        elif isinstance(table, Parts):
            self.design, self.table = from_parts.build(formula, table)
        else:
            self.design, self.table = build(formula, table, se=se, family=family), table
        _require_known(self)
        self.priors: dict[str, Prior] = resolve(self.design.all_rows, priors, family)
        if family in LINKS:
            self.propriety = separation.propriety(self.design.all_rows, self.priors, family)
        else:
            self.propriety = propriety(self.design, self.priors)
        self.mismatch = ""
        if family == "gaussian" and se is None:
            self.mismatch = kind_sentence(*self._observed())
        self.unidentified = ""
        if not ("sigma" in self.priors and self.priors["sigma"].fixed):
            self.unidentified = unidentified(self.design.all_rows, family)

    def _require_certifiable(self) -> None:
        """Raise a ValueError where only a sampler that sees every row could fit data in parts."""
        if not self.certifiable:
            raise ValueError(
                f"In {self.formula!r}, {len(self.design.only.z_names)} coefficients vary by "
                f"{self.design.only.name!r}, and of data in parts with `family: {self.family}` "
                f"{MOST_INTEGRATED} can, for more are sampled row by row; let fewer vary, or read "
                "the parts into one table."
            )

    def _observed(self) -> tuple[np.ndarray, str]:
        """The response and its name before an offset is taken from it."""
        found = read(self.formula)
        if not found.offsets:
            return self.design.y, self.design.response
        matrices = evaluation.evaluate(f"{found.answer} ~ 1", self.table, self.formula)
        return evaluation.response(matrices, self.formula), found.response

    @cached_property
    def cross(self) -> CrossProducts:
        """Cross-products by group: all that a Gaussian fit of one factor needs of the rows."""
        sigma = self.priors["sigma"]
        return crossproducts(self.design, sigma.arguments[0] if sigma.fixed else None)

    @cached_property
    def eliminated(self) -> Elimination:
        """The rows reduced to what a Gaussian fit of several factors needs of them."""
        return self._eliminated(SMALL)

    @property
    def wholly_eliminated(self) -> Elimination:
        """The same with small factors eliminated too, for where nothing draws their effects."""
        return self._eliminated(0)

    def _eliminated(self, small: int) -> Elimination:
        design = self.design
        factors = [Factor(g.codes, g.Z, g.n_levels) for g in design.groupings]
        weights = noise_weights(design.se, self.priors["sigma"])
        return eliminate(design.y, design.X, factors, weights, small=small)

    @cached_property
    def theta_posterior(self) -> exact.ThetaPosterior:
        """Log density of the standard deviations and correlations given the data."""
        rows = self.eliminated if len(self.design.groupings) > 1 else self.cross
        return exact.theta_posterior(self.design, rows, self.priors)

    @cached_property
    def integrated(self) -> Prepared:
        """The posterior of a family with a link, group effects integrated out, and its mode."""
        target = integrated_posterior(self.family, self.design, self.priors, self.thresholds)
        return prepared(target, start(target))

    @property
    def exact(self) -> bool:
        """Whether there is an exact fit: in closed form, or with a certified integral."""
        return self.closed_form or self.certifiable

    @property
    def certifiable(self) -> bool:
        """Whether a family's group effects can be integrated out, of all factors but small ones.

        Whether the innermost integral has few enough dimensions, and the others have few effects.
        """
        chain, small = split(self.design)
        few = sum(g.n_levels * len(g.z_names) for g in small) <= MOST_BESIDE
        return self.linked and len(chain[0].z_names) <= MOST_INTEGRATED and few

    @property
    def integrates(self) -> bool:
        """Whether group effects integrate out of the rows once and for all: the marginal model."""
        return self.family == "gaussian" and self._known_noise

    @property
    def closed_form(self) -> bool:
        """Whether effects and coefficients have a closed form given theta: the exact posterior."""
        one = len(self.design.groupings) < 2
        return self.family == "gaussian" and (one or self._known_noise)

    @property
    def linked(self) -> bool:
        """Whether the line is of the response's mean through a link, and there is no sigma."""
        return self.family in LINKS

    @property
    def spreads(self) -> bool:
        """Whether a response can spread more than its mean says: any but single answers."""
        trials = self.design.all_rows.trials
        return self.family != "cumulative" and (trials is None or bool((trials > 1).any()))

    @property
    def thresholds(self) -> tuple[str, ...]:
        """Names of the thresholds between ordered answers; empty for other families."""
        return thresholds(len(self.design.answers)) if self.family == "cumulative" else ()

    @property
    def _known_noise(self) -> bool:
        """Whether the noise is of one scale, or of known scales alone."""
        return self.se is None or self.priors["sigma"].fixed

    @property
    def proper(self) -> bool:
        """Whether every prior is a distribution, so that there is an evidence."""
        return all(prior.proper for prior in self.priors.values())

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that are not group effects, in the order they are shown."""
        design = self.design
        own = [name for name in OWN.get(self.family, ()) if not self.priors[name].fixed]
        coefficients = [*self.thresholds, *design.x_names]
        return [*coefficients, *design.sd_names, *design.cor_names, *own]

    def words(self, column: str, level: Any = None) -> str:
        """What sentences call a column, or a level of it: its label, or else its own name."""
        if level is None:
            return self.labels.get(column, column)
        return self.labels.get(_of_level(column, level), _named(level))

    def has_label(self, column: str, level: Any) -> bool:
        """Whether a level of a column has a label of its own."""
        return _of_level(column, level) in self.labels

    def label(self, column: str) -> str:
        """What figures call a column, its unit included."""
        unit = self.units.get(column)
        words = self.words(column)
        return f"{words} ({unit})" if unit and not words.startswith(unit) else words

    def gaussian(self) -> "Regression":
        """The same regression with Gaussian noise; itself, if it has that."""
        if self.family == "gaussian":
            return self
        other = self.with_design(self.design)
        other.family = "gaussian"
        other.priors = {name: prior for name, prior in self.priors.items() if name != "nu"}
        return other

    def pooled(self) -> "Regression":
        """Complete pooling: the same regression without its group terms."""
        kept = {*self.design.x_names, *self.thresholds, *OWN.get(self.family, ())}
        given = {name: str(prior) for name, prior in self.priors.items() if name in kept}
        formula = read(self.formula).without_groups
        other = Regression(formula, self.source, given, family=self.family, se=self.se)
        other.labels, other.units = self.labels, self.units
        return other

    def unpooled(self, grouping: Grouping | None = None) -> "Regression":
        """No pooling: each group's varying coefficients on their own, as least squares has them.

        Of one grouping, which need not be given where it is the only one; the effects of others
        stay partially pooled. Its effects carry the whole coefficient, under a prior so wide that
        it says nothing (docs/method.md, eq. (34)): `ALONE` times the spread of the response for a
        usual value of the column, `ALONE_LINKED` for a family with a link. What a group cannot
        estimate keeps that width. Slopes that do not vary, and the noise, stay common to all
        groups, with their priors.
        """
        design = self.design
        grouping = grouping or design.only
        other = self.with_design(design.without_population(grouping))
        own = (*self.thresholds, *OWN.get(self.family, ()))
        parameters = [*other.design.x_names, *design.sd_names, *design.cor_names, *own]
        alone = {*grouping.sd_names, *grouping.cor_names}
        other.priors = {
            name: self.priors[name]
            for name in parameters
            if name in self.priors and name not in alone
        }
        _, Z, y = design.totals
        for name, size in zip(design.sd_names, Z.rms, strict=True):
            if name in alone:
                width = ALONE_LINKED / size if self.linked else ALONE * float(y.sd[0] / size)
                # a ratio that is free can be interpolated, where the equations are dense
                tight = Prior("Gamma", (TIGHT**-2, TIGHT**-2 / width))
                other.priors[name] = tight if self._dense else Prior("Fixed", (float(width),))
        return other

    @property
    def _dense(self) -> bool:
        """Whether an exact fit solves dense equations of the middle factors."""
        several = len(self.design.groupings) > 1 and self.closed_form
        return several and self.eliminated.n_middle > 0

    def with_response(self, y: np.ndarray) -> "Regression":
        """The same regression and priors for another response, such as a simulated one."""
        if self.design.sampled:
            raise ValueError("Another response needs all rows, and a table in parts keeps few.")
        return self.with_design(replace(self.design, y=np.asarray(y, dtype=float)))

    def with_design(self, design: Design) -> "Regression":
        """The same regression and priors for other rows or columns."""
        other = copy(self)
        for name in ("cross", "eliminated", "theta_posterior", "sampled", "integrated"):
            vars(other).pop(name, None)
        other.design = design
        return other


def needed() -> str:
    """What a family with a link takes to have its effects integrated out, in words."""
    return (
        f"one grouping factor with {MOST_INTEGRATED} varying coefficients at most, or such a one "
        "nested in others by which the intercept varies (in one, if it has more than "
        f"{MOST_DEEP} groups), and {MOST_BESIDE} effects at most in all others"
    )


def _named(level: Any) -> str:
    """A level of a column as text, which 0.0 and 0 share."""
    return f"{level:g}" if isinstance(level, float | np.floating) else str(level)


def _of_level(column: str, level: Any) -> str:
    """The name under which `labels` has a level of a column."""
    return f"{column}[{_named(level)}]"


def _require_known(model: Regression) -> None:
    """Raise a ValueError where a label or a unit is for a column that the model does not have."""
    factors = (grouping.name for grouping in model.design.groupings)
    columns = {*map(str, model.table.columns), model.design.response, *factors}
    for what in ("labels", "units"):
        for name in getattr(model, what):
            if name not in columns and not (what == "labels" and name.split("[")[0] in columns):
                raise ValueError(
                    f"{what}: there is no column {name!r}{closest(name, columns) or '.'}"
                )


def _drop(
    formula: str, table: pd.DataFrame, se: str | None
) -> tuple[pd.DataFrame, dict[str, int], str]:
    """The complete rows, what each column lacked, and a sentence about it."""
    kept, lacking = complete_rows(formula, table, se)
    left = len(table) - len(kept)
    where = ", ".join(f"{count:,} in {name}" for name, count in lacking.items())
    share = f"{left:,} of {len(table):,} rows ({left / len(table):.1%})"
    says = f"Left out: {share}, with missing or infinite values ({where})." if left else ""
    return kept, lacking, says

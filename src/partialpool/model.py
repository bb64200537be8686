"""The model: a formula, a table and priors, and what one asks of them."""

import html
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from partialpool.design import parts
from partialpool.design.estimable import unidentified
from partialpool.design.formula import split_formula
from partialpool.design.matrices import Design, build, complete_rows
from partialpool.design.parts import Parts
from partialpool.design.priors import NOISE, Prior, resolve
from partialpool.design.totals import of_design
from partialpool.fit import exact, fitting
from partialpool.fit.crossproducts import CrossProducts, crossproducts
from partialpool.fit.settings import MISSING
from partialpool.posterior import predictions


class Model:
    """A hierarchical linear regression: a formula, a table, and a prior for every parameter.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``.
    table : pandas.DataFrame or Parts
        One row per observation; or a table in parts, from `load`, of which only cross-products and
        a sample of rows are kept in memory.
    priors : mapping of str to str, optional
        Such as ``{"sd": "HalfNormal(100)"}``; see `priors.resolve` for keys and defaults.
    family : {"gaussian", "student"}
        Of the noise. Student's t bends less to outliers; it has no exact posterior.
    se : str, optional
        Column of known standard errors of the response, as in a meta-analysis. They are all of
        the noise, unless sigma is given a prior: then ``Var(y_i) = se_i² + sigma²`` around the
        line.
    missing : {"refuse", "drop"}
        What to do with rows that lack a value in a column of the formula.

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
    unidentified : str
        A sentence where only the priors tell the noise from the group effects; else empty.
    cross : CrossProducts
        All that a Gaussian fit needs to know of the rows.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> posterior = model.fit(seed=1)
    >>> model.check(posterior).status
    'passed'
    """

    def __init__(
        self,
        formula: str,
        table: pd.DataFrame | Parts,
        priors: Mapping[str, str] | None = None,
        *,
        family: str = "gaussian",
        se: str | None = None,
        missing: str = "refuse",
    ) -> None:
        if missing not in MISSING:
            raise ValueError(f"missing: choose from {', '.join(MISSING)}, not {missing!r}.")
        if family not in NOISE:
            raise ValueError(f"family: choose from {', '.join(NOISE)}, not {family!r}.")
        if isinstance(table, Parts) and (se or family != "gaussian"):
            raise ValueError("Data in parts take Gaussian noise without known standard errors.")
        self.formula, self.family, self.se = formula, family, se
        self.dropped = ""
        self.lacking: dict[str, int] = {}
        if missing == "drop":
            if isinstance(table, Parts):
                raise ValueError("missing: rows of a table in parts cannot be dropped; fill them.")
            table, self.lacking, self.dropped = _drop(formula, table, se)
        self.source = table
        self.design: Design
        if isinstance(table, Parts):
            self.design, self.table = parts.build(formula, table)
        else:
            self.design, self.table = build(formula, table, se=se), table
        self.priors: dict[str, Prior] = resolve(self.design, priors, family)
        self.unidentified = unidentified(self.design) if not self.priors["sigma"].fixed else ""

    @cached_property
    def cross(self) -> CrossProducts:
        """Cross-products of the design, made when first needed."""
        sigma = self.priors["sigma"]
        return crossproducts(self.design, sigma.arguments[0] if sigma.fixed else None)

    @cached_property
    def theta_posterior(self) -> exact.ThetaPosterior:
        """Log density of the standard deviations and correlations given the data."""
        return exact.theta_posterior(self.design, self.cross, self.priors)

    @cached_property
    def reference(self) -> xr.DataTree:
        """The exact posterior that every other fit of this model is held against."""
        return self.fit(method="exact")

    @cached_property
    def gaussian(self) -> "Model":
        """The same model with Gaussian noise; itself, if it has that."""
        if self.family == "gaussian":
            return self
        other = self.with_design(self.design)
        other.family = "gaussian"
        other.priors = {name: prior for name, prior in self.priors.items() if name != "nu"}
        return other

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that are not group effects, in the order they are shown."""
        design = self.design
        noise = [n for n in ("sigma", "nu") if n in self.priors and not self.priors[n].fixed]
        return [*design.x_names, *design.sd_names, *design.cor_names, *noise]

    def fit(
        self,
        method: str | None = None,
        parametrization: str | None = None,
        *,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        seed: int = 0,
        start: Mapping[str, Any] | None = None,
        progress: bool = False,
    ) -> xr.DataTree:
        """Draw from the posterior.

        Parameters
        ----------
        method : {"exact", "nuts", "nutpie", "metropolis"}, optional
            ``"exact"`` gives independent draws and the evidence, and is what one gets where it is
            possible: with Gaussian noise. The others sample with PyMC; nutpie is the default of
            Student's t.
        parametrization : {"centered", "noncentered", "marginal"}, optional
            Of a sampled fit. When not given, marginal for NUTS with Gaussian noise, chosen from
            the data for other noise (see `centring`), and centred for Metropolis.
        draws, tune, chains : int
            Draws kept and thrown away in each chain.
        seed : int
            All randomness comes from it.
        start : mapping, optional
            Values at which every chain starts (PyMC's methods).
        progress : bool
            Whether to show the sampler's progress bar.

        Returns
        -------
        xarray.DataTree
            Groups ``posterior``, ``sample_stats`` and ``observed_data``; the attributes of the
            root say how it was made.

        Raises
        ------
        ValueError
            For a method or parametrization that is not known.

        Examples
        --------
        >>> import partialpool as pp
        >>> model = pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"))
        >>> posterior = model.fit(draws=250, seed=1)
        >>> dict(posterior["posterior"]["Days"].sizes)
        {'chain': 4, 'draw': 250}
        >>> posterior.attrs["method"]
        'exact'
        """
        return fitting.fit(
            self,
            method,
            parametrization,
            draws=draws,
            tune=tune,
            chains=chains,
            seed=seed,
            start=start,
            progress=progress,
        )

    def pooled(self) -> "Model":
        """Complete pooling: the same model without its group terms."""
        response, common, _ = split_formula(self.formula)
        kept = {*self.design.x_names, "sigma", "nu"}
        given = {name: str(prior) for name, prior in self.priors.items() if name in kept}
        return Model(f"{response} ~ {common}", self.source, given, family=self.family, se=self.se)

    def unpooled(self) -> "Model":
        """No pooling: each group's varying coefficients on their own, under a vague prior.

        The effects carry the whole coefficient: their standard deviations are fixed at what the
        prior of the population coefficient allows (docs/method.md, eq. (34)), instead of learned.
        Slopes that do not vary stay as they are.
        """
        other = self.with_design(self.design.without_population())
        kept = [*other.design.x_names, "sigma", "nu"]
        other.priors = {name: self.priors[name] for name in kept if name in self.priors}
        _, Z, y = of_design(self.design)
        for k, name in enumerate(other.design.sd_names):
            z_name, size = self.design.z_names[k], Z.rms[k]
            prior = self.priors.get("Intercept" if z_name == "1" else z_name)
            if prior is not None and prior.proper:
                width = float(np.linalg.norm(prior.arguments))
            else:
                width = 100 * float(y.sd[0] / size)
            other.priors[name] = Prior("Fixed", (width,))
        return other

    def with_response(self, y: np.ndarray) -> "Model":
        """The same model and priors for another response, such as a simulated one."""
        if self.design.moments is not None:
            raise ValueError("Another response needs all rows, and a table in parts keeps few.")
        return self.with_design(replace(self.design, y=np.asarray(y, dtype=float)))

    def with_design(self, design: Design) -> "Model":
        """The same model and priors for other rows or columns."""
        other = copy(self)
        for name in ("cross", "theta_posterior", "reference", "gaussian"):
            vars(other).pop(name, None)
        other.design = design
        return other

    def mean(self, posterior: xr.DataTree, table: pd.DataFrame) -> np.ndarray:
        """Draws of the regression line ``X beta + Z b`` at new rows: (draws, rows).

        Raises
        ------
        ValueError
            For a group level that was not in the data.
        """
        return predictions.line(self, posterior, table)

    def reference_for(self, posterior: xr.DataTree) -> xr.DataTree | None:
        """The exact posterior to hold a fit against; for an exact fit, one from another stream.

        None where the noise is not Gaussian and there is none.
        """
        if self.family != "gaussian":
            return None
        if posterior.attrs["method"] != "exact":
            return self.reference
        other = np.random.SeedSequence(
            int(posterior.attrs["seed"]), spawn_key=(fitting.REFERENCE_STREAM,)
        )
        return self.fit(seed=int(other.generate_state(1)[0]))

    def check(self, posterior: xr.DataTree, reference: xr.DataTree | None = None) -> Any:
        """Verdict on a fit of this model: its diagnostics and its distance from the exact one.

        Parameters
        ----------
        posterior : xarray.DataTree
            From `fit`.
        reference : xarray.DataTree, optional
            From `reference_for`, where it is at hand already.

        Returns
        -------
        checks.Verdict

        Examples
        --------
        >>> import partialpool as pp
        >>> model = pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"))
        >>> print(model.check(model.fit(seed=1)).sentence)
        All 8 checks passed.
        """
        from partialpool.posterior import checks

        if reference is None:
            reference = self.reference_for(posterior)
        verdict = checks.verdict(posterior, reference)
        return checks.with_warning(verdict, "Identified", self.unidentified)

    def pymc(self, parametrization: str | Sequence[str] = "marginal") -> Any:
        """The model in PyMC; see `models.build`."""
        from partialpool.fit import pymc_models

        return pymc_models.build(self.design, self.cross, self.priors, parametrization)

    def _repr_html_(self) -> str:
        design = self.design
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(prior))}</td></tr>"
            for name, prior in self.priors.items()
        )
        groups = f" in {design.n_groups:,} groups of {design.group}" if design.group else ""
        said = [remark for remark in (self.dropped, self.unidentified) if remark]
        remarks = "".join(f"<br>{html.escape(remark)}" for remark in said)
        noise = f"; standard errors in {self.se}" if self.se else ""
        noise += "; noise with Student's t distribution" if self.family == "student" else ""
        return (
            f"<p><code>{html.escape(self.formula)}</code><br>"
            f"{design.n_rows:,} rows{html.escape(groups)}{html.escape(noise)}"
            f"{remarks}</p>"
            f"<table><thead><tr><th>parameter</th><th>prior</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


def _drop(
    formula: str, table: pd.DataFrame, se: str | None
) -> tuple[pd.DataFrame, dict[str, int], str]:
    """Rows without missing values, what each column lacks, and a sentence about it."""
    kept, lacking = complete_rows(formula, table, se)
    left = len(table) - len(kept)
    where = ", ".join(f"{count:,} in {name}" for name, count in lacking.items())
    share = f"{left:,} of {len(table):,} rows ({left / len(table):.1%})"
    says = f"Left out: {share}, with missing or infinite values ({where})." if left else ""
    return kept, lacking, says

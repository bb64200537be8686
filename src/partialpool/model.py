"""The model: a formula, a table and priors, and what one asks of them."""

import html
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from partialpool import exact, fitting, parts, predictions
from partialpool.crossproducts import CrossProducts, crossproducts
from partialpool.design import Design, build, complete_rows
from partialpool.formula import split_formula
from partialpool.parts import Parts
from partialpool.priors import Prior, resolve
from partialpool.settings import MISSING
from partialpool.totals import of_design


class Model:
    """A Gaussian hierarchical regression: a formula, a table, and a prior for every parameter.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``.
    table : pandas.DataFrame or Parts
        One row per observation; or a table in parts, from `load`, of which only cross-products and
        a sample of rows are kept in memory.
    priors : mapping of str to str, optional
        Such as ``{"sd": "HalfNormal(100)"}``; see `priors.resolve` for keys and defaults.
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
    priors : dict of str to Prior
        One for every parameter.
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
        missing: str = "refuse",
    ) -> None:
        if missing not in MISSING:
            raise ValueError(f"missing: choose from {', '.join(MISSING)}, not {missing!r}.")
        self.formula = formula
        self.dropped = ""
        if missing == "drop":
            if isinstance(table, Parts):
                raise ValueError("missing: rows of a table in parts cannot be dropped; fill them.")
            table, self.dropped = _drop(formula, table)
        self.source = table
        self.design: Design
        if isinstance(table, Parts):
            self.design, self.table = parts.build(formula, table)
        else:
            self.design, self.table = build(formula, table), table
        self.priors: dict[str, Prior] = resolve(self.design, priors)

    @cached_property
    def cross(self) -> CrossProducts:
        """Cross-products of the design, made when first needed."""
        return crossproducts(self.design)

    @cached_property
    def theta_posterior(self) -> exact.ThetaPosterior:
        """Log density of the standard deviations and correlations given the data."""
        return exact.theta_posterior(self.design, self.cross, self.priors)

    @cached_property
    def reference(self) -> xr.DataTree:
        """The exact posterior that every other fit of this model is held against."""
        return self.fit(method="exact")

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that are not group effects, in the order they are shown."""
        design = self.design
        return [*design.x_names, *design.sd_names, *design.cor_names, "sigma"]

    def fit(
        self,
        method: str = "exact",
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
        method : {"exact", "nuts", "nutpie", "metropolis"}
            ``"exact"`` gives independent draws and the evidence; the others sample with PyMC.
        parametrization : {"centered", "noncentered", "marginal"}, optional
            Of a sampled fit; marginal for NUTS and centred for Metropolis when not given.
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
        given = {k: str(v) for k, v in self.priors.items() if k in {*self.design.x_names, "sigma"}}
        return Model(f"{response} ~ {common}", self.source, given)

    def unpooled(self) -> "Model":
        """No pooling: each group's varying coefficients on their own, under a vague prior.

        The effects carry the whole coefficient: their standard deviations are fixed at what the
        prior of the population coefficient allows, instead of learned. Slopes that do not vary
        stay as they are.
        """
        other = self._with_design(self.design.without_population())
        other.priors = {name: self.priors[name] for name in [*other.design.x_names, "sigma"]}
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
        return self._with_design(replace(self.design, y=np.asarray(y, dtype=float)))

    def _with_design(self, design: Design) -> "Model":
        other = copy(self)
        for name in ("cross", "theta_posterior", "reference"):
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

    def reference_for(self, posterior: xr.DataTree) -> xr.DataTree:
        """The exact posterior to hold a fit against; for an exact fit, one from another stream."""
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
        """
        from partialpool import checks

        return checks.verdict(posterior, reference or self.reference_for(posterior))

    def pymc(self, parametrization: str = "marginal") -> Any:
        """The model in PyMC; see `models.build`."""
        from partialpool import models

        return models.build(self.design, self.cross, self.priors, parametrization)

    def _repr_html_(self) -> str:
        design = self.design
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(prior))}</td></tr>"
            for name, prior in self.priors.items()
        )
        groups = f" in {design.n_groups:,} groups of {design.group}" if design.group else ""
        return (
            f"<p><code>{html.escape(self.formula)}</code><br>"
            f"{design.n_rows:,} rows{html.escape(groups)}"
            f"{'<br>' if self.dropped else ''}{html.escape(self.dropped)}</p>"
            f"<table><thead><tr><th>parameter</th><th>prior</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


def _drop(formula: str, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows without missing values, and the sentence that says how many were left out and why."""
    kept, lacking = complete_rows(formula, table)
    left = len(table) - len(kept)
    where = ", ".join(f"{count:,} in {name}" for name, count in lacking.items())
    share = f"{left:,} of {len(table):,} rows ({left / len(table):.1%})"
    return kept, f"Left out: {share}, with missing or infinite values ({where})." if left else ""

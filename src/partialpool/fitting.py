"""One door to every way of fitting a model; what comes out is always an xarray DataTree."""

import html
import time
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numba
import numpy as np
import pandas as pd
import xarray as xr

from partialpool import exact, importance, parts
from partialpool.crossproducts import CrossProducts, crossproducts
from partialpool.design import Design, build
from partialpool.formula import split_formula
from partialpool.parts import Parts
from partialpool.priors import Prior, resolve
from partialpool.settings import METHODS
from partialpool.tables import table_digest
from partialpool.totals import of_design

#: Keys under which independent streams are spawned from the run's seed.
FIT_STREAM, EFFECT_STREAM, REFERENCE_STREAM = 1, 2, 3
#: Draws in all, from which on PyMC's chains get processes of their own.
LONG = 100_000
#: Largest number of group effects drawn (draws x groups x columns), 8 bytes each.
MAX_EFFECTS = 100_000_000


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

    Attributes
    ----------
    design : Design
        Matrices and groups.
    table : pandas.DataFrame
        The rows, or the sample of them.
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
        self, formula: str, table: pd.DataFrame | Parts, priors: Mapping[str, str] | None = None
    ) -> None:
        self.formula = formula
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
        if method not in METHODS:
            raise ValueError(f"There is no method {method!r}; choose from {', '.join(METHODS)}.")
        if method == "exact" and parametrization is not None:
            raise ValueError("The exact fit has no parametrization; leave it out.")
        parametrization = parametrization or METHODS[method]
        begun = time.perf_counter()
        if method == "exact":
            variables, stats, attrs = self._fit_exact(draws, chains, seed)
        else:
            variables, stats, attrs = self._fit_pymc(
                method, str(parametrization), draws, tune, chains, seed, start, progress
            )
        attrs |= {
            "method": method,
            "parametrization": parametrization or "",
            "formula": self.formula,
            "priors": "; ".join(f"{name} ~ {prior}" for name, prior in self.priors.items()),
            "seed": seed,
            "draws": draws,
            "tune": 0 if method == "exact" else tune,
            "chains": chains,
            "fit_seconds": time.perf_counter() - begun,
            "data_source": str(self.table.attrs.get("source", "a table")),
            "data_sha256": self.table.attrs.get("sha256") or table_digest(self.table),
        }
        return self._tree(variables, stats, attrs)

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
        design = self.design
        X, Z, codes = design.rows(table)
        if (codes < 0).any():
            unseen = table[design.group].to_numpy()[codes < 0][0]
            raise ValueError(f"The level {unseen!r} of {design.group} was not in the data.")
        draws = posterior["posterior"].to_dataset().stack(sample=("chain", "draw"))
        total = np.zeros((draws.sizes["sample"], len(table)))
        for k, name in enumerate(design.x_names):
            total += draws[name].to_numpy()[:, None] * X[:, k]
        for k in range(len(design.z_names)):
            effects = draws[design.effect(k)].transpose("sample", ...).to_numpy()
            total += effects[:, codes] * Z[:, k]
        return total

    def reference_for(self, posterior: xr.DataTree) -> xr.DataTree:
        """The exact posterior to hold a fit against; for an exact fit, one from another stream."""
        if posterior.attrs["method"] != "exact":
            return self.reference
        other = np.random.SeedSequence(int(posterior.attrs["seed"]), spawn_key=(REFERENCE_STREAM,))
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

    def _fit_exact(
        self, draws: int, chains: int, seed: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(FIT_STREAM,)))
        target = self.theta_posterior
        total = draws * chains
        sample = importance.sample(target, exact.start(self.design, target), rng, effective=total)
        if not sample.trusted:
            return self._fit_marginal_instead(sample, draws, chains, seed)
        u = importance.resample(sample, total, rng)
        scales, correlations = target.parameters(u)
        values: dict[str, np.ndarray] = {"sigma": scales[:, 0]}
        values |= dict(zip(self.design.sd_names, scales[:, 1:].T, strict=True))
        for name, (i, j) in zip(self.design.cor_names, self.design.correlated_pairs, strict=True):
            values[name] = correlations[:, i, j]
        beta = exact.conditional_coefficients(target, u, rng)
        values |= dict(zip(self.design.x_names, beta.T, strict=True))
        values = {name: value.reshape(chains, draws) for name, value in values.items()}
        attrs: dict[str, Any] = {
            "route": "importance sampling of theta, then Gaussian draws",
            "pareto_khat": sample.khat,
            "effective_draws": sample.effective,
            "evaluations": len(sample.u),
            "stages": sample.stages,
            "evidence_gap": sample.gap,
        }
        if all(prior.proper for prior in self.priors.values()):
            attrs |= {
                "log_evidence": sample.log_evidence,
                "log_evidence_se": sample.log_evidence_se,
            }
        stats = {"lp": target(u).reshape(chains, draws)}
        return self._with_effects(values, seed), stats, attrs

    def _fit_marginal_instead(
        self, sample: importance.Sample, draws: int, chains: int, seed: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
        """The sturdier route: NUTS on the marginal model, which has the same posterior."""
        variables, stats, attrs = self._fit_pymc(
            "nutpie", "marginal", draws, 1000, chains, seed, None, False
        )
        reason = (
            f"importance sampling was not trusted after {sample.stages} stages "
            f"(Pareto k {sample.khat:.2f}, {sample.effective:.0f} effective draws)"
        )
        return variables, stats, attrs | {"route": f"NUTS on the marginal model: {reason}"}

    def _fit_pymc(
        self,
        method: str,
        parametrization: str,
        draws: int,
        tune: int,
        chains: int,
        seed: int,
        start: Mapping[str, Any] | None,
        progress: bool,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
        import pymc as pm

        with self.pymc(parametrization) as model:
            common: dict[str, Any] = {
                "draws": draws,
                "tune": tune,
                "chains": chains,
                "random_seed": seed,
                "progressbar": progress,
                "compute_convergence_checks": False,
                "cores": _processes(method, chains, draws + tune),
                # numba's threads do not survive a plain fork
                "mp_ctx": "forkserver",
            }
            if start is not None:
                # jitter would move the chains away from where they were told to start
                common |= {"initvals": dict(start)}
                if method != "metropolis":
                    common |= {"init": "adapt_diag"}
            if method == "metropolis":
                tree = pm.sample(step=pm.Metropolis(), quiet=True, **common)
            else:
                sampler = "pymc" if method == "nuts" else "nutpie"
                tree = pm.sample(nuts_sampler=sampler, quiet=not progress, **common)
        del model
        wanted = {*self.parameters, *map(self.design.effect, range(len(self.design.z_names)))}
        posterior = tree["posterior"].to_dataset()
        variables = {
            str(name): value.to_numpy() for name, value in posterior.items() if name in wanted
        }
        stats = {
            str(name): value.to_numpy()
            for name, value in tree["sample_stats"].to_dataset().items()
            if value.dims == ("chain", "draw") and value.dtype.kind in "fiub"
        }
        if parametrization == "marginal":
            variables = self._with_effects(variables, seed)
        return variables, stats, {"route": f"PyMC, {parametrization}"}

    def _with_effects(self, values: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
        """Add group effects drawn from their Gaussians given every draw of the rest."""
        design = self.design
        q = len(design.z_names)
        if not q:
            return values
        chains, draws = values["sigma"].shape
        size = chains * draws * design.n_groups * q
        if size > MAX_EFFECTS:
            return values
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EFFECT_STREAM,)))
        flat = {name: value.reshape(-1) for name, value in values.items()}
        beta = (
            np.stack([flat[name] for name in design.x_names], axis=-1)
            if design.x_names
            else (np.empty((chains * draws, 0)))
        )
        correlation = np.tile(np.eye(q), (chains * draws, 1, 1))
        for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
            correlation[:, i, j] = correlation[:, j, i] = flat[name]
        sds = np.stack([flat[name] for name in design.sd_names], axis=-1)
        L = sds[:, :, None] * _semidefinite_root(correlation)
        effects = exact.conditional_effects(self.cross, flat["sigma"], L, beta, rng)
        shaped = effects.reshape(q, chains, draws, design.n_groups)
        return values | {design.effect(k): shaped[k] for k in range(q)}

    def _tree(
        self,
        variables: dict[str, np.ndarray],
        stats: dict[str, np.ndarray],
        attrs: dict[str, Any],
    ) -> xr.DataTree:
        design = self.design
        effects = [design.effect(k) for k in range(len(design.z_names))]
        order = [name for name in [*self.parameters, *effects] if name in variables]
        chains, draws = variables["sigma"].shape
        coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
        posterior = xr.Dataset(
            {
                name: (
                    ("chain", "draw", design.group_dim) if name in effects else ("chain", "draw"),
                    variables[name],
                )
                for name in order
            },
            coords=coords | ({design.group_dim: design.levels} if design.group else {}),
        )
        sample_stats = xr.Dataset(
            {name: (("chain", "draw"), value) for name, value in stats.items()}, coords=coords
        )
        observed = xr.Dataset({design.response: (("row",), design.y)})
        tree = xr.DataTree.from_dict(
            {"posterior": posterior, "sample_stats": sample_stats, "observed_data": observed}
        )
        tree.attrs = attrs
        return tree

    def _repr_html_(self) -> str:
        design = self.design
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(prior))}</td></tr>"
            for name, prior in self.priors.items()
        )
        groups = f" in {design.n_groups:,} groups of {design.group}" if design.group else ""
        return (
            f"<p><code>{html.escape(self.formula)}</code><br>"
            f"{design.n_rows:,} rows{html.escape(groups)}</p>"
            f"<table><thead><tr><th>parameter</th><th>prior</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


def _processes(method: str, chains: int, length: int) -> int:
    """Chains to run at a time: this run's share of the machine where that pays.

    PyMC's own guess is half of the processors, and a process for a chain takes seconds to start.
    """
    if method != "nutpie" and chains * length < LONG:
        return 1
    return min(chains, numba.get_num_threads())


def _semidefinite_root(correlation: np.ndarray) -> np.ndarray:
    """A lower triangular root (S, q, q), also where rounding left a pivot at or below zero."""
    q = correlation.shape[-1]
    root = np.zeros_like(correlation)
    for i in range(q):
        for j in range(i):
            rest = correlation[:, i, j] - (root[:, i, :j] * root[:, j, :j]).sum(-1)
            root[:, i, j] = rest / np.maximum(root[:, j, j], 1e-150)
        left = 1 - (root[:, i, :i] ** 2).sum(-1)
        root[:, i, i] = np.sqrt(np.maximum(left, 0))
    return root

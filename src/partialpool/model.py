"""The door: a model, and a fit of it."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from partialpool.data.tables import as_frame
from partialpool.fit import fitting
from partialpool.fit.regression import Regression
from partialpool.posterior import (
    checks,
    data_fit,
    leave_one_out,
    marginal_effects,
    overview,
    predictions,
    varying,
)
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.predictions import Unseen
from partialpool.posterior.verdict import Verdicts


class Model(Regression):
    """A hierarchical regression: a formula, a table, and a prior for every parameter.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``.
    table : pandas.DataFrame or Parts
        One row per observation, also as a table of polars or Arrow; or a table in parts, from
        `load`, of which only cross-products, or distinct rows of a family with a link, and a sample
        of rows are kept in memory.
    priors : mapping of str to str, optional
        Such as ``{"sd": "HalfNormal(100)"}``; see `default_priors.resolve` for keys and defaults.
    family : str
        Of the response: ``"gaussian"``, ``"student"`` (noise that bends less to outliers),
        ``"binomial"`` (0/1, two levels, or successes out of trials), ``"poisson"``,
        ``"negbinomial"`` (counts that spread more), or ``"cumulative"`` (ordered answers).
    se : str, optional
        Column of known standard errors of the response, as in a meta-analysis. They are all of
        the noise, unless sigma is given a prior: then ``Var(y_i) = se_i² + sigma²`` around the
        line.
    missing : {"refuse", "drop"}
        What to do with rows that lack a value in a column of the formula.
    labels : mapping of str to str, optional
        What sentences and figures call a column, ``{"Days": "days without sleep"}``, or a level of
        it, ``{"sex[F]": "women"}``.
    units : mapping of str to str, optional
        What a column is counted in, ``{"Days": "day", "Reaction": "ms"}``.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> fit = model.fit(seed=1)
    >>> fit.check().status
    'passed'
    """

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
    ) -> "Fit":
        """Draw from the posterior.

        Parameters
        ----------
        method : {"exact", "nuts", "nutpie", "metropolis"}, optional
            ``"exact"`` gives independent draws and the evidence, and is what one gets where it is
            possible: with Gaussian noise, and, certified, with a link, one grouping factor
            and small ones beside it. The others sample with PyMC; nutpie is the default of what
            has no exact fit.
        parametrization : {"centered", "noncentered", "marginal"}, optional
            Of a sampled fit. When not given, marginal for NUTS with Gaussian noise, chosen from
            the data for other noise and with a link (see `centring`), and centred for Metropolis.
            With a link nutpie alone takes the marginal form, certified as the exact fit is.
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
        Fit

        Raises
        ------
        ValueError
            For a method or parametrization that is not known.

        Examples
        --------
        >>> import partialpool as pp
        >>> model = pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"))
        >>> fit = model.fit(draws=250, seed=1)
        >>> dict(fit.posterior["posterior"]["Days"].sizes)
        {'chain': 4, 'draw': 250}
        >>> fit.attrs["method"]
        'exact'
        """
        options: dict[str, Any] = {"draws": draws, "tune": tune, "chains": chains, "seed": seed}
        options |= {"start": start, "progress": progress}
        return Fit(self, fitting.fit(self, method, parametrization, **options))

    def pymc(self, parametrization: str | list[str] = "marginal") -> Any:
        """The model in PyMC; see `pymc_models.build`."""
        from partialpool.fit import pymc_models

        return pymc_models.build(self, parametrization)

    def __str__(self) -> str:
        return str(overview.priors(self))

    __repr__ = __str__

    def _ipython_display_(self) -> None:
        overview.priors(self)._ipython_display_()


class _Drawn:
    """A function of the room `plots` as a method: it loads matplotlib when it is asked for."""

    def __init__(self, place: str) -> None:
        self.module, self.name = place.split(".")

    def __get__(self, fit: Fitted | None, _: type) -> Any:
        function = getattr(import_module(f"partialpool.plots.{self.module}"), self.name)
        return function if fit is None else MethodType(function, fit)


class Fit(Fitted):
    """A model and draws from its posterior; `Model.fit` makes it.

    Methods whose name begins with ``plot_`` return the findings of a report: picture, description
    and sentence. `explore` puts sliders around a fit.
    """

    predictions = marginal_effects.predictions
    avg_predictions = marginal_effects.avg_predictions
    comparisons = marginal_effects.comparisons
    avg_comparisons = marginal_effects.avg_comparisons
    slopes = marginal_effects.slopes
    avg_slopes = marginal_effects.avg_slopes

    explore = _Drawn("fit_explorer.explore")
    plot_lines = _Drawn("groups.group_lines")
    plot_shrinkage = _Drawn("varying.shrinkage")
    plot_forest = _Drawn("varying.forest")
    plot_variance = _Drawn("of_fit.variance")
    plot_conditional = _Drawn("conditional.conditional_effects")
    plot_priors = _Drawn("marginals.prior_and_posterior")
    plot_traces = _Drawn("marginals.traces")
    plot_exact = _Drawn("marginals.against_exact")
    plot_densities = _Drawn("of_fit.densities")
    plot_statistics = _Drawn("of_fit.statistics")
    plot_pit = _Drawn("of_fit.pit")
    plot_residuals = _Drawn("of_fit.residuals")
    plot_sensitivity = _Drawn("predictive.sensitivities")

    def check(
        self,
        left_out: leave_one_out.LeftOut | None = None,
        replicated: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> Verdicts:
        """Two verdicts: whether these draws can be trusted, and whether the model fits the data.

        Parameters
        ----------
        left_out, replicated, rows : optional
            What `loo` and `predictions.replicate` gave, where they are at hand.

        Examples
        --------
        >>> import partialpool as pp
        >>> model = pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"))
        >>> verdicts = model.fit(seed=1).check()
        >>> verdicts.status, verdicts.fit.status
        ('passed', 'look')
        """
        fit = data_fit.check(self, left_out, replicated, rows)
        return Verdicts(**vars(checks.check(self)), fit=fit)

    def summary(self, *, groups: bool = False) -> pd.DataFrame:
        """Figures of the population's parameters, and of every group effect if asked.

        Parameters
        ----------
        groups : bool
            Whether each group's own effects are shown too.

        Returns
        -------
        pandas.DataFrame
            Columns mean, sd, q05, q50, q95 (a 90 % equal-tailed interval and the median),
            ess_bulk, ess_tail, rhat, mcse_mean.

        Examples
        --------
        >>> import partialpool as pp
        >>> model = pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"))
        >>> fit = model.fit()
        >>> list(fit.summary().index)
        ['Intercept', 'Days', '1|Subject_sigma', 'sigma']
        >>> float(fit.summary()["mean"]["Days"].round())
        10.0
        >>> len(fit.summary(groups=True))
        22
        """
        if not groups:
            return checks.Summary(checks.summarize(self.dataset, self.model.parameters))
        everyone = [np.arange(grouping.n_levels) for grouping in self.model.design.groupings]
        each = self.with_effects_of(everyone)["posterior"].to_dataset()
        return checks.Summary(checks.summarize(each))

    def effects(self, factor: str | None = None, levels: Sequence[Any] | None = None) -> xr.Dataset:
        """Draws of the effects of a factor's groups, made now where the fit left them out.

        Parameters
        ----------
        factor : str, optional
            Whose groups; the only grouping factor need not be named.
        levels : sequence, optional
            Some of its groups; all when not given.

        Returns
        -------
        xarray.Dataset
            A variable for each effect over ``chain``, ``draw`` and the factor.

        Raises
        ------
        ValueError
            For a factor or a level that there is not.

        Examples
        --------
        >>> import partialpool as pp
        >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
        >>> drawn = model.fit(draws=250).effects(levels=[308, 309])
        >>> dict(drawn["Days|Subject"].sizes)
        {'chain': 4, 'draw': 250, 'Subject': 2}
        """
        design = self.model.design
        grouping = varying.grouping_of(design, factor)
        wanted = grouping.levels if levels is None else np.asarray(levels)
        at = pd.Index(grouping.levels).get_indexer(wanted)
        if (at < 0).any():
            level = wanted[at < 0].tolist()[0]
            raise ValueError(f"The level {level!r} of {grouping.name} was not in the data.")
        nobody = np.arange(0)
        of_factors = [at if one is grouping else nobody for one in design.groupings]
        found = self.with_effects_of(of_factors)["posterior"].to_dataset()[grouping.effects]
        return found.sel({grouping.dim: wanted})

    def predict(
        self,
        table: pd.DataFrame,
        *,
        unseen: Unseen = "refuse",
        probability: float = 0.89,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Predict rows: the line, and a new observation around it.

        Parameters
        ----------
        table : pandas.DataFrame
            The rows; the response is not needed.
        unseen : {"refuse", "population"} or mapping of factor to either
            For a group that was not in the data: an error, or effects drawn from the population's
            distribution, ``b ~ N(0, Sigma)``, the same for all rows of that group. With several
            factors ``{"item": "population"}`` is for new items alone.
        probability : float
            Of the equal-tailed intervals.
        seed : int
            Of the effects of new groups and of the noise.

        Returns
        -------
        pandas.DataFrame
            The rows, with ``mean`` and ``sd`` of the line, its interval ``lower`` to ``upper``,
            and that of a new observation, ``observation_lower`` to ``observation_upper``. Of a
            family with a link these are of the response's mean: a probability, a rate, or the mean
            answer, with the probability of each; a single answer has no interval.

        Raises
        ------
        ValueError
            For a group level that was not in the data, unless `unseen` is ``"population"``; and
            where the model has known standard errors and the rows have none.

        Examples
        --------
        >>> import pandas as pd
        >>> import partialpool as pp
        >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
        >>> rows = pd.DataFrame({"Subject": [308, 999], "Days": [3.0, 3.0]})
        >>> found = model.fit().predict(rows, unseen="population")
        >>> bool(found["sd"].iloc[1] > found["sd"].iloc[0])  # 999 is a new subject
        True
        """
        return predictions.predict(
            self, as_frame(table), unseen=unseen, probability=probability, seed=seed
        )

    def loo(self, seed: int = 0) -> leave_one_out.LeftOut:
        """Leave-one-out prediction of the rows; see `leave_one_out.leave_out`."""
        return leave_one_out.leave_out(self, seed)

    def save(self, path: str | Path) -> Path:
        """Write the posterior as netCDF, for `xarray.open_datatree` and ArviZ."""
        self.posterior.to_netcdf(path)
        return Path(path)

    def __str__(self) -> str:
        return str(checks.estimates(self))

    __repr__ = __str__

    def _ipython_display_(self) -> None:
        checks.estimates(self)._ipython_display_()

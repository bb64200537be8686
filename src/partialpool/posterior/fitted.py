"""A regression and draws from its posterior, as arrays made once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from partialpool.design.matrices import Design, Grouping
from partialpool.fit import fitting
from partialpool.fit.exact_fit import moments, with_effects
from partialpool.fit.reduction import TooDear
from partialpool.fit.regression import Regression
from partialpool.posterior.names import kind_in_words

#: Most group effects drawn on demand, 8 bytes each.
MAX_EFFECTS = 8_000_000
#: The three ways to pool, as they are called in every figure and table.
POOLING = {"complete": "complete pooling", "none": "no pooling", "partial": "partial pooling"}


@dataclass(eq=False)
class Fitted:
    """A regression with its posterior.

    Attributes
    ----------
    model : Regression
        What was fitted.
    posterior : xarray.DataTree
        Groups ``posterior``, ``sample_stats`` and ``observed_data``; attributes say how it was
        made.
    """

    model: Regression
    posterior: xr.DataTree

    @classmethod
    def of(cls, model: Regression, **options: Any) -> "Fitted":
        """Fit a regression; options as `fitting.fit` takes them."""
        return cls(model, fitting.fit(model, **options))

    @property
    def attrs(self) -> dict[str, Any]:
        """How the posterior was made."""
        return {str(name): value for name, value in self.posterior.attrs.items()}

    @property
    def seed(self) -> int:
        """The fit's seed."""
        return int(self.attrs["seed"])

    @property
    def dataset(self) -> xr.Dataset:
        """The draws, over ``chain`` and ``draw`` and, for group effects, the groups."""
        return self.posterior["posterior"].to_dataset()

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Every variable with chains after each other: name -> (S,), or (S, J) for group effects.

        Effects that the fit left out, because the groups are very many, are drawn now, given the
        rest; of fewer draws where memory would not hold them.
        """
        if self._has_effects:
            return self.held
        most = max(1, MAX_EFFECTS // fitting.n_effects(self.model.design))
        return with_effects(self.model, self.thinned(most).held, self.seed)

    @cached_property
    def held(self) -> dict[str, np.ndarray]:
        """Those of `values` that the posterior holds: (S,), or (S, J)."""
        return _arrays(self.dataset)

    @property
    def _has_effects(self) -> bool:
        """Whether the posterior holds draws of the group effects, if there are any."""
        return set(self.model.design.effects) <= set(self.dataset)

    def with_effects_of(self, groups: Sequence[np.ndarray]) -> xr.DataTree:
        """The posterior; if the fit left effects out, with those of some groups drawn now.

        Of some groups of each grouping.
        """
        if self._has_effects:
            return self.posterior
        dataset, groupings = self.dataset, self.model.design.groupings
        values = {str(name): variable.to_numpy() for name, variable in dataset.items()}
        drawn = with_effects(self.model, values, self.seed, groups)
        tree = self.posterior.copy()
        kept = dataset
        for grouping, some in zip(groupings, groups, strict=True):
            dims = ("chain", "draw", grouping.dim)
            kept = kept.isel({grouping.dim: some})
            kept = kept.assign({name: (dims, drawn[name]) for name in grouping.effects})
        tree["posterior"] = xr.DataTree(kept)
        return tree

    def figures(self, grouping: Grouping) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means (J, q) and standard deviations (J, q) of a factor's effects.

        Averages over draws of all else of what the effects are given those, without Monte Carlo
        error of their own (Rao & Blackwell), where the fit has them or has one factor and Gaussian
        noise; else those of the draws.
        """
        names = grouping.effects
        if "group_effects" in self.posterior:
            known = self.posterior["group_effects"].to_dataset()
            mean, sd = np.stack([known[name].to_numpy() for name in names], -1)
        elif self.model.family == "gaussian" and len(self.model.design.groupings) == 1:
            own = moments(self.model, self.population)
            mean, sd = np.stack([own[name] for name in names], -1)
        else:
            drawn = [self.values[name] for name in names]
            mean, sd = (np.stack([f(b, 0) for b in drawn], -1) for f in (np.mean, np.std))
        return mean, sd

    @cached_property
    def population(self) -> dict[str, np.ndarray]:
        """Draws (S,) of the parameters that are not group effects."""
        dataset = self.dataset
        return _arrays(dataset[[name for name, v in dataset.items() if v.ndim == 2]])

    def with_densities(self, **logs: np.ndarray) -> xr.DataTree:
        """The parameters that are no group effects, beside log densities (S, n), for ArviZ."""
        parameters = self.dataset[[*self.model.parameters]]
        shape = (parameters.sizes["chain"], parameters.sizes["draw"], -1)
        groups = {"posterior": parameters}
        for name, log in logs.items():
            # ArviZ stops at ties, and draws that say nothing differ in nothing
            same = np.ptp(log, axis=0) < 1e-9
            log[:, same] += np.linspace(0, 1e-9, len(log))[:, None]
            groups[name] = xr.Dataset({"density": (("chain", "draw", "row"), log.reshape(shape))})
        return xr.DataTree.from_dict(groups)

    def thinned(self, most: int) -> "Fitted":
        """The same with at most `most` draws in all, evenly spaced in each chain."""
        tree = xr.DataTree.from_dict({"posterior": thinned(self.dataset, most)})
        tree.attrs = self.posterior.attrs
        return Fitted(self.model, tree)

    @cached_property
    def reference(self) -> "Fitted | None":
        """The exact fit to hold this one against, from another stream and other starting places.

        None where there is none, as with Student's t, or of several large factors with a link that
        are not nested; nor where the integral over group effects cannot be certified, or factors
        have too many effects.
        """
        if not (self.model.closed_form or self.model.certifiable):
            return None
        try:
            return Fitted.of(self.model, seed=fitting.another_seed(self.seed), reference=True)
        except TooDear:
            return None

    @cached_property
    def gaussian(self) -> "Fitted":
        """The exact fit of the same regression with Gaussian noise."""
        return Fitted.of(self.model.gaussian())

    @cached_property
    def ways(self) -> "dict[str, Fitted]":
        """The same data with complete, no and partial pooling, by the keys of `POOLING`.

        The others are fitted with this fit's seed; there is no ``"none"`` without groups. With
        several factors there is one for each, ``"none:Subject"``, in which the others stay
        partially pooled.
        """
        ways = {"complete": Fitted.of(self.model.pooled(), seed=self.seed)}
        for grouping in self.model.design.groupings:
            alone = Fitted.of(self.model.unpooled(grouping), seed=self.seed)
            ways[unpooled_key(self.model.design, grouping)] = alone
        return ways | {"partial": self}


def unpooled_key(design: Design, grouping: Grouping) -> str:
    """Key of `Fitted.ways` for no pooling of a grouping."""
    return "none" if len(design.groupings) < 2 else f"none:{grouping.name}"


def way_name(model: Regression, way: str) -> str:
    """What figures and tables call a way to pool a model, by its key in `Fitted.ways`."""
    kind, _, factor = way.partition(":")
    of = [kind_in_words(model, one) for one in model.design.groupings if one.name == factor]
    return " of ".join([POOLING[kind], *of])


def _arrays(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    return {
        str(name): variable.to_numpy().reshape(-1, *variable.shape[2:])
        for name, variable in dataset.transpose("chain", "draw", ...).items()
    }


def thinned(dataset: xr.Dataset, most: int) -> xr.Dataset:
    """At most `most` draws in all, evenly spaced in each chain."""
    every = max(1, -(-dataset.sizes["chain"] * dataset.sizes["draw"] // most))
    return dataset.isel(draw=slice(None, None, every))

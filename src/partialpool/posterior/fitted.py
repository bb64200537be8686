"""A regression and draws from its posterior, as arrays made once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from partialpool.fit import fitting
from partialpool.fit.exact_fit import with_effects
from partialpool.fit.regression import Regression

#: Most group effects drawn on demand, 8 bytes each.
MAX_EFFECTS = 40_000_000
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
        design = self.model.design
        effects = [design.effect(k) for k in range(len(design.z_names))]
        dataset = self.dataset
        if effects and effects[0] not in dataset:
            most = max(1, MAX_EFFECTS // (design.n_groups * len(effects)))
            dataset = thinned(dataset, most)
        values = _arrays(dataset)
        if effects and effects[0] not in values:
            values = with_effects(self.model, values, self.seed)
        return values

    def with_effects_of(self, groups: np.ndarray) -> xr.DataTree:
        """The posterior; if the fit left effects out, with those of some groups drawn now."""
        design, dataset = self.model.design, self.dataset
        if not design.z_names or design.effect(0) in dataset:
            return self.posterior
        values = {str(name): variable.to_numpy() for name, variable in dataset.items()}
        drawn = with_effects(self.model, values, self.seed, groups)
        dims = ("chain", "draw", design.group_dim)
        effects = {n: (dims, drawn[n]) for n in map(design.effect, range(len(design.z_names)))}
        tree = self.posterior.copy()
        kept = dataset.isel({design.group_dim: groups})
        tree["posterior"] = xr.DataTree(kept.assign(effects))
        return tree

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

        None where the noise is not Gaussian and there is none.
        """
        if self.model.family != "gaussian":
            return None
        return Fitted.of(self.model, seed=fitting.another_seed(self.seed), reference=True)

    @cached_property
    def gaussian(self) -> "Fitted":
        """The exact fit of the same regression with Gaussian noise."""
        return Fitted.of(self.model.gaussian())

    @cached_property
    def ways(self) -> "dict[str, Fitted]":
        """The same data with complete, no and partial pooling, by the keys of `POOLING`.

        The others are fitted exactly, with this fit's seed; there is no ``"none"`` without groups.
        """
        ways = {"complete": Fitted.of(self.model.pooled(), seed=self.seed)}
        if self.model.design.group:
            ways["none"] = Fitted.of(self.model.unpooled(), seed=self.seed)
        return ways | {"partial": self}


def _arrays(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    stacked = dataset.stack(sample=("chain", "draw"))
    return {str(n): v.transpose("sample", ...).to_numpy() for n, v in stacked.items()}


def thinned(dataset: xr.Dataset, most: int) -> xr.Dataset:
    """At most `most` draws in all, evenly spaced in each chain."""
    every = max(1, -(-dataset.sizes["chain"] * dataset.sizes["draw"] // most))
    return dataset.isel(draw=slice(None, None, every))

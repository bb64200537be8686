"""What a peer gives back, and how it is measured."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Settings:
    """Settings of a bench run.

    Attributes
    ----------
    draws, tune, chains : int
        Of every sampler but Metropolis.
    metropolis : int
        Draws of Metropolis in each of two chains; the first half is thrown away, as the origin
        did with its 200,000.
    limit : float
        Seconds that a cell may take, all its calls together.
    warm : float
        Seconds spent at most on later calls of a fast peer; the best of them counts.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    metropolis: int = 20_000
    limit: float = 180.0
    warm: float = 4.0


@dataclass
class Result:
    """What one call gave, under the package's names of parameters.

    Attributes
    ----------
    draws : dict of str to (chain, draw) array
        A posterior; empty for a point estimate.
    point : dict of str to float
        A point estimate; empty for a posterior.
    fit : float, optional
        Seconds of sampling or optimizing alone, where the peer lets one separate them.
    divergences : int, optional
        Of a Hamiltonian sampler.
    error : float, optional
        Of the log likelihood, where group effects are integrated out with a certificate.
    calls : list of float
        Seconds of every call, where the peer keeps its own clock in its own process.
    imports : float, optional
        Seconds of its imports, likewise.
    """

    draws: dict[str, np.ndarray] = field(default_factory=dict)
    point: dict[str, float] = field(default_factory=dict)
    fit: float | None = None
    divergences: int | None = None
    error: float | None = None
    calls: list[float] = field(default_factory=list)
    imports: float | None = None


def sampled(tree: Any, names: list[str], fit: float | None = None) -> Result:
    """The result of a sampler that returns an ArviZ tree."""
    posterior, stats = tree["posterior"], tree["sample_stats"]
    if fit is None:
        times = [group.attrs.get("sampling_time") for group in (posterior, stats)]
        fit = next((float(time) for time in times if time is not None), None)
    return Result(
        draws={name: posterior[name].to_numpy() for name in names if name in posterior},
        fit=fit,
        divergences=int(stats["diverging"].sum()) if "diverging" in stats else None,
        error=tree.attrs.get("integral_error_max"),
    )


def estimated(
    design: Any, coefficients: Any, covariance: Any, sigma: float | None, fit: float | None = None
) -> Result:
    """The result of a point estimate, from what such packages return; with a link no `sigma`."""
    sds = np.sqrt(np.diag(covariance))
    point = dict(zip(design.x_names, coefficients, strict=True))
    point |= dict(zip(design.sd_names, sds, strict=True))
    point |= {} if sigma is None else {"sigma": sigma}
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        if sds[i] * sds[j] > 0:
            point[name] = covariance[i, j] / (sds[i] * sds[j])
    return Result(point={name: float(value) for name, value in point.items()}, fit=fit)


def figures(result: Result, seconds: float) -> dict[str, Any]:
    """The figures of a call: plain numbers for JSON."""
    found: dict[str, Any] = {"seconds": seconds, "fit_seconds": result.fit}
    if not result.draws:
        return found | {"estimates": result.point}
    import arviz_stats as azs
    import xarray as xr

    posterior = xr.Dataset({k: (("chain", "draw"), v) for k, v in result.draws.items()})
    effective = {
        kind: {name: float(v) for name, v in azs.ess(posterior, method=kind).data_vars.items()}
        for kind in ("bulk", "tail")
    }
    lowest = {name: min(effective[kind][name] for kind in effective) for name in posterior}
    worst = min(lowest, key=lowest.__getitem__)
    return found | {
        "ess": lowest[worst],
        "worst": str(worst),
        "ess_per_second": lowest[worst] / seconds,
        "ess_per_fit_second": lowest[worst] / (result.fit or seconds),
        "error": result.error,
        "rhat": max(float(v) for v in azs.rhat(posterior).data_vars.values()),
        "divergences": result.divergences,
        "estimates": {name: float(np.mean(v)) for name, v in result.draws.items()},
        "sds": {name: float(np.std(v)) for name, v in result.draws.items()},
    }

"""Fitting many simulated data sets: truths and draws, compared data set by data set.

Truths come from the prior, for calibration, or are fixed, for recovery. Data sets are made and
fitted in batches; a batch has a random stream of its own and a file of its own, so that nothing
depends on the number of processes, and an interrupted study goes on where it was.
"""

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from partialpool.batch.project import PACKAGE, find_root
from partialpool.fit import fitting
from partialpool.model import Model
from partialpool.posterior.draws import from_prior
from partialpool.simulation import simulate

#: Data sets in a batch.
BATCH = 50
#: Quantiles kept of every marginal: the ends of 50, 80 and 95 % equal-tailed intervals.
QUANTILES = (0.025, 0.1, 0.25, 0.75, 0.9, 0.975)
#: Draws of one fit: scalar parameters (draws,), group effects (q, draws, J), and whether to trust.
Draws = tuple[dict[str, np.ndarray], np.ndarray, bool]
#: A way to fit: the model of one data set and a random stream -> draws.
Fit = Callable[[Model, np.random.Generator], Draws]


@dataclass(frozen=True)
class Plan:
    """What is simulated and how it is fitted.

    Parameters
    ----------
    kind : {"origin", "grouped"}
        Whose generator and formula: one slope per point, or several rows per group.
    sizes : dict
        Arguments of the generator that set sizes: ``n``, or ``groups`` and ``per_group``.
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
    """

    kind: str
    sizes: dict[str, Any]
    truth: dict[str, float] = field(default_factory=dict)
    priors: dict[str, str] = field(default_factory=dict)
    draws: int = 400
    method: str = "exact"
    pooling: bool = False


FORMULAS = {"origin": simulate.ORIGIN_FORMULA, "grouped": "y ~ x + (x | group)"}
#: Priors of a study that gives none: proper, and wide for the truths one would think of.
PRIORS = {
    "Intercept": "Normal(0, 5)",
    "x": "Normal(0, 5)",
    "sd": "HalfNormal(2)",
    "sigma": "HalfNormal(5)",
}


def plan(
    kind: str,
    *,
    n: int,
    groups: int,
    per_group: int,
    truth: Mapping[str, float],
    priors: Mapping[str, str],
    method: str = "exact",
    draws: int = 400,
) -> Plan:
    """A recovery study from a notebook's settings; sizes and truths of the other kind are ignored.

    Raises
    ------
    ValueError
        For a kind that there is none of.
    """
    if kind not in FORMULAS:
        raise ValueError(f"There is no kind of data {kind!r}; choose from {', '.join(FORMULAS)}.")
    sizes = {"n": n} if kind == "origin" else {"groups": groups, "per_group": per_group}
    chosen = Plan(kind, sizes, {}, PRIORS | dict(priors), draws, method, pooling=True)
    names = template(chosen, np.random.default_rng(0)).parameters
    return replace(chosen, truth={name: float(truth[name]) for name in names})


def calibrating(plan: Plan) -> Plan:
    """The same study with truths from the prior, and without the other ways to pool."""
    return replace(plan, truth={}, pooling=False)


def prior_sds(plan: Plan, size: int = 20_000) -> dict[str, float]:
    """Prior standard deviations of the parameters, by simulation."""
    rng = np.random.default_rng(0)
    model = template(plan, rng)
    draws = pd.DataFrame([from_prior(model, rng) for _ in range(size // 10)])
    return {str(name): float(value) for name, value in draws.std().items()}


def describe(plan: Plan) -> str:
    """The study in words, as Markdown."""
    model = template(plan, np.random.default_rng(0))
    sizes = ", ".join(f"{key} = {value}" for key, value in plan.sizes.items())
    priors = "; ".join(f"`{name}` ~ {prior}" for name, prior in model.priors.items())
    truth = ", ".join(f"`{name}` = {value:g}" for name, value in plan.truth.items())
    return (
        f"Model `{model.formula}` with {sizes}, fitted by **{plan.method}** with {plan.draws} "
        f"draws each. Priors: {priors}. Fixed truth for recovery: {truth}."
    )


def template(plan: Plan, rng: np.random.Generator) -> Model:
    """A model with predictors and groups of the plan's sizes; its response means nothing."""
    table = getattr(simulate, plan.kind)(rng, **plan.sizes)
    return Model(FORMULAS[plan.kind], table, plan.priors)


def respond(
    model: Model, truth: Mapping[str, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group effects (q, J), regression lines (N,) and a response (N,) that a truth gives."""
    design = model.design
    population = {name: np.array([value]) for name, value in truth.items()}
    b = fitting.prior_effects(design, population, rng)[:, 0]
    beta = np.array([truth[name] for name in design.x_names])
    mean = design.X @ beta + (design.Z * b[:, design.codes].T).sum(1)
    return b, mean, mean + truth["sigma"] * rng.standard_normal(len(mean))


def fit_exactly(model: Model, rng: np.random.Generator, draws: int = 400) -> Draws:
    """The exact fit, without packing it into a DataTree."""
    values, _, sample = fitting.population_draws(model, draws, rng)
    effects = np.empty((0, draws, 0))
    if model.design.z_names:
        effects = fitting.effect_draws(model, values, rng)
    return values, effects, sample.trusted


def fit_by_nutpie(model: Model, rng: np.random.Generator, draws: int = 400) -> Draws:
    """NUTS on PyMC's non-centred model; compiled once per process for designs of one size."""
    import nutpie

    from partialpool.fit import pymc_models
    from partialpool.posterior import checks

    design = model.design
    shape = (design.X.shape, design.Z.shape, design.n_groups)
    key = (shape, tuple(design.x_names), tuple(map(str, model.priors.values())))
    if key not in _COMPILED:
        _COMPILED[key] = nutpie.compile_pymc_model(model.pymc("noncentered"))
    compiled = _COMPILED[key].with_data(**pymc_models.row_data(design))
    tree = nutpie.sample(
        compiled,
        draws=-(-draws // 4),
        tune=500,
        chains=4,
        seed=int(rng.integers(2**31)),
        cores=1,
        progress_bar=False,
    )
    posterior = tree["posterior"].to_dataset()
    values = {name: posterior[name].to_numpy().reshape(-1) for name in model.parameters}
    names = [design.effect(k) for k in range(len(design.z_names))]
    effects = np.stack([posterior[n].to_numpy().reshape(len(values["sigma"]), -1) for n in names])
    figures = checks.summarize(tree.from_dict({"posterior": posterior[model.parameters]}))
    divergent = int(tree["sample_stats"]["diverging"].sum())
    return values, effects, bool(divergent == 0 and figures["rhat"].max() <= 1.05)


_COMPILED: dict[Any, Any] = {}
FITS: dict[str, Any] = {"exact": fit_exactly, "nutpie": fit_by_nutpie}


def run_batch(
    plan: Plan, seed: int, number: int, size: int, fit: Fit | None = None
) -> pd.DataFrame:
    """Simulate and fit `size` data sets on one set of predictors.

    Returns
    -------
    pandas.DataFrame
        A row per data set and parameter (and the first group's effects): ``data_set``,
        ``parameter``, ``truth``, ``mean``, ``sd``, a column ``q2.5`` ... per quantile, ``rank``
        of the truth in [0, 1], ``trusted``, ``seconds``, and, where the plan asks for them, the
        root mean squared errors of the groups' lines ``complete``, ``none`` and ``partial``.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    model = template(plan, rng)
    others = {"complete": model.pooled(), "none": model.unpooled()} if plan.pooling else {}
    way = fit or (lambda m, r: FITS[plan.method](m, r, plan.draws))
    rows: list[dict[str, Any]] = []
    for k in range(size):
        truth = dict(plan.truth) or from_prior(model, rng)
        b, line, y = respond(model, truth, rng)
        begun = time.perf_counter()
        values, effects, trusted = way(model.with_response(y), rng)
        shared: dict[str, Any] = {
            "data_set": number * BATCH + k,
            "trusted": trusted,
            "seconds": time.perf_counter() - begun,
        }
        if plan.pooling:
            shared["partial"] = _line_error(model, values, effects, line)
        for name, other in others.items():
            theirs = fit_exactly(other.with_response(y), rng, plan.draws)
            shared[name] = _line_error(other, theirs[0], theirs[1], line)
        for j in range(len(model.design.z_names)):
            label = f"{model.design.effect(j)}[{model.design.levels[0]}]"
            truth[label], values[label] = float(b[j, 0]), effects[j, :, 0]
        for name, true in truth.items():
            draws = values[name]
            below = np.sum(draws < true) + rng.uniform()
            rows.append(
                shared
                | {"parameter": name, "truth": true, "mean": draws.mean(), "sd": draws.std()}
                | {
                    f"q{100 * p:g}": v
                    for p, v in zip(QUANTILES, np.quantile(draws, QUANTILES), strict=True)
                }
                | {"rank": below / (draws.size + 1)}
            )
    return pd.DataFrame(rows)


def _line_error(
    model: Model, values: Mapping[str, np.ndarray], effects: np.ndarray, line: np.ndarray
) -> float:
    """Root mean squared error of the posterior mean of the groups' lines, over the rows."""
    design = model.design
    fitted = design.X @ np.array([values[name].mean() for name in design.x_names])
    if len(effects):
        fitted = fitted + (design.Z * effects.mean(1)[:, design.codes].T).sum(1)
    return float(np.sqrt(np.mean((fitted - line) ** 2)))


def run(
    plan: Plan,
    seed: int,
    data_sets: int,
    *,
    workers: int | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Simulate and fit many data sets, over all processors.

    Parameters
    ----------
    plan : Plan
    seed : int
        All randomness comes from it, whatever the number of workers.
    data_sets : int
        Rounded up to whole batches of `BATCH`.
    workers : int, optional
        Processes; as many as the run may use when not given.
    cache : Path, optional
        Where finished batches are kept; `folder` when not given.
    progress : bool
        Whether to show what is done, with the time that is left.

    Returns
    -------
    pandas.DataFrame
        As `run_batch`, all batches in order.
    """
    if plan.method not in FITS:
        raise ValueError(
            f"A study of many data sets is fitted by {' or '.join(FITS)}, not {plan.method!r}: "
            "the other methods would compile anew for each."
        )
    place = (cache or folder()) / digest(plan, seed)
    place.mkdir(parents=True, exist_ok=True)
    numbers = range(-(-data_sets // BATCH))
    missing = [k for k in numbers if not (place / f"{k}.parquet").exists()]
    workers = workers or int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))
    for _ in _shown(_done(plan, seed, missing, workers, place), len(missing), progress):
        pass
    return pd.concat([pd.read_parquet(place / f"{k}.parquet") for k in numbers], ignore_index=True)


def _done(plan: Plan, seed: int, missing: list[int], workers: int, place: Path) -> Iterator[int]:
    """Do batches and yield their numbers as they end."""
    if workers == 1 or len(missing) < 2:
        for number in missing:
            _keep(plan, seed, number, place)
            yield number
        return
    # numba's threads do not survive a plain fork
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(min(workers, len(missing)), mp_context=context) as pool:
        tasks = {pool.submit(_keep, plan, seed, k, place): k for k in missing}
        try:
            for task in as_completed(tasks):
                task.result()
                yield tasks[task]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep(plan: Plan, seed: int, number: int, place: Path) -> None:
    """Do one batch and keep it; a file is there whole or not at all."""
    half = place / f".{number}.{os.getpid()}"
    run_batch(plan, seed, number, BATCH).to_parquet(half)
    half.replace(place / f"{number}.parquet")


def _shown(steps: Iterator[int], total: int, progress: bool) -> Iterator[int]:
    if not progress or not total:
        return steps
    from tqdm.auto import tqdm

    return iter(tqdm(steps, total=total, unit="batch", desc=f"{total * BATCH:,} data sets"))


def folder() -> Path:
    """Where batches are kept when nothing else is said."""
    try:
        root = find_root()
    except FileNotFoundError:
        root = Path.cwd()
    return root / ".cache" / "partialpool" / "studies"


def digest(plan: Plan, seed: int) -> str:
    """Name of a study's folder: it changes with the plan, the seed and the package's code."""
    text = json.dumps([asdict(plan), seed], sort_keys=True)
    return hashlib.sha256((text + code_digest()).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of the package's modules, but for those of rooms that compute nothing."""
    sums = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if name.parts[0] not in ("plots", "report", "batch"):
            sums.update(f"{name.as_posix()}\0".encode() + path.read_bytes())
    return sums.hexdigest()

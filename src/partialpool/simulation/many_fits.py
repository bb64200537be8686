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
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data import paths
from partialpool.fit import compiled
from partialpool.fit.exact_fit import n_draws, prior_effects
from partialpool.fit.kernels import threads
from partialpool.fit.regression import Regression
from partialpool.posterior import checks, responses
from partialpool.posterior.draws import from_prior
from partialpool.simulation import lines
from partialpool.simulation.plans import Plan, template

#: Data sets in a batch.
BATCH = 50
#: Quantiles kept of every marginal, the ends of 50, 80 and 95 % equal-tailed intervals.
QUANTILES = {"q2.5": 0.025, "q10": 0.1, "q25": 0.25, "q75": 0.75, "q90": 0.9, "q97.5": 0.975}
#: Rooms that compute nothing; what is kept does not depend on their code.
OTHERS = ("plots", "report", "batch")
#: A way to fit: the model of one data set, a random stream, and how many draws.
Way = Callable[[Regression, np.random.Generator, int], lines.Draws]


def respond(
    model: Regression, truth: Mapping[str, float], rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Group effects (J,), regression lines (N,) and a response (N,) that a truth gives."""
    design = model.design
    values = {name: np.array([value]) for name, value in truth.items()}
    effects = prior_effects(design, values, rng)
    values |= effects
    rows = np.arange(len(design.y))
    y = responses.respond(model, values, rows, rng)[0]
    b = {name: drawn[0] for name, drawn in effects.items()}
    return b, lines.line_of(model, values), y


def fit_by_nutpie(model: Regression, rng: np.random.Generator, draws: int) -> lines.Draws:
    """NUTS on PyMC's non-centred model, which one process compiles once."""
    tree = compiled.sample(model, draws, int(rng.integers(2**31)))
    posterior = tree["posterior"].to_dataset()
    values = {name: posterior[name].to_numpy().reshape(-1) for name in model.parameters}
    S = n_draws(values)
    effects = {n: posterior[n].to_numpy().reshape(S, -1) for n in model.design.effects}
    rhat = checks.summarize(posterior, model.parameters)["rhat"].max()
    divergent = int(tree["sample_stats"]["diverging"].sum())
    return values, effects, bool(divergent == 0 and rhat <= 1.05)


FITS: dict[str, Way] = {"exact": lines.fit_exactly, "nutpie": fit_by_nutpie}


def run_batch(
    plan: Plan, seed: int, number: int, size: int, fit: Way | None = None
) -> pd.DataFrame:
    """Simulate and fit `size` data sets.

    With a fixed truth each has predictors of its own, or their errors would not be independent.
    With truths from the prior they share them, for intervals hold these given any predictors.

    Returns
    -------
    pandas.DataFrame
        A row per data set and parameter (and effect of each factor's first group): ``data_set``,
        ``parameter``, ``truth``, ``mean``, ``sd``, a column ``q2.5`` ... per quantile, ``rank``
        of the truth in [0, 1], ``trusted``, ``seconds``, and, where the plan asks for them, the
        root mean squared errors of the groups' lines ``complete``, ``none`` and ``partial``.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    model = template(plan, rng)
    others = _others(plan, model)
    rows: list[dict[str, Any]] = []
    for k in range(size):
        if k and plan.truth:
            model = template(plan, rng)
            others = _others(plan, model)
        truth = dict(plan.truth) or from_prior(model.design, model.priors, rng)
        b, line, y = respond(model, truth, rng)
        asked = model.with_response(y)
        begun = time.perf_counter()
        values, effects, trusted = (fit or FITS[plan.method])(asked, rng, plan.draws)
        seconds = time.perf_counter() - begun
        shared: dict[str, Any] = {
            "data_set": number * BATCH + k,
            "trusted": trusted,
            "seconds": seconds,
        }
        if plan.pooling:
            shared["partial"] = lines.error(asked, values, effects, line)
        for name, other in others.items():
            way = other.with_response(y)
            shared[name] = lines.error(way, *lines.of_lines(way, rng, plan.draws), line)
        for grouping in model.design.groupings:
            for name in grouping.effects:
                label = f"{name}[{grouping.levels[0]}]"
                truth[label], values[label] = float(b[name][0]), effects[name][:, 0]
        for name, true in truth.items():
            draws = values[name]
            # a truth that is like the draws lies below a q-quantile of these with probability q
            quantiles = np.quantile(draws, list(QUANTILES.values()), method="weibull")
            below = np.sum(draws < true) + rng.uniform()
            rows.append(
                shared
                | {"parameter": name, "truth": true, "mean": draws.mean(), "sd": draws.std()}
                | dict(zip(QUANTILES, quantiles, strict=True))
                | {"rank": below / (draws.size + 1)}
            )
    return pd.DataFrame(rows)


def _others(plan: Plan, model: Regression) -> dict[str, Regression]:
    """The other ways to pool that a plan asks for."""
    return {"complete": model.pooled(), "none": lines.unpooled(model)} if plan.pooling else {}


def example(plan: Plan, seed: int) -> Regression:
    """The model of the first data set that `run` makes of a plan with a fixed truth."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    model = template(plan, rng)
    return model.with_response(respond(model, plan.truth, rng)[2])


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
        Where finished batches are kept; the cache of the project, or of the current folder
        outside one, when not given.
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
    return in_batches(
        partial(_batch, plan, seed),
        digest(plan, seed),
        -(-data_sets // BATCH),
        BATCH,
        workers=workers,
        cache=cache,
        progress=progress,
    )


def _batch(plan: Plan, seed: int, number: int) -> pd.DataFrame:
    return run_batch(plan, seed, number, BATCH)


def in_batches(
    make: Callable[[int], pd.DataFrame],
    key: str,
    batches: int,
    size: int,
    *,
    workers: int | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Tables that `make` gives for the numbers below `batches`, over all processors, in order.

    Each is kept below the cache, in a folder named by `key`, and not made again; `size` is the
    number of data sets in one. The other arguments are those of `run`.
    """
    from tqdm.auto import tqdm

    place = (cache or paths.cache_folder("studies") or paths.CACHE / "studies") / key
    files = [place / f"{k}.parquet" for k in range(batches)]
    missing = [k for k, file in enumerate(files) if not file.exists()]
    workers = workers or int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))
    done = _done(partial(_keep, make, place), missing, workers)
    title = f"{len(missing) * size:,} data sets"
    hidden = not progress or not missing
    for _ in tqdm(done, title, len(missing), unit="batch", disable=hidden):
        pass
    return pd.concat(map(pd.read_parquet, files), ignore_index=True)


def _done(keep: Callable[[int], None], missing: list[int], workers: int) -> Iterator[None]:
    """Do batches, and yield as each ends."""
    if workers == 1 or len(missing) < 2:
        yield from map(keep, missing)
        return
    # numba's threads do not survive a plain fork
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(min(workers, len(missing)), mp_context=context) as pool:
        try:
            for task in as_completed([pool.submit(keep, number) for number in missing]):
                yield task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep(make: Callable[[int], pd.DataFrame], place: Path, number: int) -> None:
    """Do one batch on one thread, for there is a process for each processor, and keep it."""
    with threads(0):
        table = make(number)
    paths.write(place / f"{number}.parquet", table.to_parquet())


def digest(plan: Plan, seed: int) -> str:
    """Name of a study's folder: it changes with the plan, the seed and the package's code."""
    text = json.dumps([asdict(plan), seed], sort_keys=True)
    return hashlib.sha256((text + code_digest()).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """Digest of the package's code, but for that of rooms that compute nothing."""
    files = paths.code(paths.PACKAGE)
    return paths.digest(
        file for file in files if file.relative_to(paths.PACKAGE).parts[0] not in OTHERS
    )

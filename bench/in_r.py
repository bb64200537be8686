"""The peers in R, where there is an Rscript: `fit.R` fits and keeps the time."""

import csv
import shutil
import subprocess
import tempfile
from pathlib import Path

from data import Data
from results import Result, Settings


class Missing(Exception):
    """R, or a package of it, is not on this machine."""


def lme4(data: Data, seed: int, settings: Settings) -> Result:
    """lmer, restricted maximum likelihood."""
    return _fit("lme4", data, seed, settings)


def rstanarm(data: Data, seed: int, settings: Settings) -> Result:
    """stan_lmer: the model compiled beforehand."""
    return _fit("rstanarm", data, seed, settings)


def brms(data: Data, seed: int, settings: Settings) -> Result:
    """brm: Stan code of its own for every model."""
    return _fit("brms", data, seed, settings)


def _fit(package: str, data: Data, seed: int, settings: Settings) -> Result:
    import pandas as pd

    if shutil.which("Rscript") is None:
        raise Missing("there is no Rscript")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.table.to_csv(folder / "data.csv", index=False)
        with (folder / "priors.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "family", "first", "second"])
            for parameter, prior in data.model.priors.items():
                writer.writerow([parameter, prior.family, *prior.arguments, 0][:4])
        numbers = [seed, settings.draws, settings.tune, settings.chains, settings.warm]
        script = Path(__file__).with_name("fit.R")
        done = subprocess.run(
            ["Rscript", "--vanilla", script, package, folder, data.formula, *map(str, numbers)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line and "halted" not in line]
            why = (" ".join(said[-3:]) or "R failed without a word").removeprefix("Error: ")
            raise (Missing if "no R package" in why else RuntimeError)(why)
        out = pd.read_csv(folder / "out.csv")
        calls = pd.read_csv(folder / "calls.csv")["seconds"].tolist()
    result = Result(calls=calls[1:], imports=calls[0])
    if "chain" in out:
        chains = out.pop("chain")
        result.draws = {
            k: values.to_numpy().reshape(chains.nunique(), -1) for k, values in out.items()
        }
    else:
        result.point = {k: float(values[0]) for k, values in out.items() if values.notna()[0]}
    return result

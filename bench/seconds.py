"""`make bench BENCH_ARGS=--report`: where the seconds of a report go, from command to index.

A study is made into pages in a project of its own under a temporary folder: first with nothing
compiled, then again, then with nothing left to do. One more run is taken apart in cold processes:
its Python and imports, its kernel, each cell, its page. What holding the data against the study and
Snakemake take is what the whole command takes beyond that run, less what its forks save. Beside it
stands `jupyter nbconvert --execute` of the same notebook with the same settings. Seconds are given
twice, of the clock and of all processors: on a busy machine only the second say anything.
"""

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROJECT = HERE.parent
OUT = PROJECT / "reports" / "bench"
#: Sections with less than this many processor seconds are told as one.
SMALL = 0.1


class Clock:
    """Seconds of the clock, and of all processors by this process and what it started."""

    def __init__(self) -> None:
        self.last = self._now()

    def lap(self) -> dict[str, float]:
        """Seconds since the last call."""
        before, self.last = self.last, self._now()
        return {key: self.last[key] - before[key] for key in before}

    def _now(self) -> dict[str, float]:
        import psutil

        ours = psutil.Process()
        used = os.times()
        cpu = used.user + used.system + used.children_user + used.children_system
        for child in ours.children(recursive=True):  # those that have ended are in ours already
            try:
                spent = child.cpu_times()
            except psutil.Error:
                continue
            cpu += spent.user + spent.system + spent.children_user + spent.children_system
        return {"wall": time.monotonic(), "cpu": cpu}


def environment() -> dict[str, str]:
    """The usual one, in which bytecode is kept, as `make` has it."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, [str(PROJECT / "src"), kept.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path}


def measured(*command: str, cwd: Path | None = None, says: bytes = b"") -> dict[str, float]:
    """Run a command to its end; its seconds, and the memory of its largest process in MB.

    It reads `says` on its input.
    """
    began = time.monotonic()
    options: dict[str, Any] = {"cwd": cwd, "env": environment(), "stdin": subprocess.PIPE}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as given:
        given.write(says)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said.decode()}")
    wall = time.monotonic() - began
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1e3}


def project(folder: Path, study: Path) -> None:
    """Make a project of one study."""
    for name in ("notebooks", "params"):
        (folder / name).mkdir(parents=True)
    shutil.copy(study, folder / "params")


def apart(root: Path, study: str) -> list[dict[str, Any]]:
    """Do one run in this process and take its time at every step; steps in order."""
    began = time.monotonic()
    used = os.times()
    steps = [{"part": "Python", "wall": 0.0, "cpu": used.user + used.system}]
    clock = Clock()

    def step(part: str) -> None:
        steps.append({"part": part, **clock.lap()})

    from partialpool.batch import execute, study_file, surroundings

    os.environ |= surroundings.environment(root)
    run = study_file.plan(root, study_file.find(root, [study]))[0]
    step("validation")
    import papermill
    from papermill.engines import NotebookExecutionManager as Manager

    from partialpool.report import exporter  # noqa: F401

    step("imports of papermill and nbconvert")
    started, ended, inner = Manager.cell_start, Manager.cell_complete, papermill.execute_notebook

    def cell_start(self: Any, cell: Any, *args: Any, **kwargs: Any) -> Any:
        if len(steps) == 3:
            step("kernel")
        return started(self, cell, *args, **kwargs)

    def cell_complete(self: Any, cell: Any, *args: Any, **kwargs: Any) -> Any:
        if cell.cell_type == "code":
            step(f"cell {cell.get('id')}")
        return ended(self, cell, *args, **kwargs)

    def whole(*args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        step("end of the kernel")
        return result

    Manager.cell_start, Manager.cell_complete = cell_start, cell_complete
    papermill.execute_notebook = whole
    execute.execute(run, force=True)
    step("page and files")
    total = time.monotonic() - began
    print(json.dumps({"steps": steps, "wall": total}))
    return steps


def nbconvert(root: Path, study: str, place: Path) -> dict[str, float]:
    """The same notebook by `jupyter nbconvert --execute`, with the same settings in it."""
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    from partialpool.batch import study_file

    run = study_file.plan(root, study_file.find(root, [study]))[0]
    notebook = load_notebook_node(str(run.notebook))
    values = run.settings | {"seed": run.seed}
    notebook = parameterize_notebook(notebook, values, kernel_name="python3", language="python")
    nbformat.write(notebook, place / "plain.ipynb")
    command = (sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "plain.ipynb")
    measured(*command, cwd=place)  # for its caches, as ours have theirs
    return measured(*command, cwd=place)


def report(study: Path) -> dict[str, Any]:
    """All figures of a study's first run."""
    name = study.stem
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        root = Path(scratch) / "project"
        project(root, study)
        command = (sys.executable, "-m", "partialpool", "--root", str(root), "report", name)
        found: dict[str, Any] = {"first": measured(*command)}
        shutil.rmtree(root / "reports" / name)
        found |= {"again": measured(*command), "nothing": measured(*command)}
        one = subprocess.run(
            [sys.executable, __file__, "--one", str(root), name],
            env=environment(),
            check=True,
            stdout=subprocess.PIPE,
        )
        found |= json.loads(one.stdout.splitlines()[-1])
        found["nbconvert"] = nbconvert(root, name, Path(scratch))
    return found


def parts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table: what the command takes, part by part, and the whole."""
    run = {key: sum(step[key] for step in found["steps"]) for key in ("wall", "cpu")}
    nothing, again = found["nothing"], found["again"]
    engine = {key: again[key] - nothing[key] - run[key] for key in run}
    rest = "look at the data, Snakemake; less what forks save"
    rows = [{"part": "command: validation and index", **nothing}, {"part": rest, **engine}]
    small = {"part": "all other cells", "wall": 0.0, "cpu": 0.0}
    for step in found["steps"]:
        if step["part"].startswith("cell ") and step["cpu"] < SMALL:
            small = small | {key: small[key] + step[key] for key in run}
        else:
            rows.append(step)
    rows.insert(-2, small)
    return [*rows, {"part": "whole", **again}]


def picture(rows: list[dict[str, Any]]) -> str:
    """Seconds of every part, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    from partialpool.plots import theme
    from partialpool.report import drawings

    theme.use()
    shown = rows[:-1]
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.24 * len(shown)))
    places = range(len(shown))
    axes.barh(places, [row["cpu"] for row in shown], color=theme.PARTIAL, height=0.6)
    axes.scatter([row["wall"] for row in shown], places, color=theme.DATA, s=18, zorder=3)
    axes.set_yticks(places, [row["part"] for row in shown])
    axes.invert_yaxis()
    axes.set_xlabel("seconds; bar: of all processors, dot: of the clock")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    alt = "Seconds of each part of a report as bars; the table below has the figures."
    return drawings.inline_svg(buffer.getvalue(), alt, "seconds-")


def wholes(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What people wait for, and the peer."""
    return [
        {"part": "first report in a new project", **found["first"]},
        {"part": "one run", **found["again"]},
        {"part": "nothing to do", **found["nothing"]},
        {"part": "jupyter nbconvert --execute of the same notebook", **found["nbconvert"]},
    ]


def html(results: dict[str, Any]) -> str:
    """One page that needs nothing else."""
    from partialpool.report import page

    studies = [
        {"name": name, "wholes": wholes(found), "rows": (rows := parts(found)),
         "picture": picture(rows)}
        for name, found in results["studies"].items()
    ]  # fmt: skip
    template = (HERE / "seconds.html.j2").read_text(encoding="utf-8")
    return (
        page.environment()
        .from_string(template)
        .render(
            studies=studies,
            machine=results["machine"],
            scale=results["scale"],
            style=page.asset("style.css"),
        )
    )


def main() -> None:
    """Measure; write ``seconds.json`` and ``seconds.html``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--studies", default="exam", help="names or paths, with commas")
    parser.add_argument("--scale", action="store_true", help="many small runs too; see scale.py")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        apart(Path(given.one[0]), given.one[1])
        return
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    results: dict[str, Any] = {"machine": machine, "studies": {}, "scale": []}
    if given.scale:
        import scale

        results["scale"] = scale.sentences(measured)
        print("\n".join(f"  {text}." for text in results["scale"]), flush=True)
    for name in given.studies.split(","):
        file = Path(name) if "/" in name else PROJECT / "params" / f"{name}.yml"
        found = results["studies"][file.stem] = report(file.resolve())
        for row in [*wholes(found), *parts(found)]:
            print(f"  {file.stem:12s} {row['part']:50s} {row['wall']:7.2f} s {row['cpu']:7.2f} s")
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "seconds.json").write_text(json.dumps(results, indent=1))
        (given.out / "seconds.html").write_text(html(results), encoding="utf-8")
    print(given.out / "seconds.html")


if __name__ == "__main__":
    main()

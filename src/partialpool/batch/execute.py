"""Run one: a fresh kernel, a notebook, and results that appear all at once or not at all."""

import contextlib
import datetime
import fcntl
import logging
import os
import re
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partialpool.batch import staleness, surroundings
from partialpool.batch.runs import PATHS, Run, data_path, read_summary
from partialpool.batch.summary_file import FINDINGS, dumps
from partialpool.data.paths import CACHE, read_mapping, seen_from
from partialpool.report import drawings

#: How often a kernel may fail to start, as on a machine that is busy.
STARTS = 4
#: Files for manuscripts, besides those of findings.
TO_QUOTE = ("methods.md", "values.json", "values.tex")
#: What a run that broke has in place of what `record` leaves.
NOTHING: dict[str, Any] = {
    **dict.fromkeys(["title", "question", "headline", "fit", "data_sha256"]),
    **dict.fromkeys(["log_evidence", "log_evidence_se"]),
    **{
        "status": "error",
        "checks": [],
        "checked": "",
        "estimates": [],
        "omitted": [],
        "findings": [],
        "seconds": {"fit": None, "loading": None},
    },
    **{"parameters": {}, "truth": {}, "metrics": {}, "names": {}},
}


def execute(
    run: Run, *, threads: int | None = None, force: bool = False, kernel: Any = None
) -> dict[str, Any]:
    """Do one run and put its results in place.

    Parameters
    ----------
    run : Run
        From `study_file.plan`.
    threads : int, optional
        Threads for numerical libraries; default leaves the choice to them.
    force : bool
        Also if the run has finished already and nothing has changed.
    kernel : preview.Warm, optional
        A kernel that lives on; default is a fresh one, which ends with the run.

    Returns
    -------
    dict
        The summary, also when the notebook broke (status ``"error"``).
    """
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        _sweep(run.folder)
        earlier = read_summary(run.folder)
        if not force and earlier is not None and not staleness.why_redo(run):
            return earlier
        place = Path(tempfile.mkdtemp(prefix=f".{run.name}.tmp-", dir=run.folder.parent))
        try:
            place.chmod(0o755)
            summary = fill(run, place, threads, kernel)
            _swap(place, run.folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return summary


def sweep(run: Run) -> None:
    """Clear what a killed run left, unless that run is being done right now.

    A result that was being replaced at that moment is put back.
    """
    if any(run.folder.parent.glob(f".{run.name}.*-*")):
        with contextlib.suppress(BlockingIOError), _locked(run, wait=False):
            _sweep(run.folder)


def _sweep(final: Path) -> None:
    for old in final.parent.glob(f".{final.name}.old-*"):
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(final)
    for kind in ("tmp", "new"):
        for part in final.parent.glob(f".{final.name}.{kind}-*"):
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _locked(run: Run, *, wait: bool = True) -> Iterator[None]:
    """Hold the run's lock, which the system frees when this process ends, however it ends."""
    folder = run.root / CACHE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{run.study}.{run.name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _swap(place: Path, final: Path) -> None:
    """Replace a run's folder by a finished one; a reader sees files of one run only."""
    # After a power cut too, a file is whole or the run is not there.
    for path in filter(Path.is_file, place.rglob("*")):
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


def fill(run: Run, place: Path, threads: int | None = None, kernel: Any = None) -> dict[str, Any]:
    """Execute the notebook and write all files of the run into `place`; return the summary."""
    import nbformat

    from partialpool.report import exporter

    started = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    before = staleness.fingerprint(run)
    notebook, error = _execute(run, place, threads, kernel)
    recorded = read_mapping(place / "result.json") if error is None else {}
    if error is None and not recorded:
        message = "the notebook ended without pp.record(posterior, verdict, output)"
        error = {"type": "NoResult", "message": message, "cell": None}
    if error is not None:  # nothing of a broken run may look like a result
        for name in ("posterior.nc", *TO_QUOTE):
            (place / name).unlink(missing_ok=True)
        shutil.rmtree(place / FINDINGS, ignore_errors=True)
    (place / "result.json").unlink(missing_ok=True)
    # What changed while the notebook ran may have been read before or after: do it again.
    after = staleness.fingerprint(run)
    seen = {key: value for key, value in before.items() if after.get(key) == value}
    nbformat.write(notebook, place / "notebook.ipynb")
    result = NOTHING | recorded
    data, title = result.pop("data_sha256"), result.pop("title")
    summary = {
        "study": run.study,
        "run": run.name,
        "notebook": run.notebook.stem,
        "seed": run.seed,
        "settings": run.settings,
        "swept": list(run.swept),
        "expect": run.expect,
        "title": title or exporter.title(notebook) or run.study,
        "error": error,
        **result,
        "seconds": result["seconds"] | {"total": round(time.monotonic() - clock, 2)},
        "provenance": {
            **surroundings.versions(),
            **surroundings.commit(run.root),
            "data_sha256": data,
            "started": started.isoformat(timespec="seconds"),
            "study_file": seen_from(run.root, run.study_file),
            "inputs": seen,
        },
        "posterior": (place / "posterior.nc").is_file(),
        "to_quote": [name for name in TO_QUOTE if (place / name).is_file()],
        "thumbnail": drawings.write_thumbnail(notebook, place),
    }
    html = exporter.render(notebook, summary, str(run.notebook.parent), run.story)
    (place / "report.html").write_text(html, encoding="utf-8")
    (place / "summary.json").write_text(dumps(summary), encoding="utf-8")
    staleness.seal(place)
    return summary


def _execute(
    run: Run, place: Path, threads: int | None, kernel: Any
) -> tuple[Any, dict[str, Any] | None]:
    """Execute the notebook; return what there is of it, and what went wrong."""
    from papermill.exceptions import PapermillExecutionError

    target = place / "notebook.ipynb"
    error: dict[str, Any] | None = None
    with (place / "run.log").open("w", encoding="utf-8") as log:
        for attempt in range(1, STARTS + 1):
            log.write(f"{run.label}: {run.notebook.name}, attempt {attempt}\n")
            log.flush()
            try:
                _papermill(run, target, place, log, threads, kernel)
                error = None
            except PapermillExecutionError as broken:
                message = str(broken.evalue)
                error = {"type": broken.ename, "message": message, "cell": broken.exec_count}
                log.write("\n".join(broken.traceback) + "\n")
            except Exception as broken:
                log.write(traceback.format_exc())
                name, message, begun = type(broken).__name__, str(broken), _begun(target, run)
                if begun == 0 and attempt < STARTS and "ernel" in f"{type(broken)}{broken}":
                    time.sleep(0.5 * attempt)
                    continue  # the kernel did not start
                error = {"type": name, "message": message, "cell": None}
                if name == "DeadKernelError":
                    message = "the kernel was killed, perhaps for lack of memory"
                    error = {"type": "KernelDied", "message": message, "cell": begun or None}
            break
    return _tidy(_read(target, run), run), error


def _papermill(
    run: Run, target: Path, place: Path, log: Any, threads: int | None, kernel: Any = None
) -> None:
    import papermill

    logger = logging.getLogger("papermill")
    logger.handlers[:] = [logging.StreamHandler(log)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    folder = run.home
    values = dict(run.settings)
    for name in PATHS:
        path = data_path(values.get(name), run.root)
        if path is not None:  # as seen from where the notebook runs
            values[name] = os.path.relpath(path, folder)
    values |= {"seed": run.seed, "output": os.path.relpath(place, folder)}
    # Socket names must be short, so not under the project.
    with tempfile.TemporaryDirectory(prefix="partialpool-", ignore_cleanup_errors=True) as scratch:
        if kernel is None:
            env = surroundings.environment(run.root, threads)
            env |= surroundings.modules_beside(run.notebook)
            options = {"kernel_manager_class": surroundings.manager(env, Path(scratch), log)}
        else:
            options = {"km": kernel.ready(run)}
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
            cwd=str(folder),
            stderr_file=log,
            # all is written when the last cell has ended; taking Python down tidily takes a second
            shutdown_kernel="immediate",
            **options,
        )


def _read(target: Path, run: Run) -> Any:
    """The notebook as far as it was executed; as it was before, if that cannot be read."""
    import nbformat

    try:
        return nbformat.read(target, as_version=4)
    except (OSError, ValueError):
        return nbformat.read(run.notebook, as_version=4)


def _begun(target: Path, run: Run) -> int:
    """Count the code cells that papermill began to execute."""
    return sum(
        cell.cell_type == "code" and bool(cell.metadata.get("papermill", {}).get("start_time"))
        for cell in _read(target, run).cells
    )


def _tidy(notebook: Any, run: Run) -> Any:
    """Take out what papermill adds for its own use, and name the folder that stays."""
    from papermill.execute import remove_error_markers

    line = f'output = "{os.path.relpath(run.folder, run.home)}"'
    notebook = remove_error_markers(notebook)  # the page says it better
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
        if "injected-parameters" in part.metadata.get("tags", ()):
            part.source = re.sub(r"^output = .*$", line, part.source, flags=re.M)
    return notebook

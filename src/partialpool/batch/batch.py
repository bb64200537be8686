"""`make report`: find out which runs have something to do, and have Snakemake do them.

Whether a run is up to date is decided here, by comparing contents with what its summary says it
was made from. That takes a fraction of a second, does not trust clocks, and survives any kill.
Snakemake gets only the runs that are left, and does what it is good at: jobs in parallel, going
on after a failure, and clusters.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from partialpool.batch import listing, progress, staleness, study_file
from partialpool.batch.execute import sweep
from partialpool.batch.progress import say
from partialpool.batch.runs import Run, read_summary
from partialpool.data.paths import CACHE, PACKAGE, write
from partialpool.data.text import duration
from partialpool.report import index


def report(
    root: Path,
    studies: Sequence[str] = (),
    *,
    jobs: int | None = None,
    snakemake_args: Sequence[str] = (),
) -> int:
    """Bring the pages of some studies up to date, and the index over all.

    Parameters
    ----------
    root : Path
        The project's folder, with ``notebooks/``, ``params/`` and ``reports/``.
    studies : sequence of str
        Names or paths; default is all of ``params/``.
    jobs : int, optional
        How many runs at a time; default is the number of processors.
    snakemake_args : sequence of str
        Passed on to Snakemake as they are.

    Returns
    -------
    int
        0 if every run finished and none failed unexpectedly, 1 if not, 130 when interrupted.

    Raises
    ------
    study_file.StudyError
        Before anything runs, if a study file is wrong.
    """
    root = root.resolve()
    runs = study_file.plan(root, study_file.find(root, studies))
    jobs = jobs or os.cpu_count() or 1
    began = time.monotonic()
    with _only_one(root) as lock:
        todo = _stale(runs)
        say(progress.opening(len(runs), list(todo.values()), jobs))
        interrupted = bool(todo) and _snakemake(root, list(todo), jobs, snakemake_args, lock)
        shown, left = listing.collect(root, runs)
        for run in shown:
            staleness.refresh(run.folder)
        index.write_studies(root / "reports", [(run, read_summary(run.folder)) for run in shown])
        place = listing.write_index(root, shown)
    if interrupted:
        say("Interrupted. What finished is kept; make report goes on from here.")
        return 130
    bad = progress.closing(runs)
    if not studies:
        progress.say_leftover(root, left)
    say(f"{place.relative_to(root)} ({duration(time.monotonic() - began)})")
    return 1 if bad else 0


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[int]:
    """Wait until no other report works on this project, and keep others waiting.

    Snakemake inherits the lock, so that it lasts as long as anything still writes; the system
    frees it when the last of them ends, however it ends.
    """
    path = root / CACHE / "report.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip() or "?"
            say(f"Another make report is at work here (process {other}); waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _stale(runs: Iterable[Run]) -> dict[Run, str]:
    """Map the runs that have something to do to the reason."""
    todo = {}
    # the same for many runs of a study
    prints: dict[tuple[Path, tuple[str, ...]], dict[str, str] | OSError] = {}
    for run in runs:
        sweep(run)
        key = run.notebook, tuple(run.data)
        if key not in prints:
            try:
                prints[key] = staleness.fingerprint(run)
            except OSError as error:
                prints[key] = error
        now = prints[key]
        if isinstance(now, OSError):
            say(f"{run.label} is left as it is: {now}")
        elif why := staleness.why_redo(run, now):
            todo[run] = why
    return todo


def _snakemake(root: Path, todo: list[Run], jobs: int, extra: Sequence[str], lock: int) -> bool:
    """Do the runs; True when interrupted."""
    folder = root / CACHE
    for run in todo:
        progress.marker(run).unlink(missing_ok=True)
    threads = max(1, (os.cpu_count() or 1) // min(jobs, len(todo)))
    plan = {
        "studies": [str(path) for path in dict.fromkeys(run.study_file for run in todo)],
        "runs": [[run.study, run.name] for run in todo],
        "threads": threads,
    }
    write(folder / "snakemake.json", json.dumps(plan))
    command = [
        *(sys.executable, "-m", "partialpool", "snakemake"),
        *("--snakefile", str(snakefile(root)), "--directory", str(root)),
        *("--config", f"root={root}", f"plan={folder / 'snakemake.json'}"),
        *("--cores", str(jobs * threads)),
        *("--keep-going", "--rerun-incomplete", "--nolock", "--scheduler", "greedy", "--nocolor"),
        *extra,
    ]
    with (folder / "snakemake.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, pass_fds=(lock,), start_new_session=True, cwd=root
        )
        try:
            progress.follow(process, todo, jobs)
            return False
        except KeyboardInterrupt:
            _stop(process)
            return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End Snakemake and its jobs: first kindly, so that cluster jobs are cancelled too."""
    for sign, patience in ((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
            break


def snakefile(root: Path) -> Path:
    """Find the workflow: the project's own, the repository's, or the one in the wheel."""
    folders = [root, PACKAGE.parents[1], PACKAGE]
    places = [folder / "workflow" / "Snakefile" for folder in folders]
    return next(place for place in places if place.is_file())

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
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from partialpool.batch import integrity, listing, staleness, study_file
from partialpool.batch.execute import sweep
from partialpool.batch.runs import Run
from partialpool.data.text import duration as seconds
from partialpool.report import index, study_page, summaries

#: Marks in the terminal, beside the word.
MARKS = {"passed": "✓", "warned": "!", "failed": "✗", "error": "✗", "missing": "✗"}


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
        _say(_opening(runs, todo, jobs))
        interrupted = False
        if todo:
            interrupted = _snakemake(root, studies, list(todo), jobs, snakemake_args, lock)
        shown = listing.collect(root, runs)
        for run in shown:
            integrity.refresh(run.folder)
        study_page.write(root / "reports", shown)
        place = listing.write_index(root, runs)
    if interrupted:
        _say("Interrupted. What finished is kept; make report goes on from here.")
        return 130
    bad = _closing(runs)
    if not studies:
        _say_leftover(root, listing.leftover(root, runs))
    _say(f"{place.relative_to(root)} ({seconds(time.monotonic() - began)})")
    return 1 if bad else 0


def _say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[int]:
    """Wait until no other report works on this project, and keep others waiting.

    Snakemake inherits the lock, so that it lasts as long as anything still writes; the system
    frees it when the last of them ends, however it ends.
    """
    folder = root / ".cache" / "partialpool"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "report.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip() or "?"
            _say(f"Another make report is at work here (process {other}); waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _stale(runs: Iterable[Run]) -> dict[Run, str]:
    """Map the runs that have something to do to the reason."""
    todo = {}
    # the same for many runs of a study
    prints: dict[tuple[Path, tuple[str, ...]], dict[str, str] | OSError] = {}
    for run in runs:
        if run.folder.parent.is_dir():
            sweep(run)
        key = run.notebook, tuple(run.data)
        if key not in prints:
            try:
                prints[key] = staleness.fingerprint(run)
            except OSError as error:
                prints[key] = error
        now = prints[key]
        if isinstance(now, OSError):
            _say(f"{run.label} is left as it is: {now}")
        elif why := staleness.why_redo(run, now):
            todo[run] = why
    return todo


def _opening(runs: list[Run], todo: dict[Run, str], jobs: int) -> str:
    if not todo:
        return f"{_count(len(runs), 'run')} up to date, nothing to do."
    reasons = ", ".join(f"{n} {why}" for why, n in Counter(todo.values()).most_common(3))
    rest = len(runs) - len(todo)
    return (
        f"{_count(len(todo), 'run')} to do ({reasons}), {rest} up to date; "
        f"{min(jobs, len(todo))} at a time."
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _snakemake(
    root: Path,
    studies: Sequence[str],
    todo: list[Run],
    jobs: int,
    extra: Sequence[str],
    lock: int,
) -> bool:
    """Do the runs; True when interrupted."""
    folder = root / ".cache" / "partialpool"
    for run in todo:
        (folder / "done" / run.study / run.name).unlink(missing_ok=True)
    threads = max(1, (os.cpu_count() or 1) // min(jobs, len(todo)))
    plan = {
        "studies": [str(run.study_file) for run in {r.study: r for r in todo}.values()],
        "runs": [[run.study, run.name] for run in todo],
        "threads": threads,
    }
    (folder / "snakemake.json").write_text(json.dumps(plan))
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
            with _terminate_as_interrupt():
                _follow(process, todo, jobs)
            return False
        except KeyboardInterrupt:
            _stop(process)
            return True


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a report as cleanly as Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    here = Path(__file__).parents[1]
    places = [root / "workflow", here.parents[1] / "workflow", here / "workflow"]
    return next(p for place in places if (p := place / "Snakefile").is_file())


def _follow(process: subprocess.Popen[bytes], todo: list[Run], jobs: int) -> None:
    """Say a line for every run that ends, and on a terminal how much is left."""
    marks = {run: _mark(run) for run in todo}
    waiting = list(todo)
    done: list[float] = []
    failed = 0
    running = True
    while running:
        running = process.poll() is None
        for run in list(waiting):
            if _mark(run) == marks[run] and (running or not _ended_anyway(run)):
                continue
            summary = summaries.read_summary(run.folder)
            if summary is None:
                continue
            waiting.remove(run)
            done.append(summary["seconds"]["total"] or 0.0)
            failed += index.is_bad(run, summary)
            _clear()
            _say(_line(run, summary, len(done), len(todo)))
        if running:
            _progress(done, failed, len(waiting), jobs)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
    _clear()


def _mark(run: Run) -> tuple[int, int] | None:
    try:
        stat = (run.folder / "summary.json").stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _ended_anyway(run: Run) -> bool:
    """Whether a run was found up to date by its own job (another process had done it)."""
    return (run.root / ".cache" / "partialpool" / "done" / run.study / run.name).exists()


def _line(run: Run, summary: dict[str, Any], number: int, total: int) -> str:
    status = summary["status"]
    why = summaries.reason(summary)
    if status == "failed" and run.expect == "failed":
        why = "as expected"
    tail = f"  {why}" if why else ""
    width = len(str(total))
    return (
        f"  [{number:{width}}/{total}] {MARKS[status]} {status:<6}  {run.label}"
        f"  {seconds(summary['seconds']['total'])}{tail}"
    )


def _progress(times: list[float], failed: int, waiting: int, jobs: int) -> None:
    if not sys.stdout.isatty():
        return
    bad = f" ({failed} failed)" if failed else ""
    left = ""
    if times:
        left = f", about {seconds(round(sum(times) / len(times) * waiting / jobs, 0))} left"
    running = min(jobs, waiting)
    text = f"  {len(times)} done{bad}, {running} running, {waiting - running} waiting{left}"
    print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)


def _clear() -> None:
    if sys.stdout.isatty():
        print("\r\x1b[K", end="", flush=True)


def _say_leftover(root: Path, folders: list[Path]) -> None:
    """Name what no study defines any more; nobody but its owner may delete a result."""
    if folders:
        names = " ".join(shlex.quote(str(folder.relative_to(root))) for folder in folders)
        count = _count(len(folders), "finished run")
        _say(f"No study defines {count} any more; to delete: rm -r {names}")


def _closing(runs: list[Run]) -> int:
    """Say which runs are bad and why; return how many."""
    bad = []
    for run in runs:
        summary = summaries.read_summary(run.folder)
        if index.is_bad(run, summary):
            bad.append((run, summary))
        elif run.expect == "failed" and summary is not None and summary["status"] != "failed":
            _say(f"Note: {run.label} was expected to fail, and {summary['status']}.")
    if not bad:
        return 0
    width = max(len(run.label) for run, _ in bad)
    _say(f"\n{len(bad)} of {_count(len(runs), 'run')} did not end well:")
    for run, summary in bad:
        if summary is None:
            status, why = "missing", "did not end; see .cache/partialpool/snakemake.log"
        else:
            status, why = summary["status"], summaries.reason(summary)
            if status == "error":
                why += f"  (reports/{run.label}/run.log)"
        _say(f"  {MARKS[status]} {status:<7}  {run.label:<{width}}  {why}")
    _say("")
    return len(bad)

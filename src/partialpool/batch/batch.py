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

from partialpool.batch import listing, staleness, study_data, study_file
from partialpool.batch.execute import sweep
from partialpool.batch.runs import MARKER, Run, read_summary
from partialpool.data.paths import CACHE, PACKAGE, shown, write
from partialpool.data.text import duration
from partialpool.report import index
from partialpool.report.index import is_bad
from partialpool.report.page import reason

#: What Snakemake is told of the runs to do.
PLAN = "snakemake.json"
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
        0 if every run finished and none failed unexpectedly, 1 if not, 2 if nothing could run,
        130 when interrupted.

    Raises
    ------
    study_file.StudyError
        If there is no such study. One that is wrong, or does not go with its data, is named
        before anything runs, and the others run.
    """
    root = root.resolve()
    runs, problems = study_file.sort_out(root, study_file.find(root, studies))
    _complain(problems)
    if not runs:
        return 2
    jobs = jobs or os.cpu_count() or 1
    began = time.monotonic()
    with _only_one(root) as lock, contextlib.ExitStack() as held:
        todo = _stale(runs)
        if todo:  # while it imports what it needs the data are looked at
            threads = max(1, (os.cpu_count() or 1) // min(jobs, len(todo)))
            waiting = _engine(root, list(todo), jobs, threads, snakemake_args, lock)
            engine = held.enter_context(waiting)
        wrong = study_data.look(todo)[1] if todo else {}
        _complain(wrong.values())
        problems += wrong.values()
        runs = [run for run in runs if run.study_file not in wrong]
        todo = {run: why for run, why in todo.items() if run in runs}
        if not runs:
            return 2
        say(_opening(len(runs), list(todo.values()), jobs))
        interrupted = bool(todo) and _do(engine, root, list(todo), jobs, threads, snakemake_args)
        place, left = publish(root, runs)
    if interrupted:
        say("Interrupted. What finished is kept; make report goes on from here.")
        return 130
    bad = _closing(runs)
    if problems:
        lines = [f"  {MARKS['missing']} {problem}" for problem in problems]
        say("\n".join(["Not run:", *lines, ""]))
    if not studies:
        _say_leftover(left)
    say(f"{shown(place)} ({duration(time.monotonic() - began)})")
    return 1 if bad or problems else 0


def publish(root: Path, runs: Iterable[Run]) -> tuple[Path, list[Path]]:
    """Bring all pages up to date with results; return the index, and results of no study."""
    listed, left = listing.collect(root, runs)
    for run in listed:
        staleness.refresh(run)
    index.write_studies(root / "reports", [(run, read_summary(run.folder)) for run in listed])
    return listing.write_index(root, listed), left


def say(text: str) -> None:
    """Say a line at once, also into a pipe."""
    print(text, flush=True)


def _complain(problems: Iterable[str]) -> None:
    for problem in problems:
        print(problem, file=sys.stderr, flush=True)


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


@contextlib.contextmanager
def _engine(
    root: Path, todo: list[Run], jobs: int, threads: int, extra: Sequence[str], lock: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A Snakemake that imports what it needs, and waits for a line on its input to begin.

    It ends with the block, if it has not before.
    """
    folder = root / CACHE
    command = [
        *(sys.executable, "-m", "partialpool", "snakemake"),
        # on a cluster jobs run elsewhere
        "" if extra else ",".join(staleness.modules({run.notebook for run in todo})),
        *("--snakefile", str(snakefile(root)), "--directory", str(root)),
        *("--config", f"root={root}", f"plan={folder / PLAN}"),
        *("--cores", str(jobs * threads)),
        *("--keep-going", "--rerun-incomplete", "--nolock", "--scheduler", "greedy", "--nocolor"),
        *("--rerun-triggers", "mtime", "--drop-metadata"),
        *extra,
    ]
    # Snakemake keeps copies of workflows where a person's caches lie; the project has its own.
    env = os.environ | {"XDG_CACHE_HOME": str(root / CACHE), "NUMBA_NUM_THREADS": str(threads)}
    options: dict[str, Any] = {"cwd": root, "env": env, "start_new_session": True}
    options |= {"stdin": subprocess.PIPE, "pass_fds": (lock,)}
    with (folder / "snakemake.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _do(
    engine: subprocess.Popen[bytes],
    root: Path,
    todo: list[Run],
    jobs: int,
    threads: int,
    extra: Sequence[str],
) -> bool:
    """Have the waiting Snakemake do the runs; True when interrupted."""
    try:
        for run in todo:
            _marker(run).unlink(missing_ok=True)
        plan = planned(root, todo, threads=threads, inputs=bool(extra))
        write(root / CACHE / PLAN, json.dumps(plan))
        assert engine.stdin is not None
        with contextlib.suppress(BrokenPipeError), engine.stdin as begin:  # its log says why
            begin.write(b"begin\n")
        _follow(engine, todo, jobs)
        return False
    except KeyboardInterrupt:
        _stop(engine)
        return True


def planned(
    root: Path, runs: Iterable[Run], *, threads: int, inputs: bool = True
) -> dict[str, Any]:
    """Make the plan that the Snakefile reads: what it needs to know of each run."""
    return {
        "threads": threads,
        "runs": [
            {
                "study": run.study,
                "run": run.name,
                "study_file": os.path.relpath(run.study_file, root),
                "inputs": [os.path.relpath(path, root) for path in staleness.input_files(run)]
                if inputs
                else [],
            }
            for run in runs
        ],
    }


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


def _opening(number: int, reasons: list[str], jobs: int) -> str:
    """Say how many of a number of runs have something to do, and why."""
    if not reasons:
        return f"{_count(number)} up to date, nothing to do."
    most = ", ".join(f"{n} {why}" for why, n in Counter(reasons).most_common(3))
    todo = len(reasons)
    return (
        f"{_count(todo)} to do ({most}), {number - todo} up to date; {min(jobs, todo)} at a time."
    )


def _count(number: int, thing: str = "run") -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _marker(run: Run) -> Path:
    """The file by which a run's job says that it ended."""
    return run.root / MARKER.format(study=run.study, run=run.name)


def _follow(process: subprocess.Popen[bytes], todo: list[Run], jobs: int) -> None:
    """Say a line for every run that ends, and on a terminal how much is left."""
    before = {run: _version(run) for run in todo}
    waiting = list(todo)
    done: list[float] = []
    failed = 0
    running = True
    while running:
        running = process.poll() is None
        for run in list(waiting):
            # a job that another process had done already leaves no trace but its marker
            if _version(run) == before[run] and (running or not _marker(run).exists()):
                continue
            summary = read_summary(run.folder)
            if summary is None:
                continue
            waiting.remove(run)
            done.append(summary["seconds"]["total"] or 0.0)
            failed += is_bad(run, summary)
            _clear()
            say(_line(run, summary, len(done), len(todo)))
        if running:
            _progress(done, failed, len(waiting), jobs)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
    _clear()


def _version(run: Run) -> tuple[int, int] | None:
    """Tells a new result from the one that was there before."""
    with contextlib.suppress(OSError):
        stat = (run.folder / "summary.json").stat()
        return stat.st_ino, stat.st_mtime_ns
    return None


def _line(run: Run, summary: dict[str, Any], number: int, total: int) -> str:
    return f"  [{number:{len(str(total))}}/{total}] {ended(run, summary)}"


def ended(run: Run, summary: dict[str, Any]) -> str:
    """How a run ended, and how long it took."""
    status = summary["status"]
    why = reason(summary)
    if status == "failed" and run.expect == "failed":
        why = "as expected"
    took = duration(summary["seconds"]["total"])
    return f"{MARKS[status]} {status:<6}  {run.label}  {took}  {why}".rstrip()


def _progress(times: list[float], failed: int, waiting: int, jobs: int) -> None:
    if not sys.stdout.isatty():
        return
    bad = f" ({failed} failed)" if failed else ""
    left = ""
    if times:
        left = f", about {duration(round(sum(times) / len(times) * waiting / jobs, 0))} left"
    running = min(jobs, waiting)
    text = f"  {len(times)} done{bad}, {running} running, {waiting - running} waiting{left}"
    print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)


def _clear() -> None:
    if sys.stdout.isatty():
        print("\r\x1b[K", end="", flush=True)


def _say_leftover(folders: list[Path]) -> None:
    """Name what no study defines any more; nobody but its owner may delete a result."""
    if folders:
        names = " ".join(shlex.quote(shown(folder)) for folder in folders)
        count = _count(len(folders), "finished run")
        say(f"No study defines {count} any more; to delete: rm -r {names}")


def _closing(runs: list[Run]) -> int:
    """Say which runs are bad and why; return how many."""
    bad = []
    for run in runs:
        summary = read_summary(run.folder)
        if is_bad(run, summary):
            bad.append((run, summary))
        elif run.expect == "failed" and summary is not None and summary["status"] != "failed":
            say(f"Note: {run.label} was expected to fail, and {summary['status']}.")
    if not bad:
        return 0
    width = max(len(run.label) for run, _ in bad)
    say(f"\n{len(bad)} of {_count(len(runs))} did not end well:")
    for run, summary in bad:
        status, why = "missing", f"did not end; see {shown(run.root / CACHE / 'snakemake.log')}"
        if summary is not None:
            status, why = summary["status"], reason(summary)
        if status == "error":
            why += f"  ({shown(run.folder / 'run.log')})"
        say(f"  {MARKS[status]} {status:<7}  {run.label:<{width}}  {why}")
    say("")
    return len(bad)

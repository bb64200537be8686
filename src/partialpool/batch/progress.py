"""What a report says on the terminal: what there is to do, what ended and how, what is left."""

import contextlib
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from partialpool.batch.runs import Run, read_summary
from partialpool.data.paths import CACHE
from partialpool.data.text import duration
from partialpool.report.index import is_bad
from partialpool.report.page import reason

#: Marks in the terminal, beside the word.
MARKS = {"passed": "✓", "warned": "!", "failed": "✗", "error": "✗", "missing": "✗"}


def say(text: str) -> None:
    """Say a line at once, also into a pipe."""
    print(text, flush=True)


def opening(number: int, reasons: list[str], jobs: int) -> str:
    """Say how many of a number of runs have something to do, and why."""
    if not reasons:
        return f"{_count(number, 'run')} up to date, nothing to do."
    most = ", ".join(f"{n} {why}" for why, n in Counter(reasons).most_common(3))
    todo = len(reasons)
    return (
        f"{_count(todo, 'run')} to do ({most}), {number - todo} up to date; "
        f"{min(jobs, todo)} at a time."
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def marker(run: Run) -> Path:
    """The file by which a run's job says that it ended; Snakemake's declared output."""
    return run.root / CACHE / "done" / run.study / run.name


def follow(process: subprocess.Popen[bytes], todo: list[Run], jobs: int) -> None:
    """Say a line for every run that ends, and on a terminal how much is left."""
    before = {run: _version(run) for run in todo}
    waiting = list(todo)
    done: list[float] = []
    failed = 0
    running = True
    while running:
        running = process.poll() is None
        for run in list(waiting):
            # A job that found its run up to date, as another process had done it, leaves no trace
            # but its marker.
            if _version(run) == before[run] and (running or not marker(run).exists()):
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
    try:
        stat = (run.folder / "summary.json").stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _line(run: Run, summary: dict[str, Any], number: int, total: int) -> str:
    status = summary["status"]
    why = reason(summary)
    if status == "failed" and run.expect == "failed":
        why = "as expected"
    return (
        f"  [{number:{len(str(total))}}/{total}] {MARKS[status]} {status:<6}  {run.label}  "
        f"{duration(summary['seconds']['total'])}  {why}"
    ).rstrip()


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


def say_leftover(root: Path, folders: list[Path]) -> None:
    """Name what no study defines any more; nobody but its owner may delete a result."""
    if folders:
        names = " ".join(shlex.quote(str(folder.relative_to(root))) for folder in folders)
        count = _count(len(folders), "finished run")
        say(f"No study defines {count} any more; to delete: rm -r {names}")


def closing(runs: list[Run]) -> int:
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
    say(f"\n{len(bad)} of {_count(len(runs), 'run')} did not end well:")
    for run, summary in bad:
        status, why = "missing", f"did not end; see {CACHE / 'snakemake.log'}"
        if summary is not None:
            status, why = summary["status"], reason(summary)
        if status == "error":
            why += f"  (reports/{run.label}/run.log)"
        say(f"  {MARKS[status]} {status:<7}  {run.label:<{width}}  {why}")
    say("")
    return len(bad)

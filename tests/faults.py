"""`make test-faults`: whatever can end a report badly, done for real, and the report after it.

Rounds of SIGKILL at random moments of a kernel, of the process that runs papermill, of Snakemake,
or of all at once; then Ctrl-C, a full disk, a reports folder that cannot be written, two reports
at once, a clock that jumps, and a study of 200 runs that is killed half-way. While all that goes
on, a watcher reads every result as fast as it can. After each, one plain report must complete,
must not redo what was finished, and every result must be whole and made from what the study says.

Takes ten minutes or so, which is why it is no part of `make test`.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import psutil

sys.path.insert(0, str(Path(__file__).parent))
from conftest import Project, leftovers, marks
from partialpool.batch import study_file
from partialpool.batch.runs import read_summary

VICTIMS = {
    "kernel": "ipykernel_launc",
    "papermill": "partialpool run",
    "snakemake": "partialpool snakemake",
}


class Broken(Exception):
    """What must not happen."""


class Skipped(Exception):
    """What this machine does not allow."""


class Watcher(threading.Thread):
    """Reads all results all the time; remembers what was not whole."""

    def __init__(self, project: Project) -> None:
        super().__init__(daemon=True)
        self.project, self.ended, self.looks = project, False, 0
        self.found: list[str] = []

    def run(self) -> None:
        while not self.ended:
            for folder in self.project.root.glob("reports/[!.]*/[!.]*"):
                if folder.is_dir() and folder.exists():
                    try:
                        whole(folder)
                        self.looks += 1
                    except (FileNotFoundError, NotADirectoryError):
                        continue  # replaced between two looks
                    except (Broken, OSError, ValueError, KeyError) as why:
                        self.found.append(f"{folder.name}: {type(why).__name__}: {why}")
            time.sleep(0.1)

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True
        self.join()


def whole(folder: Path) -> None:
    """Complain unless all files of a result are complete and belong together.

    The folder is opened once, so that files of one result are read although it may be replaced.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:

        def read(name: str) -> bytes:
            with open(os.open(name, os.O_RDONLY, dir_fd=handle), "rb") as file:
                return file.read()

        summary = json.loads(read("summary.json"))
        page = read("report.html").decode()
        json.loads(read("notebook.ipynb"))
        if not page.rstrip().endswith("</html>"):
            raise Broken(f"{folder.name}: half a page")
        if summary["provenance"]["started"] not in page:
            raise Broken(f"{folder.name}: the page is of another run than the summary")
        if summary.get("posterior"):
            place = f"/proc/self/fd/{handle}/posterior.nc"
            with h5py.File(place) as file:
                draws = file["posterior"]["Intercept"][:]
            if draws.shape != (4, 200):
                raise Broken(f"{folder.name}: half a posterior")
    finally:
        os.close(handle)


def alive(project: Project, words: str = "") -> list[psutil.Process]:
    """Processes that work on the project, and whose command, or name, has the words."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join([*process.cmdline(), process.name()])
            if f"{project.root}" in f"{command} {process.cwd()}" and words in command:
                found.append(process)
    return found


def wait(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Broken(f"waited in vain for {what}")
        time.sleep(0.02)


def kept(project: Project) -> dict[str, int]:
    """Marks of the results that must stay as they are: up to date and not broken."""
    runs = study_file.plan(project.root, study_file.find(project.root))
    wanted = {run.label: run for run in runs}
    found = {}
    for label, mark in marks(project).items():
        summary = read_summary(project.root / "reports" / label)
        run = wanted.get(label)
        if summary and run and summary["status"] != "error" and summary["settings"] == run.settings:
            found[label] = mark
    return found


def plain(project: Project, *words: str) -> tuple[int, str]:
    """A plain report, however long it takes."""
    process = project.start("report", *words)
    output, _ = process.communicate(timeout=3600)
    return process.returncode, output


def recover(project: Project, before: dict[str, int]) -> None:
    """One plain report: it must complete, redo nothing of `before`, and leave all whole."""
    status, output = plain(project, "--jobs", "2")
    if status != 0:
        raise Broken(f"the report after it ended with {status}:\n{output}")
    now = marks(project)
    redone = [label for label, mark in before.items() if now.get(label) != mark]
    if redone:
        raise Broken(f"finished runs were redone: {', '.join(redone)}")
    runs = study_file.plan(project.root, study_file.find(project.root))
    for run in runs:
        whole(run.folder)
        summary = read_summary(run.folder)
        assert summary is not None
        if summary["settings"] != run.settings or summary["seed"] != run.seed:
            raise Broken(f"{run.label} is stale")
        page = (run.folder / "report.html").read_text()
        if any(str(value) not in page for value in run.settings.values()):
            raise Broken(f"the page of {run.label} does not name its settings")
    if leftovers(project):
        raise Broken(f"left behind: {leftovers(project)}")
    _, output = project.call("report")
    if "nothing to do" not in output:
        raise Broken(f"yet another report found something to do:\n{output}")


def studies(project: Project, rate: float) -> None:
    """Runs that change with `rate`, and runs that never change."""
    text = "notebook: quick\nsettings: {{rate: {}}}\ngrid: {{level: [1, 2]}}"
    project.study("changing", text.format(rate))
    project.study("same", "notebook: posterior\nseeds: [0, 1]")
    seeds = list(range(int(rate * 1000) % 100 + 1))
    project.study("growing", f"notebook: posterior\nseeds: {seeds}")


def kill_round(project: Project, number: int, rng: random.Random) -> str:
    """Start a report, kill something at a random moment, recover."""
    studies(project, round(0.1 + number / 1000, 3))
    victim = [*VICTIMS, "everything"][number % 4]
    report = project.start("report", "--jobs", "2")
    if victim == "everything":
        time.sleep(rng.uniform(0.3, 9))
        targets = [*alive(project), psutil.Process(report.pid)]
    else:
        wait(lambda: alive(project, VICTIMS[victim]) or report.poll() is not None, victim)
        time.sleep(rng.uniform(0, 2))
        targets = alive(project, VICTIMS[victim])[:1]
    for process in targets:
        with contextlib.suppress(psutil.Error):
            process.kill()
    report.communicate(timeout=120)
    before = kept(project)
    recover(project, before)
    return f"killed {victim} ({len(targets)}), {len(before)} kept, {len(marks(project))} in all"


def interrupted(project: Project) -> str:
    """Ctrl-C."""
    studies(project, 0.5)
    report = project.start("report", "--jobs", "2")
    wait(lambda: alive(project, VICTIMS["kernel"]), "a kernel")
    os.kill(report.pid, signal.SIGINT)
    output, _ = report.communicate(timeout=60)
    if report.returncode != 130 or "goes on from here" not in output or alive(project):
        raise Broken(f"status {report.returncode}, {len(alive(project))} left\n{output}")
    recover(project, kept(project))
    return "status 130, nothing left running"


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Mount something, if this machine lets us."""
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"mount is not allowed here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def full_disk(project: Project) -> str:
    """A disk that is full before, and one that fills up in the middle."""
    place = project.root.parent / "small"
    place.mkdir()
    with mounted(place, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        small = Project(place / "project")
        studies(small, 0.1)
        small.call("report")
        before = kept(small)
        studies(small, 0.103)
        ballast = place / "ballast"
        said = []
        for room in (0, 30_000, 90_000):
            with contextlib.suppress(OSError), ballast.open("wb") as file:
                while file.write(b"0" * 4096):
                    file.flush()
            os.truncate(ballast, max(ballast.stat().st_size - room, 0))
            status, output = small.call("report")
            if status == 0:
                raise Broken(f"a report on a full disk says all is well:\n{output}")
            if "Traceback" in output:
                raise Broken(f"a full disk shows a traceback:\n{output}")
            said.append(status)
            for label in marks(small):
                whole(small.root / "reports" / label)
        ballast.unlink()
        now = kept(small)
        lost = {k for k, m in before.items() if not k.startswith("changing") and now.get(k) != m}
        if lost:
            raise Broken(f"finished runs were redone or lost: {lost}")
        recover(small, now)
        small.end()
    return f"statuses {said}"


def read_only(project: Project) -> str:
    """A reports folder that cannot be written."""
    studies(project, 0.6)
    place = project.root / "reports"
    before = kept(project)
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        status, output = project.call("report")
        if status == 0 or "Traceback" in output:
            raise Broken(f"status {status}:\n{output}")
    recover(project, before)
    return f"status {status}: {output.strip().splitlines()[-1]}"


def two_at_once(project: Project) -> str:
    """Two reports at once: both end well, and every run is done once."""
    studies(project, 0.7)
    both = [project.start("report", "--jobs", "2") for _ in range(2)]
    outputs = [report.communicate(timeout=300)[0] for report in both]
    if [report.returncode for report in both] != [0, 0]:
        raise Broken("\n".join(outputs))
    lines = [line for output in outputs for line in output.splitlines() if "passed " in line]
    if len(lines) != len({line.split("passed ")[1].split()[0] for line in lines}):
        raise Broken("a run was done twice:\n" + "\n".join(outputs))
    recover(project, kept(project))
    return "both ended with status 0"


def clock(project: Project, rng: random.Random) -> str:
    """A clock two years behind, then two years ahead; then files with times from anywhere.

    The clock is Python's, in every process: libfaketime makes kernels hang.
    """
    studies(project, 0.8)
    patch = project.root.parent / "clock"
    patch.mkdir()
    path = os.pathsep.join(filter(None, [str(patch), os.environ.get("PYTHONPATH")]))
    for jump, rate in ((-6e7, 0.81), (6e7, 0.82)):
        text = f"import time\nreal = time.time\ntime.time = lambda: real() + {jump}\n"
        text += f"ns = time.time_ns\ntime.time_ns = lambda: ns() + int({jump} * 10**9)\n"
        (patch / "sitecustomize.py").write_text(text)
        status, output = project.call("report", env={"PYTHONPATH": path})
        if status:
            raise Broken(f"a clock off by {jump:g} s:\n{output}")
        recover(project, kept(project))
        studies(project, rate)
    recover(project, {})
    before = kept(project)
    changed = 0
    for file in project.root.rglob("*"):
        if file.is_file() and "reports" not in file.parts:
            os.utime(file, (t := time.time() + rng.uniform(-1e8, 1e8), t))
            changed += 1
    recover(project, before)
    return f"two years behind, two years ahead, {changed} files of other times: nothing redone"


def two_hundred(project: Project, number: int) -> str:
    """Many runs in one study, killed half-way."""
    many = Project(project.root.parent / "many")
    many.study("many", f"notebook: quick\nseeds: [{', '.join(map(str, range(number)))}]")
    began = time.monotonic()
    report = many.start("report", "--jobs", "4")
    wait(lambda: len(marks(many)) >= number // 2, "half of the runs", 1200)
    for process in [*alive(many), psutil.Process(report.pid)]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    report.communicate(timeout=60)
    before = kept(many)
    recover(many, before)
    took = time.monotonic() - began
    began = time.monotonic()
    many.call("report")
    again = time.monotonic() - began
    return f"{len(before)} kept, {len(marks(many))} in the end; {took:.0f} s; again {again:.1f} s"


def main() -> int:
    """Do it all; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="rounds of SIGKILL")
    parser.add_argument("--runs", type=int, default=200, help="runs of the large study")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--only", default="", help="a word in the name of what to do")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    failed = skipped = passed = 0
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        project = Project(Path(folder) / "project")
        cases: list[tuple[str, Callable[[], str]]] = [
            (f"SIGKILL {k + 1}", lambda k=k: kill_round(project, k, rng))  # type: ignore[misc]
            for k in range(options.rounds)
        ]
        cases += [
            ("Ctrl-C", lambda: interrupted(project)),
            ("full disk", lambda: full_disk(project)),
            ("read-only reports", lambda: read_only(project)),
            ("two at once", lambda: two_at_once(project)),
            ("clock", lambda: clock(project, rng)),
            (f"{options.runs} runs", lambda: two_hundred(project, options.runs)),
        ]
        with Watcher(project) as watcher:
            for name, case in cases:
                if options.only.lower() not in name.lower():
                    continue
                began = time.monotonic()
                try:
                    said, word = case(), "passed"
                    passed += 1
                except Skipped as why:
                    said, word = str(why), "skipped"
                    skipped += 1
                except (
                    Broken,
                    OSError,
                    ValueError,
                    subprocess.SubprocessError,
                ) as why:
                    said, word = f"{type(why).__name__}: {why}", "FAILED"
                    failed += 1
                print(f"{word:7s} {name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
        project.end()
        for what in watcher.found[:10]:
            print(f"FAILED  the watcher saw: {what}")
        failed += bool(watcher.found)
        print(f"The watcher looked at whole results {watcher.looks:,} times.")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

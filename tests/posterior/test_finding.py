"""A finding shows names and values that come from data as text, whatever they hold."""

from html.parser import HTMLParser

import pandas as pd
import pytest

from partialpool.posterior.finding import Finding
from partialpool.report.markup import sanitize

#: What an attacker calls a column or a level: markup, LaTeX, Markdown and CSV.
HOSTILE = [
    '<script>alert("1")</script>',
    "<![CDATA[><meta http-equiv=refresh content='0;url=http://e.org'>]]>",
    "<!--><img src=x onerror=alert(1)>",
    r"\input{/etc/passwd} & $x_1$ % ~ ^ #",
    'a,b"c;\nd',
    "</td></table><style>*{display:none}</style>",
]


class Tags(HTMLParser):
    """Every tag, comment and declaration of a page, and all its text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)

    def handle_endtag(self, tag):
        self.found.add(tag)

    def handle_comment(self, data):
        self.found.add(f"comment {data}")

    def unknown_decl(self, data):
        self.found.add(f"declaration {data}")

    def handle_data(self, data):
        self.text += data


def finding(hostile, heading=None):
    """The text as a column, as a label, as a value and as the name of the index."""
    index = pd.Index([hostile, "calm"], name=hostile)
    table = pd.DataFrame({f"{hostile}!": [hostile, "calm"], "mean": [0.1234567, 2.0]}, index=index)
    columns = {"mean": (heading or "mean", "{:.2f}")}
    return Finding("f", "A sentence.", table=table, columns=columns)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_html_holds_it_as_text(hostile):
    page = Tags(finding(hostile, heading=hostile[::-1]).to_html())
    assert page.found == {"table", "thead", "tbody", "tr", "th", "td"}
    # column, value, label and name of the index, each whole; pandas writes a new line as \\n
    assert page.text.replace("\\n", "\n").count(hostile) == 4


def test_latex_holds_it_as_text():
    """No command, formula, comment or column of the data's own."""
    text = finding(HOSTILE[3]).to_latex()
    assert r"\input" not in text
    assert text.count(r"\$") == text.count("$") == 8
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [row.replace(r"\&", "").count("&") for row in rows] == [2] * 4
    assert text.count(r"\%") == text.count("%") == 4
    assert "0.12" in text
    assert "0.1234567" not in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_file_gives_back_what_the_table_holds_with_all_digits(hostile, tmp_path):
    found = finding(hostile)
    path, *others = found.save(tmp_path / "new")
    assert path == tmp_path / "new" / "f.csv"
    assert [other.name for other in others] == ["f.tex", "f.docx"]
    again = pd.read_csv(path, index_col=0)
    pd.testing.assert_frame_equal(again, found.table)


def test_a_terminal_shows_description_table_and_sentence():
    table = pd.DataFrame({"mean": [0.1234567]}, index=["slope"])
    columns = {"mean": ("mean of draws", "{:.2f}")}
    whole = Finding("f", "It rises.", object(), table, "A line that rises.", columns)
    lines = str(whole).splitlines()
    assert lines[0] == "A line that rises."
    assert lines[2].strip() == "mean of draws"
    assert lines[3].split() == ["slope", "0.12"]
    assert lines[-1] == "It rises."
    assert repr(whole) == str(whole)
    assert str(Finding("f", table=table, index=False)).split() == ["mean", "0.123457"]
    # a description is that of a figure; without one there is nothing to describe
    assert str(Finding("f", "Only this.", description="unseen")) == "Only this."


@pytest.mark.parametrize("columns", [50, 90])
def test_a_terminal_wraps_the_sentences_of_a_table(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    meaning = ["a figure of the draws, with its limit, at which it was 5 % too large", "short"]
    table = pd.DataFrame({"check": ["R-hat", "ESS"], "value": [1.5, 2.0], "meaning": meaning})
    text = str(Finding("x", "**Failed**: 5% of `a*-1`, -2.5.", table=table, index=False))
    lines = text.partition("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(line[12:].strip() for line in lines) == " ".join(["meaning", *meaning])
    assert [line[:12].split() for line in lines if line[:12].strip()] == [
        ["check", "value"],
        ["R-hat", "1.5"],
        ["ESS", "2"],
    ]
    assert text.endswith("\n\nFailed: 5 % of `a*-1`, −2.5.")
    named = pd.DataFrame({"v": [1, 2], "meaning": ["", meaning[0]]}, index=["p", "q"])
    first, second, *_ = map(str.split, str(Finding("x", table=named)).splitlines())
    assert [first, second] == [["v", "meaning"], ["p", "1"]]


def test_an_index_that_names_no_rows_is_shown_nowhere(tmp_path):
    """Neither in LaTeX, nor in HTML, nor in a file."""
    found = Finding("f", table=pd.DataFrame({"a": [7]}, index=["label"]), index=False)
    shown = [
        found.to_latex(),
        found.to_html(),
        str(found),
        found.to_csv(tmp_path / "f").read_text(),
    ]
    for text in shown:
        assert "7" in text
        assert "label" not in text


def test_columns_of_words_are_marked_and_those_of_figures_are_not():
    """A page puts figures under each other by their last digit, and wraps a sentence."""
    table = pd.DataFrame(
        {
            "value": [1.5, -2000.0],
            "wanted": ["≤ 3.89", "≥ 0.01"],
            "meaning": ["short", "a sentence that is as long as those of a verdict are"],
        },
        index=["one row", "another"],
    )
    page = Finding("n", table=table, columns={"value": ("value", "{:,.1f}")}).to_html()
    for cell in ("<td>1.5</td>", "<td>−2,000.0</td>", "<th>value</th>", "<th>one row</th>"):
        assert cell in page
    for cell in ('<td class="words">≤ 3.89</td>', '<th class="words">wanted</th>'):
        assert cell in page
    assert page.count('class="words prose"') == 3
    assert 'class="words prose"' in sanitize(page)


@pytest.mark.parametrize(("label", "short"), [("x", True), ("w" * 40, False), ("p", False)])
def test_a_table_whose_rows_have_short_names_is_no_wider_than_it_must(label, short):
    """With room for long ones in any case, the last column of many figures was cut."""
    found = Finding("t", table=pd.DataFrame({"a": [1]}, index=[label]), names={"p": "w" * 40})
    assert ('class="dataframe short"' in found.to_html()) is short
    assert ('class="dataframe short"' in sanitize(found.to_html())) is short

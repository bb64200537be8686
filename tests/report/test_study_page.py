"""The page of a whole study, from summaries alone."""

from types import SimpleNamespace

import pytest
from scipy.stats import binom

from partialpool.data.text import bound
from partialpool.plots import study_answer, study_plots, theme
from partialpool.report import index


def row(name, swept, mean, *, metric=None, truth=None):
    return {
        "name": name,
        "settings": swept | {"seed": 0},
        "swept": list(swept),
        "summary": {
            "title": "A <b>study</b>",
            "status": "passed",
            "estimates": ["a<i>"],
            "parameters": {"a<i>": {"mean": mean, "sd": 1.0, "q05": mean - 1, "q95": mean + 1}},
            "truth": {"a<i>": truth} if truth is not None else {},
            "seconds": {"fit": 2.0, "total": 3.0},
        },
        "metrics": {"coverage of 50% intervals": {"a<i>": metric}} if metric else {},
    }


def test_page_shows_runs_estimates_and_metrics_as_text():
    rows = [row(f"n-{n}", {"n": n}, n / 10, metric=0.4 + n / 1000, truth=1) for n in (10, 30, 100)]
    html = index.render_study("demo<script>", rows, "abc")
    assert html.count("<script>") == 1  # its own
    assert "demo&lt;script&gt;" in html
    assert "<b>study" not in html
    assert 'href="n-30/report.html"' in html
    assert "a&lt;i&gt; 1.0 to 10.0" in html  # posterior means
    assert "from 41 % (n 10) to 50 % (n 100)" in html
    assert html.count('role="img"') == 2
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_title_question_and_answer_come_first():
    rows = [row(f"n-{n}", {"n": n}, float(n)) for n in (10, 30)]
    for one in rows:
        one["summary"]["headline"] = f"It is {one['settings']['n']}."
    story = {"title": "T<i>", "question": "Q<i>?", "about": "A *very* <i> long story"}
    html = index.render_study("demo", rows, "abc", story)
    pieces = ["<h1>T&lt;i&gt;", "Q&lt;i&gt;?", "n 10:", "It is 10.", "n 30:", "It is 30."]
    pieces += ["<em>very</em>", 'id="runs"']
    places = [html.index(piece) for piece in pieces]
    assert places == sorted(places)
    assert "<i>" not in html
    rows[0]["summary"]["question"] = "What<i>?"  # what the model asks, where the study does not
    assert "What&lt;i&gt;?" in index.render_study("demo", rows, "abc", {"title": "T"})
    assert "What&lt;i&gt;?" not in index.render_study("demo", rows, "abc", story)


def test_runs_that_differ_each_answer_and_those_that_agree_answer_once():
    """The index answered with the first run's words, the page with them and a note."""
    rows = [row(f"n-{n}", {"n": n}, float(n)) for n in (10, 30, 50)]
    for one, says in zip(rows, ("It is <1>.", "It is 2.", "It is <1>."), strict=True):
        one["summary"]["headline"] = says
    assert study_answer.answers(rows) == [("n 10 and n 50", "It is <1>."), ("n 30", "It is 2.")]
    assert "n 10 and n 50:</span> It is &lt;1&gt;." in index.render_study("demo", rows)
    rows[1]["summary"]["headline"] = "It is <1>."
    assert study_answer.answers(rows) == [("", "It is <1>.")]
    many = [row(f"n-{n}", {"n": n}, float(n)) for n in range(study_answer.MANY + 1)]
    for k, one in enumerate(many):
        one["summary"]["headline"] = f"It is {k}."
    assert study_answer.answers(many) == []
    assert study_answer.answers([]) == []  # none has run to its end yet


def test_the_index_gives_the_answer_of_the_study(tmp_path):
    """It gave that of the first run; runs with earlier settings do not speak for present ones."""
    found = []
    for n, error in ((5, 0.6), (20, 0.3), (80, 0.1)):
        run = SimpleNamespace(study="demo", name=f"n-{n}", settings={"n": n}, swept=["n"], seed=0)
        run.story, run.folder, run.expect = {}, tmp_path / "demo" / run.name, "passed"
        run.notebook, run.label = tmp_path / "good.ipynb", f"demo/{run.name}"
        one = row(run.name, {"n": n}, float(n))["summary"]
        one |= {"settings": {"n": n}, "headline": f"Off by {error}.", "checks": []}
        found.append((run, one | {"metrics": {study_answer.ERROR: {"a<i>": error}}}))
    changed = {"changes": [], "groups": [], "first": False, "date": None}
    says = "From n = 5 to n = 80 the root mean squared error goes from 0.60 to 0.10"
    html = index.render(tmp_path, found, changed)
    assert bound(says) in html
    assert "Off by" not in html
    found[2][1]["settings"] = {"n": 70}
    html = index.render(tmp_path, found, changed)
    assert bound("From n = 5 to n = 20 the root mean squared error goes from 0.60 to 0.30") in html


def test_runs_that_broke_are_named_and_bring_the_page_up_to_date(tmp_path):
    """They were left out of every figure without a word."""
    found = []
    for n in (10, 30, 50):
        run = SimpleNamespace(study="demo", name=f"n-{n}", settings={"n": n}, swept=["n"], seed=0)
        run.story, run.folder = {}, tmp_path / "demo" / run.name
        found.append((run, row(run.name, {"n": n}, float(n))["summary"] | {"settings": {"n": n}}))
    (page,) = index.write_studies(tmp_path, found)
    assert "Not here" not in page.read_text()
    found[2] = found[2][0], found[2][1] | {"status": "error"}
    index.write_studies(tmp_path, found)
    assert "Not here, and in no figure below: n-50. It has not run to the end" in page.read_text()


def test_ways_to_pool_have_the_colours_that_they_have_everywhere():
    rows = [row(f"n-{n}", {"n": n}, float(n)) for n in (10, 30)]
    for one in rows:
        one["metrics"] = {"error": {"complete pooling": 2.0, "no pooling": 1.1}}
    lines = study_plots.over_one(rows, "error", "n").figure.axes[0].lines
    colors = {line.get_label(): line.get_color() for line in lines}
    assert colors["complete pooling"] == theme.COLORS["complete"]
    assert colors["no pooling"] == theme.COLORS["none"]


def test_a_study_of_many_fits_answers_as_a_whole():
    """Its page gave the answer of its first run to a question about all of them."""
    rows = [row(f"n-{n}", {"n": n}, float(n)) for n in (100, 5, 20)]
    for one, error in zip(rows, (0.127, 0.59, 0.3), strict=True):
        one["metrics"] = {study_answer.ERROR: {"a<i>": error}}
        one["summary"] |= {"headline": f"Off by {error}.", "names": {"a<i>": "slope"}}
        one["summary"] |= {"fit": {"status": "look"}}
    says = "From n = 5 to n = 100 the root mean squared error goes from 0.59 to 0.13 for the slope."
    assert study_answer.answer(rows) == says
    html = index.render_study("demo", rows)
    assert bound(says) in html
    assert "Off by" not in html
    assert html.count('<span class="badge look" title="fit to the data">look') == 3
    twice = [
        *rows,
        row("n-5-again", {"n": 5}, 5.0) | {"metrics": {study_answer.ERROR: {"a<i>": 0.61}}},
    ]
    assert study_answer.answer(twice) == says.replace("0.59", "0.60")
    assert study_answer.answer([rows[1], twice[-1]]) == ""
    for one in rows:
        one["swept"], one["settings"] = ["n", "noise"], one["settings"] | {"noise": 2}
    assert study_answer.answer(rows) == (
        "The root mean squared error goes from 0.13 (n = 100, noise = 2) to 0.59 (n = 5, noise = "
        "2) for the slope."
    )
    del rows[0]["metrics"][study_answer.ERROR]
    assert study_answer.answer(rows) == ""
    assert "Off by 0.127." in index.render_study("demo", rows)


def test_each_parameter_has_a_panel_and_shares_their_range_of_chance():
    """Lines in colours that mean something else; and shares of few data sets scatter."""
    rows = [row(f"n-{n}", {"n": n}, float(n), metric=0.5) for n in (5, 20)]
    for one in rows:
        one["metrics"]["coverage of 50% intervals"]["b"] = 0.6
        one["summary"]["settings"] = {"recoveries": 100}
    found = study_plots.over_one(rows, "coverage of 50% intervals", "n")
    assert [panel.get_title() for panel in found.figure.axes] == ["a<i>", "b"]
    assert {panel.lines[0].get_color() for panel in found.figure.axes} == {theme.PARTIAL}
    band = found.figure.axes[0].patches[0]
    ends = binom.ppf([0.025, 0.975], 100, 0.5) / 100
    assert [band.get_y(), band.get_y() + band.get_height()] == pytest.approx(list(ends))
    assert "50 % in 100 data sets" in found.sentence
    assert "from 50 % (a<i>, n 5) to 60 % (b, n 5)" in found.sentence
    rows[0]["summary"]["settings"] = {}
    assert "The band" not in study_plots.over_one(rows, "coverage of 50% intervals", "n").sentence


@pytest.mark.parametrize("metric", ["error of the groups' lines over partial pooling's", "bias"])
def test_no_label_of_an_axis_is_cut(metric):
    rows = [row(f"n-{n}", {"n": n}, float(n)) for n in (5, 20)]
    for one in rows:
        one["metrics"] = {metric: {"complete pooling": 2.0, "no pooling": 1.1}}
    figure = study_plots.over_one(rows, metric, "n").figure
    figure.draw_without_rendering()
    whole = figure.bbox
    for text in [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]:
        box = text.get_window_extent()
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1


@pytest.mark.parametrize("swept", [{"n": 3, "noise": 1.0}, {"method": "exact", "n": 5}])
def test_two_swept_settings_make_heat_maps(swept):
    first, second = swept
    rows = [row("one", swept, 1.0, metric=0.5), row("two", swept | {second: 9}, 2.0, metric=0.6)]
    for one in rows:
        one["summary"]["names"] = {"a<i>": "slope of <i>"}
        one["metrics"]["coverage of 50% intervals"]["b"] = 0.5
    found = study_plots.over_two(rows, "coverage of 50% intervals", first, second)
    texts = [t.get_text() for t in found.figure.axes[0].texts]
    assert texts == ["50 %", "60 %"]
    assert [axes.get_title() for axes in found.figure.axes] == ["slope of <i>", "b"]
    assert found.sentence in found.description
    assert "empty" not in found.sentence
    panel = found.figure.axes[0]
    assert panel.yaxis_inverted()
    assert not panel.images  # or the dark would give it other colours
    # a run without the parameter; and no coverage of a truth on the boundary
    del rows[0]["metrics"]["coverage of 50% intervals"]["b"]
    found = study_plots.over_two(rows, "coverage of 50% intervals", first, second)
    assert "empty" not in found.sentence
    rows[0]["summary"]["truth"] = {"b": 0.0, "c": 0.0}
    found = study_plots.over_two(rows, "coverage of 50% intervals", first, second)
    assert "A cell of b is empty where the true value is 0" in found.sentence


def test_a_page_is_written_once_and_anew_when_a_run_changes(tmp_path):
    from partialpool.batch.runs import Run

    runs = [
        Run("s", f"seed-{k}", tmp_path, tmp_path, tmp_path, {}, k, expect=None) for k in range(2)
    ]
    means = {"seed-0": 1.0, "seed-1": 2.0}

    def found(runs):
        summaries = (row(run.name, {}, means[run.name])["summary"] for run in runs)
        return [(run, s | {"settings": {}}) for run, s in zip(runs, summaries, strict=True)]

    (tmp_path / "reports" / "s").mkdir(parents=True)
    (page,) = index.write_studies(tmp_path / "reports", found(runs))
    before = page.stat().st_mtime_ns
    assert index.write_studies(tmp_path / "reports", found(runs)) == [page]
    assert page.stat().st_mtime_ns == before
    means["seed-1"] = 3.0
    index.write_studies(tmp_path / "reports", found(runs))
    assert page.stat().st_mtime_ns > before
    assert index.write_studies(tmp_path / "reports", found(runs[:1])) == []
    assert not page.exists()

"""The page of a whole study, from summaries alone."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.stats import binom

from partialpool.data.text import bound
from partialpool.plots import heat_map, study_answer, study_plots, theme
from partialpool.report import index
from partialpool.simulation import figures


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
    assert "from 41 % (10 points) to 50 % (100 points)" in html
    assert html.count('role="img"') == 2
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_title_question_and_answer_come_first():
    rows = [row(f"n-{n}", {"n": n}, float(n)) for n in (10, 30)]
    for one in rows:
        one["summary"]["headline"] = f"It is {one['settings']['n']}."
    story = {"title": "T<i>", "question": "Q<i>?", "about": "A *very* <i> long story"}
    html = index.render_study("demo", rows, "abc", story)
    pieces = ["<h1>T&lt;i&gt;", "Q&lt;i&gt;?", "10 points:", "It is 10.", "30 points:", "It is 30."]
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
    assert study_answer.answers(rows) == [
        ("10 points and 50 points", "It is <1>."),
        ("30 points", "It is 2."),
    ]
    assert "10 points and 50 points:</span> It is &lt;1&gt;." in index.render_study("demo", rows)
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
    says = "From 5 points to 80 points the root mean squared error goes from 0.60 to 0.10"
    html = index.render(tmp_path, found, changed)
    assert bound(says) in html
    assert "Off by" not in html
    found[2][1]["settings"] = {"n": 70}
    html = index.render(tmp_path, found, changed)
    says = "From 5 points to 20 points the root mean squared error goes from 0.60 to 0.30"
    assert bound(says) in html


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
    says = (
        "From 5 points to 100 points the root mean squared error goes from 0.59 to 0.13 for the "
        "slope."
    )
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
        "The root mean squared error goes from 0.13 (100 points, noise 2) to 0.59 (5 points, noise "
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
    assert "from 50 % (a<i>, 5 points) to 60 % (b, 5 points)" in found.sentence
    # 0.6 of 100 is the upper end of the band; binom.cdf(39) + sf(60) is 0.035
    assert (
        "Of 4 shares of 100 data sets 0 lie outside the band of 40 % to 60 %, where of a coverage "
        "of 50 % chance alone leaves about 0.1." in found.sentence
    )
    rows[1]["metrics"]["coverage of 50% intervals"]["b"] = 0.61
    found = study_plots.over_one(rows, "coverage of 50% intervals", "n")
    assert "100 data sets 1 lies outside" in found.sentence
    rows[0]["summary"]["settings"] = {}
    assert "the band" not in study_plots.over_one(rows, "coverage of 50% intervals", "n").sentence
    told = [says.sentence for _, says in study_plots.pictures(rows)]
    assert sum("on average over the prior" in says for says in told) == 1


@pytest.mark.parametrize("metric", [figures.RATIO, figures.BIAS])
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


def many(n, *, bias, error, truth=1.0, ratio=None):
    one = row(f"n-{n}", {"n": n}, float(n), truth=truth)
    one["summary"] |= {"settings": {"recoveries": 101, "calibrations": 500}, "averaged": 500}
    one["metrics"] = {figures.BIAS: {"a<i>": bias}, figures.ERROR: {"a<i>": error}}
    if ratio is not None:
        one["metrics"][figures.RATIO] = {"complete pooling": 2.0, "no pooling": ratio}
    return one


def test_a_bias_has_its_monte_carlo_error_and_a_line_at_zero():
    """Of 101 data sets about a bias of 0.3 with an error of 0.5 the sd is 0.4, its error 0.04."""
    rows = [many(5, bias=0.3, error=0.5), many(20, bias=0.0, error=0.4)]
    found = study_plots.over_one(rows, figures.BIAS, "n")
    assert "Of 2 Monte Carlo intervals (95 %) 1 excludes zero" in found.sentence
    lines = found.figure.axes[0].lines
    bar = next(line for line in lines if list(line.get_xdata()) == [5, 5])
    assert list(bar.get_ydata()) == pytest.approx([0.3 - 1.96 * 0.04, 0.3 + 1.96 * 0.04])
    assert any(list(line.get_ydata()) == [0, 0] for line in lines)


def test_where_partial_pooling_loses_is_named_and_runs_left_out_too():
    rows = [many(5, bias=0, error=1, ratio=0.715), many(20, bias=0, error=1, ratio=1.05)]
    rows.append(many(80, bias=0, error=1))
    found = dict(study_plots.pictures(rows))
    says = next(one.sentence for title, one in found.items() if title.startswith("Error of the"))
    assert "as for no pooling at 5 points (0.715);" in says
    assert says.endswith(" Left out is 80 points: without noise no pooling has no error.")


def test_what_a_page_does_not_draw_it_does_not_speak_of():
    """Upright marks were told of where nothing is known to be true, and averages everywhere."""
    known, unknown = [row("a", {}, 1.0, truth=1), row("b", {}, 2.0)], [row("b", {}, 2.0)] * 2
    assert "Upright marks" in study_plots.estimates(known).sentence
    says = study_plots.estimates(unknown).sentence
    assert "Upright marks" not in says
    assert "A dot is a posterior mean" in says
    assert (
        "average of the posterior means"
        in study_plots.estimates([many(5, bias=0, error=1)] * 2).sentence
    )


def test_seeds_are_joined_by_no_line_and_settings_have_their_ticks():
    rows = [row(f"seed-{k}", {}, 1.0) | {"metrics": {"error": {"a<i>": k}}} for k in (1, 2)]
    for k, one in enumerate(rows, 1):
        one["settings"] = {"seed": k}
    panel = study_plots.over_one(rows, "error", "seed").figure.axes[0]
    assert panel.lines[0].get_linestyle() == "None"
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["1", "2"]
    rows = [many(n, bias=0, error=1 / n) for n in (5, 20)]
    panel = study_plots.over_one(rows, figures.ERROR, "n").figure.axes[0]
    assert list(panel.get_xticks()) == [5, 20]
    assert panel.get_xlabel() == "points"


def test_a_study_answers_whether_intervals_keep_their_promise():
    rows = [many(5, bias=0, error=0.5, truth=2.0), many(20, bias=0, error=0.2, truth=2.0)]
    for one, share in zip(rows, (0.938, 0.97), strict=True):
        one["metrics"][figures.PROMISE] = {"a<i>": share, "b": 0.95}
    assert study_answer.answer(rows) == (
        "From 5 points to 20 points the root mean squared error goes from 0.50 to 0.20 for the "
        "a<i> (true value 2). Of data sets with truths from the prior the 95 % intervals hold the "
        "truth in 93.8 % to 97.0 %, by run and parameter; chance leads 95 of 100 such shares of "
        "500 data sets to 93.1 % to 96.9 %."
    )
    assert figures.PROMISE.capitalize() not in [title for title, _ in study_plots.pictures(rows)]


def test_colours_of_a_heat_map_are_read_off_and_its_numbers_are_legible():
    rows = []
    for k, (n, noise) in enumerate([(5, 1), (5, 2), (20, 1), (20, 2)]):
        one = many(n, bias=k - 1.5, error=2.0)
        one["swept"], one["settings"] = ["n", "noise"], {"n": n, "noise": noise, "seed": 0}
        one["metrics"][figures.BIAS]["b"] = 0.01
        rows.append(one)
    figure = study_plots.over_two(rows, figures.BIAS, "n", "noise").figure
    limits = {tuple(panel.collections[0].get_clim()) for panel in figure.axes[:2]}
    assert limits == {(-1.5, 1.5)}  # one scale, pale at zero
    assert [one.get_text() for one in figure.legends[0].get_texts()] == ["−1.5", "0", "1.5"]
    for name in (study_plots.SIGNED, study_plots.UNSIGNED):
        for color in mpl.colormaps[name](np.linspace(0, 1, 50)):
            assert contrast(heat_map.ink_on(color), color) >= 4.5


def contrast(one, other):
    """By WCAG 2.2."""
    light = []
    for color in (one, other):
        rgb = np.array(to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(light) / min(light)


def test_effective_draws_a_second_count_the_code_that_is_loaded(tmp_path):
    """The study page left loading out, the page of samplers did not: 154730 and 13,000 a second."""
    run = SimpleNamespace(name="r", settings={}, swept=[], seed=0, folder=tmp_path)
    summary = row("r", {}, 1.0)["summary"] | {"settings": {}}
    summary["parameters"]["a<i>"]["ess_bulk"] = 3000.0
    summary["seconds"] = {"fit": 0.02, "loading": 0.23, "total": 3.0}
    assert index._side(run, summary)["metrics"][study_answer.RATE] == {"this run": 3000 / 0.25}
    rows = [index._side(run, summary) | {"settings": {"seed": k}} for k in (1, 2)]
    assert "12,000 (seed 1)" in study_plots.over_one(rows, study_answer.RATE, "seed").sentence

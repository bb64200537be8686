"""Sliders over one's own fit: what they move, and what is said of it."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba_array

import partialpool as pp
from partialpool.data.text import rounded
from partialpool.plots import fit_explorer, theme
from partialpool.plots.groups import chosen_groups

LABELS = {"basement": "floor", "basement[1]": "first floor", "county.name": "county"}


@pytest.fixture(scope="module")
def fit():
    model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    return model.fit(seed=1)


@pytest.fixture
def widget(fit):
    return fit.explore()


def test_it_begins_with_the_fit_itself(fit, widget):
    said = widget.finding.sentence
    assert said.startswith("As it was fitted, the **1|Subject_sigma** is ")
    summary = fit.summary()
    for name in fit.model.design.sd_names:
        draws = fit.population[name]
        figures = [np.median(draws), summary.at[name, "q05"], summary.at[name, "q95"]]
        middle, low, high = (rounded(float(value), float(draws.std())) for value in figures)
        assert f"**{name}** is {middle} ({low} to {high})" in said
    groups = chosen_groups(fit.model.design.only, 12)
    np.testing.assert_array_equal(widget.what_if.shown, np.sort(groups))
    assert widget.controls["at"].label == "5"


def test_what_changed_is_said(widget):
    widget.controls["scale"].value = 1 / 8
    said = widget.finding.sentence
    assert said.startswith("With priors of the sds an eighth as wide, the **1|Subject_sigma** goes")
    answer, before = widget.what_if.refit(1 / 8, None), widget.what_if.before
    for name in answer.sds:
        sd = answer.sds[name].std()
        was, now = (rounded(float(np.median(one.sds[name])), sd) for one in (before, answer))
        assert f"**{name}** goes from {was} to {now}" in said
    # the page says it in words
    assert "<b>sd of the slope of Days between subjects</b> goes from" in widget.text.value
    widget.controls["scale"].value = 8.0
    assert "**Days|Subject_sigma** stays at" in widget.finding.sentence


def test_no_line_has_the_colour_of_another_meaning(widget):
    """Groups were violet, which is the exact posterior elsewhere, and one left out orange."""
    widget.controls["left_out"].label = "335"
    for axes in widget.picture.figure.axes:
        for artist in (*axes.lines, *axes.collections, *axes.patches):
            patch = hasattr(artist, "get_edgecolor")
            colors = artist.get_edgecolor() if patch else artist.get_color()
            used = {to_hex(color) for color in to_rgba_array(colors)}
            others = {theme.COLORS[name] for name in ("exact", "none", "complete", "truth")}
            assert not used & others


def test_a_group_left_out_is_told_from_its_rows(widget):
    widget.controls["left_out"].label = "335"
    widget.controls["at"].value = 9
    said = widget.finding.sentence
    assert said.startswith("Without **335** (10 rows), ")
    low, high, there, own = re.search(
        r"\*\*335\*\*, unseen, is expected between (\S+) and (\S+), which (.*) (\S+), where", said
    ).groups()
    assert there == ("holds" if float(low) <= float(own) <= float(high) else "does not hold")
    j = widget.controls["left_out"].value
    assert float(own) == pytest.approx(
        widget.what_if.group(widget.what_if.before, j, 9).mean(), abs=0.5
    )
    moved = re.search(r"of the groups shown \*\*(\d+)\*\* moves most", said)
    assert moved is None or moved[1] != "335"


def test_a_moved_picture_reacts_and_forgets(widget):
    first = widget.png
    seen = {first}
    for name, value in (("scale", 0.25), ("left_out", 3), ("at", 9)):
        control = widget.controls[name]
        was, control.value = control.value, value
        assert widget.png not in seen
        seen.add(widget.png)
        control.value = was
        assert widget.png == first


def test_the_picture_without_sliders_is_the_same(fit, widget):
    widget.controls["scale"].value = 0.5
    widget.controls["left_out"].label = "308"
    widget.controls["at"].value = 2
    finding = fit_explorer.draw(fit, 0.5, 308, 2.2)
    assert finding.sentence == widget.finding.sentence
    assert finding.description.startswith("Three panels.")
    assert "*" not in finding.description
    assert "sd of the intercept between subjects" in finding.description
    assert finding.figure.axes
    with pytest.raises(ValueError, match="The level 1 of Subject was not in the data"):
        fit_explorer.draw(fit, left_out=1)
    with pytest.raises(ValueError, match=r"choose from 0.125, .*, not 3"):
        fit_explorer.draw(fit, 3)


def test_a_predictor_of_two_values_has_two_stops_in_words():
    model = pp.Model(
        "log.radon ~ basement + uranium + (basement | county.name)", pp.load("radon"), labels=LABELS
    )
    widget = model.fit(seed=1).explore()
    assert [label for label, _ in widget.controls["at"].options] == ["0", "first floor"]
    assert "At first floor the population's log.radon is" in widget.finding.sentence
    assert widget.controls["left_out"].description == "county left out"
    assert len(widget.controls["left_out"].options) == 86


def test_without_a_predictor_groups_stand_side_by_side():
    widget = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff")).fit(seed=1).explore()
    assert list(widget.controls) == ["left_out", "scale"]
    widget.controls["left_out"].label = "E"
    assert "The population's Yield is" in widget.finding.sentence


def test_a_fixed_spread_has_no_slider_of_its_prior():
    model = pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"), {"sd": "Fixed(30)"})
    widget = model.fit(seed=1).explore()
    assert list(widget.controls) == ["left_out", "at"]
    widget.controls["left_out"].value = 2
    assert "the spread of the groups is fixed" in widget.finding.sentence


def test_more_than_two_spreads_and_groups_beyond_those_shown():
    model = pp.Model("normexam ~ standLRT + sex + (standLRT + sex | school)", pp.load("Exam"))
    widget = model.fit(seed=1).explore()
    assert len(widget.picture.spreads) == 3
    hidden = next(j for j in range(65) if j not in widget.what_if.shown)
    before = widget.png
    widget.controls["left_out"].value = hidden
    assert widget.picture.places.label.get_text() == str(model.design.only.levels[hidden])
    assert widget.png != before


def test_every_picture_of_the_page_is_a_method_of_the_fit(fit):
    names = [name for name in dir(fit) if name.startswith("plot_")]
    assert {"plot_lines", "plot_shrinkage", "plot_forest", "plot_densities"} <= {*names}
    found = [getattr(fit, name)() for name in names]
    assert all(isinstance(finding, pp.Finding) and finding.figure for finding in found)
    assert len({finding.name for finding in found}) == len(names)
    assert pp.plots.shrinkage(fit).sentence == fit.plot_shrinkage().sentence
    assert pp.Fit.plot_shrinkage is pp.plots.shrinkage

"""What is wider than its place says so, in a real browser."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from test_panels import shown

from partialpool.plots import theme
from partialpool.report import markup, page


def edges(box):
    """How far the first and the last pixels of a box are from its ground, in every row."""
    seen = np.array(Image.open(io.BytesIO(box.screenshot())).convert("L")).astype(int)
    ground = np.median(seen)
    return [np.median(np.abs(column - ground)) for column in (seen[:, 0], seen[:, -1])]


def scrolling(browser, tmp_path, wider, **options):
    """A tab with a box 300 px wide, and in it something wider."""
    style, script = page.asset("style.css")["text"], page.asset("scroll.js")["text"]
    (tmp_path / "page.html").write_text(
        f"<!DOCTYPE html><html><style>{style}</style><div style='width:300px'>"
        f"<div class='scroll' tabindex='0'><div style='width:{300 + wider}px;height:90px'>112</div>"
        f"</div></div><script>{script}</script></html>",
        encoding="utf-8",
    )
    tab = browser.new_page(viewport={"width": 390, "height": 300}, **options)
    tab.goto((tmp_path / "page.html").as_uri())
    tab.evaluate("() => new Promise((go) => requestAnimationFrame(() => setTimeout(go, 50)))")
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("wider", [0, 3, 10, 400])
def test_any_overflow_shows_at_the_edge_that_hides_it(browser, tmp_path, wider, scheme):
    """A table 8 px too wide showed 112 as 11, without a sign."""
    tab = scrolling(browser, tmp_path, wider, color_scheme=scheme)
    box = tab.locator(".scroll")
    left, right = edges(box)
    assert left < 3
    assert right > 60 if wider else right < 3
    box.evaluate("e => { e.scrollLeft = 1000; }")
    tab.wait_for_timeout(50)
    left, right = edges(box)
    assert left > 60 if wider else left < 3
    assert right < 3
    tab.close()


def test_a_legend_above_all_panels_takes_the_lines_that_it_needs(browser, tmp_path):
    """Half of the legend of coefficients by group stood beyond the edge of the screen."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3))
    names = [f"what the {n} line of this figure stands for" for n in ("first", "second", "third")]
    for panel in panels:
        panel.plot([0, 1], [0, 1])
    theme.legend(figure, [plt.Line2D([], [], label=name) for name in names])
    tab = shown(browser, tmp_path, figure, 390)
    assert tab.locator(".windows > div").evaluate_all(
        "all => all.every(e => e.scrollWidth <= e.clientWidth + 1)"
    )
    said = tab.locator(".windows > div").first.locator("text").all()
    assert [text.text_content().strip() for text in said] == names
    boxes = [text.bounding_box() for text in said]
    assert all(b["x"] >= 0 and b["x"] + b["width"] <= 390 for b in boxes)
    assert boxes[0]["y"] < boxes[-1]["y"]
    tab.close()


def test_no_room_is_left_below_stacked_panels(browser, tmp_path):
    figure, _ = plt.subplots(1, 3, figsize=(9, 3))
    tab = shown(browser, tmp_path, figure, 390)
    whole = tab.locator(".windows").bounding_box()
    last = tab.locator(".windows svg").last.bounding_box()
    assert whole["y"] + whole["height"] - last["y"] - last["height"] < 20
    tab.close()


def test_what_has_no_ticks_needs_no_neighbour(browser, tmp_path):
    """Densities have no axis on the left, and the traces beside them have."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    theme.without_heights(left, "eps")
    right.plot([0, 1], [0, 1])
    tab = shown(browser, tmp_path, figure, 390)
    assert tab.locator("figure.stacked").count() == 1
    tab.close()


def test_lines_of_a_formula_stand_below_each_other_at_their_signs(browser, tmp_path):
    """Browsers centre all columns unless a style sheet says otherwise."""
    formula = r"\begin{align} y &= 1 & b &= 2 \\ aaa &= 33 & cc &= 4 \end{align}"
    text = markup.mathml(formula, block=True)
    style = page.asset("style.css")["text"]
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><style>{style}</style>{text}")
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    signs = [sign.bounding_box()["x"] for sign in tab.locator("mo").all()]
    assert len(signs) == 4
    assert signs[0] == pytest.approx(signs[2], abs=1)
    assert signs[1] == pytest.approx(signs[3], abs=1)
    boxes = [name.bounding_box() for name in tab.locator("mi").all()]
    ends = [box["x"] + box["width"] for box in boxes if box["width"]]  # of y, b, aaa and cc
    assert ends[:2] == pytest.approx([ends[4], ends[6]], abs=1)
    tab.close()


def test_a_label_that_reaches_into_the_next_row_keeps_no_panel_off_the_screen(browser, tmp_path):
    """The name of one axis was a little longer than its panel is high."""
    options = {"layout": "none", "gridspec_kw": {"hspace": 0}}
    figure, grid = plt.subplots(2, 2, figsize=(9, 4), sharex=True, sharey="row", **options)
    for panel in grid.flat:
        panel.set(ylim=(0, 1))
    tab = shown(browser, tmp_path, figure, 390)
    views = tab.locator(".windows svg use:first-child").all()
    assert [view.get_attribute("href") for view in views] == [f"#f-axes_{n}" for n in (1, 2, 3, 4)]
    tab.close()

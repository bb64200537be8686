"""Figures on a telephone, in a real browser: panels below each other, one as narrow as it is."""

import io
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from partialpool.plots import palette, theme
from partialpool.posterior.finding import Finding
from partialpool.report import drawings, page


def shown(browser, tmp_path, figure, width, **options):
    """A tab with the figure as a page has it."""
    svg = palette.marked(Finding("two", "", figure=figure).svg)
    plt.close(figure)
    text = drawings.inline_svg(svg, "Two panels.", "f-")
    style = page.asset("style.css")["text"]
    script = page.asset("page.js", "drawing.js", "panels.js", "narrow.js")["text"]
    place = tmp_path / "page.html"
    place.write_text(
        f"<!DOCTYPE html><html><meta charset='utf-8'><style>{style}</style>"
        f"<svg width=0 height=0>{palette.bitmap_filter()}</svg>"
        f"<figure>{text}</figure><script>{script}</script></html>",
        encoding="utf-8",
    )
    tab = browser.new_page(viewport={"width": width, "height": 800}, **options)
    tab.goto(place.as_uri())
    return tab


def of_two(**options):
    """Two panels with a legend above both, and data that reach beyond the frame of the first."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), **options)
    left.plot([0, 1, 50], [0, 1, 90], label="a line")
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="left")
    right.plot([0, 1], [5, 6])
    right.set_xlabel("right")
    theme.legend(figure)
    return figure


def places(tab):
    """Boxes of what is seen: the legend, then the panels."""
    return [one.bounding_box() for one in tab.locator(".windows svg").all()]


def test_panels_come_one_below_the_other_on_a_telephone(browser, tmp_path):
    tab = shown(browser, tmp_path, of_two(), 390)
    assert tab.locator("figure.stacked").count() == 1
    legend, left, right = places(tab)
    assert legend["y"] + legend["height"] <= left["y"]
    assert left["y"] + left["height"] <= right["y"]
    for panel in (left, right):
        assert panel["width"] > 0.75 * 390
        assert panel["x"] + panel["width"] <= 390
        assert 0.5 < panel["height"] / panel["width"] < 1  # the data beyond take no room
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    # who does not see it has the description once
    assert tab.locator("[role=img]").count() == 1
    assert tab.locator(".windows").get_attribute("aria-hidden") == "true"
    tab.close()


def test_bitmaps_of_panels_have_the_colours_of_the_dark(browser, tmp_path):
    """What is drawn again lies in a tree of its own, where not every rule of a style reaches."""
    figure, panels = plt.subplots(1, 2, figsize=(8, 3))
    for panel in panels:
        panel.set(xlim=(0, 1), ylim=(0, 1))
        panel.add_patch(plt.Rectangle((0, 0), 1, 1, color=theme.PARTIAL, rasterized=True))
    tab = shown(browser, tmp_path, figure, 390, color_scheme="dark")
    for one in tab.locator(".windows svg").all():
        seen = np.array(Image.open(io.BytesIO(one.screenshot())).convert("RGB"))
        middle = seen[seen.shape[0] // 2, seen.shape[1] // 2]
        np.testing.assert_allclose(middle, 255 * np.array(to_rgb(palette.DARK["partial"])), atol=2)
    tab.close()


def test_a_wide_screen_has_the_figure_and_turning_the_telephone_too(browser, tmp_path):
    tab = shown(browser, tmp_path, of_two(), 1200)
    assert tab.locator(".windows").count() == 0
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_selector(".windows", state="visible")
    tab.set_viewport_size({"width": 1200, "height": 800})
    tab.wait_for_selector(".windows", state="hidden")
    assert tab.locator("figure > svg").bounding_box()["width"] > 500
    tab.close()


def test_a_last_row_of_fewer_panels_draws_them_no_larger(browser, tmp_path):
    """The last two of fourteen departments were half as large again as the others."""
    figure, panels = plt.subplots(2, 4, figsize=(8, 3), sharey=True)
    for one in panels[1, 1:]:
        one.remove()
    figure.supxlabel("below all")
    tab = shown(browser, tmp_path, figure, 390)
    boxes = [one.bounding_box() for one in tab.locator(".windows svg").all()]
    below, panels = max(boxes, key=lambda b: b["y"]), sorted(boxes, key=lambda b: b["y"])[:-1]
    assert len(panels) == 5
    assert panels[0]["y"] == panels[1]["y"] < panels[-1]["y"]
    assert max(b["width"] for b in panels) < 1.1 * min(b["width"] for b in panels)
    last = panels[-1]
    assert 0 < below["y"] - last["y"] - last["height"] < 30
    tab.close()


def test_panels_that_share_their_rows_each_have_their_names(browser, tmp_path):
    """Half of the residuals, and of all groups, stood beyond the edge of the screen."""
    figure, grid = plt.subplots(2, 3, figsize=(8, 4), sharex=True, sharey=True)
    for panel in grid.flat:
        panel.plot([0, 1], [0, 90])
        panel.set_title("a title")
    grid.flat[5].clear()
    grid.flat[5].set_axis_off()  # an empty place in the grid is no panel
    figure.supylabel("what they share")
    theme.legend(figure, [plt.Line2D([], [], label="a line")])
    tab = shown(browser, tmp_path, figure, 390)
    legend, *panels = places(tab)
    assert len(panels) == 5
    assert all(panel["x"] + panel["width"] <= 390 for panel in panels)
    said = tab.locator(".windows .said").bounding_box()
    assert tab.locator(".windows .said").inner_text() == "↑ what they share"
    assert legend["y"] + legend["height"] <= said["y"]
    assert all(said["y"] + said["height"] <= panel["y"] + 1 for panel in panels)
    # an axis of each row is lent to where the own one of a panel is, and one of each column; over
    # the empty place that of another column with the same numbers
    lent = [use.get_attribute("href") for use in tab.locator(".windows use[transform]").all()]
    lent = sorted(name.rpartition("_")[2] for name in lent)
    assert lent == ["2", "2", "7", "8", "9", "9"]
    gaps = tab.evaluate(r"""() => [...document.querySelectorAll(".windows svg")].flatMap(view => {
        const [panel, ...axes] = view.querySelectorAll("use");
        const of = (use) => document.getElementById(use.getAttribute("href").slice(1));
        return axes.map((axis) => {
            const ground = of(panel).querySelector("[id*='patch_']").getBBox();
            const mark = of(axis).querySelector("use");
            const [right, down] = axis.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
            return down ? Number(mark.getAttribute("y")) + down - ground.y - ground.height
                : Number(mark.getAttribute("x")) + right - ground.x;
        });
    })""")
    assert gaps == pytest.approx([0] * 6, abs=0.01)
    # all panels have numbers below and beside them
    uses = [panel.locator("use").count() for panel in tab.locator(".windows svg").all()]
    assert uses == [1, 2, 3, 3, 1, 2]
    tab.close()


def test_panels_with_other_rows_than_their_neighbour_borrow_none(browser, tmp_path):
    figure = of_two()
    figure.axes[1].tick_params(labelleft=False)
    tab = shown(browser, tmp_path, figure, 390)
    assert tab.locator(".windows").count() == 0
    tab.close()


def test_panels_that_need_their_neighbour_stay_beside_it(browser, tmp_path):
    figure, axes = plt.subplots(figsize=(8, 3))
    figure.colorbar(axes.imshow([[0, 1]]))
    tab = shown(browser, tmp_path, figure, 390)
    assert tab.locator(".windows").count() == 0
    assert tab.locator("figure > svg").bounding_box()["width"] > 390  # scrolls in its frame
    tab.close()


def of_one():
    """One panel with every kind of mark, one of them beyond its frame, and a wide legend."""
    figure, axes = plt.subplots(figsize=(8, 3))
    x = np.linspace(0, 20, 21)
    axes.plot(x, x, label="a line with a name of some length")
    axes.fill_between(x[3:6], 5, 9, gid="band", label="a band with a name of some length")
    axes.scatter([2, 10, 18, 30], [1, 1, 1, 1], gid="dots", label="dots, one of them far out")
    axes.axvspan(12, 14, gid="span")
    axes.scatter(x, x + 1, s=4, rasterized=True)
    axes.plot([15, 16], [2, 4], gid="piece")
    axes.set(xlim=(0, 20), xlabel="what goes from zero to twenty", ylabel="up")
    axes.set(
        xticks=range(21),
        yticks=[],
        title="What one panel shows of all this, in a title of two lines",
    )
    theme.legend(figure)
    return figure


#: What words there are, how large, and where.
WORDS = """() => {
    const svg = document.querySelector('figure > svg');
    return [...svg.querySelectorAll('text')].map(one => {
        const size = parseFloat(getComputedStyle(one).fontSize) * svg.getScreenCTM().d;
        const {left, right, top, bottom} = one.getBoundingClientRect();
        return {text: one.textContent.trim().replace(/\\s+/g, ' '), size, left, right, top, bottom};
    });
}"""
#: Where marks lie in the panel, from 0 at its left end to 1; and how high.
PLACES = """() => {
    const svg = document.querySelector('figure > svg'), find = name => svg.querySelector(name);
    const ground = find('#f-patch_2').getBBox(), share = x => (x - ground.x) / ground.width;
    const of = name => [...svg.querySelectorAll(name)].map(one => one.getBBox())
        .flatMap(b => [share(b.x + b.width / 2), b.width / ground.width, b.y, b.height]);
    const rect = find('clipPath rect');
    return {
        place: ['#f-band use', '#f-span path', '#f-piece path', 'image'].flatMap(of),
        dots: [...svg.querySelectorAll('#f-dots use')].map(one => share(one.x.baseVal.value)),
        clip: [share(rect.x.baseVal.value), rect.width.baseVal.value / ground.width],
        width: ground.width,
    };
}"""


def test_one_panel_is_drawn_as_narrow_as_a_telephone(browser, tmp_path):
    tab = shown(browser, tmp_path, of_one(), 1200)
    drawing = tab.locator("figure > svg")
    whole, before = tab.evaluate(PLACES), tab.evaluate(WORDS)
    as_made = drawing.evaluate("s => s.outerHTML")
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_function("document.querySelector('figure > svg').viewBox.baseVal.width < 390")
    found = tab.evaluate(PLACES)
    assert found["width"] < 0.7 * whole["width"]
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.locator("figure").evaluate("f => f.scrollWidth <= f.clientWidth")
    # what it shows stands where it stood
    assert found["place"] == pytest.approx(whole["place"], abs=2e-3)
    assert found["dots"] == pytest.approx(whole["dots"], abs=1e-3)
    assert found["dots"] == pytest.approx([0.1, 0.5, 0.9, 1.5], abs=1e-3)
    assert found["clip"] == pytest.approx([0, 1], abs=1e-3)
    # all words are there but for some ticks, large enough, inside, and none over another
    words = tab.evaluate(WORDS)
    ticks = [one["text"] for one in words if one["text"].isdigit()]
    assert ticks in [[str(n) for n in range(0, 21, every)] for every in (1, 2, 3)]
    said, wanted = (
        {one["text"].replace(" ", "") for one in each if not one["text"].isdigit()}
        for each in (words, before)
    )
    assert said == wanted
    for k, one in enumerate(words):
        assert one["size"] >= 9
        assert one["left"] >= 0
        assert one["right"] <= 390
        for other in words[:k]:
            across = min(one["right"], other["right"]) - max(one["left"], other["left"])
            down = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
            assert across <= 1 or down <= 1, (one, other)
    tab.set_viewport_size({"width": 1200, "height": 800})
    tab.wait_for_function("document.querySelector('figure > svg').viewBox.baseVal.width > 390")
    assert drawing.evaluate("s => s.outerHTML") == as_made
    tab.close()


def test_powers_and_a_legend_wider_than_the_screen_have_their_places(browser, tmp_path):
    """A power is text without a place of its own."""
    figure, axes = plt.subplots(figsize=(8, 3))
    axes.semilogx([1e-3, 1e9], [0, 1], label="a line with a name that is much too long for " * 2)
    axes.set(xlabel="a label", yticks=[])
    theme.legend(figure)
    tab = shown(browser, tmp_path, figure, 390)
    assert tab.locator("figure").evaluate("f => f.scrollWidth <= f.clientWidth")
    words = tab.evaluate(WORDS)
    assert all(0 <= one["left"] < one["right"] <= 390 for one in words)
    ticks = [one for one in words if one["text"].startswith("1 0")]
    assert len(ticks) >= 3
    assert all(a["right"] < b["left"] for a, b in pairwise(ticks))
    assert ticks[0]["left"] < 40
    assert ticks[-1]["right"] > 330
    long = next(one for one in words if "much too long" in one["text"])
    assert long["bottom"] - long["top"] > 20  # in two lines
    tab.close()


@pytest.mark.parametrize("case", ["a map", "names without room", "rows with long names"])
def test_one_panel_that_cannot_be_narrower_scrolls(browser, tmp_path, case):
    figure, axes = plt.subplots(figsize=(8, 3))
    if case == "a map":
        axes.set_axis_off()
        axes.fill([0, 1, 1], [0, 1, 0])
    elif case == "names without room":
        axes.bar([f"group {k}" for k in range(9)], range(9))
    else:
        axes.barh(["Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 2], [1])
    tab = shown(browser, tmp_path, figure, 390)
    made = tab.locator("figure > svg").evaluate("s => s.innerHTML")
    assert tab.locator("figure > svg").bounding_box()["width"] > 390
    tab.set_viewport_size({"width": 1200, "height": 800})
    assert tab.locator("figure > svg").evaluate("s => s.innerHTML") == made
    tab.close()

"""Figures on a telephone: panels come one below the other, in a real browser."""

import matplotlib.pyplot as plt
import pytest

from partialpool.plots import theme
from partialpool.posterior.finding import Finding
from partialpool.report import drawings, page


def shown(browser, tmp_path, figure, width):
    """A tab with the figure as a page has it."""
    svg = Finding("two", "", figure=figure).svg
    plt.close(figure)
    text = drawings.inline_svg(svg, "Two panels.", "f-")
    style, script = page.asset("style.css")["text"], page.asset("page.js", "panels.js")["text"]
    place = tmp_path / "page.html"
    place.write_text(
        f"<!DOCTYPE html><html><meta charset='utf-8'><style>{style}</style>"
        f"<figure>{text}</figure><script>{script}</script></html>",
        encoding="utf-8",
    )
    tab = browser.new_page(viewport={"width": width, "height": 800})
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


def test_a_wide_screen_has_the_figure_and_turning_the_telephone_too(browser, tmp_path):
    tab = shown(browser, tmp_path, of_two(), 1200)
    assert tab.locator(".windows").count() == 0
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_selector(".windows", state="visible")
    tab.set_viewport_size({"width": 1200, "height": 800})
    tab.wait_for_selector(".windows", state="hidden")
    assert tab.locator("figure > svg").bounding_box()["width"] > 500
    tab.close()


@pytest.mark.parametrize("case", ["rows named on the left", "a scale of colours", "one panel"])
def test_panels_that_need_their_neighbour_stay_beside_it(browser, tmp_path, case):
    if case == "one panel":
        figure, axes = plt.subplots(figsize=(8, 3))
        axes.plot([0, 1])
    elif case == "a scale of colours":
        figure, axes = plt.subplots(figsize=(8, 3))
        figure.colorbar(axes.imshow([[0, 1]]))
    else:
        figure = of_two(sharey=True)
    tab = shown(browser, tmp_path, figure, 390)
    assert tab.locator(".windows").count() == 0
    assert tab.locator("figure > svg").bounding_box()["width"] > 390  # scrolls in its frame
    tab.close()

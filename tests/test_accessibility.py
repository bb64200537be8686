"""Every kind of page in Chromium: for readers without a mouse, without sight, or on paper."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from partialpool import index
from test_report import executed, figure, listed, summary  # noqa: F401


@pytest.fixture
def pages(listed):  # noqa: F811
    root, runs = listed
    return {"index": index.write(root, runs), "report": runs[0].folder / "report.html"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["index", "report"])
def test_axe_finds_nothing_serious(browser, pages, kind, scheme):
    # axe-core is put into the page by script, which the page's own policy would refuse.
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    tab.goto(pages[kind].as_uri())
    if tab.locator("#code-switch").count():
        tab.click("#code-switch")  # colours of code count as well
    response = Axe().run(tab).response
    assert len(response["passes"]) > 15
    serious = [v for v in response["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == []
    context.close()


@pytest.mark.parametrize("kind", ["index", "report"])
def test_the_keyboard_reaches_everything(browser, pages, kind):
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.goto(pages[kind].as_uri())
    wanted = tab.evaluate("""() => {
        const all = document.querySelectorAll(
            "a[href], button, summary, input, select, [tabindex]");
        const shown = [...all].filter((e) => e.checkVisibility() && e.tabIndex >= 0);
        return shown.map((e, i) => { e.dataset.stop = i; return String(i); });
    }""")
    reached = []
    for _ in wanted:
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.dataset.stop"))
    assert len(wanted) > 10
    assert reached == wanted
    wide = """() => [...document.querySelectorAll("main *")].filter((e) =>
        e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(e).overflowX)
        && e.tabIndex < 0).map((e) => e.outerHTML.slice(0, 80))"""
    assert tab.evaluate(wide) == []
    tab.close()


def test_labels_of_figures_stay_readable_on_a_telephone(browser, pages):
    tab = browser.new_page(viewport={"width": 360, "height": 800})
    tab.goto(pages["report"].as_uri())
    shrunk = tab.evaluate("""() => [...document.querySelectorAll("figure svg")]
        .map((e) => e.getBoundingClientRect().width / parseFloat(e.style.maxWidth))""")
    assert shrunk
    assert min(shrunk) * 12 > 9.5  # pixels of the 9 points of a label
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.close()


def test_on_paper(browser, pages):
    tab = browser.new_page(color_scheme="dark")
    tab.goto(pages["report"].as_uri())
    tab.emulate_media(media="print")
    look = "e => getComputedStyle(e)"
    assert tab.evaluate(f"({look})(document.documentElement).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    for hidden in (".bar", ".contents", "details.code"):
        assert not tab.locator(hidden).first.is_visible()
    ratio = "e => e.getBoundingClientRect().width <= e.closest('figure').clientWidth + 1"
    tab.set_viewport_size({"width": 500, "height": 800})
    assert all(svg.evaluate(ratio) for svg in tab.locator("figure svg").all())
    assert tab.pdf()[:5] == b"%PDF-"
    tab.close()

"""Every kind of page in Chromium: for readers without a mouse, without sight, or on paper."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from test_report import executed, figure, listed  # noqa: F401
from test_study_page import row

from partialpool.batch import listing
from partialpool.plots import palette
from partialpool.report import index


@pytest.fixture
def pages(listed):  # noqa: F811
    root, runs = listed
    rows = [row(f"n-{n}", {"n": n}, n / 10, metric=0.4 + n / 1000, truth=1) for n in (10, 30, 100)]
    study = root / "reports" / "study.html"
    study.write_text(index.render_study("demo", rows), encoding="utf-8")
    found = listing.write_index(root, runs)
    return {"index": found, "report": runs[0].folder / "report.html", "study": study}


def serious(tab):
    """What axe-core finds serious on the page that a tab shows."""
    response = Axe().run(tab).response
    assert len(response["passes"]) > 15
    found = [v for v in response["violations"] if v["impact"] in ("serious", "critical")]
    return [(v["id"], v["nodes"][0]["html"]) for v in found]


def opened(browser, page, width=1280, **options):
    """A tab that shows a page; what scrolls is known when the page has been laid out."""
    tab = browser.new_page(viewport={"width": width, "height": 800}, **options)
    tab.goto(page.as_uri())
    tab.evaluate("() => new Promise((go) => requestAnimationFrame(() => setTimeout(go, 50)))")
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["index", "report", "study"])
def test_axe_finds_nothing_serious(browser, pages, kind, scheme):
    # axe-core is put into the page by script, which the page's own policy would refuse.
    tab = opened(browser, pages[kind], color_scheme=scheme, bypass_csp=True)
    if tab.locator("#code-switch").count():
        tab.click("#code-switch")  # colours of code count as well
    assert serious(tab) == []
    tab.close()


@pytest.mark.parametrize("kind", ["index", "report", "study"])
def test_the_keyboard_reaches_everything(browser, pages, kind):
    tab = opened(browser, pages[kind])
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
    assert len(wanted) > (3 if kind == "study" else 8)
    assert reached == wanted
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


def test_checks_are_not_cut_on_a_telephone(browser, pages):
    """Their meaning, the widest column, was told in strips of a word or two, and those cut."""
    tab = opened(browser, pages["report"], 390)
    inside = "e => e.scrollWidth <= e.parentElement.clientWidth"
    tables = tab.locator("table.checks").all()
    assert tables
    assert all(table.evaluate(inside) for table in tables)
    cell = tab.locator("table.checks td.wide").first
    assert cell.bounding_box()["width"] > 300
    assert cell.get_attribute("role") == "cell"
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
    color = f"({look})(document.documentElement).getPropertyValue('--fig-exact')"
    assert tab.evaluate(color) == palette.COLORS["exact"]  # not the one for dark pages
    gaps = """() => [...document.querySelectorAll(".scroll")].map((e) =>
        e.offsetHeight - e.firstElementChild.offsetHeight)"""
    assert set(tab.evaluate(gaps)) == {0}
    ratio = "e => e.getBoundingClientRect().width <= e.closest('figure').clientWidth + 1"
    tab.set_viewport_size({"width": 500, "height": 800})
    assert all(svg.evaluate(ratio) for svg in tab.locator("figure svg").all())
    assert tab.pdf()[:5] == b"%PDF-"
    tab.close()


def test_every_figure_of_a_study_says_what_it_shows(browser, pages):
    """A description with a figure in it, and no two alike; for notebooks see `test_notebooks`."""
    tab = browser.new_page()
    tab.goto(pages["study"].as_uri())
    found = tab.evaluate("""() => [...document.querySelectorAll("figure svg, figure img")].map(
        (e) => e.getAttribute("aria-label") ?? e.getAttribute("alt"))""")
    assert found
    assert all(text and re.search(r"\d", text) for text in found)
    assert len(set(found)) == len(found)
    tab.close()


@pytest.mark.parametrize(("width", "scrolls"), [(360, True), (1600, False)])
def test_the_keyboard_stops_at_what_scrolls_and_at_nothing_else(browser, pages, width, scrolls):
    some = False
    for page in pages.values():
        tab = opened(browser, page, width)
        found = tab.evaluate("""() => [...document.querySelectorAll("main *")].filter((e) =>
            /auto|scroll/.test(getComputedStyle(e).overflowX) && e.checkVisibility())
            .map((e) => [e.localName, e.scrollWidth > e.clientWidth + 1, e.tabIndex === 0])""")
        assert [box for box in found if box[1] is not box[2]] == []
        figures = [wide for name, wide, _ in found if name == "figure"]
        assert scrolls or not any(figures)
        some = some or any(wide for _, wide, _ in found)
        tab.close()
    assert some or not scrolls


def test_conditions_filter_the_index(browser, pages):
    tab = browser.new_page()
    tab.goto(pages["index"].as_uri())
    shown = "() => document.querySelectorAll('tbody tr:not(.more, [hidden])').length"
    every = tab.evaluate(shown)
    for words, count in {
        "time>=0": every,
        "time<0": 0,
        "TIME>=0 run=no-such": 0,
        "nowhere>0": 0,
        "": every,
    }.items():
        tab.fill("#words", words)
        assert tab.evaluate(shown) == count, words
    name = tab.locator("tbody td.open a").first.inner_text()
    tab.fill("#words", f"run={name}")
    assert 0 < tab.evaluate(shown) < every
    tab.close()

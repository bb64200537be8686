"""Every page in ``reports/``: ``.ci/run`` comes here after `make report`."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from test_accessibility import opened, serious

from partialpool.batch.runs import read_summary
from partialpool.report import page

REPORTS = Path(__file__).parents[2] / "reports"
PAGES = {
    path.relative_to(REPORTS).as_posix(): path
    for pattern in ("index.html", "*/index.html", "*/*/report.html")
    for path in sorted(REPORTS.glob(pattern))
    if page.is_current(path)
}
#: Runs of a study look alike: one of them is enough for what takes a browser.
LOOKED_AT = list({(p.count("/"), p.split("/")[0]): p for p in PAGES}.values())

pytestmark = pytest.mark.skipif(
    not PAGES, reason="reports/ has no page made by this version; make report writes them."
)


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_says_what_it_shows(name):
    """A number or a name from the results; what has no words must stand beside them."""
    soup = BeautifulSoup(PAGES[name].read_text(encoding="utf-8"), "html.parser")
    drawn = [tag for tag in soup.select("svg, img") if not tag.find_parent("svg")]
    pictures = [p for p in drawn if not p.find("filter", recursive=False)]  # which draws nothing
    assert len(drawn) - len(pictures) == (name != "index.html")
    mute = [p for p in pictures if p.get("aria-hidden") or p.get("alt") == ""]
    for picture in mute:
        box = picture.find_parent(["td", "a"])
        assert re.search(r"\d", box.get_text()) or box.get("aria-hidden"), picture
    alts = [p.get("aria-label") or p.get("alt") for p in pictures if p not in mute]
    summary = read_summary(PAGES[name].parent)
    names = summary["parameters"] if summary else ()
    empty = [a for a in alts if not a or not (re.search(r"\d", a) or any(n in a for n in names))]
    assert empty == []
    assert sorted(alts) == sorted(set(alts))
    assert name == "index.html" or len(alts) > 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_axe_finds_nothing_serious_on_real_pages(browser, name, scheme):
    tab = opened(browser, PAGES[name], color_scheme=scheme, bypass_csp=True)
    if tab.locator("#code-switch").count():
        tab.click("#code-switch")
    assert serious(tab) == []
    tab.close()


@pytest.mark.parametrize("width", [360, 768, 1440, 2560])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_nothing_is_wider_than_the_window(browser, name, width):
    tab = opened(browser, PAGES[name], width)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.close()

"""The pages: complete in themselves, nothing runs that came from data, maths and figures fit."""

import io
import json
import re

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from nbformat import v4

from conftest import EVIL, summary
from partialpool.batch import listing, study_file, summary_file
from partialpool.plots import palette
from partialpool.posterior.verdict import DataVerdict, one
from partialpool.report import drawings, exporter, markup, page


def svg():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], color="#0072b2", clip_on=True)
    ax.set_xlabel("x", color="#1f2328")
    ax.tick_params(colors="#1f2328")
    text = io.StringIO()
    fig.savefig(text, format="svg")
    plt.close(fig)
    return text.getvalue()


@pytest.fixture(scope="module")
def figure():
    return svg()


def executed(figure):
    def code(source, *outputs, **options):
        return v4.new_code_cell(source, outputs=list(outputs), execution_count=1, **options)

    def shown(mime, content, **metadata):
        return v4.new_output("display_data", data={mime: content}, metadata=metadata)

    alt = {"image/svg+xml": {"alt": f'a "figure" {EVIL}'}}
    table = f'<table border="1" class="dataframe"><tr><td>{EVIL}</td></tr></table>'
    cells = [
        v4.new_markdown_cell(
            "# The *title*\n\nWith $x^2 < y$ and\n\n$$\\begin{aligned}a &= b\\end{aligned}$$"
        ),
        code("seed = 0", metadata={"tags": ["parameters"]}),
        v4.new_markdown_cell(
            "## Data\n\n![remote](https://example.org/x.png) [a link](https://example.org)"
        ),
        code("table", shown("text/html", table)),
        code(
            "figure",
            shown("image/svg+xml", figure, **alt),
            shown("text/markdown", f"**So** {EVIL}"),
        ),
        v4.new_markdown_cell("## Data"),
        code("again", shown("image/svg+xml", figure, **alt), shown("image/png", "iVBORw0KGgo=")),
        code(
            "warn", v4.new_output("stream", name="stderr", text=f"/tmp/ipykernel_1/2.py:3: {EVIL}")
        ),
        code("secret = 1", metadata={"tags": ["hide"]}),
    ]
    return v4.new_notebook(cells=cells)


@pytest.fixture(scope="module")
def html(figure):
    return exporter.render(executed(figure), summary())


@pytest.fixture(scope="module")
def soup(html):
    return BeautifulSoup(html, "html.parser")


def test_nothing_from_data_runs(soup):
    assert len(soup.find_all("script")) == 1
    assert "alert" not in soup.script.text
    assert not [tag for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    assert "alert(2)" in soup.find("h1").text  # it is shown instead


def test_the_page_asks_for_nothing(soup, html):
    for tag in soup.find_all(True):
        for name in ("src", "srcset", "data", "action", "poster", "xlink:href"):
            assert str(tag.get(name, "data:")).startswith(("data:", "#")), tag
        if tag.name != "a":
            assert not re.match(r"(https?:)?//", str(tag.get("href", ""))), tag
    assert not soup.find_all("link")
    assert "@import" not in html
    assert "url(http" not in html
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy


def test_maths_is_mathml(soup):
    kinds = [math["display"] for math in soup.find_all("math")]
    assert kinds == ["inline", "block"]
    assert "$" not in soup.find("article").text


@pytest.mark.parametrize(
    "formula",
    [
        r"\mathcal{N}(0, \sigma^2)",
        r"a \sim b",
        r"\begin{align} a &= b \\ c &= d \end{align}",
        r"x & y",
    ],
)
def test_mathml_is_well_formed(formula):
    from xml.etree import ElementTree

    ElementTree.fromstring(markup.mathml(formula, block=True))
    assert "\\" not in markup.mathml(formula, block=True)


def test_ids_are_unique_and_links_lead_somewhere(soup):
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {"data", "data-2", "run-checks", "run-provenance"} <= set(ids)
    for link in soup.find_all("a", href=re.compile("^#")):
        assert link["href"][1:] in ids
    for use in soup.find_all("use"):
        assert use["xlink:href"][1:] in ids


def test_figures_have_a_label_and_follow_the_text_colour(soup, figure):
    drawn = soup.find("article").find_all("svg")
    assert len(drawn) == 2
    assert all(d["role"] == "img" and d["aria-label"].startswith('a "figure"') for d in drawn)
    assert "#1f2328" in figure
    assert "#1f2328" not in str(drawn[0])
    assert "currentColor" in str(drawn[0])
    assert "#0072b2" in str(drawn[0])
    assert soup.find("article").find("img")["alt"]


def test_code_is_folded_and_can_be_hidden(soup):
    cells = soup.find_all("details", class_="code")
    assert len(cells) == 5
    assert not any(cell.has_attr("open") for cell in cells)
    assert "secret" not in soup.text


def test_messages_are_shown_without_the_machine(soup):
    assert "line 3 of this cell" in soup.find(class_="stderr").text
    assert "ipykernel" not in soup.text


def test_top_and_bottom(soup):
    top = soup.find(id="run-result").text
    assert "failed" in top
    assert "1 of 1 checks was missed" in top
    assert "0.80" not in top
    bottom = soup.find("footer").text
    assert "0.80 to 1.20" in bottom
    assert "90 %" in bottom
    for piece in (
        "1.26",
        "≤\xa01.01",
        "0123456789abcdef",
        "beef",
        "feed",
        "numpy 2.1",
        "not committed",
    ):
        assert piece in bottom or piece == "not committed"
    assert "git checkout 0123456789ab && make report STUDY=s" in bottom


def test_a_study_tells_its_story_before_its_notebook(figure):
    """Title, question, answer, verdict, what it is about; the notebook's own words come last."""
    told = {"title": f"T {EVIL}", "question": f"Q {EVIL}", "about": f"A [l](https://a.org) {EVIL}"}
    changes = {"headline": f"H {EVIL}", "status": "passed"}
    page = BeautifulSoup(
        exporter.render(executed(figure), summary(**changes), "", told), "html.parser"
    )
    assert page.h1.text == f"T {EVIL}"
    assert page.title.text.startswith(f"T {EVIL}")
    text = page.main.get_text()
    pieces = [f"T {EVIL}", f"Q {EVIL}", f"H {EVIL}", "Computation:", "A l <img", "Method", "With"]
    places = [text.index(piece) for piece in pieces]
    assert places == sorted(places)
    assert len(page.find_all("script")) == 1
    assert not page.find_all("img", src="x")
    assert page.find("a", href="https://a.org")
    assert page.find(id="run-method").find_next("math")
    assert not page.article.find("math", display="block")


def test_where_a_study_has_no_question_its_model_asks_one(figure):
    for story, says in (({}, f"Q {EVIL}"), ({"question": "Why?"}, "Why?")):
        text = exporter.render(executed(figure), summary(question=f"Q {EVIL}"), "", story)
        page = BeautifulSoup(text, "html.parser")
        assert page.h1.find_next("p", class_="question").text == says
        assert page.h1.text == EVIL  # the title of the summary


def test_tables_scroll(soup):
    for table in soup.find_all("table"):
        assert "scroll" in table.parent["class"]
        assert table.parent["tabindex"] == "0"


def test_template_is_small():
    bare = exporter.render(v4.new_notebook(cells=[]), summary())
    assert len(bare.encode()) < 60_000


def test_error_stands_on_top_and_links_to_the_cell():
    output = v4.new_output(
        "error", ename="E", evalue=EVIL, traceback=["\x1b[38;5;28mx\x1b[0m", EVIL]
    )
    cell = v4.new_code_cell("boom()", outputs=[output], execution_count=4)
    error = {"type": "E", "message": EVIL, "cell": 4}
    text = exporter.render(
        v4.new_notebook(cells=[cell]),
        summary(
            status="error", error=error, checks=[], estimates=[], parameters={}, posterior=False
        ),
    )
    soup = BeautifulSoup(text, "html.parser")
    assert EVIL in soup.find(id="run-result").pre.text
    assert soup.find(id="run-result").find("a", href="#broken")
    assert soup.find(id="broken").details.has_attr("open")
    assert "rgb(" not in str(soup.find("pre", class_="traceback"))
    assert "posterior.nc" not in text


def test_thumbnail(tmp_path, figure):
    assert drawings.write_thumbnail(executed(figure), tmp_path) == "thumbnail.svg"
    text = (tmp_path / "thumbnail.svg").read_text()
    assert "prefers-color-scheme" in text
    # a colour that is explained by itself is none
    assert f"--fig-partial:{palette.COLORS['partial']};" in text
    assert f"svg{{color:{palette.INK}" in text
    tagged = executed(figure)
    tagged.cells[6].metadata["tags"] = ["thumbnail"]
    tagged.cells[6].outputs = tagged.cells[6].outputs[1:]
    assert drawings.write_thumbnail(tagged, tmp_path) == "thumbnail.png"
    assert drawings.write_thumbnail(v4.new_notebook(), tmp_path) is None


def test_both_verdicts_are_listed_in_full_with_what_they_mean(figure):
    look = one("Far rows", 3, "≤", 2, "rows beyond three; the rule of the limit")
    fit = {"status": "look", "checks": [look, one("Calibration", 0.5, "≥", 0.01, "uniform")]}
    page = exporter.render(executed(figure), summary(status="passed", fit=fit))
    soup = BeautifulSoup(page, "html.parser")
    checks = soup.find(id="run-checks").parent
    assert [t.find("th").text for t in checks.find_all("table")] == [
        "Computation",
        "Fit to the data",
    ]
    assert "rows beyond three; the rule of the limit" in checks.text
    assert "uniform" in checks.text
    top = soup.find(id="run-result").get_text(" ", strip=True)
    assert "1 of 2 checks was missed" in top
    assert "Far rows : 3, where ≤\xa02 is wanted; rows beyond three" in top


def test_a_page_with_several_fits_says_whose_checks_its_verdict_is(figure):
    page = exporter.render(executed(figure), summary(checked="the <i>exact fit"))
    assert "Computation of the &lt;i&gt;exact fit: 1 of 1 checks was missed." in page
    assert "Computation: 1 of 1 checks" in exporter.render(executed(figure), summary())


def test_estimates_of_many_data_sets_are_called_averages(figure, listed):
    note = "Posterior means over many simulated data sets: their average, and the range"
    for averaged in (None, 100):
        page = exporter.render(executed(figure), summary(averaged=averaged))
        assert (note in page) is (averaged is not None)
        assert ("average of posterior means" in page) is (averaged is not None)
        assert ("90 % interval" in page) is (averaged is None)
    root, runs = listed
    told = "Its estimates are averages of posterior means over many simulated data sets"
    assert told not in listing.write_index(root, runs).read_text()
    state = summary(status="passed", averaged=100, run=runs[0].name, settings=runs[0].settings)
    (runs[0].folder / "summary.json").write_text(summary_file.dumps(state))
    assert told in listing.write_index(root, runs).read_text()


def test_the_index_counts_fits_that_one_should_look_at_and_shows_them(browser, listed):
    root, runs = listed
    fit = {"status": "look", "checks": []}
    state = summary(status="passed", fit=fit, run=runs[1].name, settings=runs[1].settings)
    (runs[1].folder / "summary.json").write_text(summary_file.dumps(state))
    path = listing.write_index(root, runs)
    said = BeautifulSoup(path.read_text(), "html.parser").find(class_="headline").text
    assert "Of models held against their data 1 fits so that one should look." in said
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto(path.as_uri())
    left = "e => e.getBoundingClientRect().left"
    assert tab.locator("td .badge.look").evaluate(left) == pytest.approx(
        tab.locator("td .badge.passed").first.evaluate(left), abs=1
    )
    tab.close()


def test_a_column_of_sentences_is_wrapped(browser, tmp_path):
    """The verdict's table fits the column of text of a window 1440 pixels wide."""
    meaning = "p-value of Brown and Forsythe's test that residuals spread alike in all groups; "
    checks = [one(name, 0.5, "≥", 0.01, 3 * meaning) for name in ("Noise by group", "Calibration")]
    data = {"text/html": DataVerdict(checks).finding().to_html()}
    cell = v4.new_code_cell("1", outputs=[v4.new_output("display_data", data=data)])
    (tmp_path / "p.html").write_text(exporter.render(v4.new_notebook(cells=[cell]), summary()))
    tab = browser.new_page(viewport={"width": 1440, "height": 800})
    tab.goto((tmp_path / "p.html").as_uri())
    box = tab.locator(".scroll:has(.dataframe)")
    assert box.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert box.locator("td.prose").first.evaluate("e => getComputedStyle(e).textAlign") == "left"
    tab.close()


def test_figures_are_drawn_to_a_hundredth_of_a_point(figure):
    def numbers(text):
        paths = re.findall(r' d="([^"]+)"', text)
        return [float(n) for path in paths for n in re.findall(r"-?[\d.]+", path)]

    exact, drawn = numbers(figure), numbers(drawings.inline_svg(figure, "", "f-"))
    assert len(exact) == len(drawn) > 20
    assert max(abs(a - b) for a, b in zip(exact, drawn, strict=True)) < 0.01
    assert all(round(n, 2) == n for n in drawn)


def test_svg_that_is_none_or_carries_code():
    assert drawings.inline_svg("<not svg", "", "f-") == ""
    bad = '<svg xmlns="http://www.w3.org/2000/svg" onload="x()"><script/><a href="//e"/></svg>'
    assert not re.search("script|onload|href", drawings.inline_svg(bad, "a", "f-"))


@pytest.mark.parametrize(
    ("figures_", "text"),
    [
        ({"mean": 251.3934, "sd": 7.5}, "251.4"),
        ({"mean": -0.00123, "sd": 0.0004}, "−0.00123"),
        ({"mean": 12345.6, "sd": 300.0}, "12,346"),
        ({"mean": 3.0}, "3"),
        ({}, ""),
    ],
)
def test_estimate(figures_, text):
    assert page.estimate(figures_, "mean") == text


@pytest.fixture
def listed(project, figure):
    """An index with a run of every state; the study and its runs have unfriendly values."""
    path = project.study("s", f"notebook: good\ngrid: {{label: [a, {EVIL!r}, c, d]}}")
    runs = study_file.plan(project.root, [path])
    states = (
        summary(),
        summary(status="passed"),
        summary(status="error", error={"type": "E", "message": EVIL, "cell": 2}),
    )
    for run, state in zip(runs, states, strict=False):
        run.folder.mkdir(parents=True)
        state |= {"run": run.name, "settings": run.settings}
        (run.folder / "summary.json").write_text(summary_file.dumps(state))
        (run.folder / "report.html").write_text(exporter.render(executed(figure), state))
        drawings.write_thumbnail(executed(figure), run.folder)
    return project.root, runs


def test_index(listed):
    root, runs = listed
    text = listing.write_index(root, runs).read_text()
    soup = BeautifulSoup(text, "html.parser")
    assert len(soup.find_all("script")) == 1
    assert not [tag for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    states = [tag["data-status"] for tag in soup.find_all("tr", attrs={"data-words": True})]
    assert states == ["error", "failed", "missing", "passed"]
    assert "4 runs in 1 study: 1 broken, 1 failed, 1 not yet run, 1 passed." in soup.text
    for link in soup.find_all("a", href=re.compile("report.html")):
        assert (root / "reports" / link["href"].replace("%3C", "<")).is_file()
    before = (root / "reports" / "index.html").stat().st_mtime_ns
    listing.write_index(root, runs)
    assert (root / "reports" / "index.html").stat().st_mtime_ns == before


def test_strips_stand_where_the_numbers_are(listed):
    root, runs = listed
    for run, mean in zip(runs, (1.0, 3.0), strict=False):
        path = run.folder / "summary.json"
        state = json.loads(path.read_text())
        state["parameters"][EVIL] = {"mean": mean, "sd": 1.0, "q05": mean - 1, "q95": mean + 1}
        state["truth"] = {EVIL: 2.0}
        path.write_text(summary_file.dumps(state))
    soup = BeautifulSoup(listing.write_index(root, runs).read_text(), "html.parser")
    strips = {strip.find_parent("tr")["data-status"]: strip for strip in soup.select("svg.strip")}
    assert set(strips) == {"failed", "passed"}
    # from 0 to 4 on 94 pixels after 5
    assert strips["failed"].path["d"] == "M5.0 7H52.0"
    assert strips["failed"].circle["cx"] == "28.5"
    assert strips["passed"].path["d"] == "M52.0 7H99.0"
    assert strips["passed"].select_one(".true")["d"] == "M52.0 0V14"


def test_index_without_runs(project):
    assert "No run has ended yet" in listing.write_index(project.root).read_text()


@pytest.mark.parametrize("width", [360, 1200, 2560])
def test_in_a_browser_from_disk(browser, listed, width):
    root, runs = listed
    listing.write_index(root, runs)
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    tab = context.new_page()
    asked, said = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: said.append("a dialog"))

    tab.goto((runs[0].folder / "report.html").as_uri())
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert tab.evaluate(fits)
    assert not tab.locator("details.code[open]").count()
    assert not tab.locator("details.code").first.is_visible()
    tab.click("#code-switch")
    assert tab.locator("details.code[open]").count() == 5
    assert tab.locator("details.code").first.is_visible()
    assert tab.evaluate("document.querySelector('math').getBoundingClientRect().width") > 10
    assert tab.locator(".contents details").evaluate("d => d.open") is (width >= 1200)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1

    tab.goto((root / "reports" / "index.html").as_uri())
    assert tab.evaluate(fits)
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    tab.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth)")
    rows = tab.locator("tbody tr[data-words]")
    tab.select_option("#status", "failed")
    assert rows.filter(visible=True).count() == 1
    tab.select_option("#status", "")
    tab.fill("#words", "label-d")
    assert rows.filter(visible=True).count() == 1
    for words, count in {
        "label = a": 1,
        "label=A s": 1,
        f'"{EVIL}" > 0.9 time < 10': 2,
        "time > 3.3": 0,
        "status = missing": 1,
        "seed = 0 NOTEBOOK=good": 4,
        "seed >= 1": 0,
        "nothing = 1": 0,
        "good label-c": 1,
    }.items():
        tab.fill("#words", words)
        assert (words, rows.filter(visible=True).count()) == (words, count)
    assert tab.locator("#shown").text_content() == "1 of 4 runs"
    tab.fill("#words", "")
    if width > 1000:
        tab.get_by_role("button", name="label", exact=True).click()
        shown = [row.get_attribute("data-words") for row in rows.all()]
        assert "label-a_" in shown[1]
        tab.get_by_role("button", name="label", exact=True).click()
        assert "label-d_" in rows.first.get_attribute("data-words")
    assert said == []
    context.close()


def test_colours_follow_the_reader(browser, listed):
    _, runs = listed
    seen = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        tab = context.new_page()
        tab.goto((runs[0].folder / "report.html").as_uri())
        style = "e => [e, document.documentElement].map(x => getComputedStyle(x))"
        style += ".map((s, i) => i ? s.backgroundColor : s.color)"
        seen[scheme] = tab.locator("figure svg").first.evaluate(style)
        context.close()
    assert seen == {
        "light": ["rgb(31, 35, 40)", "rgb(255, 255, 255)"],
        "dark": ["rgb(230, 233, 236)", "rgb(20, 24, 29)"],
    }

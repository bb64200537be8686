"""Pages by nbconvert, of any notebook; and what hostile HTML may do in them, which is nothing."""

import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.colors import to_rgb
from nbformat import v4
from PIL import Image
from test_report import executed, figure  # noqa: F401

from conftest import summary
from partialpool.plots import palette, theme
from partialpool.posterior.finding import Finding
from partialpool.report import drawings, exporter, markup
from partialpool.report.markup import sanitize

ROOT = Path(__file__).parents[2]
ELSEWHERE = "http://elsewhere.example/"
REFRESH = f'<meta http-equiv=refresh content="0;url={ELSEWHERE}">'
#: Each tries to leave the page, to ask for something, to run, or to stand where it does not belong.
HOSTILE = [
    f"<![CDATA[>{REFRESH}]]>",
    f"<!-->{REFRESH}-->",
    f"<!--a--!>{REFRESH}-->",
    f"<svg><style>{REFRESH}</style></svg>",
    f"<svg><title><style>{REFRESH}</style></title></svg>",
    f"<math><mtext><table><mglyph><style><!--</style><img title='--&gt;{REFRESH}'>",
    f"<noscript><p title='</noscript>{REFRESH}'>",
    f"<math><annotation-xml encoding='text/html'>{REFRESH}</annotation-xml></math>",
    REFRESH,
    f"<img alt='<table>{REFRESH}' src='data:image/png;base64,AAAA'>",
    "<div style='position: fixed; inset: 0; background: white'>all is well</div>",
    "<p style='margin-top: -90em; width: 900em'>over the verdict</p>",
    f"<p style='background-color: url({ELSEWHERE})'>asks</p>",
    f"<style>@import '{ELSEWHERE}'; main {{ display: none }}</style>",
    "<div class='verdict passed bar skip' id='run-result'>passed</div>",
    "<img src=x onerror=alert(1)>",
    f"<img src='{ELSEWHERE}x.png'><img srcset='{ELSEWHERE}x.png'>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<a href='javascript:alert(1)'>a</a><a href='java&#9;script:alert(1)'>b</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>c</a>",
    f"<form action='{ELSEWHERE}'><input name=a><button>b</button></form>",
    f"<base href='{ELSEWHERE}'><link rel=stylesheet href='{ELSEWHERE}'>",
    f"<iframe src='{ELSEWHERE}'></iframe><object data='{ELSEWHERE}'></object>",
    "<template><script>alert(1)</script></template>",
    "<math><mspace width='-500em'/><mi href='javascript:alert(1)'>x</mi></math>",
]
ALLOWED = {
    *("alt", "aria-label", "class", "display", "href", "rel", "role", "src", "style", "tabindex"),
    "title",
}
FORBIDDEN = [
    *("base", "form", "iframe", "input", "link", "meta", "noscript", "object", "script", "style"),
    *("svg", "template", "title"),
]


def harmless(html):
    """Complain of anything that could do something, as an HTML parser sees it."""
    soup = BeautifulSoup(html, "html.parser")
    assert soup.find_all(FORBIDDEN) == []
    for tag in soup.find_all(True):
        for name, value in tag.attrs.items():
            assert not name.startswith("on"), tag
            assert name in ALLOWED or tag.find_parent("math"), tag
            if name == "src":
                assert value.startswith("data:image/"), tag
            if name == "href":
                assert value.startswith("http://"), (
                    tag
                )  # which asks for nothing until it is followed
            if name == "style":
                assert "position" not in value, tag
                assert "url" not in value, tag
                assert "margin" not in value, tag
        assert not {"verdict", "passed", "bar", "skip"} & set(tag.get("class", ())), tag
        assert not tag.get("width", "").startswith("-"), tag


@pytest.mark.parametrize("text", HOSTILE)
def test_displayed_html_is_harmless(text):
    shown = sanitize(f"before {text} <b>after</b>")
    harmless(shown)
    assert shown.startswith("before")
    assert sanitize(shown) == shown or "<table" in shown  # nothing wakes up when it is read again


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_is_harmless(text, trusted):
    formula = r"$\href{javascript:alert(1)}{x}$ $\hspace{-500em} y$"
    outline = markup.Outline()
    harmless(markup.markdown(f"before\n\n{text}\n\n{formula}", outline, trusted=trusted))
    harmless(markup.markdown(f"| a |\n|---|\n| {text} |", outline, trusted=trusted))


@pytest.mark.parametrize("text", HOSTILE)
def test_tables_of_hostile_values_are_harmless_however_they_were_made(text):
    table = pd.DataFrame({text: [1.0, 2.0], "b": [text, "x"]}, index=[text, "y"])
    harmless(sanitize(table.style.to_html()))  # which escapes nothing
    escaped = sanitize(Finding("n", table=table).to_html())
    harmless(escaped)
    assert BeautifulSoup(escaped, "html.parser").tbody.th.get_text() == text


def test_what_tables_and_texts_are_made_of_stays():
    table = pd.DataFrame({"a": [1]}, index=["r"]).to_html()
    shown = BeautifulSoup(sanitize(table), "html.parser")
    assert shown.div["class"] == ["scroll"]
    assert shown.table["class"] == ["dataframe"]
    assert shown.thead.tr.td is not None  # the empty corner is no header
    assert shown.tr["style"] == "text-align:right"
    text = '<a href="https://a.example" title="t">a</a><sub>2</sub><details><summary>s</summary>d'
    assert BeautifulSoup(sanitize(text), "html.parser").a["href"] == "https://a.example"
    assert "<sub>2</sub><details><summary>s</summary>d</details>" in sanitize(text)


def test_a_styled_table_loses_its_style_sheet_and_nothing_else():
    styled = pd.DataFrame({"a": [1.25]}, index=["r"]).style.format("{:.1f}").to_html()
    shown = BeautifulSoup(sanitize(styled), "html.parser")
    assert shown.get_text(" ", strip=True) == "a r 1.2"
    assert not shown.find_all(id=True)


def test_entities_in_displayed_markdown_are_characters():
    shown = markup.markdown("a &lt; b &amp; `c < d`", markup.Outline(), trusted=False)
    assert shown == "<p>a &lt; b &amp; <code>c &lt; d</code></p>\n"


def test_headings_have_ids_that_nothing_else_has():
    outline = markup.Outline()
    text = '# Title $x$\n\n## Run result\n\n<p id="data">a</p>\n\n## Data\n\n<p id="data">b</p>'
    soup = BeautifulSoup(markup.markdown(text, outline, trusted=True), "html.parser")
    assert outline.title == "Title x"
    assert [h["id"] for h in outline.headings] == ["run-result-2", "data-2"]
    assert [tag["id"] for tag in soup.find_all(id=True)] == ["run-result-2", "data", "data-2"]


@pytest.mark.parametrize("xmlns", ["", ' xmlns=""', ' xmlns="http://www.w3.org/1999/xhtml"'])
def test_an_svg_holds_what_draws(xmlns):
    """In a page an SVG is read as HTML: what is no drawing ends it, and is obeyed."""
    inside = f'<meta{xmlns} http-equiv="refresh" content="0"/><path d="M0 0"/>'
    text = f'<s:svg xmlns:s="{drawings.SVG}" xmlns="{drawings.SVG}">{inside}</s:svg>'
    shown = drawings.inline_svg(text, "a", "f-")
    assert "meta" not in shown
    assert 'd="M0 0"' in shown


def test_a_page_of_hostile_data_stays_where_it_is(browser, tmp_path, figure):  # noqa: F811
    """The reader of a report was taken elsewhere by a name of a group, without a click."""
    levels = [text for text in HOSTILE if "refresh" in text]
    table = pd.DataFrame({"mean": range(len(levels))}, index=levels)
    outputs = [
        v4.new_output("display_data", data={"text/html": table.style.to_html()}),
        v4.new_output("display_data", data={"text/html": Finding("n", table=table).to_html()}),
        *(v4.new_output("display_data", data={"text/html": text}) for text in HOSTILE),
        *(v4.new_output("display_data", data={"text/markdown": text}) for text in HOSTILE),
        v4.new_output("stream", name="stdout", text="\n".join(HOSTILE)),
    ]
    notebook = executed(figure)
    notebook.cells.append(v4.new_code_cell("1", outputs=outputs, execution_count=1))
    notebook.cells += [v4.new_markdown_cell(text) for text in HOSTILE]
    names = {text: {"mean": 1.0, "sd": 0.1, "q05": 0.8, "q95": 1.2} for text in levels}
    path = tmp_path / "report.html"
    path.write_text(
        exporter.render(notebook, summary(parameters=names, estimates=levels)), encoding="utf-8"
    )
    tab = browser.new_page()
    asked, said = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("dialog", lambda dialog: said.append("a dialog"))
    tab.goto(path.as_uri())
    tab.wait_for_timeout(500)
    assert tab.url == path.as_uri()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    covering = """() => [...document.querySelectorAll('article *')].filter((e) =>
        ['fixed', 'absolute', 'sticky'].includes(getComputedStyle(e).position)).length"""
    assert tab.evaluate(covering) == 0
    assert tab.locator(".verdict").count() == 1
    tab.close()


def test_the_policy_lets_nothing_out(figure):  # noqa: F811
    soup = BeautifulSoup(exporter.render(executed(figure), summary()), "html.parser")
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert {"default-src 'none'", "base-uri 'none'", "form-action 'none'"} <= {
        rule.strip() for rule in policy.split(";")
    }


def test_bitmaps_in_figures_have_the_colours_of_the_dark(browser, tmp_path):
    """Chains and very many points are bitmaps in a drawing: they stayed as in the light."""
    shown = {"partial": palette.DARK["partial"], "exact": palette.DARK["exact"]}
    shown |= {"data": palette.DARK["data"], "ink": palette.DARK_INK}
    drawing, (axes,) = theme.panels(1, 1, (4, 1))
    axes.set(xlim=(0, 4), ylim=(0, 1))
    axes.set_axis_off()
    for k, name in enumerate(shown):
        color = palette.COLORS.get(name, palette.INK)
        axes.add_patch(plt.Rectangle((k, 0), 1, 1, color=color, lw=0, rasterized=True))
    svg = Finding("bitmaps", figure=drawing).svg
    plt.close(drawing)
    assert "<image" in svg
    for name, shown_as in (("page.html", Finding.dressed(svg)), ("other.html", svg)):
        output = v4.new_output("display_data", data={"image/svg+xml": shown_as})
        cells = [v4.new_markdown_cell("# A"), v4.new_code_cell("1", outputs=[output])]
        page = exporter.render(v4.new_notebook(cells=cells), summary())
        (tmp_path / name).write_text(page, encoding="utf-8")
    (tmp_path / "thumbnail.svg").write_text(Finding.dressed(svg), encoding="utf-8")
    picture = "<meta name='color-scheme' content='light dark'><img src='thumbnail.svg'>"
    (tmp_path / "index.html").write_text(picture, encoding="utf-8")
    # bitmaps of others, such as heat maps, keep the colours that they have
    light = {name: palette.COLORS.get(name, palette.INK) for name in shown}
    places = (("page.html", "figure svg"), ("index.html", "img"), ("other.html", "figure svg"))
    for name, place in places:
        tab = browser.new_page(color_scheme="dark")
        tab.goto((tmp_path / name).as_uri())
        seen = np.array(
            Image.open(io.BytesIO(tab.locator(place).first.screenshot())).convert("RGB")
        )
        colors = light if name == "other.html" else shown
        for k, color in enumerate(colors.values()):
            found = seen[len(seen) // 2, int((k + 0.5) / 4 * seen.shape[1])]
            np.testing.assert_allclose(found, 255 * np.array(to_rgb(color)), atol=2)
        tab.close()


def test_any_notebook_becomes_a_page(tmp_path):
    """As ``jupyter nbconvert --to partialpool`` does it, with the entry point of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["nbconvert.exporters"].items()
    info = tmp_path / "installed" / f"partialpool-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: partialpool\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(f"[nbconvert.exporters]\n{name} = {value}\n")
    cells = [
        v4.new_raw_cell("<b>raw</b>"),
        v4.new_markdown_cell("# A *foreign* one\n\n```python\n# no title\n```\n\n- [x] done"),
        v4.new_markdown_cell("## Maths\n\n$$x^2$$\n\n![dot](dot.png)"),
        v4.new_code_cell(
            "f(1)",
            execution_count=1,
            outputs=[
                v4.new_output("execute_result", data={"text/plain": "2"}, execution_count=1),
                v4.new_output("stream", text="one\n"),
                v4.new_output("stream", text="two\n"),
                v4.new_output(
                    "display_data",
                    data={
                        "application/vnd.jupyter.widget-view+json": {"model_id": "m"},
                        "text/plain": "a widget",
                    },
                ),
            ],
        ),
        v4.new_code_cell("left out", metadata={"tags": ["hide"]}),
    ]
    path = tmp_path / "foreign.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    (tmp_path / "dot.png").write_bytes(b"\x89PNG")
    places = [info.parent, *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(":")))]
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "partialpool", str(path)],
        env=os.environ | {"PYTHONPATH": ":".join(map(str, places))},
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path.parent,
    )
    soup = BeautifulSoup((tmp_path / "foreign.html").read_text(), "html.parser")
    assert soup.h1.get_text() == soup.title.get_text() == "A foreign one"
    assert [link["href"] for link in soup.select(".contents a")] == ["#maths"]
    assert soup.find("math")["display"] == "block"
    assert soup.find("img")["src"].startswith("data:image/png;base64,")
    assert [pre.get_text() for pre in soup.select("pre.stdout")] == ["2", "one\ntwo", "a widget"]
    assert soup.find(id="code-switch")
    assert not soup.select(".verdict, footer, header a")
    assert "left out" not in soup.get_text()
    assert "raw" not in soup.get_text()
    assert soup.find("pre").get_text().strip() == "# no title"


def test_numbers_stay_with_their_units_and_signs():
    """They stood in two lines: "in 1 / % of data sets", "5 / ms", "p = / 0.011", "R- / hat"."""
    found = summary()
    found["headline"] = "Adds 10.4 ms, 90 % of the time."
    found["checks"][0]["help"] = "p = 0.011 in 1 % of data sets"
    cell = v4.new_markdown_cell("R-hat ≤ 1.01 after 2 min 5 s")
    page_ = exporter.render(v4.new_notebook(cells=[cell]), found).replace("&nbsp;", "\xa0")
    assert "10.4\xa0ms, 90\xa0% of" in page_
    assert "p\xa0=\xa00.011 in 1\xa0%" in page_
    assert page_.count("≤\xa01.01") == 3
    assert "R\u2011hat\xa0≤\xa01.01 after 2\xa0min 5\xa0s" in page_

"""JupyterLab in a real browser: every notebook runs, and a slider moves a figure."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import PATIENCE

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [*(ROOT / "notebooks").glob("*.ipynb")]
#: Settings with which a notebook takes seconds; what they do at full size, `make report` shows.
LIGHT: dict[str, dict[str, Any]] = {
    "approximations": {"sampler": None, "draws": 250},
    "explore": {"n": 30},
    "origin": {"n": 30, "method": "exact", "probe_draws": 100, "data_sets": 2},
    "planning": {"groups": [5], "data_sets": 10, "draws": 250},
    "recovery": {"n": 20, "calibrations": 50, "recoveries": 50},
    "regression": {"draws": 250},
    "samplers": {"methods": ["metropolis centered"], "metropolis_draws": 200},
}
#: Notebooks whose first picture moves with a slider, and what the README calls that.
SLIDERS = {"explore": "explorer.png", "what_if": "what_if.png"}
TOKEN = "only-here"
#: What cells print, in the page.
STDOUT, STDERR = (
    f".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.{stream}']"
    for stream in ("stdout", "stderr")
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The notebooks with light settings, in a project of their own."""
    root = tmp_path_factory.mktemp("lab")
    (root / "params").mkdir()
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for path in (root / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if "parameters" in cell["metadata"].get("tags", ()):
                light = [f"{name} = {value!r}" for name, value in LIGHT.get(path.stem, {}).items()]
                cell["source"] = "\n".join(["".join(cell["source"]), *light])
        path.write_text(json.dumps(notebook))
    return root


@pytest.fixture(scope="module")
def server(project):
    """JupyterLab as ``make lab`` starts it, but without opening a browser."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    words += [f"--IdentityProvider.token={TOKEN}"] + (["--allow-root"] if os.getuid() == 0 else [])
    # cells out of view would not be in the page
    settings = project / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with (project / "lab.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "partialpool", "--root", str(project), "lab", "--", *words],
            stdout=log,
            stderr=log,
            env=os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(project / "settings")},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        hangs = time.monotonic() + PATIENCE
        while time.monotonic() < hangs:
            try:
                urllib.request.urlopen(f"{url}/api/status?token={TOKEN}", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (project / "lab.log").read_text()[-2000:]
                time.sleep(0.5)
        else:
            pytest.fail((project / "lab.log").read_text()[-2000:])
        yield url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture
def page(server, browser):
    """A page of the browser; its kernel ends with it."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()
    with urllib.request.urlopen(f"{server}/api/kernels?token={TOKEN}") as answer:
        kernels = json.load(answer)
    for kernel in kernels:
        request = urllib.request.Request(
            f"{server}/api/kernels/{kernel['id']}",
            method="DELETE",
            headers={"Authorization": f"token {TOKEN}"},
        )
        urllib.request.urlopen(request)


def run_all(server, page, name):
    """Open a notebook, run all its cells from the menu, and wait until every one has run.

    The page says when: every code cell has its count, and the kernel is idle. Cells after one that
    fails wait no longer and have no count.
    """
    page.goto(f"{server}/lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    # in the status bar: the mark in the toolbar is idle before there is a kernel
    idle = page.get_by_text("Python 3 | Idle", exact=True)
    idle.wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(
        r"""printed => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
            const counted = prompts.every(prompt => /^\[\d+\]:$/.test(prompt.innerText));
            const waiting = prompts.some(prompt => prompt.innerText.includes('*'));
            return counted || (!waiting && document.querySelector(printed) !== null);
        }""",
        arg=STDERR,
    )
    # what a failed cell raised is shown as if it were printed
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert "[ ]:" not in prompts, page.locator(STDERR).last.inner_text()
    idle.wait_for()


@pytest.mark.parametrize("name", sorted({path.stem for path in NOTEBOOKS} - {*SLIDERS}))
def test_notebook_runs_in_jupyterlab(name, server, page):
    run_all(server, page, name)
    assert page.locator(".jp-RenderedSVG img").count() >= 2
    printed = page.locator(f"{STDOUT}, {STDERR}").all_inner_texts()
    assert sum(map(len, printed)) < 2000, "a flood of progress"


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_moves_the_figure(name, server, page):
    run_all(server, page, name)
    image = page.locator(".jp-OutputArea img").first
    handle = page.locator(".noUi-handle").first

    def press(key):
        """Move the slider, and wait for another picture."""
        before = image.get_attribute("src")
        handle.focus()
        page.keyboard.press(key)
        page.wait_for_function(
            "before => { const i = document.querySelector('.jp-OutputArea img');"
            " return i && i.getAttribute('src') !== before; }",
            arg=before,
        )

    press("ArrowRight")
    if folder := os.environ.get("PICTURES"):  # as `make pictures` sets it
        if name == "what_if":  # what is worth a look: the group on which most hangs, narrow priors
            page.locator(".jp-OutputArea select").first.select_option("335")
            press("Home")
        page.mouse.move(0, 0)
        page.set_viewport_size({"width": 1620, "height": 1000})
        # JupyterLab's own news, and how long it took on a machine that may be busy
        hidden = ".Toastify, [role=status] i { display: none }"
        page.add_style_tag(content=hidden)
        output = page.locator(".jp-OutputArea-output", has=page.locator(".noUi-handle"))
        output.first.screenshot(path=Path(folder) / SLIDERS[name])


def test_figures_and_text_can_be_read_in_the_dark_theme(project, server, page):
    """On dark ground in light ink, what a slider moves and what stands below it."""
    chosen = project / "settings" / "@jupyterlab" / "apputils-extension"
    chosen.mkdir(parents=True)
    (chosen / "themes.jupyterlab-settings").write_text('{"theme": "JupyterLab Dark"}')
    try:
        run_all(server, page, "what_if")
        assert page.locator("img.partialpool-light").is_hidden()
        for image in ("img.partialpool-dark", ".jp-RenderedSVG img"):
            shot = page.locator(image).first.screenshot()
            picture = Image.open(io.BytesIO(shot)).convert("RGB")
            colors = {color: n for n, color in picture.getcolors(picture.width * 9999)}
            assert max(max(colors, key=colors.__getitem__)) < 60, "no dark ground"
            assert max(min(color) for color, n in colors.items() if n > 20) > 190, "no light ink"
    finally:
        shutil.rmtree(chosen)

"""JupyterLab in a real browser: every notebook runs, and a slider moves a figure."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Settings with which a notebook takes seconds; what they do at full size, `make report` shows.
LIGHT = {
    "explore": {"n": 30},
    "origin": {"n": 20, "method": "exact", "probe_draws": 100, "data_sets": 2},
    "recovery": {"n": 20, "calibrations": 50, "recoveries": 50},
    "regression": {"draws": 250},
    "samplers": {"methods": ["metropolis centered"], "metropolis_draws": 200},
}
TOKEN = "only-here"


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
                light = [f"{name} = {value!r}" for name, value in LIGHT[path.stem].items()]
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
        for _ in range(240):
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


def kernels(server):
    """The server's kernels; none while one is so new that the server cannot tell its state."""
    try:
        with urllib.request.urlopen(f"{server}/api/kernels?token={TOKEN}") as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return []


def run_all(server, page, name):
    """Open a notebook, run all its cells from the menu, and wait until its kernel is idle again."""
    page.goto(f"{server}/lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    ended = time.monotonic() + 60
    while not (found := kernels(server)) or found[0]["execution_state"] != "idle":
        assert time.monotonic() < ended, "no kernel started"
        time.sleep(0.3)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    waiting = page.locator(".jp-InputPrompt", has_text="[*]")
    waiting.first.wait_for(state="attached", timeout=30_000)
    page.wait_for_function(
        "![...document.querySelectorAll('.jp-InputPrompt')].some(p => p.innerText.includes('*'))",
        timeout=240_000,
    )


def close(server, page):
    page.close()
    for kernel in kernels(server):
        request = urllib.request.Request(
            f"{server}/api/kernels/{kernel['id']}",
            method="DELETE",
            headers={"Authorization": f"token {TOKEN}"},
        )
        urllib.request.urlopen(request)


@pytest.mark.parametrize("name", sorted(set(LIGHT) - {"explore"}))
def test_notebook_runs_in_jupyterlab(name, server, browser, project):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    try:
        run_all(server, page, name)
        page.keyboard.press("Control+s")
        path = project / "notebooks" / f"{name}.ipynb"
        ended = time.monotonic() + 20
        while not any(c.get("outputs") for c in json.loads(path.read_text())["cells"]):
            assert time.monotonic() < ended, "the notebook was not saved"
            time.sleep(0.3)
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        outputs = [out for cell in cells for out in cell["outputs"]]
        errors = [out for out in outputs if out["output_type"] == "error"]
        assert not errors, errors[0]["evalue"]
        assert all(cell["execution_count"] for cell in cells)
        assert sum("image/svg+xml" in out.get("data", {}) for out in outputs) >= 2
        printed = [out for out in outputs if out["output_type"] == "stream"]
        assert sum(len("".join(out["text"])) for out in printed) < 2000, "a flood of progress"
    finally:
        close(server, page)


def test_a_slider_moves_the_figure(server, browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    try:
        run_all(server, page, "explore")
        image = page.locator(".jp-OutputArea img").first
        image.wait_for(timeout=60_000)
        before = image.get_attribute("src")
        handle = page.locator(".noUi-handle").first
        handle.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "before => { const i = document.querySelector('.jp-OutputArea img');"
            " return i && i.getAttribute('src') !== before; }",
            arg=before,
            timeout=30_000,
        )
        if folder := os.environ.get("PICTURES"):  # as `make pictures` sets it
            page.mouse.move(0, 0)
            page.set_viewport_size({"width": 1620, "height": 1000})
            page.add_style_tag(content=".Toastify { display: none }")  # JupyterLab's own news
            output = page.locator(".jp-OutputArea-output", has=page.locator(".noUi-handle"))
            output.first.screenshot(path=Path(folder) / "explorer.png")
    finally:
        close(server, page)

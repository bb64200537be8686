"""A small project of its own for tests of the batch side."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

# jsonschema, which nbformat imports, compiles a grammar for 2 s if this optional package is there.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# What PyTensor compiles is kept for all tests and their projects, and for `make report`.
COMPILED = Path(__file__).parents[1] / ".cache" / "pytensor"
os.environ.setdefault(
    "PYTENSOR_FLAGS", f"base_compiledir={COMPILED},generated_src_dir={COMPILED / 'sources'}"
)

#: Seconds after which something hangs; however busy the machine is, nothing takes as long.
PATIENCE = 900
#: Files of tests that take a minute, the longest last.
LONG = ("test_nursery", "test_jupyterlab", "test_wheel", "test_notebooks")
NOTEBOOKS = Path(__file__).parent / "notebooks"
#: A name from data that would run in a page that takes it for HTML.
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


class Project:
    """A folder with notebooks/, params/ and reports/, and the commands that work on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started: list[subprocess.Popen[str]] = []
        for name in ("params", "reports"):
            (root / name).mkdir(parents=True)
        shutil.copytree(NOTEBOOKS, root / "notebooks")

    def study(self, name: str, text: str) -> Path:
        path = self.root / "params" / f"{name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "partialpool", "--root", str(self.root), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (env or {}),
            cwd=self.root,
            start_new_session=True,
            # a shell that runs the tests in the background has them ignore Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Leave no process behind when a test has failed half-way."""
        for process in self.started:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        child.kill()
                process.kill()

    def call(self, *words: str, **options: Any) -> tuple[int, str]:
        process = self.start(*words, **options)
        output, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, output


def marks(project: Project) -> dict[str, int]:
    """When each finished run was put in place."""
    # one that is being put in place still lies in a folder whose name begins with a dot
    paths = project.root.glob("reports/*/[!.]*/summary.json")
    return {f"{p.parts[-3]}/{p.parts[-2]}": p.stat().st_mtime_ns for p in paths}


def leftovers(project: Project) -> list[str]:
    """What unfinished runs have left behind."""
    return [p.name for p in project.root.glob("reports/*/.*")]


def summary(**changes: Any) -> dict[str, Any]:
    """A summary as a run leaves it, with `EVIL` wherever data may put a name."""
    check = {"name": EVIL, "value": 1.26, "threshold": "≤ 1.01", "passed": False, "help": EVIL}
    return {
        "study": "s",
        "run": "seed-0",
        "notebook": "n",
        "seed": 0,
        "settings": {"label": EVIL, "priors": {"sd": "HalfNormal(1)"}},
        "swept": [],
        "expect": None,
        "status": "failed",
        "error": None,
        "checks": [check],
        "title": EVIL,
        "headline": EVIL,
        "estimates": [EVIL],
        "parameters": {EVIL: {"mean": 1.0, "sd": 0.1, "q05": 0.8, "q95": 1.2}},
        "log_evidence": -10.5,
        "posterior": True,
        "thumbnail": None,
        "seconds": {"fit": 0.1, "total": 3.2},
        "provenance": {
            "python": "3.13",
            "platform": EVIL,
            "packages": {"numpy": "2.1"},
            "git_commit": "0123456789abcdef",
            "dirty": True,
            "data_sha256": "feed",
            "started": "2026-01-01T00:00:00+00:00",
            "study_file": "params/s.yml",
            "inputs": {"requirements.lock": "beef"},
        },
    } | changes


def op_by_op() -> Any:
    """A mode that evaluates a PyTensor graph once, sooner by far than compiled."""
    from pytensor.compile.mode import Mode

    return Mode(linker="py", optimizer=None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: for some of the time tests wait for other processes."""
    return 1 + (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: at the end a worker would be alone with one."""
    items.sort(key=lambda item: -LONG.index(item.path.stem) if item.path.stem in LONG else 1)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a command sets for its own process does not reach the next test."""
    before = os.environ.copy()
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path / "project")
    yield project
    project.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; without it these tests are skipped here, and fail where CI is set."""
    where = shutil.which("chromium") or shutil.which("chromium-browser")
    if where is None and not os.environ.get("CI"):
        pytest.skip("Chromium is not installed.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=where,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
            timeout=1000 * PATIENCE,
        )
        new_page = chromium.new_page

        def patient(**options: Any) -> Any:
            page = new_page(**options)
            page.set_default_timeout(1000 * PATIENCE)
            return page

        chromium.new_page = patient  # type: ignore[method-assign]
        yield chromium
        chromium.close()

"""The installed package, far from this repository: from a table to a page, and nothing outside."""

import filecmp
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

release = pytest.importorskip("release", reason="workflow/release.py builds the wheel")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A new environment with what the lock names, and the wheel."""
    uv = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "bin")
    if uv is None:
        pytest.skip("uv, which makes environments from the lock, is not here.")
    folder = tmp_path_factory.mktemp("stranger") / "environment"
    wheel = release.build(ROOT, tmp_path_factory.mktemp("dist"))
    make = [str(ROOT / ".ci" / "venv"), uv, str(folder), "requirements.lock"]
    for offline in ("1", "0"):
        env = os.environ | {"UV_OFFLINE": offline}
        done = subprocess.run(make, cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode == 0:
            break
    else:
        pytest.skip(f"The packages of the lock are neither kept here nor reached: {done.stderr}")
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", str(folder)]
    subprocess.run([*install, str(wheel)], check=True)
    _compiled(folder)
    return folder


def _compiled(environment):
    """Put kernels beside the source as it was compiled for this checkout.

    They serve only who looks for them there; who keeps kernels elsewhere compiles them anew.
    """
    ours = ROOT / "src" / "partialpool" / "fit"
    [theirs] = environment.glob("lib/python*/site-packages/partialpool/fit")
    for path in ours.glob("*.py"):
        assert filecmp.cmp(path, theirs / path.name, shallow=False)
        (theirs / path.name).unlink()  # which may be one file with what uv keeps
        shutil.copy2(path, theirs)  # with its time, by which kernels are known
    kernels = shutil.ignore_patterns("*.pyc")
    shutil.copytree(
        ours / "__pycache__", theirs / "__pycache__", ignore=kernels, dirs_exist_ok=True
    )


class Stranger:
    """Somebody with an empty home, who has installed the package and stands in some folder."""

    def __init__(self, folder: Path, environment: Path) -> None:
        self.here = folder / "Meine Läufe"
        self.home, self.scratch = folder / "home", folder / "tmp"
        for place in (self.here, self.home, self.scratch):
            place.mkdir()
        self.environment = environment
        self.env = {
            "PATH": os.pathsep.join([str(environment / "bin"), os.defpath]),
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "LANG": "C.UTF-8",
        }

    def call(self, *words: str) -> str:
        options = {"cwd": self.here, "env": self.env, "capture_output": True, "text": True}
        done = subprocess.run(words, timeout=900, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def installed(self) -> dict[str, int]:
        """Files of the environment; Python itself keeps bytecode there."""
        paths = (p for p in self.environment.rglob("*") if "__pycache__" not in p.parts)
        return {str(path): path.lstat().st_mtime_ns for path in paths if not path.is_dir()}

    def outside(self) -> list[Path]:
        """What lies in home and among temporary files."""
        return [*self.home.rglob("*"), *self.scratch.rglob("*")]


@pytest.fixture
def stranger(tmp_path, environment):
    return Stranger(tmp_path, environment)


def test_from_a_table_to_a_page(stranger):
    before = stranger.installed()
    assert "Next: cd 'Löhne' && make report" in stranger.call("partialpool", "init", "Löhne")
    stranger.here /= "Löhne"
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(8), 6)
    years = rng.uniform(0, 20, 48)
    wage = 10 + 0.5 * years + rng.normal(0, 2, 8)[person] + rng.normal(0, 1, 48)
    table = pd.DataFrame({"Lohn": wage, "Jahre": years, "Person": person})
    table.to_csv(stranger.here / "data" / "Löhne 1.csv", index=False)
    formula = "Lohn ~ Jahre + (1 | Person)"
    said = stranger.call("partialpool", "new", "wages", "data/Löhne 1.csv", formula)
    assert said.startswith("Wrote params/wages.yml.")
    assert "2 runs" not in stranger.call("partialpool", "check")
    said = stranger.call("make", "report", "STUDY=wages")
    assert re.search(r"passed +wages/seed-1", said)
    assert said.splitlines()[-1].startswith("reports/index.html (")
    page = (stranger.here / "reports" / "wages" / "seed-1" / "report.html").read_text()
    assert "Lohn" in page
    assert (stranger.here / "reports" / "index.html").is_file()
    assert "1 run up to date, nothing to do." in stranger.call("partialpool", "report", "wages")
    stranger.call("partialpool", "eject", "regression")
    assert "1 run up to date, nothing to do." in stranger.call("partialpool", "report", "wages")
    assert "identical" in stranger.call("partialpool", "verify", "wages")
    assert stranger.outside() == []
    assert stranger.installed() == before


def test_jupyterlab_keeps_what_it_writes_in_the_project(stranger):
    before = stranger.installed()
    stranger.call("partialpool", "init", ".")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--no-browser", f"--ServerApp.port={port}", "--IdentityProvider.token=here"]
    words += ["--allow-root"] if os.getuid() == 0 else []
    with (stranger.here / "lab.log").open("w") as log:
        process = subprocess.Popen(
            ["partialpool", "lab", "--", *words],
            cwd=stranger.here,
            env=stranger.env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        hangs = time.monotonic() + 600
        while time.monotonic() < hangs:
            try:
                # its state is told once the search for language servers has ended
                for page in ("lab", "lsp/status"):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}?token=here", timeout=60)
                break
            except OSError:
                assert process.poll() is None, (stranger.here / "lab.log").read_text()[-2000:]
                time.sleep(0.5)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
    assert stranger.outside() == []
    assert stranger.installed() == before

"""Forks of a process that has imported everything: as new as a cold one, and gone in time."""

import json
import os
import subprocess
import sys

import psutil
import pytest
from test_survival import processes, wait_for

from partialpool.__main__ import main
from partialpool.batch import surroundings
from partialpool.batch.runs import read_summary

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes start cold elsewhere")

SAYS = """
import json, os, sys, numpy
given = {key: os.environ.get(key) for key in ("GIVEN", "LEFT", "HOME")}
print(json.dumps({
    "cwd": os.getcwd(), "env": given, "words": sys.argv[1:], "leads": os.getsid(0) == os.getpid(),
    "path": sys.path[:2], "there": "colorsys" in sys.modules, "name": __name__,
    "drawn": numpy.random.random(),
}))
sys.exit(3)
"""
ASKS = """
import os, sys, time
from pathlib import Path
from partialpool.batch import nursery
os.environ["LEFT"] = "behind"
with nursery.beside(["colorsys", "numpy", "there_is_none"]), open("out", "w") as out:
    def start(*words, session=False):
        env = {"PYTHONPATH": sys.argv[1], "GIVEN": "yes"}
        return nursery.start(words, env, sys.argv[1], out.fileno(), 2, session=session)
    assert start("says", "a", "b c").wait(60) == 3
    assert start("says", session=True).wait(60) == 3
    assert start("there_is_none").wait(60) == 1
    sleeps = start("sleeps", session=True)
    assert sleeps.poll() is None
    sleeps.kill()
    assert sleeps.wait(60) == -9
    assert start("closes").wait(60) == 0 == start("closes").wait(60)
    other = start("sleeps", session=True)
    print(other.pid, start("sleeps").pid, os.environ[nursery.PLACE], flush=True)
    if len(sys.argv) > 2:
        time.sleep(600)
assert nursery.start(["says"], {}, ".", 1, 2, session=False) is None  # there is none any more
"""


COMPILES = """
import pytensor, pytensor.tensor as pt
x = pt.dvector()
assert pytensor.function([x], (pt.sigmoid(x) * 2 - 1).sum(), mode="NUMBA")([0.0]) == 0
"""


def ask(folder, *words):
    (folder / "says.py").write_text(SAYS)
    (folder / "closes.py").write_text("import sys\nsys.stdout.close()")
    (folder / "sleeps.py").write_text("import time\ntime.sleep(600)")
    return subprocess.Popen(
        [sys.executable, "-c", ASKS, str(folder), *words],
        cwd=folder,
        env=os.environ | surroundings.environment(folder),  # no threads of linear algebra
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_fork_is_as_new_as_a_cold_process_and_ends_with_who_asked(tmp_path):
    asks = ask(tmp_path)
    pids = asks.communicate(timeout=120)[0].split()[:2]
    assert asks.returncode == 0
    one, other = map(json.loads, (tmp_path / "out").read_text().splitlines())
    common = {"cwd": str(tmp_path), "name": "__main__", "there": True}
    common["path"] = 2 * [str(tmp_path)]  # the first is taken away by kernels
    common["env"] = {"GIVEN": "yes", "LEFT": None, "HOME": None}
    assert one == common | {"words": ["a", "b c"], "leads": False, "drawn": one["drawn"]}
    assert other == common | {"words": [], "leads": True, "drawn": other["drawn"]}
    assert one["drawn"] != other["drawn"]
    wait_for(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids))


def test_nothing_is_left_of_a_nursery_whose_process_is_killed(tmp_path):
    asks = ask(tmp_path, "stay")
    *pids, place = asks.stdout.readline().split()
    asks.kill()
    asks.communicate()
    wait_for(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids))
    wait_for(lambda: not os.path.exists(place))


def test_a_report_forks_and_gives_the_numbers_of_cold_kernels(project, capsys):
    """`verify` does each run again in a cold kernel, and compares every draw."""
    settings = "data: Dyestuff, formula: Yield ~ 1 + (1 | Batch), draws: 300"
    project.study("s", f"notebook: regression\nsettings: {{{settings}}}")
    notebook = project.root / "notebooks" / "name.ipynb"
    cell = {"cell_type": "code", "id": "a", "outputs": [], "execution_count": None}
    code = "import pathlib, partialpool as pp\nsaid = pathlib.Path('/proc/self/comm').read_text()\n"
    code += "pp.record(None, {'status': 'passed', 'checks': []}, output, headline=said)"
    parameters = {"source": "seed = 0\noutput = None", "metadata": {"tags": ["parameters"]}}
    cells = [cell | parameters, cell | {"id": "b", "source": code, "metadata": {}}]
    notebook.write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    project.study("name", "notebook: name")
    status, said = project.call("report", "--jobs", "1")
    assert status == 0, said
    assert read_summary(project.root / "reports/name/seed-0")["headline"] == "ipykernel_launc\n"
    assert processes(project) == []
    assert main(["--root", str(project.root), "verify"]) == 0
    assert capsys.readouterr().out.count("identical") == 2


def test_what_pytensor_writes_stays_in_the_project(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTENSOR_FLAGS")
    root, scratch = tmp_path / "eigene Läufe", tmp_path / "tmp"
    scratch.mkdir()
    env = os.environ | surroundings.environment(root) | {"TMPDIR": str(scratch)}
    subprocess.run([sys.executable, "-c", COMPILES], env=env, check=True)
    assert list(scratch.iterdir()) == []
    assert list((root / ".cache" / "pytensor" / "sources").glob("*.py"))

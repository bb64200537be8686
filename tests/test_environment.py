"""The files around the package agree with each other."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from partialpool.batch import notebooks

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def split(requirement):
    name, bound = re.fullmatch(r"([\w.-]+)\s*(.*)", requirement).groups()
    return name.lower().replace("_", "-"), bound


def test_environment_yml_has_the_same_packages_and_bounds():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in listed if isinstance(item, dict))
    conda = [item for item in listed if isinstance(item, str) and item != "pip"]
    wanted = [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["dev"],
        f"python{PROJECT['requires-python']}",
    ]
    assert sorted(map(split, conda + pip)) == sorted(map(split, wanted))


@pytest.mark.parametrize("lock", sorted(ROOT.glob("**/requirements.lock")), ids=str)
def test_lock_has_hashes_and_no_addresses(lock):
    if any(part.startswith(".") for part in lock.relative_to(ROOT).parts):
        pytest.skip("not ours")
    text = lock.read_text()
    assert "://" not in text
    assert "index-url" not in text.replace("--no-emit-index-url", "")
    pins = re.findall(r"^([a-z0-9][\w.-]*)==", text, flags=re.M)
    assert len(pins) > 10
    assert text.count("--hash=sha256:") >= len(pins)


def test_lock_has_every_dependency():
    text = (ROOT / "requirements.lock").read_text()
    pins = set(re.findall(r"^([a-z0-9][\w.-]*)==", text, flags=re.M))
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert {split(requirement)[0] for requirement in wanted} <= pins


def test_make_help_is_the_default_and_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.M)[1].split()
    assert {"help", "report", "verify", "test", "lab", "lint", "bench", "lock", "clean"} <= set(
        targets
    )
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([\w-]+) +\S", shown, flags=re.M) == targets
    for variable in ("STUDY", "JOBS", "SNAKEMAKE_ARGS", "PYTHON"):
        assert variable in shown


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    [newest, *_] = re.findall(r"^## (\S+), ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert newest == PROJECT["version"]
    done = [sys.executable, "-m", "partialpool", "--version"]
    said = subprocess.run(done, capture_output=True, text=True, check=True).stdout
    assert said == f"partialpool {PROJECT['version']}\n" or "not installed" in said


def test_bytecode_is_kept_in_the_environment_that_is_ours_and_only_there():
    ask = ["make", "--eval", "show: ; @echo [$${PYTHONDONTWRITEBYTECODE-}]", "show"]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    for python, shown in (("", "[]"), ("python", "[1]")):
        done = subprocess.run(
            [*ask, f"PYTHON={python}"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == shown


def test_ci_runs_what_the_makefile_offers():
    script = (ROOT / ".ci" / "run").read_text()
    for target in ("lint", "test", "report"):
        assert re.search(rf"^make {target}$", script, flags=re.M)


def test_python_version_is_allowed():
    version = tuple(map(int, (ROOT / ".python-version").read_text().strip().split(".")))
    assert version >= (3, 12)


def test_notebook_check_finds_outputs_and_puts_them_right(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "n.ipynb"
    cell = {
        "cell_type": "code",
        "source": ["1 + 1"],
        "metadata": {"tags": ["parameters"], "collapsed": True},
        "execution_count": 3,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "2"}],
    }
    path.write_text(json.dumps({"cells": [cell, cell], "metadata": {}, "nbformat": 4}))
    assert notebooks.check(tmp_path) == 1
    said = capsys.readouterr().err
    assert "cell 1 has outputs" in said
    assert "no ids" in said
    assert "kernel is not 'python3'" in said
    assert notebooks.check(tmp_path, fix=True) == 0
    assert notebooks.check(tmp_path) == 0
    [first, second] = json.loads(path.read_text())["cells"]
    assert first["source"] == ["1 + 1"]
    assert first["metadata"] == {"tags": ["parameters"]}
    assert first["id"] != second["id"]

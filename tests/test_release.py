"""A release is whole, and refused where it would not be."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import release  # noqa: E402

PROJECT = release.project(ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return release.build(ROOT, tmp_path_factory.mktemp("dist"))


def test_the_wheel_made_from_the_source_distribution_has_every_file_that_reports_need(wheel):
    package = ROOT / "src" / "partialpool"
    wanted = {
        f"partialpool/{path.relative_to(package)}" for path in package.rglob("*") if path.is_file()
    }
    wanted |= {
        f"partialpool/{path.relative_to(ROOT)}"
        for folder in ("notebooks", "workflow/profiles")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    wanted = {name for name in wanted if "/__pycache__" not in name and "/." not in name}
    assert {
        "partialpool/notebooks/regression.ipynb",
        "partialpool/notebooks/origin_questions.py",
    } < (wanted)
    there = {
        name for name in zipfile.ZipFile(wheel).namelist() if not re.match(r".*\.dist-info/", name)
    }
    assert there == wanted | {"partialpool/workflow/Snakefile"}


def test_metadata_is_valid_and_that_of_the_project(wheel):
    found = release.metadata(wheel)
    assert found.name == "partialpool"
    assert str(found.version) == PROJECT["version"]
    assert str(found.requires_python) == PROJECT["requires-python"]
    assert len(found.description) > 5000
    with zipfile.ZipFile(wheel) as content:
        [name] = [n for n in content.namelist() if n.endswith(".dist-info/entry_points.txt")]
        entries = content.read(name).decode()
    assert "partialpool = partialpool.__main__:main" in entries
    assert "[nbconvert.exporters]" in entries


def test_the_wheel_works_in_a_new_environment_from_the_lock(wheel):
    uv = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "bin")
    if uv is None:
        pytest.skip("uv makes environments from the lock")
    release.try_out(wheel, ROOT, uv)


@pytest.fixture
def repository(tmp_path):
    """A repository that is ready to be released, and how to change it."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.0, 2031-04-05\n\n## 1.1.0, x\n")

    def git(*words):
        own = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *own, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    return tmp_path, git


def test_a_clean_tree_with_a_dated_entry_is_ready(repository):
    root, _ = repository
    assert release.ready(root) == "1.2.0"


@pytest.mark.parametrize(
    "heading", ["1.2.0, unreleased", "1.2.0", "1.1.0, 2031-04-05", "1.20, 2031-04-05"]
)
def test_a_release_without_its_day_in_the_changelog_is_refused(repository, heading):
    root, git = repository
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## {heading}\n\n## 1.2.0, 2031-04-05\n")
    git("commit", "-a", "-m", "heading")
    with pytest.raises(release.Refused, match=rf"^CHANGELOG.md begins with '{heading}'.*\.$"):
        release.ready(root)


def test_a_release_of_what_is_not_committed_is_refused(repository):
    root, _ = repository
    (root / "new.py").touch()
    with pytest.raises(release.Refused, match=r"not committed:\n.*new\.py"):
        release.ready(root)


def test_a_release_that_has_a_tag_is_refused(repository):
    root, git = repository
    git("tag", "v1.2.0")
    with pytest.raises(release.Refused, match=r"v1\.2\.0 exists"):
        release.ready(root)


def test_the_recipe_for_conda_has_the_version_and_the_packages_of_the_project():
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == PROJECT["version"]
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    [python, *run] = recipe["requirements"]["run"]
    assert python == "python >=${{ python_min }}"
    assert [line.replace(" ", "") for line in run] == PROJECT["dependencies"]
    assert recipe["about"]["summary"] == PROJECT["description"]
    [entry] = recipe["build"]["python"]["entry_points"]
    assert dict([entry.split(" = ")]) == PROJECT["scripts"]

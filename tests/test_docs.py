"""What docs/ says, and what is said of it, holds."""

import json
import re
from pathlib import Path

import yaml

from partialpool.batch import notebooks, study_file

ROOT = Path(__file__).parents[1]


def test_equations_that_are_cited_exist():
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    there = [int(number) for number in re.findall(r"\\tag\{(\d+)\}", text)]
    assert there == list(range(1, len(there) + 1))
    cited = {
        int(number)
        for folder in ("src", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for place in re.findall(
            r"docs/method\.md, eq\. ((?:\(\d+\)|to|and|[, \n#])+)", path.read_text(encoding="utf-8")
        )
        for number in re.findall(r"\d+", place)
    }
    assert len(cited) > 15
    assert cited <= set(there)


def test_the_list_of_settings_is_that_of_the_notebooks():
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    assert text == notebooks.studies_markdown(ROOT), "python -m partialpool notebooks --fix"
    listed = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.+?)```", text, re.S)][1:]
    declared = [
        {"notebook": path.stem, "settings": notebooks.parameters(notebooks.read_notebook(path))}
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    ]
    for study in declared:
        for reserved in study_file.RESERVED:
            del study["settings"][reserved]
    assert listed == declared


def test_every_key_of_a_study_is_explained():
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == [*study_file.KEYS]


def test_a_setting_that_changed_is_noticed_and_listed_anew(tmp_path, capsys):
    for folder in ("docs", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "docs" / "studies.md").write_text(f"Frame.\n\n{notebooks.MARK} generated. -->\n")
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "More."]},
        {
            "cell_type": "code",
            "source": ["level = 1  # how much # of it\n", "seed = 0  # of all"],
            "metadata": {"tags": ["parameters"]},
        },
    ]
    path = tmp_path / "notebooks" / "n.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    notebooks.strip(path)
    assert notebooks.check(tmp_path) == 1
    assert "docs/studies.md" in capsys.readouterr().err
    assert notebooks.check(tmp_path, fix=True) == 0
    assert notebooks.check(tmp_path) == 0
    text = (tmp_path / "docs" / "studies.md").read_text()
    assert text.startswith("Frame.\n\n<!--")
    assert text.endswith(
        "Title.\n\n```yaml\nnotebook: n\nsettings:\n  level: 1  # how much # of it\n```\n"
    )

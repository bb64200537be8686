"""A small project of its own for tests of the batch side."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parent / "notebooks"


class Project:
    """A folder with notebooks/, params/ and reports/, and the commands that work on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("params", "reports"):
            (root / name).mkdir(parents=True)
        shutil.copytree(NOTEBOOKS, root / "notebooks")

    def study(self, name: str, text: str) -> Path:
        path = self.root / "params" / f"{name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "partialpool", "--root", str(self.root), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (env or {}),
            start_new_session=True,
        )

    def call(self, *words: str, **options: Any) -> tuple[int, str]:
        process = self.start(*words, **options)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")

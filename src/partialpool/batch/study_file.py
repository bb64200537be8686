"""Study files: read, checked before anything runs, and turned into runs.

Imported by the command line on every call, so it must stay quick to import.
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partialpool.batch import notebooks, study_yaml
from partialpool.batch.notebooks import RESERVED
from partialpool.batch.runs import STORY, Run, run_name
from partialpool.batch.settings import brief, setting, validate
from partialpool.data import paths
from partialpool.data.text import closest

KEYS = ("notebook", *STORY, "settings", "seeds", "grid", "expect")
#: What a name must look like to be a folder on every file system.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


#: Most runs of a study, and most sentences on what is wrong with it.
MOST_RUNS, MOST_PROBLEMS = 10_000, 20


class StudyError(ValueError):
    """One or more study files cannot run; `problems` has one sentence for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def is_name(text: str) -> bool:
    """Whether a study may be called so."""
    return NAME.fullmatch(text) is not None and ".." not in text


def known(root: Path) -> tuple[list[Path], list[Path]]:
    """List the study files of ``params/`` and of ``params/long/``."""
    first, second = (
        [p for p in sorted(folder.glob("*.y*ml")) if p.suffix in (".yml", ".yaml")]
        for folder in (root / "params", root / "params" / "long")
    )
    return first, second


def find(root: Path, names: Iterable[str] = ()) -> list[Path]:
    """Find study files by name or path; without names, all of ``params/``.

    Long studies, in ``params/long/``, are found only by name.

    Raises
    ------
    StudyError
        If there is none, naming the closest one that exists.
    """
    ordinary, long = known(root)
    there = ordinary + long
    wanted = list(names)
    if not wanted:
        if not ordinary:
            raise StudyError(["params/ has no study: write one as params/<name>.yml."])
        return ordinary
    found, problems = [], []
    for name in wanted:
        path = Path(name)
        if path.suffix in (".yml", ".yaml"):
            hits = [p for p in (path.resolve(), root / path) if p.is_file()][:1]
        else:
            hits = [p for p in there if p.stem == name]
        found += hits
        if not hits:
            end = closest(path.stem, [p.stem for p in there]) or "."
            problems.append(f"There is no study {name!r}{end}")
    if problems:
        raise StudyError(problems)
    return list(dict.fromkeys(found))


def plan(root: Path, files: Iterable[Path]) -> list[Run]:
    """Read and check study files; nothing has run when this raises.

    Parameters
    ----------
    root : Path
        The project's folder.
    files : iterable of Path
        Study files, see `find`.

    Returns
    -------
    list of Run
        In the order of the files, the grids and the seeds.

    Raises
    ------
    StudyError
        With every problem of every file.
    """
    runs, problems = sort_out(root, files)
    if problems:
        raise StudyError(problems)
    return runs


def sort_out(root: Path, files: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """As `plan`, but without raising: the runs of studies that are right, and all problems."""
    runs: list[Run] = []
    problems: list[str] = []
    files = list(files)
    everywhere = [*files, *itertools.chain(*known(root))]
    for path in files:
        study = _Study(path, root)
        for other in everywhere:
            if other != path and other.stem.casefold() == path.stem.casefold():
                place = f"{other.parent.name}/{other.name}"
                study.wrong("", f"would write to the same place as {place}; rename one of them")
        found = _runs(study)
        runs += [] if study.problems else found
        problems += study.problems
    return runs, problems


@dataclass
class _Study:
    """A study file while it is being checked."""

    path: Path
    root: Path
    problems: list[str] = field(default_factory=list)

    def wrong(self, key: str, what: str) -> None:
        """Note that something is wrong with a key; with the whole file where the key is empty."""
        shown = paths.shown(self.path)
        if len(self.problems) > MOST_PROBLEMS:
            return
        if len(self.problems) == MOST_PROBLEMS:
            key, what = "", "there is more"
        stop = "" if what.endswith(("?", ".")) else "."
        sentence = f"{': '.join(filter(None, [shown, key]))}: {what}{stop}"
        if sentence not in self.problems:
            self.problems.append(sentence)


def _runs(study: _Study) -> list[Run]:
    """The runs of a study; what is wrong with it is noted there, and then there may be none."""
    if not is_name(study.path.stem):
        study.wrong("", "a study's name has only letters, digits and . _ + -, without '..'")
    content = _content(study)
    if content is None:
        return []
    for key in content:
        if key not in KEYS:
            study.wrong(str(key), f"is not a key of a study{closest(str(key), KEYS)}")
    seeds = _seeds(study, content.get("seeds", [0]))
    expect = content.get("expect")
    if expect not in (None, "failed"):
        study.wrong("expect", f"can only be 'failed', not {brief(expect)}")
    story = _story(study, content)
    settings = _mapping(study, "settings", content.get("settings"))
    grid = _mapping(study, "grid", content.get("grid"))
    for key, values in list(grid.items()):
        if not isinstance(values, list) or not values:
            study.wrong(f"grid.{key}", "needs a list of at least one value")
            del grid[key]
        if key in settings:
            study.wrong(f"grid.{key}", "is also in `settings`; keep one of the two")
    notebook = _notebook(study, content.get("notebook"))
    declared = _declared(study, notebook) if notebook else None
    if notebook is None or declared is None:
        return []

    def checked(place: str, key: str, value: Any) -> Any:
        problem, value = setting(study.root, notebook, declared, key, value)
        if problem:
            study.wrong(f"{place}.{key}", problem)
        return value

    settings = {key: checked("settings", key, value) for key, value in settings.items()}
    grid = {key: [checked("grid", key, v) for v in values] for key, values in grid.items()}
    if study.problems:
        return []
    number = len(seeds) * math.prod(map(len, grid.values()))
    if number > MOST_RUNS:
        study.wrong("grid", f"makes {number:,} runs; at most {MOST_RUNS:,} can be")
        return []
    runs: dict[str, Run] = {}
    for values in itertools.product(*grid.values()):
        swept = dict(zip(grid, values, strict=True))
        _check_meaning(study, settings | swept)
        for seed in seeds:
            name = run_name(swept, seed)
            if name.casefold() in runs:
                study.wrong("grid", f"two runs would have the same name, {name}; change one value")
            runs[name.casefold()] = Run(
                study=study.path.stem,
                name=name,
                study_file=study.path,
                notebook=notebook,
                root=study.root,
                settings=settings | swept,
                seed=seed,
                swept=tuple(grid),
                expect=expect,
                story=story,
            )
    return list(runs.values())


def _content(study: _Study) -> dict[str, Any] | None:
    try:
        content = study_yaml.read(study.path)
    except ValueError as error:
        study.wrong("", str(error))
        return None
    if not isinstance(content, dict):
        study.wrong("", "needs keys and values, at least `notebook:`")
        return None
    return content


def _mapping(study: _Study, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        study.wrong(key, "needs names and values, one `name: value` a line")
        return {}
    return dict(value)


def _story(study: _Study, content: Mapping[str, Any]) -> dict[str, str]:
    """Title, question and text of a study, as far as it has them."""
    story = {key: content[key] for key in STORY if content.get(key) is not None}
    for key, text in story.items():
        if not isinstance(text, str) or not text.strip():
            study.wrong(key, f"needs text, not {text!r}; put it in quotes if it is meant as text")
        elif key != "about" and "\n" in text.strip():
            study.wrong(key, "needs one line; more has its place in `about`")
    return {key: str(text).strip() for key, text in story.items()}


def _seeds(study: _Study, seeds: Any) -> list[int]:
    if not isinstance(seeds, list) or not seeds:
        study.wrong("seeds", "needs a list of whole numbers, such as [1, 2]")
        return []
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            study.wrong("seeds", f"{brief(seed)} is not a whole number from 0 on")
        elif seeds.count(seed) > 1:
            study.wrong("seeds", f"{brief(seed)} stands twice")
    return seeds


def _notebook(study: _Study, name: Any) -> Path | None:
    there = notebooks.available(study.root)
    if not isinstance(name, str):
        study.wrong("notebook", f"names a notebook: one of {', '.join(there)}")
        return None
    stem = name.removesuffix(".ipynb")
    if stem not in there:  # which also turns away names with / or ..
        study.wrong("notebook", f"there is no notebooks/{stem}.ipynb{closest(stem, there)}")
    return there.get(stem)


def _declared(study: _Study, notebook: Path) -> dict[str, Any] | None:
    """Names and defaults of the settings that a notebook declares."""
    try:
        declared = notebooks.parameters(notebooks.read_notebook(notebook))
    except ValueError as error:
        study.wrong("notebook", f"notebooks/{notebook.name} cannot run: {error}")
        return None
    if missing := [key for key in RESERVED if key not in declared]:
        names = " and ".join(missing)
        study.wrong("notebook", f"notebooks/{notebook.name} declares no parameter {names}")
        return None
    return declared


def _check_meaning(study: _Study, settings: dict[str, Any]) -> None:
    """Note what `validate` says of settings."""
    try:
        validate(settings)
    except ValueError as error:
        key, _, what = str(error).partition(": ")
        if what and key in settings:
            study.wrong(f"settings.{key}", what)
        else:
            study.wrong("settings", str(error))

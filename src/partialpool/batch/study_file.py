"""Study files: read, checked before anything runs, and turned into runs.

What a setting *means* is not known here: `settings.validate` is called
with each combination of settings and may
raise ``ValueError("<setting>: <what is wrong and what to change>")``.
"""

import difflib
import itertools
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from partialpool.batch import project
from partialpool.batch.runs import Run, run_name
from partialpool.batch.settings import validate

KEYS = ("notebook", "settings", "seeds", "grid", "expect")
#: Settings that every notebook declares and that only the batch fills in.
RESERVED = {"seed": "list seeds under `seeds`", "output": "the batch chooses it"}
#: What a name must look like to be a folder on every file system.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


class StudyError(ValueError):
    """One or more study files cannot run; `problems` has one sentence for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass
class _Study:
    """A study file while it is being checked."""

    path: Path
    root: Path
    problems: list[str] = field(default_factory=list)

    def wrong(self, key: str, what: str) -> None:
        inside = self.path.is_relative_to(self.root)
        shown = self.path.relative_to(self.root) if inside else self.path
        place = f"{shown}: {key}" if key else str(shown)
        sentence = f"{place}: {what.rstrip('.')}."
        if sentence not in self.problems:
            self.problems.append(sentence)


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
    there = known(root)
    wanted = list(names)
    if not wanted:
        if not there[0]:
            raise StudyError(["params/ has no study: write one as params/<name>.yml."])
        return there[0]
    found, problems = [], []
    for name in wanted:
        path = Path(name)
        if path.suffix in (".yml", ".yaml"):
            tries = [path.resolve(), root / path]
            hits = [p for p in tries if p.is_file()][:1]
        else:
            hits = [p for p in there[0] + there[1] if p.stem == name]
        if hits:
            found += [hit for hit in hits if hit not in found]
        else:
            close = _closest(path.stem, [p.stem for p in there[0] + there[1]])
            problems.append(f"There is no study {name!r}{close}.")
    if problems:
        raise StudyError(problems)
    return found


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
        runs += _read(study)
        problems += study.problems
    if problems:
        raise StudyError(problems)
    return runs


def _read(study: _Study) -> list[Run]:
    if not NAME.fullmatch(study.path.stem) or ".." in study.path.stem:
        study.wrong("", "a study's name has only letters, digits and . _ + -, without '..'")
    content = _load(study)
    if content is None:
        return []
    for key in content:
        if key not in KEYS:
            study.wrong(str(key), f"is not a key of a study{_closest(str(key), KEYS)}")
    seeds = _seeds(study, content.get("seeds", [0]))
    expect = content.get("expect")
    if expect not in (None, "failed"):
        study.wrong("expect", f"can only be 'failed', not {expect!r}")
    opened = _notebook(study, content.get("notebook"))
    settings = _mapping(study, "settings", content.get("settings"))
    grid = _mapping(study, "grid", content.get("grid"))
    for key, values in list(grid.items()):
        if not isinstance(values, list) or not values:
            study.wrong(f"grid.{key}", "needs a list of at least one value")
            del grid[key]
        if key in settings:
            study.wrong(f"grid.{key}", "is also in `settings`; keep one of the two")
    if opened is None:
        return []
    notebook, declared = opened
    for key, value in settings.items():
        settings[key] = _checked(study, f"settings.{key}", key, value, declared, notebook)
    for key, values in grid.items():
        grid[key] = [_checked(study, f"grid.{key}", key, v, declared, notebook) for v in values]
    if study.problems:
        return []
    return _runs(study, notebook, settings, grid, seeds, expect)


def _runs(
    study: _Study,
    notebook: Path,
    settings: dict[str, Any],
    grid: dict[str, list[Any]],
    seeds: list[int],
    expect: str | None,
) -> list[Run]:
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
            )
    return list(runs.values())


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also notices a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _load(study: _Study) -> dict[str, Any] | None:
    try:
        content = yaml.load(study.path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}" if mark else ""
        study.wrong(line, f"is not plain YAML: {getattr(error, 'problem', None) or error}")
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


def _seeds(study: _Study, seeds: Any) -> list[int]:
    if not isinstance(seeds, list) or not seeds:
        study.wrong("seeds", "needs a list of whole numbers, such as [1, 2]")
        return []
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            study.wrong("seeds", f"{seed!r} is not a whole number from 0 on")
            return []
    for seed in seeds:
        if seeds.count(seed) > 1:
            study.wrong("seeds", f"{seed} stands twice")
    return seeds


def _notebook(study: _Study, name: Any) -> tuple[Path, dict[str, Any]] | None:
    folder = study.root / "notebooks"
    there = [p.stem for p in sorted(folder.glob("*.ipynb"))]
    if not isinstance(name, str):
        study.wrong("notebook", f"names a file in notebooks/: one of {', '.join(there)}")
        return None
    stem = name.removesuffix(".ipynb")
    if stem not in there:  # which also turns away names with / or ..
        study.wrong("notebook", f"there is no notebooks/{stem}.ipynb{_closest(stem, there)}")
        return None
    path = folder / f"{stem}.ipynb"
    try:
        declared = project.parameters(project.read_notebook(path))
    except ValueError as error:
        study.wrong("notebook", f"notebooks/{path.name} cannot run: {error}")
        return None
    missing = [key for key in RESERVED if key not in declared]
    if missing:
        names = " and ".join(missing)
        study.wrong("notebook", f"notebooks/{path.name} declares no parameter {names}")
        return None
    return path, declared


def _checked(
    study: _Study, place: str, key: str, value: Any, declared: dict[str, Any], notebook: Path
) -> Any:
    """The value in the type of the notebook's default; notes what is wrong with it."""
    if key in RESERVED:
        study.wrong(place, f"cannot be set here: {RESERVED[key]}")
        return value
    if key not in declared:
        names = [name for name in declared if name not in RESERVED]
        study.wrong(place, f"{notebook.name} declares no such setting{_closest(key, names)}")
        return value
    problem, value = _in_type_of(declared[key], value)
    if problem:
        study.wrong(place, problem)
    elif (
        key in project.PATHS
        and project.data_path(value, study.root) is not None
        and not project.data_files(value, study.root)
    ):
        study.wrong(place, f"there is no file {value}, seen from the project's folder")
    return value


def _in_type_of(default: Any, value: Any) -> tuple[str, Any]:
    """What is wrong (or nothing), and the value converted where YAML is known to mislead."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return f"{value!r} is not text, a number, true or false, a list or a mapping", value
    if default is None or default is project.UNKNOWN:
        return "", value
    if isinstance(default, bool):
        return ("" if isinstance(value, bool) else f"needs true or false, not {value!r}"), value
    if isinstance(default, int | float):
        kind = "a whole number" if isinstance(default, int) else "a number"
        number = value
        if isinstance(value, str):  # YAML reads 1e-3 as text
            try:
                number = float(value)
            except ValueError:
                return f"needs {kind}, not the text {value!r}", value
        if (
            isinstance(number, bool)
            or not isinstance(number, int | float)
            or not math.isfinite(number)
        ):
            return f"needs {kind}, not {value!r}", value
        if isinstance(default, float):
            return "", float(number)
        if number != int(number):
            return f"needs a whole number, not {value!r}", value
        return "", int(number)
    if isinstance(default, str):
        if isinstance(value, str):
            return "", value
        return f"needs text, not {value!r}; put it in quotes if it is meant as text", value
    if isinstance(default, list | tuple):
        return ("" if isinstance(value, list) else f"needs a list, not {value!r}"), value
    if isinstance(default, dict):
        return (
            "" if isinstance(value, dict) else f"needs `name: value` pairs, not {value!r}"
        ), value
    return "", value


def _check_meaning(study: _Study, settings: dict[str, Any]) -> None:
    """Call the hook described at the top of this module."""
    try:
        validate(settings)
    except ValueError as error:
        key, _, what = str(error).partition(": ")
        if what and key in settings:
            study.wrong(f"settings.{key}", what)
        else:
            study.wrong("settings", str(error))


def _closest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""

"""YAML of a study file: plain, no key twice, and nothing that grows when it is read."""

from pathlib import Path
from typing import Any

import yaml

#: Most values, each counted as often as an alias repeats it; most digits of a whole number.
MOST_VALUES, MOST_DIGITS = 10_000, 300


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also notices a key that stands twice, and what is too large."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise _wrong(node, f"the key {key!r} stands twice")
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            raise _wrong(
                node, f"a number of {len(node.value):,} digits; write {MOST_DIGITS} at most"
            )
        return super().construct_yaml_int(node)

    def construct_document(self, node: yaml.Node) -> Any:
        _count(node, {})
        return super().construct_document(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read(path: Path) -> Any:
    """Read a study file.

    Raises
    ------
    ValueError
        With what is wrong, and the line where that is known.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); a study is a text file") from None
    except RecursionError:
        raise ValueError("is nested too deeply; write it flat") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ValueError(f"{line}is not plain YAML: {problem}") from None


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values in a node; one that holds itself counts as too many."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES
        inside = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for item in inside for part in (item if isinstance(item, tuple) else [item])]
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    if known[id(node)] > MOST_VALUES:
        limit = f"more than {MOST_VALUES:,} values, with what aliases repeat; write fewer"
        raise _wrong(node, limit)
    return known[id(node)]


def _wrong(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

"""What docs/ says, and what is said of it, holds."""

import re
from pathlib import Path

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

"""What a run has shown, as files for a manuscript.

A notebook need not say so: in a kernel that does a run, each finding that is shown is remembered,
and `summary_file.record` writes them all at the end.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from partialpool.posterior.finding import Finding

#: Longest name of a file, without its ending.
LONGEST = 80


def write(findings: Iterable[Finding], folder: Path) -> list[dict[str, Any]]:
    """Keep findings as files.

    Parameters
    ----------
    findings : iterable of Finding
        In the order in which a page shows them.
    folder : Path
        Is made if need be.

    Returns
    -------
    list of dict
        ``name``, made unique, ``sentence`` and ``description`` of each finding, and the names of
        its ``files``, of which a finding of words alone has none.
    """
    kept: list[dict[str, Any]] = []
    taken: set[str] = set()
    for finding in findings:
        name = unique(finding.name, taken)
        files = [path.name for path in finding.save(folder, name)]
        said = {"sentence": finding.sentence, "description": finding.description}
        kept.append({"name": name, **said, "files": files})
    return kept


def unique(name: str, taken: set[str]) -> str:
    """A name of plain letters for a file, which no other has in whichever case; takes it.

    Examples
    --------
    >>> taken = set()
    >>> unique("shrinkage", taken), unique("../Shrinkage", taken), unique("φ", taken)
    ('shrinkage', 'Shrinkage-2', 'finding')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:LONGEST].strip("-") or "finding"
    chosen, count = plain, 1
    while chosen.lower() in taken:
        count += 1
        chosen = f"{plain}-{count}"
    taken.add(chosen.lower())
    return chosen

"""`make verify`: do finished runs once more, in a temporary place, and compare the numbers.

With the same code, packages, data and processor a run must give the same draws, bit for bit.
Another processor rounds otherwise. Where one of the rest differs, means are compared in units of
their Monte Carlo error.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partialpool.batch import execute, staleness, study_file, surroundings
from partialpool.batch.differences import compare
from partialpool.batch.runs import Run, read_summary
from partialpool.data.text import duration
from partialpool.report.page import reason


def verify(root: Path, studies: Sequence[str] = ()) -> int:
    """Repeat the finished runs of some studies (see `study_file.find`) and say how they compare.

    Returns
    -------
    int
        0 if every run was finished and could be reproduced, 1 if not.
    """
    root = root.resolve()
    runs = study_file.plan(root, study_file.find(root, studies))
    width = max(len(run.label) for run in runs)
    bad = 0
    for run in runs:
        begun = time.monotonic()
        word, says = _repeat(run)
        bad += word in ("missing", "different", "error")
        took = duration(time.monotonic() - begun)
        print(f"  {word:<9}  {run.label:<{width}}  {says} ({took})", flush=True)
    print(f"{len(runs) - bad} of {len(runs)} runs reproduced.")
    return 1 if bad else 0


def _repeat(run: Run) -> tuple[str, str]:
    """The outcome in a word and in a sentence."""
    earlier = read_summary(run.folder)
    if earlier is None or earlier["status"] == "error":
        return "missing", f"has no finished result; make report STUDY={run.study} makes one"
    changed = _changed(earlier, run)
    with tempfile.TemporaryDirectory(prefix="partialpool-verify-") as folder:
        place = Path(folder) / run.name
        place.mkdir()
        again = execute.fill(run, place)
        if again["status"] == "error":
            return "error", reason(again)
        found = compare(earlier, again, run.folder, place)
    differs = f"; changed since: {', '.join(changed)}" if changed else ""
    if found.same:
        draws = " and all draws" if earlier.get("posterior") else ""
        return "identical", f"{len(earlier['parameters'])} parameters{draws}{differs}"
    largest = f"largest difference {found.worst:.2g} Monte Carlo errors ({found.name})"
    if found.rounding:
        return (
            "agrees",
            f"{found.in_sds:.1g} posterior standard deviations apart: rounding{differs}",
        )
    if not changed:
        return "different", f"{largest}, though code, packages, data and machine are the same"
    if found.worst > found.limit:
        return "different", f"{largest}, where chance explains {found.limit:.2g}{differs}"
    return "agrees", f"{largest}, within the {found.limit:.2g} that chance explains{differs}"


def _changed(summary: dict[str, Any], run: Run) -> list[str]:
    """Name what is no longer as it was when a run was made; machine and packages too."""
    then, now = summary["provenance"], surroundings.versions()
    found = [key for key in ("python", "platform") if then.get(key) != now[key]]
    packages = then.get("packages", {})
    found += [name for name, version in now["packages"].items() if packages.get(name) != version]
    why = staleness.why_stale(run, summary, staleness.fingerprint(run))
    return [*found, why.removesuffix(" changed")] if why else found

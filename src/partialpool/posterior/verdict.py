"""A verdict: checks with thresholds, one word for the whole, and the same in a sentence."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from partialpool.posterior.finding import Finding

#: Checks that warn rather than fail: they say "look", not "wrong".
WARNINGS = {"Tree depth", "Energy (BFMI)", "Identified"}


def one(
    name: str, value: float, sense: str, limit: float, meaning: str, remedy: str = ""
) -> dict[str, Any]:
    """One check of a verdict.

    Parameters
    ----------
    name, meaning : str
        What it is called, and what it is about.
    value, limit : float
    sense : {"≤", "≥"}
        On which side of the limit the value must be.
    remedy : str, optional
        What to try where it is not.
    """
    passed = value <= limit if sense == "≤" else value >= limit
    return {
        "name": name,
        "value": float(value),
        "threshold": f"{sense} {limit:g}",
        "passed": bool(passed),
        "help": f"{meaning}; {remedy}" if remedy and not passed else meaning,
    }


def missed(name: str, sentence: str) -> list[dict[str, Any]]:
    """A check that is missed for the reason given; none where there is no reason."""
    return [one(name, 0, "≥", 1, sentence)] if sentence else []


@dataclass(frozen=True, repr=False)
class Checks:
    """Checks that show themselves as a table.

    Attributes
    ----------
    checks : list of dict
        Each with ``name``, ``value``, ``threshold``, ``passed`` and ``help``, as `one` makes them.
    """

    checks: list[dict[str, Any]]
    #: Name of the finding, how its sentence begins, and what is checked.
    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]

    @property
    def missed(self) -> list[dict[str, Any]]:
        """The checks that were missed."""
        return [check for check in self.checks if not check["passed"]]

    @property
    def status(self) -> str:
        """One word for the whole."""
        raise NotImplementedError

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return self._words()

    def _words(self) -> str:
        if not self.missed:
            return f"All {len(self.checks)} {self.about} passed."
        reasons = "; ".join(f"{check['name']}: {check['help']}" for check in self.missed)
        were = "was" if len(self.missed) == 1 else "were"
        return f"{len(self.missed)} of {len(self.checks)} checks {were} missed. {reasons}"

    def finding(self) -> Finding:
        """The checks as a table, with the verdict in a sentence."""
        table = pd.DataFrame(self.checks)
        table.insert(0, "mark", ["✓" if passed else "✗" for passed in table.pop("passed")])
        columns = {
            "mark": ("", "{}"),
            "name": ("check", "{}"),
            "value": ("value", "{:.4g}"),
            "help": ("meaning", "{}"),
        }
        says = f"{self.title}: **{self.status}**. {self._words()}"
        return Finding(self.name, says, table=table, columns=columns, index=False)

    def findings(self) -> list[Finding]:
        """All that is shown."""
        return [self.finding()]

    def _ipython_display_(self) -> None:
        for finding in self.findings():
            finding._ipython_display_()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.findings()))

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class Verdict(Checks):
    """Checks of the computation of one fit; shows itself as a table in Jupyter.

    Attributes
    ----------
    summary : pandas.DataFrame
        The fit's figures, parameter by parameter: `checks.summarize` of what is `checked`.
    comparison : pandas.DataFrame or None
        Distance from the exact posterior, parameter by parameter.
    of : str
        Whose checks these are, where a page has several fits.
    """

    summary: pd.DataFrame
    comparison: pd.DataFrame | None = None
    of: str = ""
    name, title, about = "checks", "Verdict", "checks"

    @property
    def status(self) -> str:
        """``"passed"``, ``"warned"`` or ``"failed"``."""
        names = {check["name"] for check in self.missed}
        return "failed" if names - WARNINGS else "warned" if names else "passed"


@dataclass(frozen=True, repr=False)
class DataVerdict(Checks):
    """Checks of a model against its data."""

    name, title, about = "data_fit", "Fit to the data", "checks of the model against the data"

    @property
    def status(self) -> str:
        """``"good"`` if no check was missed, ``"poor"`` if more than half were, else ``"look"``."""
        if not self.missed:
            return "good"
        return "poor" if 2 * len(self.missed) > len(self.checks) else "look"


@dataclass(frozen=True, kw_only=True, repr=False)
class Verdicts(Verdict):
    """The verdict on the computation, by which a run passes or fails, and one that it is not for.

    Attributes
    ----------
    fit : DataVerdict
        Whether the model fits the data. All else is the computation's.
    """

    fit: DataVerdict

    @property
    def sentence(self) -> str:
        """Both verdicts in words."""
        return f"{self._words()} {self.fit.sentence}"

    def findings(self) -> list[Finding]:
        """The checks of each as a table."""
        return [self.finding(), self.fit.finding()]

"""What a manuscript takes from a run: numbers by name, and a paragraph on methods and results."""

import importlib.metadata
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partialpool.data.text import in_words, listed, number, rounded
from partialpool.design.families import LINKS
from partialpool.posterior.finding import SIGNS, Finding

if TYPE_CHECKING:  # a run that fits nothing need not wait for what fits
    from partialpool.fit.regression import Regression
    from partialpool.posterior.fitted import Fitted

#: Above this many parameters, those of single groups have no LaTeX command.
COMMANDS = 200
#: Tables of more rows are data rather than statements.
ROWS = 50
#: Figures of a parameter that are written to the digits of its standard deviation.
SIZED = ("mean", "sd", "q05", "q50", "q95")
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
#: What to cite, by the package or the finding that used it.
REFERENCES = {
    "partialpool": "The partialpool developers. partialpool {version}.",
    "pymc": "Abril-Pla O, Andreani V, Carroll C, et al. (2023). PyMC: a modern, and comprehensive "
    "probabilistic programming framework in Python. PeerJ Computer Science 9, e1516. "
    "https://doi.org/10.7717/peerj-cs.1516",
    "arviz": "Kumar R, Carroll C, Hartikainen A, Martin O (2019). ArviZ a unified library for "
    "exploratory analysis of Bayesian models in Python. Journal of Open Source Software 4(33), "
    "1143. https://doi.org/10.21105/joss.01143",
    "checks": "Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner P-C (2021). "
    "Rank-normalization, folding, and localization: an improved R-hat for assessing convergence "
    "of MCMC. Bayesian Analysis 16(2), 667–718. https://doi.org/10.1214/20-BA1221",
    "leave_one_out": "Vehtari A, Gelman A, Gabry J (2017). Practical Bayesian model evaluation "
    "using leave-one-out cross-validation and WAIC. Statistics and Computing 27, 1413–1432. "
    "https://doi.org/10.1007/s11222-016-9696-4",
}


def values(
    parameters: Mapping[str, Mapping[str, Any]], findings: Iterable[tuple[str, Finding]]
) -> dict[str, dict[str, Any]]:
    """Every number of the parameters and of the tables, as it is and as a page shows it.

    Parameters
    ----------
    parameters : mapping
        Name to figures, as in ``summary.json``.
    findings : iterable of (str, Finding)
        With the names of their files.

    Returns
    -------
    dict
        Such as ``{"Days.mean": {"value": 10.4365, "shown": "10.4"}}``; of a table the name is
        ``finding.row.column``.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, figures in parameters.items():
        for key, value in figures.items():
            if value is not None and math.isfinite(value):
                shown = rounded(value, figures.get("sd")) if key in SIZED else number(value)
                found[f"{name}.{key}"] = {"value": value, "shown": shown}
    for name, finding in findings:
        if finding.table is not None and len(finding.table) <= ROWS:
            found |= _of_table(name, finding)
    return found


def _of_table(name: str, finding: Finding) -> dict[str, dict[str, Any]]:
    """The numbers of a table; a label that stands twice has its last row's."""
    table, shown = finding.table, finding.readable()
    assert table is not None
    labels = table.index if finding.index else range(1, len(table) + 1)
    found = {}
    for k, column in enumerate(table.columns):
        for at, label in enumerate(labels):
            value = table.iloc[at, k]
            if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
                key = f"{name}.{_plain(label)}.{_plain(column)}"
                found[key] = {"value": float(value), "shown": str(shown.iloc[at, k])}
    return found


def _plain(label: Any) -> str:
    """A label, or those of several levels, as one."""
    return " ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def command(text: str) -> str:
    r"""Letters only, as names of LaTeX's commands are; digits and Greek are spelled.

    Examples
    --------
    >>> command("sleepstudy Days.mean"), command("cor(1,Days|Subject)"), command("τ_1.sd")
    ('sleepstudyDaysMean', 'corOneDaysSubject', 'TauOneSd')
    """
    words = []
    for word in re.findall(r"[^\W\d_]+|\d", text):
        if word.isascii():
            words.append(DIGITS[int(word)] if word.isdigit() else word)
        else:
            words.append("".join(map(_spelled, word)))
    return "".join(word if k == 0 else word[0].upper() + word[1:] for k, word in enumerate(words))


def _spelled(letter: str) -> str:
    """A letter without its accents, or its name where it is none of ours."""
    plain = unicodedata.normalize("NFKD", letter)[0]
    if plain.isascii():
        return DIGITS[int(plain)] if plain.isdigit() else plain
    name = unicodedata.name(letter, "letter").replace("-", " ").split()[-1]
    return re.sub("[^A-Za-z]", "", name).capitalize() or "Letter"


def latex(study: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    r"""Definitions of commands such as ``\sleepstudyDaysMean``, each with the number as shown."""
    many = sum(name.endswith(".mean") for name in found) > COMMANDS
    lines = [r"% \input{values.tex}; a name that is taken gets a further letter."]
    taken: set[str] = set()
    for name, number_ in found.items():
        if many and "]." in name:
            continue
        chosen = name_ = command(f"{study} {name}")
        letters = iter("BCDEFGHIJKLMNOPQRSTUVWXYZ")
        while chosen in taken:
            chosen = name_ + next(letters, "Z" * len(taken))
        taken.add(chosen)
        lines.append(rf"\newcommand{{\{chosen}}}{{{_escaped(number_['shown'])}}}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """A number as shown, for LaTeX; nothing in it can be a command."""
    text = re.sub(r"[\\{}$&#^_~]", "", text).replace("%", r"\%")
    return text.translate(str.maketrans(SIGNS))


def methods(fitted: "Fitted", result: Mapping[str, Any], findings: Iterable[str]) -> str:
    """A paragraph on methods and one on results, in Markdown, every number computed.

    Parameters
    ----------
    fitted : Fitted
    result : mapping
        What `summary_file.record` keeps: checks, estimates, parameters, names and the headline.
    findings : iterable of str
        Names of what the page shows, for what there is to cite.
    """
    from partialpool.posterior.names import sizes

    model, attrs = fitted.model, fitted.attrs
    sampled = attrs["method"] != "exact"
    version = {name: importlib.metadata.version(name) for name in ("arviz", "pymc")}
    version["partialpool"] = _own_version()
    noise = {"gaussian": "Gaussian noise", "student": "noise with Student's t distribution"}
    if model.linked:
        noise[model.family] = f"family {model.family} and the {LINKS[model.family]} link"
    known = f" and known standard errors in {model.se}" if model.se else ""
    says = [
        f"The model `{model.formula}` (in lme4's syntax), with {noise[model.family]}{known}, was "
        f"fitted to {sizes(model)} with partialpool {version['partialpool']}.",
        f"Priors: {_priors(model, result['names'])}.",
        _drawn(fitted, version["pymc"]),
    ]
    checks = result["checks"]
    passed = sum(check["passed"] for check in checks)
    each = "; ".join(
        f"{check['name']} {number(check['value'])} (wanted {check['threshold']})"
        for check in checks
    )
    says += [f"Of {len(checks)} checks of the computation, with ArviZ {version['arviz']}, "
             f"{passed} were passed: {each}.", _missed(result.get("fit"))]  # fmt: skip
    used = ["partialpool", *(["pymc"] if sampled else []), "arviz", *findings]
    cited = [REFERENCES[name].format(version=version.get(name, "")) for name in REFERENCES
             if name in used]  # fmt: skip
    parts = [
        "# Methods and results, to paste",
        "## Methods",
        " ".join(says),
        "## Results",
        _results(result),
        "## References",
        "\n".join(f"- {reference}" for reference in cited),
    ]
    return "\n\n".join(parts) + "\n"


def _own_version() -> str:
    try:
        return importlib.metadata.version("partialpool")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _priors(model: "Regression", called: Mapping[str, str]) -> str:
    """Each parameter in words with its prior."""
    each = [f"{called.get(name, name)}, {prior}" for name, prior in model.priors.items()]
    return "; ".join(each)


def _missed(fit: Mapping[str, Any] | None) -> str:
    """Which checks of the fit to the data were missed, which a text must not hide."""
    if not fit:
        return ""
    missed = [check for check in fit["checks"] if not check["passed"]]
    each = "; ".join(
        f"{check['name']} {number(check['value'])} (wanted {check['threshold']})"
        for check in missed
    )
    said = f"{len(missed)} missed: {each}" if missed else "none was missed"
    count = len(fit["checks"])
    return f"Of {count} check{'s' * (count != 1)} of the model against the data {said}."


def _drawn(fitted: "Fitted", version: str) -> str:
    """How the posterior was drawn from."""
    from partialpool.posterior.checks import route

    attrs = fitted.attrs
    if attrs["method"] == "exact":
        number_of = attrs["chains"] * attrs["draws"]
        says = f"The posterior was drawn from without a Markov chain ({route(fitted)})"
        return f"{says}: {number_of:,} independent draws, seed {attrs['seed']}."
    size = f"{attrs['chains']} chains of {attrs['draws']:,} draws"
    return (
        f"The posterior was sampled with {attrs['method']} ({attrs['route']}; PyMC {version}): "
        f"{size} after {attrs['tune']:,} for tuning, seed {attrs['seed']}."
    )


def _results(result: Mapping[str, Any]) -> str:
    """The headline, and the estimates in words."""
    parts = []
    for name in result["estimates"]:
        figures = result["parameters"][name]
        mean, low, high = (figures.get(key) for key in ("mean", "q05", "q95"))
        if None not in (mean, low, high):
            ends = [rounded(value, figures.get("sd")) for value in (mean, low, high)]
            what = in_words(name, result["names"])
            parts.append(f"{what} {ends[0]} ({ends[1]} to {ends[2]})")
    headline = [result["headline"]] if result["headline"] else []
    each = [f"Posterior means with 90 % equal-tailed intervals: {listed(parts)}."] if parts else []
    return " ".join(headline + each)


def write(
    folder: Path,
    study: str,
    result: Mapping[str, Any],
    shown: Iterable[Finding],
    fitted: "Fitted | None",
) -> None:
    """Write ``values.json``, ``values.tex`` and, of a regression, ``methods.md``."""
    names = [kept["name"] for kept in result["findings"]]
    found = values(result["parameters"], zip(names, shown, strict=True))
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "values.json").write_text(text, encoding="utf-8")
    (folder / "values.tex").write_text(latex(study, found), encoding="utf-8")
    if fitted is not None:
        (folder / "methods.md").write_text(methods(fitted, result, names), encoding="utf-8")

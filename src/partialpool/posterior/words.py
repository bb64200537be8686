"""The model in mathematics and in words, and the reporting guideline's points."""

import numpy as np
import pandas as pd

from partialpool.fit.regression import Regression
from partialpool.posterior.checks import HEADINGS
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted

NOISE = {
    (False, False, False): (
        r"\text{Normal}(0, \sigma^2)",
        "Gaussian, with standard deviation `sigma`",
    ),
    (False, True, False): (
        r"\text{Normal}(0, s_i^2)",
        "Gaussian, with the known standard errors $s_i$ in `{se}`",
    ),
    (False, True, True): (
        r"\text{Normal}(0, s_i^2 + \sigma^2)",
        "Gaussian; its variance is that of the known standard errors $s_i$ in `{se}` and `sigma²` "
        "beside them",
    ),
    (True, False, False): (
        r"\text{Student}(\nu, 0, \sigma)",
        "that of Student's t with scale `sigma` and `nu` degrees of freedom, so that an outlier "
        "bends the line less",
    ),
    (True, True, False): (
        r"\text{Student}(\nu, 0, s_i)",
        "that of Student's t with `nu` degrees of freedom and the known standard errors $s_i$ in "
        "`{se}` for scale",
    ),
    (True, True, True): (
        r"\text{Student}(\nu, 0, \sqrt{s_i^2 + \sigma^2})",
        "that of Student's t with `nu` degrees of freedom; the square of its scale is that of the "
        "known standard errors $s_i$ in `{se}` and `sigma²` beside them",
    ),
}


def equations(regression: Regression) -> Finding:
    """The model of a row in mathematics, then in words."""
    design = regression.design
    known = regression.se is not None
    noise, words = NOISE[
        regression.family == "student", known, known and not regression.priors["sigma"].fixed
    ]
    says = [
        f"`{_plain(design.response)}` is a sum over the population's columns "
        f"({_list(design.x_names) or 'none'}), each with one coefficient for all rows"
    ]
    line, effects = r"\mathbf{x}_i^\top \boldsymbol{\beta}", ""
    if design.z_names:
        line += r" + \mathbf{z}_i^\top \mathbf{b}_{j(i)}"
        effects = r" \\ \mathbf{b}_j &\sim \text{Normal}(\mathbf{0}, \Sigma)"
        together = [
            " and ".join(f"`{_plain(_coefficient(design.z_names[k]))}`" for k in block)
            for block in design.blocks
        ]
        correlated = any(len(block) > 1 for block in design.blocks)
        apart = ", and apart from that in ".join(together)
        says.append(
            f"every `{_plain(design.group)}` deviates from it in {apart}"
            + (" (correlated)" if correlated else "")
        )
        says.append(
            "how much is learned from all groups together: the standard deviations on the "
            "diagonal of $\\Sigma$, whose names end in `_sigma`, set how strongly groups are pooled"
        )
    says.append(f"the noise of a row is {words.format(se=_plain(regression.se or ''))}")
    return Finding(
        "model",
        "$$\n\\begin{aligned}\n"
        rf"y_i &= {line} + e_i \\ e_i &\sim {noise}{effects}"
        "\n\\end{aligned}\n$$\n\n"
        f"In words: {'; '.join(says)}.",
    )


def directions(fitted: Fitted) -> Finding:
    """The population's coefficients with their probability of direction.

    Returns
    -------
    Finding
        Columns ``mean``, ``q05``, ``q95`` and ``positive``, the probability of a positive value.
    """
    rows = {}
    for name in fitted.model.design.x_names:
        value = fitted.population[name]
        low, high = np.quantile(value, [0.05, 0.95])
        rows[name] = {"mean": value.mean(), "q05": low, "q95": high, "positive": (value > 0).mean()}
    table = pd.DataFrame(rows).T
    return Finding("directions", _signs(table), table=table, columns=HEADINGS)


def _signs(table: pd.DataFrame) -> str:
    """The signs of the coefficients, in words."""
    parts = []
    for name, row in table.drop("Intercept", errors="ignore").iterrows():
        share = max(row["positive"], 1 - row["positive"])
        sign = "positive" if row["positive"] >= 0.5 else "negative"
        probability = "more than 99.9 %" if share > 0.999 else f"{share:.1%}"
        parts.append(f"**{name}** is {sign} with probability {probability}")
    return "; ".join(parts) + "." if parts else "There is no coefficient beside the intercept."


def guideline(fitted: Fitted) -> Finding:
    """The points of the Bayesian analysis reporting guidelines, and where this page answers them.

    The points are those of Kruschke (2021), Nature Human Behaviour 5, 1282–1291, Table 1, in words
    of ours.
    """
    exact, proper = fitted.attrs["method"] == "exact", fitted.model.proper
    computed = (
        "independent draws, no chain to converge; how the fit judged itself is among the checks"
        if exact
        else "R-hat, effective draws and divergences are among the checks"
    )
    points = [
        ("Why Bayesian, and to what end", "yours to add: what the analysis is for", ""),
        ("Data and variables", "", "the-data"),
        ("Likelihood and parameters", "", "the-model"),
        (
            "Priors and their reason",
            "defaults are scaled to the data; say why if you set them",
            "the-model",
        ),
        (
            "Prior predictive check",
            "" if proper else "impossible with a flat prior",
            "prior-predictive-check",
        ),
        ("Software", "every version is listed", "run-provenance"),
        ("Convergence and resolution of the computation", computed, "run-checks"),
        ("Posterior predictive check", "", "does-the-model-fit"),
        ("Summary of the posterior", "centre, interval of stated kind, direction", "coefficients"),
        (
            "Model comparison",
            "evidence and leave-one-out prediction"
            if "log_evidence" in fitted.attrs
            else "leave-one-out prediction",
            "complete-no-and-partial-pooling",
        ),
        ("Decisions and their criteria", "none is made here; no threshold is applied", ""),
        ("Sensitivity to the prior", "", "sensitivity"),
        ("Reproducibility: data, code, settings, seed", "one command", "run-reproduce"),
    ]
    rows = "\n".join(
        f"| {point} | {remark} | {f'[{_title(anchor)}](#{anchor})' if anchor else '–'} |"
        for point, remark, anchor in points
    )
    head = "| point of the guideline | remark | section |\n|---|---|---|\n"
    return Finding("guideline", head + rows)


def _title(anchor: str) -> str:
    """The heading that an anchor leads to."""
    return anchor.removeprefix("run-").replace("-", " ").capitalize()


def _coefficient(name: str) -> str:
    return "Intercept" if name == "1" else name


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{_plain(name)}`" for name in names)


def _plain(name: str) -> str:
    """A name that stays inside the backticks around it."""
    return name.replace("`", "'")

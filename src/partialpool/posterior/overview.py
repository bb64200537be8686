"""What a model is: its columns, its priors, its equations, and where a page answers a guideline."""

import re
from typing import Any

import pandas as pd

from partialpool.data.text import code, listed, number, rounded
from partialpool.design.default_priors import resolve
from partialpool.design.families import LINKS
from partialpool.design.formula import read, used_columns, variables
from partialpool.design.matrices import Design, Grouping
from partialpool.design.priors import Prior
from partialpool.fit.regression import Regression
from partialpool.posterior.draws import coefficient
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import of_coefficient, readable, sizes
from partialpool.posterior.predictions import group_columns

NOISE = {
    (False, False, False): (
        r"\text{Normal}(0, \sigma^2)",
        "Gaussian, with standard deviation `sigma`",
    ),
    (False, True, False): (
        r"\text{Normal}(0, s_i^2)",
        "Gaussian, with the known standard errors $s_i$ in {se}",
    ),
    (False, True, True): (
        r"\text{Normal}(0, s_i^2 + \sigma^2)",
        "Gaussian; its variance is that of the known standard errors $s_i$ in {se} and `sigma²` "
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
        "{se} for scale",
    ),
    (True, True, True): (
        r"\text{Student}(\nu, 0, \sqrt{s_i^2 + \sigma^2})",
        "that of Student's t with `nu` degrees of freedom; the square of its scale is that of the "
        "known standard errors $s_i$ in {se} and `sigma²` beside them",
    ),
}


#: Headings that their anchors do not spell.
HEADINGS = {
    "complete-no-and-partial-pooling": "Complete, no and partial pooling",
    "does-the-model-fit": "Does the model fit?",
    "run-checks": "Checks in full",
}
#: The same of families with a link: their law in mathematics, the line in it, and words.
LINKED = {
    "binomial": (
        r"y_i &\sim \text{{Binomial}}(n_i, p_i) \\ \text{{logit}}\, p_i &= {line}",
        "the number of successes {response} in {trials} trials has a binomial distribution, and "
        "the log odds of a success are a sum",
    ),
    "binary": (
        r"y_i &\sim \text{{Bernoulli}}(p_i) \\ \text{{logit}}\, p_i &= {line}",
        "{response} is a success or not, and the log odds of a success are a sum",
    ),
    "poisson": (
        r"y_i &\sim \text{{Poisson}}(\mu_i) \\ \log \mu_i &= {line}",
        "the count {response} has a Poisson distribution, and the logarithm of its mean is a sum",
    ),
    "negbinomial": (
        r"y_i &\sim \text{{NegBinomial}}(\mu_i, \phi) \\ \log \mu_i &= {line}",
        "the count {response} has a negative binomial distribution, whose variance is "
        r"$\mu + \mu^2 / \phi$ with `shape` $\phi$, and the logarithm of its mean $\mu$ is a sum",
    ),
    "cumulative": (
        r"\text{{logit}}\, P(y_i \le k) &= c_k - ({line})",
        "the log odds of an answer {response} up to the k-th are the k-th threshold less a sum, so "
        "that a larger sum makes later answers likelier; the sum is one",
    ),
}


def columns(model: Regression) -> Finding:
    """A row for each column that the model reads: its role, kind, range, and missing values if any.

    Of data in parts the figures are those of the sample of rows.
    """
    design, table = model.design, model.table
    groups, trials = group_columns(design), read(design.formula).trials
    response = variables(read(design.formula).answer, design.formula)
    rows = {}
    for name in used_columns(design.formula, model.se):
        values = table[name]
        role = (
            "group"
            if name in groups
            else "standard error"
            if name == model.se
            else "predictor"
            if name in design.predictors
            else "trials"
            if trials and name not in response
            else "response"
        )
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        figures = numeric and role != "group"
        ends = [_end(model, name, end) for end in (values.min(), values.max())] if figures else []
        constant = name not in groups and _constant_in_groups(design, values)
        called = {"in words": model.label(name)} if model.labels else {}
        rows[name] = called | {
            "role": f"{role}, of the group" if constant and role == "predictor" else role,
            "different values": f"{values.nunique():,}",
            "mean": rounded(_mean(values), values.std()) if figures else "",
            "sd": rounded(values.std(), values.std()) if figures else "",
            "range": " to ".join(ends) if figures else _levels(model, values),
        }
        if any(model.lacking.values()):
            rows[name]["missing"] = str(model.lacking.get(name, 0))
    order = (
        "response",
        "trials",
        "predictor",
        "predictor, of the group",
        "standard error",
        "group",
    )
    found = pd.DataFrame.from_dict(rows, orient="index")
    found = found.sort_values("role", key=lambda r: r.map(order.index), kind="stable")
    few = len(table) < design.n_rows
    says = f"Figures are those of the random sample of {len(table):,} rows." if few else ""
    return Finding("columns", says, table=found)


def _mean(values: pd.Series) -> float:
    """The mean; zero where it is but the rounding of a column that was centred."""
    mean = float(values.mean())
    return mean if abs(mean) > 1e-12 * float(values.abs().max()) else 0.0


def priors(model: Regression) -> Finding:
    """The formula with its rows and groups, and the prior of every parameter."""
    design = model.design
    known = f"; standard errors in {model.se}" if model.se else ""
    noise = "; noise with Student's t distribution" if model.family == "student" else ""
    if model.linked:
        noise = f"; family {model.family} with the {LINKS[model.family]} link{_answers(model)}"
    says = f"`{model.formula}`: {sizes(model)}{known}{noise}. Read as "
    says += f"`{design.written}`."
    given = {name: str(prior) for name, prior in _priors(model).items()}
    table = pd.DataFrame({"parameter": list(given), "prior": list(given.values())})
    if any(prior.startswith("Normal(") for prior in given.values()):
        says += " The second number of a Normal prior is a standard deviation."
    read_as = model.table.attrs.get("read_as", "")
    remarks = [
        r for r in (read_as, model.dropped, model.unidentified, model.mismatch, design.nesting) if r
    ]
    words = " ".join([says, *remarks])
    return Finding("priors", words, table=table, index=False, names=readable(model))


def _priors(model: Regression) -> dict[str, Prior]:
    """The priors, but for that of noise which a model with known standard errors does not have."""
    return {n: p for n, p in model.priors.items() if not (p.fixed and p.arguments[0] == 0)}


def _constant_in_groups(design: Design, values: pd.Series) -> bool:
    """Whether a column has one value in each group of a factor, and some group has several rows."""
    return any(
        grouping.counts.max() > 1
        and bool((values == values.groupby(grouping.codes).transform("first")).all())
        for grouping in design.groupings
    )


def _end(model: Regression, name: str, value: Any) -> str:
    """The least or the largest value of a column, with its label where it has one."""
    return number(value) + (
        f" ({model.words(name, value)})" if model.has_label(name, value) else ""
    )


def _levels(model: Regression, values: pd.Series) -> str:
    levels = sorted(values.astype(str).unique(), key=_in_order)
    levels = [model.words(str(values.name), level) for level in levels]
    return ", ".join(levels) if len(levels) <= 4 else f"{levels[0]}, {levels[1]}, …, {levels[-1]}"


def _in_order(level: str) -> list[tuple[bool, int, str]]:
    """Key by which school 9 stands before school 10."""
    parts = filter(None, re.split(r"(\d+)", level))
    return [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]


def equations(regression: Regression) -> Finding:
    """The model of a row in mathematics, then in words."""
    design = regression.design
    called, answer = readable(regression), _called(regression, design.response)
    names = ", ".join(called.get(name, name) for name in design.x_names) or "none"
    says = [
        f"{'' if answer[0] == '`' else 'the '}{answer.removeprefix('the ')} is a sum of what the "
        f"population's coefficients say of a row ({names}), the same for all rows"
    ]
    if regression.linked:
        binary = regression.family == "binomial" and not regression.spreads
        law, words = LINKED["binary" if binary else regression.family]
        trials = code(read(regression.formula).trials)
        told = words.format(response=code(design.response), trials=trials)
        says = [f"{told} of what the population's coefficients say of a row ({names})"]
        if design.offset is not None:
            says[0] += ", with an offset whose coefficient is one"
        says[0] += ", the same for all rows"
    line, effects = r"\mathbf{x}_i^\top \boldsymbol{\beta}", ""
    several = len(design.groupings) > 1
    for place, grouping in enumerate(design.groupings, 1):
        row, group, of_row, own = "i", "j", "{j(i)}", ""
        if several:
            row, group, of_row = (f"{{{place},{at}}}" for at in ("i", "j", f"j_{place}(i)"))
            own = f"_{place}"
        line += rf" + \mathbf{{z}}_{row}^\top \mathbf{{b}}_{of_row}"
        effects += rf" \\ \mathbf{{b}}_{group} &\sim \text{{Normal}}(\mathbf{{0}}, \Sigma{own})"
        says.append(_deviations(regression, grouping))
    if design.groupings:
        matrices = [rf"$\Sigma_{place}$" for place in range(1, len(design.groupings) + 1)]
        says.append(
            "how far groups deviate is learned from all of them together: the square roots of the "
            f"diagonal of {listed(matrices) if several else r'$\Sigma$'} are standard deviations "
            "between groups, and set how strongly groups are pooled"
        )
    if regression.linked:
        if design.offset is not None:
            line += r" + o_i"
        rows = law.format(line=line) + effects
    else:
        known = regression.se is not None
        noise, words = NOISE[
            regression.family == "student", known, known and not regression.priors["sigma"].fixed
        ]
        says.append(f"the noise of a row is {words.format(se=code(regression.se))}")
        rows = rf"y_i &= {line} + e_i \\ e_i &\sim {noise}{effects}"
    return Finding(
        "model",
        "$$\n\\begin{aligned}\n" + rows + f"\n\\end{{aligned}}\n$$\n\nIn words: {'; '.join(says)}.",
    )


def _answers(model: Regression) -> str:
    """Which answer counts as a success, or the order of answers."""
    answers = model.design.answers
    if not answers:
        return ""
    if model.thresholds:
        return f"; answers in the order {', '.join(map(code, answers))}"
    return f"; {code(answers[1])} is the success"


def _called(model: Regression, name: str) -> str:
    """The label of a column, or its own name as code."""
    words = model.words(name)
    return words if words != name or name in model.labels else code(name)


def _deviations(model: Regression, grouping: Grouping) -> str:
    """In which coefficients the groups of a factor deviate from the population."""
    names = [of_coefficient(model, coefficient(name)) for name in grouping.z_names]
    together = [" and ".join(names[k] for k in block) for block in grouping.blocks]
    correlated = " (correlated)" if grouping.correlated_pairs else ""
    apart = ", and apart from that in ".join(together)
    return f"every {_called(model, grouping.name)} deviates from it in {apart}{correlated}"


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
            "; ".join(_priors_in_words(fitted.model)),
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
        (
            "Decisions and their criteria",
            "none about the subject, unless you say which changes are too small to matter; the "
            "thresholds that are applied judge computation and fit, each with its rule",
            "run-checks",
        ),
        ("Sensitivity to the prior", "", "sensitivity"),
        ("Reproducibility: data, code, settings, seed", "one command", "run-reproduce"),
    ]
    rows = "\n".join(
        f"| {point} | {remark} | {f'[{_title(anchor)}](#{anchor})' if anchor else '–'} |"
        for point, remark, anchor in points
    )
    head = "| point of the guideline | remark | section |\n|---|---|---|\n"
    return Finding("guideline", head + rows)


def _priors_in_words(model: Regression) -> list[str]:
    """Where the priors come from, and what is left to say of those that are no defaults."""
    defaults = resolve(model.design, None, model.family)
    priors = _priors(model)
    given = [n for n, prior in priors.items() if n not in defaults or defaults[n] != prior]
    called = readable(model)
    # a bar would end a cell of the table
    names = [called.get(name, name).replace("|", r"\|") for name in given]
    words = [f"{listed(names)}: set for this study, say why"] if given else []
    if len(given) < len(priors):
        words.append(f"{'the others' if given else 'all'} as by default, scaled to the data")
    return words


def _title(anchor: str) -> str:
    """The heading that an anchor leads to."""
    return HEADINGS.get(anchor, anchor.removeprefix("run-").replace("-", " ").capitalize())

"""What a regression is about and what it asks, in words, where a study does not say so itself.

The question is the one that the headline answers.
"""

from partialpool.data.text import capital, listed
from partialpool.fit.regression import Regression
from partialpool.posterior.contrasts import is_numeric, predictors
from partialpool.posterior.headline import crossed, response_in_words
from partialpool.posterior.names import groups_in_words
from partialpool.posterior.natural_scale import Natural

#: Most predictors that a title names.
NAMED = 3


def title(model: Regression, natural: Natural | None = None) -> str:
    """The response, its predictors and its groups: "Reaction by Days, across subjects".

    Parameters
    ----------
    model : Regression
    natural : Natural, optional
        What the response is the logarithm of.
    """
    columns = predictors(model)
    named = [model.words(column) for column in columns[:NAMED]]
    if len(columns) > len(named):
        named = [*named[: NAMED - 1], f"{len(columns) - NAMED + 1} other predictors"]
    what = natural.name if natural else model.words(model.design.response)
    signs = what == model.design.response and not (what.isalpha() and len(what) > 2)  # such as y
    if not signs:
        what = capital(what)
    by = f" by {listed(named)}" if named else ""
    groups = [groups_in_words(model, grouping) for grouping in model.design.groupings]
    across = f"{',' if by else ''} across {listed(groups)}" if groups else ""
    return f"{what}{by}{across}"


def question(model: Regression, natural: Natural | None = None) -> str:
    """What the headline answers: the first predictor or an interaction, and how groups differ."""
    columns, pair = predictors(model), crossed(model)
    what = natural.name if natural else response_in_words(model)
    groups = listed([groups_in_words(model, grouping) for grouping in model.design.groupings])
    differ = f"how much do {groups} differ" if groups else ""
    if columns:
        first, *others = pair or columns
        verb = "change with" if is_numeric(model, first) else "differ by"
        asked = [f"How does {what} {verb} {model.words(first)}"]
        if pair:
            asked.append(f"how does that depend on {model.words(others[0])}")
        elif 0 < len(others) < NAMED:
            asked[0] += f" at the same {listed([model.words(column) for column in others])}"
        elif others:
            asked[0] += f" when the {len(others)} other predictors stay the same"
    elif model.linked:
        asked = [f"What is {what}"]
    elif "Intercept" in model.design.x_names:
        mean = what.startswith(("the average ", "the mean "))
        asked = [f"What is {'' if mean else 'the average of '}{what}"]
    else:
        return f"How much do {groups} differ in {what}?"
    asked += [differ] if differ else []
    if len(asked) > 1:
        return f"{', '.join(asked[:-1])}, and {asked[-1]}?"
    return f"{asked[0]}?"

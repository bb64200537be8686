"""What is compared: changes of a predictor, and the rows at which they are looked at."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.columns import require_columns
from partialpool.data.text import closest, number, singular
from partialpool.design import formula
from partialpool.fit.regression import Regression

#: Half the step of a derivative, in standard deviations of the column: exact for polynomials up
#: to the second degree, and close for anything smooth.
STEP = 1e-3
#: Columns: names, or a mapping of each to values of it or to what is done to it.
Variables = str | Sequence[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Contrast:
    """A change of one column, whose effect on the line is asked for.

    Attributes
    ----------
    column : str
    label : str
        Such as ``"Male - Female"``, ``"+1"`` or ``"slope"``.
    low, high : values of the column
        What is compared, the second against the first.
    moves : bool
        Whether these are added to each row's value instead of taking its place.
    times : bool
        Whether each row's value is multiplied by these.
    width : float
        What the difference is divided by.
    """

    column: str
    label: str
    low: Any
    high: Any
    moves: bool = False
    times: bool = False
    width: float = 1.0

    def ends(self, table: pd.DataFrame) -> list[pd.DataFrame]:
        """Rows before and after the change."""
        start = table[self.column]
        ends = [
            start + end if self.moves else start * end if self.times else end
            for end in (self.low, self.high)
        ]
        return [table.assign(**{self.column: end}) for end in ends]

    def words(self, model: Regression) -> str:
        """Say what is changed."""
        name = model.label(self.column)
        if self.times:
            return f"twice the {name}"
        if not self.moves:
            high, low = (
                level_in_words(model, self.column, value) for value in (self.high, self.low)
            )
            named = "" if model.has_label(self.column, self.high) else f"{name} "
            return f"{named}{high} instead of {low}"
        step = (self.high - self.low) / self.width
        unit, of_what = counted(model, self.column)
        return (
            f"one {singular(unit)} more {of_what}"
            if step == 1
            else (f"{step:g} {unit} more {of_what}")
        )

    def short(self, model: Regression) -> str:
        """`label` with the words that the study has for the levels: "first floor − basement"."""
        if self.moves or self.times:
            return self.label
        low, high = (level_in_words(model, self.column, v) for v in (self.low, self.high))
        return f"{high} − {low}"

    def is_constant(self, model: Regression, rows: pd.DataFrame) -> bool:
        """Whether the line, before a link, changes by the same at each of some rows."""
        low, high = (
            np.column_stack([model.design.columns(end)[0], model.design.offset_of(end)])
            for end in self.ends(rows)
        )
        moved = high - low
        return bool((np.ptp(moved, axis=0) <= 1e-6 * np.abs(moved).max(axis=0)).all())


def counted(model: Regression, column: str) -> tuple[str, str]:
    """What a numeric column is counted in, and of what: "days", "of restricted sleep"."""
    name, unit = model.words(column), model.units.get(column)
    if unit and name.startswith(f"{unit} "):
        return unit, name.removeprefix(f"{unit} ")
    return unit or "units", f"of {name}"


def predictors(model: Regression) -> list[str]:
    """Columns of the table in the population's part of the formula, as written.

    Those that only say over which rows ``ave`` averages, and what, are none: new rows get the
    means of the data.
    """
    common = re.sub(r"\bave\([^()]*\)", "I(1)", formula.read(model.formula).population)
    return sorted(formula.variables(common, model.formula), key=common.find)


def response(model: Regression) -> str:
    """What results are of: the response, before an offset is taken from it, or its mean."""
    if not model.linked:
        return model.label(formula.read(model.formula).response)
    name, answers = model.design.response, model.design.answers
    if model.family == "binomial":
        success = f" = {answers[1]}" if answers and name == model.words(name) else ""
        return f"the probability of {model.words(name)}{success}"
    return f"the {'mean' if model.thresholds else 'expected'} {model.label(name)}"


def group_columns(model: Regression) -> list[str]:
    """Columns of the grouping factors."""
    terms = formula.read(model.formula).terms
    return list(dict.fromkeys(column for term in terms for column in term.columns))


def is_numeric(model: Regression, column: str) -> bool:
    """Whether a column has a slope: a number of more than two values, not used as categories."""
    values = model.table[column]
    number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return bool(number and values.nunique() > 2 and not model.design.is_categorical(column))


def levels(model: Regression, column: str) -> list[Any]:
    """Values of a column in the table, the reference first."""
    values = model.table[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        return [level for level in values.cat.categories if (values == level).any()]
    number = pd.api.types.is_numeric_dtype(values)
    found = sorted(values.dropna().unique().tolist(), key=None if number else str)
    if not number or len(found) <= 2:
        return found
    # of numbers that are one category to the formula, as intervals are, the middle one
    X, _ = model.design.columns(datagrid(model, {column: found}))
    category = np.unique(X, axis=0, return_inverse=True)[1].reshape(-1)
    members = [np.flatnonzero(category == k) for k in np.unique(category)]
    return sorted(found[of[len(of) // 2]] for of in members)


def text(value: Any) -> str:
    """A value of a column in words: a number that is not whole with four digits."""
    return number(value) if isinstance(value, float) else str(value)


def level_in_words(model: Regression, column: str, value: Any) -> str:
    """A value of a column by its label, where the study gives it one."""
    return model.words(column, value) if model.has_label(column, value) else text(value)


def reference(model: Regression, column: str) -> Any:
    """The mean of a numeric column, the most frequent value of another.

    The labels of the groups over which ``ave`` averages may be numbers, but have no mean.
    """
    values = model.table[column]
    over = re.findall(r"\bave\([^(),]*,([^()]*)\)", formula.read(model.formula).population)
    label = any(column in formula.variables(f"I({n})", n) for part in over for n in part.split(","))
    numeric = is_numeric(model, column) and not label
    return float(values.mean()) if numeric else values.mode().iloc[0]


def datagrid(model: Regression, values: Mapping[str, Any]) -> pd.DataFrame:
    """All combinations of some values, the other predictors at their `reference`.

    Parameters
    ----------
    model : Regression
    values : mapping
        Column -> a value, or a list of them; may be empty.

    Raises
    ------
    ValueError
        For a column that the table does not have.
    """
    require_columns(model.table.columns, [*values])
    rows = pd.DataFrame(list(product(*map(_listed, values.values()))), columns=[*values])
    held = {n: reference(model, n) for n in model.design.predictors if n not in values}
    return rows.assign(**held)


def group_rows(model: Regression) -> tuple[pd.DataFrame, set[str]]:
    """A row for each group, and the predictors that are the same in all rows of every group.

    These keep their values; others are at their `reference`. With several factors there is one for
    each combination of their levels.
    """
    of = group_columns(model)
    by_group = model.table.groupby(of, observed=True, sort=False)
    held = datagrid(model, {}).iloc[0]
    own = {name for name in held.index if by_group[name].nunique().max() == 1}
    return by_group.head(1).assign(**held.drop([*own]).to_dict()).reset_index(drop=True), own


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not np.ndim(value) else list(value)


def counterfactual(model: Regression, table: pd.DataFrame, variables: Variables) -> pd.DataFrame:
    """Each row with each combination of values of some columns.

    The values are those of the mapping; of a name alone all levels, or the quartiles of a numeric
    column.
    """
    given = variables if isinstance(variables, Mapping) else {}
    values = {}
    for name in _known(model, variables):
        if name in given:
            values[name] = _listed(given[name])
        elif is_numeric(model, name):
            values[name] = model.table[name].quantile([0, 0.25, 0.5, 0.75, 1]).unique().tolist()
        else:
            values[name] = levels(model, name)
    each = [
        table.assign(**dict(zip(values, combination, strict=True)))
        for combination in product(*values.values())
    ]
    return pd.concat(each, ignore_index=True)


def contrasts(
    model: Regression,
    variables: Variables | None = None,
    *,
    slope: bool,
    doubling: bool = False,
) -> list[Contrast]:
    """What is compared.

    Parameters
    ----------
    model : Regression
    variables : str, sequence of str or mapping, optional
        Predictors; all of the population's part when not given. A mapping says for each what is
        compared: two values, the second against the first; a number, by which it grows; or
        ``"pairwise"``, each value against each before it.
    slope : bool
        Whether a numeric column without such a wish is compared by its slope, or by one unit more.
        Any other column has each of its `levels` against the first.
    doubling : bool
        Whether instead of its slope it is doubled, where only its logarithm is in the formula: the
        slope is steepest where there is least of it, and twice as much is the same everywhere.

    Raises
    ------
    ValueError
        For what is no predictor, and for a comparison that is none.
    """
    wanted = predictors(model) if variables is None else variables
    given = wanted if isinstance(wanted, Mapping) else {}
    found = []
    for name in _known(model, wanted):
        if doubling and given.get(name) is None and logged(model, name):
            found.append(Contrast(name, "doubled", 1, 2, times=True))
        else:
            found += _changes(model, name, given.get(name), slope)
    return found


def logged(model: Regression, column: str) -> bool:
    """Whether all that a formula has of a column is its logarithm."""
    read = formula.read(model.formula)
    taken = rf"(?<![\w.])(?:np\s*\.\s*)?log(?:2|10)?\s*\(\s*{re.escape(column)}\s*\)"
    parts = [read.population, *(term.expression for term in read.terms)]
    parts += [f"I({offset})" for offset in read.offsets]
    left = [re.sub(taken, f"{column}_logged", part) for part in parts]
    return left != parts and not any(column in formula.variables(p, read.text) for p in left)


def _known(model: Regression, variables: Variables) -> list[str]:
    """Names of predictors; a ValueError for what is none."""
    names = [variables] if isinstance(variables, str) else [*variables]
    known = list(dict.fromkeys([*predictors(model), *model.design.predictors]))
    for name in names:
        if name not in known:
            hint = closest(name, known) or f"; there are {', '.join(known) or 'none'}."
            raise ValueError(f"variables: {name!r} is no predictor of the model{hint}")
    return names


def _step(model: Regression, column: str) -> float:
    """Half the step of a derivative: much less than what leads a row out of a function's domain."""
    table, step = model.table, STEP * float(model.table[column].std())
    for smaller in (1.0, 1e-2, 1e-4):
        ends = [table.assign(**{column: table[column] + way * smaller * step}) for way in (-1, 1)]
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = all(np.isfinite(model.design.columns(end)[0]).all() for end in ends)
        if inside:
            return step * (smaller if smaller == 1 else smaller / 100)
    return step


def _changes(model: Regression, column: str, change: Any, slope: bool) -> Iterator[Contrast]:
    """The contrasts of one column."""
    numeric = is_numeric(model, column)
    if change is None and numeric and slope:
        step = _step(model, column)
        yield Contrast(column, "slope", -step, step, moves=True, width=2 * step)
    elif (change is None and numeric) or isinstance(change, int | float):
        step = 1 if change is None else change
        yield Contrast(column, f"{step:+g}", 0, step, moves=True)
    elif change is None or change == "pairwise":
        values = levels(model, column)
        pairs = [(values[0], value) for value in values[1:]]
        for low, high in combinations(values, 2) if change else pairs:
            yield Contrast(column, f"{text(high)} - {text(low)}", low, high)
    elif isinstance(change, str) or len(change) != 2:
        raise ValueError(
            f"variables: {column!r} takes two values, the second against the first; a number, by "
            f"which it grows; or 'pairwise'; not {change!r}."
        )
    else:
        low, high = change
        yield Contrast(column, f"{text(high)} - {text(low)}", low, high)

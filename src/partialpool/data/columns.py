"""What a table must be before a formula is evaluated on it; one sentence where it is not."""

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from partialpool.data.text import closest

#: A category may have this many levels however few rows there are.
MOST_LEVELS = 50
#: Text among numbers makes a category of at most so many numbers, unless it is as rare as this.
FEW_NUMBERS, RARE = 10, 0.01


def standard_errors(table: pd.DataFrame, se: str) -> np.ndarray:
    """Known standard errors (N,) from the column `se`; a ValueError where one is not positive."""
    require_columns(table.columns, [se])
    values = table[se]
    if not pd.api.types.is_numeric_dtype(values) or not (values > 0).all():
        raise ValueError(f"se: the standard errors in {se!r} must be positive numbers.")
    return values.to_numpy(float)


def require_columns(there: Iterable[str], names: list[str], where: str = "The table") -> None:
    """Raise a ValueError that names the first column that is not there and the closest that is."""
    there = [*there]
    for name in names:
        if name not in there:
            hint = closest(name, map(str, there)) or f"; it has {', '.join(map(repr, there))}."
            raise ValueError(f"{where} has no column {name!r}{hint}")


def require_complete(table: pd.DataFrame, names: list[str]) -> None:
    """Raise a ValueError that counts rows with missing or infinite values, column by column."""
    counts = {name: int(bad.sum()) for name, bad in incomplete(table, names).items()}
    if any(counts.values()):
        where = ", ".join(f"{count} in {name!r}" for name, count in counts.items() if count)
        raise ValueError(
            f"Rows with missing or infinite values: {where}. Leave these rows out with `missing` "
            "set to 'drop' (--missing drop), or fill them in."
        )


def incomplete(table: pd.DataFrame, names: list[str]) -> dict[str, np.ndarray]:
    """Which values (N,) of the columns `names` are missing or infinite."""
    found = {}
    for name in names:
        values = table[name]
        if pd.api.types.is_float_dtype(values):
            found[name] = ~np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))
        else:
            found[name] = values.isna().to_numpy()
    return found


def require_kinds(table: pd.DataFrame, names: list[str], response: Collection[str]) -> None:
    """Raise a ValueError for a column that is neither numbers nor categories, or text for y."""
    for name in names:
        values = table[name]
        if isinstance(values, pd.DataFrame):
            raise ValueError(f"The table has {values.shape[1]} columns {name!r}; rename them.")
        kind = pd.api.types
        if kind.is_numeric_dtype(values) and not kind.is_complex_dtype(values):
            continue
        text = isinstance(values.dtype, pd.CategoricalDtype) or (
            values.dropna().map(lambda value: isinstance(value, str)).all()
        )
        if not text:
            such = f"values such as {str(values.dropna().iloc[0])[:40]}"
            raise ValueError(
                f"The column {name!r} holds {such if values.dtype == object else values.dtype}, "
                "which a formula cannot use; turn it into numbers, or into text for categories."
            )
        if (values == values.iloc[0]).all():
            raise ValueError(
                f"The column {name!r} has one level, {str(values.iloc[0])!r}; leave it out."
            )
        numbers = pd.to_numeric(values.astype(str), errors="coerce")
        odd = values[numbers.isna()]
        row = int(numbers.isna().to_numpy().argmax()) + 1  # as people count, not labels of an index
        where = "" if "template" in table.attrs else f" in row {row}"
        such = f", such as {str(odd.iloc[0])!r}{where}" if len(odd) else ""
        if name in response:
            raise ValueError(
                f"The response {name!r} holds text{such}; it must be numbers. For two "
                "categories set `family: binomial`, for ordered ones `family: cumulative`."
            )
        # "3+" beside "0", "1" and "2" is a category; text beside measurements, or once, a mistake
        mistaken = numbers.nunique() > FEW_NUMBERS or len(odd) < RARE * len(values)
        mixed = 0 < len(odd) < len(values) / 2 and mistaken
        if mixed or values.nunique() > max(MOST_LEVELS, len(values) / 2):
            raise ValueError(
                f"The column {name!r} holds text{such}, and has {values.nunique():,} levels in "
                f"{len(values):,} rows; turn it into numbers, or leave it out."
            )


def require_finite(columns: np.ndarray, names: tuple[str, ...] | list[str], formula: str) -> None:
    """Raise a ValueError for columns (N, k) of which values or their squares are not finite."""
    bad = ~np.isfinite(columns)
    if bad.any():
        k = int(bad.any(axis=0).argmax())
        raise ValueError(
            f"In {formula!r}, {names[k]} is not a finite number in {bad[:, k].sum():,} of "
            f"{len(columns):,} rows; the function does not suit the column's values."
        )
    with np.errstate(over="ignore", under="ignore"):
        squares = (columns**2).sum(axis=0)
    bad = ~np.isfinite(squares) | (squares == 0) & columns.any(axis=0)
    if bad.any():
        k = int(bad.argmax())
        value = columns[columns[:, k] != 0, k][0]
        raise ValueError(
            f"In {formula!r}, {names[k]} has values such as {value:.3g}, whose squares a computer "
            "cannot hold; give it in another unit."
        )

"""What the rows can tell: which coefficients apart, and whether the response suits the model."""

from collections.abc import Iterable

import numpy as np

from partialpool.design.matrices import Design
from partialpool.design.totals import CONSTANT, products

#: Fewer rows than this tell nothing of a response.
LEAST = 10
#: Kind of a response that noise with one spread does not fit -> what it is, and what fits it.
KINDS = {
    "binary": (
        "has only two values",
        "Its mean is a share between them, which a line can leave; logistic regression fits it",
    ),
    "ordinal": (
        "has {n} whole numbers from {low:.0f} to {high:.0f}, as ordered answers do",
        "Distances between answers are taken at face value; ordinal regression fits them",
    ),
    "count": (
        "has whole numbers from {low:.0f} up, a quarter of them below 20, as counts do",
        "Small counts spread less than large ones; Poisson or negative-binomial regression fits",
    ),
}


class Explained:
    """Cross-products of a design's columns by group, from which ranks follow.

    Parameters
    ----------
    design : Design
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        columns = dict(zip(design.z_names, design.Z.T, strict=True))
        columns |= dict(zip(design.x_names, design.X.T, strict=True)) | {design.response: design.y}
        names = [name for name in columns if name not in CONSTANT]
        if design.moments is not None:
            found = design.moments.over(tuple(names))
            self.counts, means = found.counts, found.means(np.zeros(len(names)))
            middle = found.total().means(np.zeros(len(names)))[0]
            about, centred = found.means(middle), found.centred()
        else:
            J, codes = design.n_groups, design.codes
            self.counts = np.bincount(codes, minlength=J)
            rows = np.maximum(self.counts, 1)
            values = [columns[name] for name in names]
            means = np.stack([np.bincount(codes, v, J) / rows for v in values], axis=1)
            away = [v - m[codes] for v, m in zip(values, means.T, strict=True)]
            about = means - np.stack([v.mean() for v in values])
            centred = np.empty((J, len(names), len(names)))
            for a, one in enumerate(away):
                for b, other in enumerate(away[: a + 1]):
                    centred[:, a, b] = centred[:, b, a] = np.bincount(codes, one * other, J)
        # a constant column stands last
        self.at = {name: k for k, name in enumerate(names)} | dict.fromkeys(CONSTANT, len(names))
        self.means, self.about = (
            np.pad(m, ((0, 0), (0, 1)), constant_values=1) for m in (means, about)
        )
        self.centred = np.pad(centred, ((0, 0), (0, 1), (0, 1)))

    def by(self, z: Iterable[int], x: Iterable[int]) -> tuple[int, float]:
        """Rank of some columns of Z, each group's apart, and of X together; and what is left.

        Parameters
        ----------
        z, x : iterable of int
            Columns of Z and X.

        Returns
        -------
        int
            Rank of ``[Z X]`` for these columns.
        float
            What they leave of the response's sum of squares, as a share of its sum within groups
            if an intercept varies, else about its mean if there is an intercept.
        """
        z_names = [self.design.z_names[k] for k in z]
        x_names = [self.design.x_names[k] for k in x]
        own = "1" in z_names
        z_names = [name for name in z_names if name != "1"]
        at = [self.at[name] for name in (*z_names, *x_names, self.design.response)]
        moved = (np.arange(len(at)) >= len(z_names)) & ("Intercept" in x_names)
        products = self.centred[:, at][:, :, at]
        if not own:
            m = np.where(moved, self.about[:, at], self.means[:, at])
            products = products + self.counts[:, None, None] * m[:, :, None] * m[:, None]
        q = len(z_names)
        # what rounding may leave of a column that is constant in a group
        dust = 1e-13 * self.counts[:, None] * self.means[:, at] ** 2
        size = np.maximum(np.diagonal(products, axis1=1, axis2=2), dust)
        whole = size[:, -1].sum()
        ranks, products = _swept(products, size, q)
        rest = products[:, q:, q:].sum(axis=0)[None]
        more, rest = _swept(rest, size[:, q:].sum(axis=0)[None], len(x_names))
        rank = own * int((self.counts > 0).sum()) + int(ranks.sum()) + int(more.sum())
        return rank, float(max(rest[0, -1, -1], 0.0) / (whole or 1.0))


def _swept(products: np.ndarray, size: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rank (J,) of the first k columns of products (J, d, d), and what they do not explain.

    A column counts if more is left of it than rounding leaves of its `size` (J, d).
    """
    ranks = np.zeros(len(products), dtype=np.int64)
    for c in range(k):
        pivot = products[:, c, c]
        used = pivot > 1e-11 * size[:, c]
        ranks += used
        weight = np.divide(1.0, pivot, out=np.zeros(len(pivot)), where=used)
        column = products[:, :, c]
        products = products - weight[:, None, None] * column[:, :, None] * column[:, None]
    return ranks, products


def require_estimable(design: Design) -> None:
    """Raise a ValueError that names the column and the remedy."""
    n, p = design.n_rows, len(design.x_names)
    if "sigma" in design.x_names:
        raise ValueError(
            "A predictor cannot be called 'sigma', the name of the residual standard deviation; "
            "rename the column."
        )
    if design.group and design.n_groups < 2:
        raise ValueError(
            f"The grouping column {design.group!r} has one level; a hierarchy needs at least two. "
            "Leave the group term out, or check the column."
        )
    if n < p:
        raise ValueError(
            f"There are {n} rows for {p} coefficients; give more rows or fewer predictors."
        )
    X, Z, _ = design.totals
    for name, rms in zip((*design.x_names, *design.z_names), [*X.rms, *Z.rms], strict=True):
        if rms == 0:
            raise ValueError(f"The predictor {name!r} is zero in every row; leave it out.")
    x_constant, y_constant = _constant(design)
    for k, name in enumerate(design.x_names):
        if name != "Intercept" and x_constant[k] and "Intercept" in design.x_names:
            raise ValueError(
                f"The predictor {name!r} is constant ({design.X[0, k]:g}) and cannot be told from "
                "the intercept; leave it out."
            )
    dependent = _dependent(design) if p > 1 else None
    if dependent is not None:
        raise ValueError(
            f"The predictor {dependent!r} is a linear combination of the "
            "ones before it (collinear); leave one of them out."
        )
    if y_constant:
        raise ValueError(f"The response {design.response!r} is constant ({design.y[0]:g}).")
    require_noise(design)


def require_noise(design: Design) -> None:
    """Raise a ValueError where the columns give every row exactly, with rows to spare.

    The density of the posterior then grows without bound as sigma goes to zero; where effects of
    groups are not needed, as their standard deviations do too. Nothing is wrong with data that the
    effects give exactly, such as one slope for each row, when no row is left to tell it.
    """
    if design.se is not None:
        return
    explained, q = Explained(design), len(design.z_names)
    population = range(len(design.x_names))
    for z in ([], [*range(q)]):
        rank, left = explained.by(z, population)
        needed = 1 if z else q + 1
        if left < 1e-13 and design.n_rows - rank >= needed and _exact(design, z):
            raise ValueError(
                f"The response {design.response!r} has no noise: it is an exact combination of the "
                f"{'predictors within each group' if z else 'predictors'}. Check the columns; "
                "there is nothing to estimate."
            )


def _exact(design: Design, z: list[int]) -> bool:
    """Whether nothing but rounding is left of the response, seen row by row where they are here."""
    if design.moments is not None:
        return True
    rows = np.column_stack([design.X, design.y])
    if z:
        for j in range(design.n_groups):
            here = design.codes == j
            Z = design.Z[here]
            rows[here] -= Z @ np.linalg.lstsq(Z, rows[here], rcond=None)[0]
    left = rows[:, -1]
    if design.X.shape[1]:
        X = rows[:, :-1] / np.maximum(np.linalg.norm(rows[:, :-1], axis=0), 1e-300)
        left = left - X @ np.linalg.lstsq(X, left, rcond=1e-10)[0]
    return bool(np.abs(left).max() <= 1e-10 * np.std(design.y) + 1e-14 * np.abs(design.y).max())


def unidentified(design: Design) -> str:
    """Say so where every row is a group and no figure of the data tells its effect from its noise.

    The variance of a row about the line is ``sigma² + z' Sigma z``. With one row in each group,
    the data say nothing but this sum; if a combination of the products in ``z' Sigma z`` is the
    same in every row, such as that of a varying intercept, it cannot be told from sigma².
    """
    if not design.group or design.counts.max() > 1:
        return ""
    pairs = np.stack(
        [design.Z[:, i] * design.Z[:, j] for block in design.blocks for i in block for j in block],
        axis=-1,
    )
    pairs = pairs / np.maximum(np.linalg.norm(pairs, axis=0), 1e-300)
    ones = np.ones(len(pairs)) / np.sqrt(len(pairs))
    left = ones - pairs @ np.linalg.lstsq(pairs, ones, rcond=None)[0]
    if np.linalg.norm(left) > 1e-6:
        return ""
    return (
        f"Every row is a group of its own in {design.group!r}, so that the data cannot tell the "
        "group effects from the noise and only the priors do: give several rows for each group, "
        "leave the group term out, or give known standard errors (`se`)."
    )


def _constant(design: Design) -> tuple[np.ndarray, bool]:
    if design.moments is None:
        return np.ptp(design.X, axis=0) == 0, bool(np.ptp(design.y) == 0)
    X, _, y = design.totals
    return X.sd == 0, bool(y.sd[0] == 0)


def _dependent(design: Design) -> str | None:
    """The first column of X that is a combination of the ones before it."""
    if design.moments is None:
        scaled = design.X / np.linalg.norm(design.X, axis=0)
        _, triangle = np.linalg.qr(scaled)
        small = np.abs(np.diag(triangle)) < 1e-10
        return design.x_names[small.argmax()] if small.any() else None
    # From cross-products, where a square root of the precision is left.
    varying = [name for name in design.x_names if name != "Intercept"]
    left = products(design.moments, design.x_names)
    size = np.sqrt(np.diag(left))
    left = left / np.outer(size, size)
    for k, name in enumerate(varying):
        if left[k, k] < 1e-12:
            return name
        left = left - np.outer(left[:, k], left[k]) / left[k, k]
    return None


def response_kind(y: np.ndarray) -> str:
    """Kind of a response (N,), from its values alone.

    Returns
    -------
    {"binary", "ordinal", "count", ""}
        ``"binary"`` for two values; ``"ordinal"`` for 3 to 7 successive whole numbers that start
        at 0 or 1; ``"count"`` for other whole numbers from 0 up, of which at least a quarter are
        below 20; ``""`` for anything else, and for fewer than 10 rows.
    """
    values = np.unique(y)
    if len(y) < LEAST:
        return ""
    if len(values) == 2:
        return "binary"
    if values[0] < 0 or np.any(values != np.round(values)):
        return ""
    if len(values) <= 7 and values[0] <= 1 and np.all(np.diff(values) == 1):
        return "ordinal"
    return "count" if np.quantile(y, 0.25) < 20 else ""


def kind_sentence(y: np.ndarray, name: str) -> str:
    """What a reader of a Gaussian fit should know of the response; empty where it is nothing."""
    kind = response_kind(y)
    if not kind:
        return ""
    what, remedy = KINDS[kind]
    said = what.format(n=len(np.unique(y)), low=np.min(y), high=np.max(y))
    return f"The response {name} {said}. {remedy}, for instance with Bambi."

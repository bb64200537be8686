"""Cross-products: all that a Gaussian model needs to know of its rows.

Rows are read once. What is kept for group j is the triangular factor of
``[Z X y]_jᵀ [Z X y]_j`` (docs/method.md, eq. (4)); everything downstream costs by groups, never
by rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numba
import numpy as np

from partialpool.design.matrices import Design
from partialpool.design.totals import CONSTANT


@dataclass(frozen=True)
class CrossProducts:
    """Per-group triangular factors of the columns ``[Z X y]``, centred and scaled.

    Inside, columns are ``(column - shift) / scale``, so that predictors on any scale keep their
    digits; `T`, `A` and `a` translate coefficients (docs/method.md, eq. (5)). Shapes:
    J groups, q varying coefficients, p population coefficients.

    Attributes
    ----------
    R : (J, q, q) array
        Upper triangular, ``R_jᵀ R_j = Z_jᵀ Z_j``; rows of zeros where a group cannot tell its
        columns apart.
    G : (J, q, p + 1) array
        ``Q_jᵀ [X_j y_j]`` for ``Z_j = Q_j R_j``.
    E : (p + 1, p + 1) array
        Cross-products of what is left of ``[X y]`` after projection on each ``Z_j``, summed over
        groups.
    counts : (J,) array
        Rows in each group.
    T : (q, q) array
        Group effects: ``b_inside = T b / y_scale``; inside, the column of ones comes first.
    A : (p, p) array
    a : (p,) array
        Population coefficients: ``beta_inside = (A beta - a) / y_scale``.
    y_scale : float
        Unit of the response inside.
    log_weight : float, optional
        Where rows have known standard errors, each is divided by the standard deviation of its own
        noise, so that sigma is 1 inside; this is the log determinant of that. None elsewhere.
    at : callable, optional
        Cross-products for another sigma, where sigma is added to the known standard errors.
    """

    R: np.ndarray
    G: np.ndarray
    E: np.ndarray
    counts: np.ndarray
    T: np.ndarray
    A: np.ndarray
    a: np.ndarray
    y_scale: float
    log_weight: float | None = None
    at: Callable[[float], "CrossProducts"] | None = None

    @cached_property
    def lanes(self) -> tuple[np.ndarray, np.ndarray]:
        """`R` (q, q, J) and `G` (q, p + 1, J), groups last, as the kernels of `exact` read them."""
        return (
            np.ascontiguousarray(np.moveaxis(self.R, 0, -1)),
            np.ascontiguousarray(np.moveaxis(self.G, 0, -1)),
        )

    def of(self, groups: np.ndarray) -> "CrossProducts":
        """Those of some groups, for drawing their effects."""
        at = self.at
        return replace(
            self,
            R=self.R[groups],
            G=self.G[groups],
            counts=self.counts[groups],
            at=None if at is None else lambda sigma: at(sigma).of(groups),
        )

    @property
    def n_rows(self) -> int:
        """Number of rows N."""
        return int(self.counts.sum())

    def by_sigma(
        self, sigma: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, "CrossProducts", float]]:
        """Draws of sigma (S,) that share cross-products, with sigma inside and the log weight.

        All of them, unless sigma is added to known standard errors: then one by one.
        """
        unit = 1 / self.y_scale
        if self.log_weight is None:
            yield slice(None), sigma * unit, self, 0.0
        elif self.at is None:
            yield slice(None), np.full(len(sigma), unit), self, self.log_weight
        else:
            for s, value in enumerate(sigma):
                other = self.at(float(value))
                assert other.log_weight is not None
                yield slice(s, s + 1), np.array([unit]), other, other.log_weight


def crossproducts(design: Design, sigma: float | None = 0.0) -> CrossProducts:
    """Reduce a design to its cross-products (docs/method.md, eq. (4), (5) and (25)).

    Shifts are taken out only where an intercept column can absorb them, which leaves the model
    what it was. Where the design's rows are a sample, the moments of all rows take their place.

    Parameters
    ----------
    design : Design
    sigma : float or None
        Of a design with known standard errors: the residual standard deviation that is added to
        them, None where it is not known.
    """
    q, p = len(design.only.z_names), len(design.x_names)
    shift, scale = _standardization(design)
    log_weight = at = None
    if design.moments is not None:
        counts, found = design.moments.counts, _of_moments(design, shift, scale)
    else:
        weights = np.ones(len(design.y))
        if design.se is not None:
            weights = 1 / np.hypot(design.se, sigma or 0.0)
            log_weight = float(np.log(weights).sum())
            at = partial(crossproducts, design) if sigma is None else None
        counts, *found = centred(
            design.only.codes,
            np.column_stack([design.only.Z, design.X, design.y]),
            shift,
            1 / scale,
            weights,
            design.only.n_levels,
        )
    T, A, a = np.diag(scale[:q]), np.diag(scale[q:-1]), np.zeros(p)
    one = None
    if "1" in design.only.z_names:
        one = design.only.z_names.index("1")
        T[one] += shift[:q]
        T = np.vstack([T[[one]], np.delete(T, one, 0)])
    R, G, E = triangular(counts, *found, q, one)
    if "Intercept" in design.x_names:
        A[design.x_names.index("Intercept")] += shift[q:-1]
        a[design.x_names.index("Intercept")] = shift[-1]
    return CrossProducts(R, G, E, counts, T, A, a, float(scale[-1]), log_weight, at)


def _standardization(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of the columns ``[Z X y]``: two arrays of length q + p + 1."""
    X, Z, y = design.totals
    names = (*design.only.z_names, *design.x_names, design.response)
    absorbed = np.repeat(
        ["1" in design.only.z_names, "Intercept" in design.x_names],
        [len(design.only.z_names), len(design.x_names) + 1],
    ) & np.array([name not in CONSTANT for name in names])
    mean, sd, rms = (
        np.concatenate([getattr(Z, f), getattr(X, f), getattr(y, f)]) for f in ("mean", "sd", "rms")
    )
    scale = np.where(absorbed & (sd > 0), sd, rms)
    scale[-1] = sd[-1]
    return np.where(absorbed, mean, 0.0), np.where(scale > 0, scale, 1.0)


def _of_moments(
    design: Design, shift: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `centred` gives but the counts, of all rows from their moments by group."""
    moments = design.moments
    assert moments is not None
    names = (*design.only.z_names, *design.x_names, design.response)
    constant = np.array([name in CONSTANT for name in names])
    at = [moments.names.index(name) if name not in CONSTANT else 0 for name in names]
    # a column may be shifted in X and not in Z
    origin = np.zeros((2, len(moments.names)))
    for column, place in enumerate(at):
        if shift[column]:
            origin[1, place] = shift[column]
    means = np.stack([moments.means(o) for o in origin])
    m = means[(shift != 0).astype(int), :, at].T / scale
    m[:, constant] = 1 / scale[constant]
    spread = moments.centred()[:, at][:, :, at] / (scale[:, None] * scale)
    spread[:, constant] = spread[:, :, constant] = 0.0
    return moments.records[:, 0], m, spread


def triangular(
    counts: np.ndarray,
    weight: np.ndarray,
    means: np.ndarray,
    spread: np.ndarray,
    q: int,
    one: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R, G and E from weights, means and what varies about them, group by group.

    The column of ones, number `one`, is taken first, and its step is done by hand: it leaves what
    varies about the means, so that nothing is lost to the distance between groups.
    """
    if one is None:
        gram = weight[:, None, None] * means[:, :, None] * means[:, None] + spread
        return _factor(gram, counts, q)
    others = np.delete(np.arange(means.shape[1]), one)
    first = np.sqrt(weight)[:, None] * means[:, [one]] * means[:, [one, *others]]
    R = np.zeros((len(weight), q, q))
    G = np.zeros((len(weight), q, means.shape[1] - q))
    R[:, 0], G[:, 0] = first[:, :q], first[:, q:]
    inner = np.ascontiguousarray(spread[:, others][:, :, others])
    R[:, 1:, 1:], G[:, 1:], E = _factor(inner, counts - 1, q - 1)
    return R, G, E


@numba.njit(cache=True)
def centred(codes, columns, shift, inverse, weights, n_groups):
    """Counts, sums of squared weights, means and products about them, group by group.

    Shapes: counts and weights (J,), means (J, k), products (J, k, k), of rows (N, k) standardized
    by `shift` and `inverse` and then weighted. In two passes; distances are taken from a group's
    first row, so that a column which does not vary in it is zero to the last digit.
    """
    n, k = columns.shape
    counts = np.zeros(n_groups, dtype=np.int64)
    weight = np.zeros(n_groups)
    first = np.empty(n_groups, dtype=np.int64)
    means = np.zeros((n_groups, k))
    for i in range(n):
        j = codes[i]
        if counts[j] == 0:
            first[j] = i
        counts[j] += 1
        square = weights[i] * weights[i]
        weight[j] += square
        for c in range(k):
            means[j, c] += square * ((columns[i, c] - columns[first[j], c]) * inverse[c])
    for j in range(n_groups):
        for c in range(k):
            if counts[j]:  # a group is empty where its only row was left out
                means[j, c] /= weight[j]
    spread = np.zeros((n_groups, k, k))
    row = np.empty(k)
    for i in range(n):
        j = codes[i]
        for c in range(k):
            distance = (columns[i, c] - columns[first[j], c]) * inverse[c]
            row[c] = weights[i] * (distance - means[j, c])
        for c in range(k):
            for d in range(c, k):
                spread[j, c, d] += row[c] * row[d]
    for j in range(n_groups):
        if counts[j] == 0:
            continue
        for c in range(k):
            means[j, c] += (columns[first[j], c] - shift[c]) * inverse[c]
            for d in range(c):
                spread[j, c, d] = spread[j, d, c]
    return counts, weight, means, spread


@numba.njit(cache=True)
def _factor(gram, counts, q):
    """Semi-definite Cholesky of each group's first q columns, and what remains of the others."""
    J, k, _ = gram.shape
    R = np.zeros((J, q, q))
    G = np.zeros((J, q, k - q))
    E = np.zeros((k - q, k - q))
    for j in range(J):
        S = gram[j].copy()
        rank = 0
        for c in range(q):
            if S[c, c] <= 1e-13 * gram[j, c, c] or S[c, c] == 0.0:
                continue  # this column is a combination of the ones before it in this group
            rank += 1
            pivot = np.sqrt(S[c, c])
            for d in range(c, k):
                value = S[c, d] / pivot
                if d < q:
                    R[j, c, d] = value
                else:
                    G[j, c, d - q] = value
            for d in range(c + 1, k):
                left = R[j, c, d] if d < q else G[j, c, d - q]
                for e in range(d, k):
                    right = R[j, c, e] if e < q else G[j, c, e - q]
                    S[d, e] -= left * right
        for d in range(q, k - 1):  # a column of X that the group's own columns explain
            if S[d, d] <= 1e-13 * gram[j, d, d]:
                S[d, :] = 0.0
                S[:, d] = 0.0
        if counts[j] > rank:  # otherwise nothing is left but rounding error
            for d in range(q, k):
                for e in range(d, k):
                    E[d - q, e - q] += S[d, e]
    for d in range(k - q):
        for e in range(d):
            E[d, e] = E[e, d]
    return R, G, E

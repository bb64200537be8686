"""Cross-products: all that a Gaussian model needs to know of its rows.

Rows are read once. What is kept for group j is the triangular factor of
``[Z X y]_jᵀ [Z X y]_j`` (docs/method.md, eq. (4)); everything downstream costs by groups, never
by rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
        Group effects: ``b_inside = T b / y_scale``.
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
    """Reduce a design to its cross-products: one pass over the rows.

    Shifts are taken out only where an intercept column can absorb them, which leaves the model
    what it was. Where the design's rows are a sample, the moments of all rows take their place.

    Parameters
    ----------
    design : Design
    sigma : float or None
        Of a design with known standard errors: the residual standard deviation that is added to
        them, None where it is not known.
    """
    if design.moments is not None:
        return _from_moments(design)
    q, p = design.Z.shape[1], design.X.shape[1]
    shift_z, scale_z, T = _standardization(design.Z, design.z_names, "1")
    shift_x, scale_x, A = _standardization(design.X, design.x_names, "Intercept")
    y_scale = float(np.std(design.y)) or 1.0
    a = np.zeros(p)
    y_shift = 0.0
    if "Intercept" in design.x_names:
        y_shift = float(np.mean(design.y))
        a[design.x_names.index("Intercept")] = y_shift
    weights = np.ones(len(design.y))
    if design.se is not None:
        weights = 1 / np.hypot(design.se, sigma or 0.0)
    gram, counts = _accumulate(
        design.codes,
        np.ascontiguousarray(design.Z),
        np.ascontiguousarray(design.X),
        design.y,
        np.concatenate([shift_z, shift_x, [y_shift]]),
        np.concatenate([scale_z, scale_x, [y_scale]]),
        weights,
        design.n_groups,
    )
    R, G, E = _factor(gram, counts, q)
    if design.se is None:
        return CrossProducts(R, G, E, counts, T, A, a, y_scale)
    at = partial(crossproducts, design) if sigma is None else None
    return CrossProducts(
        R, G, E, counts, T, A, a, y_scale, log_weight=float(np.log(weights).sum()), at=at
    )


def _from_moments(design: Design) -> CrossProducts:
    """Cross-products of all rows from their moments by group."""
    assert design.moments is not None
    moments, q, p = design.moments, len(design.z_names), len(design.x_names)
    X, Z, y = design.totals
    y_scale = float(y.sd[0]) or 1.0
    names = (*design.z_names, *design.x_names, design.response)
    inside = ["1" in design.z_names] * q + ["Intercept" in design.x_names] * (p + 1)
    constant = np.array([name in CONSTANT for name in names])
    mean, sd, rms = (
        np.concatenate([getattr(Z, f), getattr(X, f), getattr(y, f)]) for f in ("mean", "sd", "rms")
    )
    shifted = np.array(inside) & ~constant
    shift = np.where(shifted, mean, 0.0)
    scale = np.where(shifted & (sd > 0), sd, rms)
    scale[-1] = y_scale
    # Means (J, k) of the shifted and scaled columns, and what varies about them (J, k, k).
    at = [moments.names.index(name) if name not in CONSTANT else 0 for name in names]
    origin = np.zeros((2, len(moments.names)))
    for column, place in enumerate(at):
        if not constant[column]:
            origin[int(shifted[column]), place] = shift[column]
    means = np.stack([moments.means(o) for o in origin])
    m = means[shifted.astype(int), :, at].T / scale
    m[:, constant] = 1 / scale[constant]
    spread = moments.centred()[:, at][:, :, at] / (scale[:, None] * scale)
    spread[:, constant] = spread[:, :, constant] = 0.0
    n = moments.records[:, 0]
    R, G = np.zeros((len(n), q, q)), np.zeros((len(n), q, p + 1))
    if design.z_names[:1] == ("1",):
        # The first step of the factorization by hand (docs/method.md, eq. (25)): it leaves what
        # varies about the means.
        first = np.sqrt(n)[:, None] * m[:, :1] * m
        R[:, 0], G[:, 0] = first[:, :q], first[:, q:]
        inner = np.ascontiguousarray(spread[:, 1:, 1:])
        R[:, 1:, 1:], G[:, 1:], E = _factor(inner, moments.counts - 1, q - 1)
    else:
        R, G, E = _factor(n[:, None, None] * m[:, :, None] * m[:, None] + spread, moments.counts, q)
    T, A = np.diag(scale[:q]), np.diag(scale[q:-1])
    a = np.zeros(p)
    if q and inside[0]:
        T[design.z_names.index("1")] += shift[:q]
    if "Intercept" in design.x_names:
        A[design.x_names.index("Intercept")] += shift[q:-1]
        a[design.x_names.index("Intercept")] = shift[-1]
    return CrossProducts(R, G, E, moments.counts, T, A, a, y_scale)


def _standardization(
    columns: np.ndarray, names: tuple[str, ...], intercept: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shift and scale of each column, and the matrix that takes coefficients along."""
    k = columns.shape[1]
    shift, matrix = np.zeros(k), np.eye(k)
    scale = np.array([np.sqrt(np.mean(column**2)) or 1.0 for column in columns.T])
    if intercept in names:
        at = names.index(intercept)
        for i, column in enumerate(columns.T):
            if i != at:
                shift[i] = np.mean(column)
                scale[i] = np.std(column) or 1.0
                matrix[at, i] = shift[i]
    matrix[np.diag_indices(k)] = scale
    return shift, scale, matrix


@numba.njit(cache=True)
def _accumulate(codes, Z, X, y, shift, scale, weights, n_groups):
    """Sums of products of the shifted, scaled and weighted ``[Z X y]``, group by group."""
    n, q = Z.shape
    p = X.shape[1]
    k = q + p + 1
    gram = np.zeros((n_groups, k, k))
    counts = np.zeros(n_groups, dtype=np.int64)
    row = np.empty(k)
    inverse = 1 / scale
    for i in range(n):
        for c in range(q):
            row[c] = (Z[i, c] - shift[c]) * inverse[c] * weights[i]
        for c in range(p):
            row[q + c] = (X[i, c] - shift[q + c]) * inverse[q + c] * weights[i]
        row[k - 1] = (y[i] - shift[k - 1]) * inverse[k - 1] * weights[i]
        j = codes[i]
        counts[j] += 1
        for c in range(k):
            for d in range(c, k):
                gram[j, c, d] += row[c] * row[d]
    return gram, counts


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
        if counts[j] > rank:  # otherwise nothing is left but rounding error
            for d in range(q, k):
                for e in range(d, k):
                    E[d - q, e - q] += S[d, e]
    for d in range(k - q):
        for e in range(d):
            E[d, e] = E[e, d]
    return R, G, E

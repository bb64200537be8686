"""Random designs of several grouping factors, and their densities by dense matrices."""

import numpy as np
from hypothesis import strategies as st

from partialpool.fit.reduction import Factor

KINDS = ("crossed", "nested", "partially crossed", "one level", "seen once")


def levels(kind, before, n, rng):
    """Levels of a factor for n rows, in relation to a factor that is there already."""
    if kind == "one level":
        return np.zeros(n, dtype=int)
    if kind == "seen once":
        return rng.permutation(n)
    if kind == "nested":
        return before * 2 + rng.integers(2, size=n)
    codes = rng.integers(rng.integers(2, 9), size=n)
    if kind == "partially crossed":  # a level keeps company with few of the other factor
        codes = (before + rng.integers(2, size=n)) % (codes.max() + 1)
    return codes


def columns(n, q, rng):
    """Columns that vary: with or without ones, some zero here and there."""
    if q == 1 and rng.random() < 0.5:
        return np.ones((n, 1))
    Z = rng.normal(size=(n, q)) * (rng.random((n, q)) < 0.9)
    if rng.random() < 0.7:
        Z[:, rng.integers(q)] = 1.0
    return Z


@st.composite
def designs(draw, most=4):
    """X, y and two to four factors; a level in each may have no rows."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=most - 1))
    widths = draw(st.lists(st.integers(1, 2), min_size=most, max_size=most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = int(rng.integers(12, 40))
    codes = [rng.integers(6, size=n)]
    codes += [levels(kind, codes[-1], n, rng) for kind in kinds]
    factors = [
        Factor(c, columns(n, q, rng), int(c.max()) + 1 + int(rng.integers(2)))
        for c, q in zip(codes, widths, strict=False)
    ]
    X = np.column_stack([np.ones(n), rng.normal(3, 2, size=(n, int(rng.integers(3))))])
    X = X[:, int(rng.integers(2)) :]
    return rng.normal(2, 3, size=n), X, factors, rng


@st.composite
def chains(draw):
    """The same of two to four factors, each nested in another; in any order."""
    depth = draw(st.integers(2, 4))
    widths = draw(st.lists(st.integers(1, 2), min_size=depth, max_size=depth))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = int(rng.integers(20, 60))
    codes = [rng.integers(3, size=n)]
    while len(codes) < depth:
        codes.append(codes[-1] * 2 + rng.integers(2, size=n))
    factors = [
        Factor(c, columns(n, q, rng), int(c.max()) + 1 + int(rng.integers(2)))
        for c, q in zip(codes, widths, strict=True)
    ]
    X = np.column_stack([np.ones(n), rng.normal(3, 2, size=n)])
    return rng.normal(2, 3, size=n), X, [factors[k] for k in rng.permutation(depth)], rng


def ratios(factors, rng):
    """Lower triangular ratios (q, q) of each factor, some of them zero."""
    found = []
    for factor in factors:
        L = np.tril(rng.normal(size=(factor.q, factor.q)))
        L *= rng.choice([0.0, 0.1, 1.0, 30.0], size=(factor.q, 1))
        found.append(L)
    return found


def dense(factor):
    """The matrix (N, J q) of a factor."""
    wide = np.zeros((len(factor.codes), factor.n_levels, factor.q))
    wide[np.arange(len(wide)), factor.codes] = factor.Z
    return wide.reshape(len(wide), -1)


def covariance(factors, roots):
    """``Σ_f Z_f (I ⊗ L_f L_fᵀ) Z_fᵀ``."""
    total = 0.0
    for factor, L in zip(factors, roots, strict=True):
        wide = dense(factor)
        total = total + wide @ np.kron(np.eye(factor.n_levels), L @ L.T) @ wide.T
    return total

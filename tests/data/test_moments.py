"""Moments by group: the same from any split of the rows, held against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialpool.data import moments

NAMES = ("x", "y")


def of_table(names, columns, labels):
    groups = moments.Groups(moments.width(len(names)))
    groups.add(labels, columns)
    return moments.Moments(names, *groups.result())


def exact_products(columns):
    """Centred cross-products of two columns without any rounding."""
    exact = [[Fraction(float(v)) for v in column] for column in columns]
    means = [sum(column) / len(column) for column in exact]
    off = [[v - m for v in column] for column, m in zip(exact, means, strict=True)]
    return np.array(
        [[float(sum(a * b for a, b in zip(p, q, strict=True))) for q in off] for p in off]
    )


def apart(one, other):
    """Largest relative difference of cross-products; those of two columns by their sizes."""
    size = np.sqrt(np.diagonal(one, axis1=-2, axis2=-1))
    size = np.where(size > 0, size, 1)
    return float(np.max(np.abs(one - other) / (size[..., :, None] * size[..., None, :])))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 300),
    groups=st.integers(1, 20),
    parts=st.integers(1, 30),
    scale=st.sampled_from([(0.0, 1.0), (1e6, 1e-3), (-1e9, 1.0), (1e-8, 1e-12), (0.0, 1e150)]),
    outlier=st.booleans(),
)
def test_any_split_in_any_order_gives_the_same(seed, n, groups, parts, scale, outlier):
    rng = np.random.default_rng(seed)
    columns = scale[0] + scale[1] * rng.standard_normal((2, n))
    if outlier:  # the first row is the worst point about which to take sums
        columns[:, 0] += 1e3 * scale[1]
    labels = rng.integers(0, groups, n)
    whole = of_table(NAMES, columns, labels)
    order = rng.permutation(n)
    pieces = [p for p in np.array_split(order, parts) if len(p)]
    merged = moments.merge_all(of_table(NAMES, columns[:, p], labels[p]) for p in pieces)
    np.testing.assert_array_equal(merged.levels, whole.levels)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert apart(whole.centred(), merged.centred()) < 1e-12
    origin = columns.mean(1)
    spread = np.maximum(columns.std(1), scale[1])
    assert np.max(np.abs(whole.means(origin) - merged.means(origin)) / spread) < 1e-12
    for j, level in enumerate(whole.levels):
        exact = exact_products(columns[:, labels == level])
        assert apart(exact, whole.centred()[j]) < 1e-12
        assert apart(exact, merged.centred()[j]) < 1e-12
    exact = exact_products(columns)
    assert apart(exact, merged.total().centred()[0]) < 1e-12


def test_many_rows_of_one_group_keep_their_digits():
    rng = np.random.default_rng(1)
    columns = 1e6 + 1e-3 * rng.standard_normal((2, 100_000))
    columns[:, 0] += 1.0
    exact = exact_products(columns)
    found = of_table(NAMES, columns, np.zeros(100_000, dtype=int)).centred()[0]
    assert apart(exact, found) < 1e-12
    naive = columns @ columns.T - columns.shape[1] * np.outer(*2 * [columns.mean(1)])
    assert apart(exact, naive) > 1e-3, "the data are not hard enough to show anything"


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_every_number_of_columns(d):
    rng = np.random.default_rng(d)
    columns = rng.standard_normal((d, 200))
    found = of_table(tuple("abcde"[:d]), columns, np.arange(200) % 3)
    for j in range(3):
        mine = columns[:, j::3]
        np.testing.assert_allclose(found.centred()[j], np.cov(mine, bias=True) * mine.shape[1])
        np.testing.assert_allclose(found.means(np.zeros(d))[j], mine.mean(1))


def test_columns_by_name_and_missing_ones_are_zero():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 50)), rng.standard_normal((3, 60))
    one = of_table(("x", "y"), a, np.zeros(50, dtype=int))
    other = of_table(("y", "f[b]", "x"), b, np.ones(60, dtype=int))
    merged = one.merge(other)
    assert merged.names == ("x", "y", "f[b]")
    np.testing.assert_array_equal(merged.levels, [0, 1])
    both = np.zeros((3, 110))
    both[:2, :50], both[:, 50:] = a, b[[2, 0, 1]]
    np.testing.assert_allclose(merged.total().centred()[0], np.cov(both, bias=True) * 110)


def test_nothing_to_merge():
    with pytest.raises(ValueError, match="nothing to merge"):
        moments.merge_all([])

"""Whether groupings add to the covariances of the rows in ways of their own.

The effects of columns k and l of a block add ``A_k A_l' + A_l A_k'`` to the covariance of the rows,
times an entry of Sigma; A_k has a column for each group. The noise adds the identity, as a grouping
does in which every row is a group. Whether these matrices depend on each other follows from their
inner products: ``<A_k A_l', B_m B_n'> = sum((A_k' B_m) * (A_l' B_n))``, a sum over the pairs of
groups that occur together.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from partialpool.design.matrices import Design, Grouping

#: Share of its own squared size that must be left of a matrix beside the others.
LEAST = 1e-10


@dataclass(frozen=True, eq=False)
class _Part:
    """Groups of the rows (N,), and block by block columns (N, k) that vary by group."""

    codes: np.ndarray
    blocks: list[np.ndarray]


def alike(design: Design) -> list[str]:
    """Names of the groupings whose covariances depend on each other; "" stands for the noise."""
    n = len(design.y)
    parts = [_Part(np.arange(n), [np.ones((n, 1))]), *map(_part, design.groupings)]
    inner = [[_inner(one, other) for other in parts[: k + 1]] for k, one in enumerate(parts)]
    # of each grouping by itself a basis, so that what depends does so between groupings
    bases = []
    for own in (row[-1] for row in inner):
        size = np.sqrt(np.diag(own))
        values, vectors = np.linalg.eigh(own / np.outer(size, size))
        used = values > LEAST
        bases.append(vectors[:, used] / size[:, None] / np.sqrt(values[used]))
    owner = np.repeat(np.arange(len(parts)), [basis.shape[1] for basis in bases])
    gram = np.zeros((len(owner), len(owner)))
    for k, row in enumerate(inner):
        for m, both in enumerate(row):
            gram[np.ix_(owner == k, owner == m)] = bases[k].T @ both @ bases[m]
    values, vectors = np.linalg.eigh(gram)  # of the lower triangle
    weight = np.linalg.norm(vectors[:, values < LEAST], axis=1)
    names = ["", *(grouping.name for grouping in design.groupings)]
    return [name for k, name in enumerate(names) if weight[owner == k].max() > 1e-3]


def _part(grouping: Grouping) -> _Part:
    """Of a block other columns that span the same, so that numbers of any size do no harm."""
    blocks = []
    for block in grouping.blocks:
        columns = grouping.Z[:, block] / np.linalg.norm(grouping.Z[:, block], axis=0)
        left, scale, _ = np.linalg.svd(columns, full_matrices=False)
        blocks.append(left[:, scale > 1e-6])
    return _Part(grouping.codes, blocks)


def _inner(one: _Part, other: _Part) -> np.ndarray:
    """Inner products of the matrices that two parts add."""
    both = one.codes * (other.codes.max() + 1) + other.codes
    cell = one.codes if one is other else pd.factorize(both)[0]
    rows = []
    for A in one.blocks:
        for k, m in _entries(A):
            row = []
            for B in other.blocks:
                first, second = ([np.bincount(cell, A[:, j] * b) for b in B.T] for j in (k, m))
                row += [first[i] @ second[j] + first[j] @ second[i] for i, j in _entries(B)]
            rows.append(row)
    return np.array(rows)


def _entries(block: np.ndarray) -> list[tuple[int, int]]:
    """Places of the lower triangle of a block's Sigma."""
    return [(k, m) for k in range(block.shape[1]) for m in range(k + 1)]

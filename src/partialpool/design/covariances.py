"""Whether groupings add to the covariances of the rows in ways of their own.

The effects of columns k and l of a block add ``A_k A_l' + A_l A_k'`` to the covariance of the rows,
times an entry of Sigma; A_k has a column for each group. The noise adds the identity, as a grouping
does in which every row is a group. Whether these matrices depend on each other follows from their
inner products: ``<A_k A_l', B_m B_n'> = sum((A_k' B_m) * (A_l' B_n))``, a sum over the pairs of
groups that occur together.
"""

from typing import Any

import numpy as np

from partialpool.design.matrices import Design, Grouping

#: Share of its own squared size that must be left of a matrix beside the others.
LEAST = 1e-10


def alike(design: Design) -> list[str]:
    """Names of the groupings whose covariances depend on each other; "" stands for the noise."""
    rows = np.arange(len(design.y))
    noise = _incidence(np.ones((len(rows), 1)), ((0,),), rows, len(rows))
    parts = [noise, *map(_incidence_of, design.groupings)]
    inner = [[_inner(one, other) for other in parts] for one in parts]
    # of each grouping by itself a basis, so that what depends does so between groupings
    bases = []
    for k in range(len(parts)):
        size = np.sqrt(np.diag(inner[k][k]))
        values, vectors = np.linalg.eigh(inner[k][k] / np.outer(size, size))
        used = values > LEAST
        bases.append(vectors[:, used] / size[:, None] / np.sqrt(values[used]))
    gram = np.block(
        [
            [bases[k].T @ both @ bases[m] for m, both in enumerate(row)]
            for k, row in enumerate(inner)
        ]
    )
    values, vectors = np.linalg.eigh(gram)
    weight = np.linalg.norm(vectors[:, values < LEAST], axis=1)
    owner = np.repeat(np.arange(len(parts)), [basis.shape[1] for basis in bases])
    names = ["", *(grouping.name for grouping in design.groupings)]
    return [name for k, name in enumerate(names) if weight[owner == k].max() > 1e-3]


def _incidence_of(grouping: Grouping) -> list[list[Any]]:
    return _incidence(grouping.Z, grouping.blocks, grouping.codes, grouping.n_levels)


def _incidence(
    Z: np.ndarray, blocks: tuple[tuple[int, ...], ...], codes: np.ndarray, n_levels: int
) -> list[list[Any]]:
    """Block by block the sparse matrices A_k (N, J), of columns that span those of the block."""
    from scipy.sparse import csr_array

    rows = np.arange(len(codes))
    result = []
    for block in blocks:
        columns = Z[:, block] / np.linalg.norm(Z[:, block], axis=0)
        left, scale, _ = np.linalg.svd(columns, full_matrices=False)
        basis = left[:, scale > 1e-6]
        shape = (len(codes), n_levels)
        result.append([csr_array((column, (rows, codes)), shape=shape) for column in basis.T])
    return result


def _inner(one: list[list[Any]], other: list[list[Any]]) -> np.ndarray:
    """Inner products of the matrices that two groupings add."""
    rows = []
    for A in one:
        for k, m in _entries(A):
            row = []
            for B in other:
                across = [[A[j].T @ b for b in B] for j in (k, m)]
                for i, j in _entries(B):
                    both = across[0][i] * across[1][j] + across[0][j] * across[1][i]
                    row.append(both.sum())
            rows.append(row)
    return np.array(rows)


def _entries(block: list[Any]) -> list[tuple[int, int]]:
    """Places of the lower triangle of a block's Sigma."""
    return [(k, m) for k in range(len(block)) for m in range(k + 1)]

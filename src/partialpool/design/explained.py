"""What columns and groups explain of each other: ranks, and what is left of the response.

The cross-products of one grouping say all by themselves (`Explained`). The effects of several
groupings overlap, in a constant at least; so their ranks are those of one grouping with the effects
of the others as further columns (`Ranks`), and what they leave of the rows is found by iteration
(`Span`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from partialpool.design.matrices import Design, Grouping
from partialpool.design.totals import CONSTANT


class Explained:
    """Cross-products of a design's columns by group, from which ranks follow.

    Parameters
    ----------
    design : Design
        With one grouping at most.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        columns = {**dict(zip(design.only.z_names, design.only.Z.T, strict=True))}
        columns |= dict(zip(design.x_names, design.X.T, strict=True)) | {design.response: design.y}
        names = [name for name in columns if name not in CONSTANT]
        if design.moments is not None:
            found = design.moments.over(tuple(names))
            self.counts, means = found.counts, found.means(np.zeros(len(names)))
            middle = found.total().means(np.zeros(len(names)))[0]
            about, centred = found.means(middle), found.centred()
        else:
            J, codes = design.only.n_levels, design.only.codes
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
        z_names = [self.design.only.z_names[k] for k in z]
        x_names = [self.design.x_names[k] for k in x]
        own = "1" in z_names
        z_names = [name for name in z_names if name != "1"]
        at = [self.at[name] for name in (*z_names, *x_names, self.design.response)]
        moved = (
            np.arange(len(at)) >= len(z_names)
            if "Intercept" in x_names
            else np.zeros(len(at), bool)
        )
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


class Ranks:
    """Ranks of a design's columns, of any number of groupings.

    Parameters
    ----------
    design : Design
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self.alone = [Explained(replace(design, groupings=(g,))) for g in design.groupings]
        self.alone = self.alone or [Explained(design)]

    def of(self, z: Iterable[int], x: Sequence[int], enough: float = np.inf) -> int:
        """Rank of ``[Z X]``: some columns of Z, each group's apart, and of X together.

        Parameters
        ----------
        z, x : iterable of int
            Columns of Z, those of all groupings side by side, and of X.
        enough : float
            A rank above this need not be exact: it is then that of one grouping's columns, and the
            other groupings, which could only add to it, are not looked at. So the columns of
            others are few when they are.
        """
        groupings = self.design.groupings
        apart = _apart(groupings, z)
        ranks = [e.by(own, x)[0] for e, own in zip(self.alone, apart or [[]], strict=True)]
        used = [k for k, own in enumerate(apart) if own]
        if len(used) < 2 or max(ranks) > enough:
            return max(ranks)
        most = max(used, key=lambda k: groupings[k].n_levels)
        others = np.hstack([_effects(groupings[k], apart[k]) for k in used if k != most])
        p, more = len(self.design.x_names), others.shape[1]
        wide = replace(
            self.design,
            groupings=(groupings[most],),
            X=np.hstack([self.design.X, others]),
            x_names=(*self.design.x_names, *(f"effect\0{k}" for k in range(more))),
        )
        return Explained(wide).by(apart[most], [*x, *range(p, p + more)])[0]


def _apart(groupings: tuple[Grouping, ...], z: Iterable[int]) -> list[list[int]]:
    """Columns of all groupings side by side, as columns of each grouping."""
    wanted, apart, start = {*z}, [], 0
    for grouping in groupings:
        q = len(grouping.z_names)
        apart.append([k for k in range(q) if start + k in wanted])
        start += q
    return apart


def _effects(grouping: Grouping, z: list[int]) -> np.ndarray:
    """A column (N, k) for each group and column of Z that is not zero throughout."""
    columns = [np.empty((len(grouping.codes), 0))]
    for values in grouping.Z[:, z].T:
        levels = np.unique(grouping.codes[values != 0])
        columns.append((grouping.codes[:, None] == levels) * values[:, None])
    return np.hstack(columns)


class Span:
    """Everything that X and the effects of some groupings can say of the rows.

    Parameters
    ----------
    design : Design
    groupings : sequence of Grouping
    """

    def __init__(self, design: Design, groupings: Sequence[Grouping]) -> None:
        from scipy.sparse import csr_array, hstack

        # bases of X and of each grouping by itself, so that the iteration is short
        blocks = [csr_array(_basis(design.X)), *(_basis_of(grouping) for grouping in groupings)]
        self.basis = hstack(blocks, format="csr")

    def left(self, values: np.ndarray, *, precise: bool = False) -> np.ndarray:
        """What is left of some values (N,), to a hundredth of them unless `precise`."""
        from scipy.sparse.linalg import lsmr

        if not self.basis.shape[1]:
            return values
        ends = {"atol": 1e-13, "btol": 1e-13} if precise else {"atol": 1e-3, "btol": 1e-3}
        for _ in range(1 + precise):  # once more for the digits that a large part has cost
            values = (
                values - self.basis @ lsmr(self.basis, values, conlim=0, maxiter=9999, **ends)[0]
            )
        return values


def _basis(columns: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span these (N, k)."""
    size = np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    left, scale, _ = np.linalg.svd(columns / size, full_matrices=False)
    return left[:, scale > 1e-12]


def _basis_of(grouping: Grouping) -> Any:
    """Orthonormal columns, sparse, that span a grouping's effects."""
    from scipy.sparse import csr_array

    Z, codes, J = grouping.Z, grouping.codes, grouping.n_levels
    q = Z.shape[1]
    gram = np.empty((J, q, q))
    for a, b in np.ndindex(q, q):
        gram[:, a, b] = np.bincount(codes, Z[:, a] * Z[:, b], J)
    size = np.sqrt(np.maximum(np.diagonal(gram, axis1=1, axis2=2), 1e-300))
    values, vectors = np.linalg.eigh(gram / (size[:, :, None] * size[:, None]))
    root = np.where(values > 1e-12, 1 / np.sqrt(np.maximum(values, 1e-12)), 0)
    turned = np.einsum("nq,nqk->nk", Z / size[codes], (vectors * root[:, None])[codes])
    places = codes[:, None] * q + np.arange(q)
    rows = np.repeat(np.arange(len(codes)), q)
    return csr_array((turned.ravel(), (rows, places.ravel())), shape=(len(codes), J * q))


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

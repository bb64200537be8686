"""What columns and groups explain of each other: ranks, and what is left of the response."""

from collections.abc import Iterable

import numpy as np

from partialpool.design.matrices import Design
from partialpool.design.totals import CONSTANT


class Explained:
    """Cross-products of a design's columns by group, from which ranks follow.

    Parameters
    ----------
    design : Design
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        columns = {**dict(zip(design.z_names, design.Z.T, strict=True))}
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

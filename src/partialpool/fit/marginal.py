"""The marginal likelihood as one PyTensor operation with its gradient.

``log p(y | sigma, L, beta)`` with the group effects integrated out is a sum over groups of small
dense algebra, or with several factors an elimination. Written in PyTensor it takes a minute to
compile; as one operation around code that exists it takes none, and value and gradient come from
the same pass: docs/method.md, eq. (11), (27), (28) and (44).
"""

import warnings
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import (
    generate_fallback_impl,
    numba_funcify,
    register_funcify_default_op_cache_key,
)

from partialpool.fit.elimination import Elimination

#: PyTensor keeps compiled code on disk by an operation's name and this, not by what it calls.
VERSION = zlib.crc32(Path(__file__).read_bytes())


@numba.njit(cache=True, error_model="numpy")
def log_likelihood_and_gradient(sigma, L, c, R, G, E, n_rows):
    """Value and gradient by sigma, L (q, q) and c (p + 1), without the constant of 2π.

    sigma and L are in the units of the cross-products.
    """
    J, q, m = G.shape
    value = 0.0
    d_sigma = 0.0
    d_c = np.zeros(m)
    for i in range(m):
        for k in range(m):
            d_c[i] -= E[i, k] * c[k]
        value += 0.5 * c[i] * d_c[i]
    d_sigma = -2 * value / sigma**3 - (n_rows - J * q) / sigma
    value = value / sigma**2 - (n_rows - J * q) * np.log(sigma)
    for i in range(m):
        d_c[i] /= sigma**2
    K = np.zeros((q, q))
    A = np.empty((q, q))
    F = np.zeros((q, q))  # Cholesky factor of V_j, then its inverse
    inverse = np.zeros((q, q))
    w = np.empty(q)
    h = np.empty(q)
    left = np.empty((q, q))
    for j in range(J):
        for i in range(q):
            h[i] = 0.0
            for k in range(m):
                h[i] += G[j, i, k] * c[k]
            for k in range(q):
                A[i, k] = 0.0
                for d in range(i, q):
                    A[i, k] += R[j, i, d] * L[d, k]
        for i in range(q):
            for k in range(i + 1):
                total = sigma * sigma if i == k else 0.0
                for d in range(q):
                    total += A[i, d] * A[k, d]
                for d in range(k):
                    total -= F[i, d] * F[k, d]
                F[i, k] = np.sqrt(total) if i == k else total / F[k, k]
            value -= np.log(F[i, i])
        for k in range(q):  # columns of F⁻¹
            for i in range(k, q):
                total = 1.0 if i == k else 0.0
                for d in range(k, i):
                    total -= F[i, d] * inverse[d, k]
                inverse[i, k] = total / F[i, i]
        for i in range(q):
            w[i] = 0.0
            for k in range(q):
                total = 0.0  # (V_j⁻¹)_ik
                for d in range(max(i, k), q):
                    total += inverse[d, i] * inverse[d, k]
                w[i] += total * h[k]
                left[i, k] = total
        for i in range(q):
            value -= 0.5 * h[i] * w[i]
            d_sigma += sigma * (w[i] * w[i] - left[i, i])
            for k in range(m):
                d_c[k] -= G[j, i, k] * w[i]
        for i in range(q):
            for k in range(q):
                inner = w[i] * w[k] - left[i, k]
                for a in range(i, q):
                    for b in range(k, q):
                        K[a, b] += R[j, i, a] * inner * R[j, k, b]
    return value, d_sigma, K @ np.ascontiguousarray(L), d_c


class MarginalLogLikelihood(Op):
    """Inputs sigma, L, c, R, G, E, N; outputs the value and its three derivatives."""

    __props__ = ()

    def make_node(self, *inputs: Any) -> Apply:
        """Outputs: scalar, scalar, matrix, vector."""
        variables = [pt.as_tensor_variable(value) for value in inputs]
        return Apply(self, variables, [pt.dscalar(), pt.dscalar(), pt.dmatrix(), pt.dvector()])

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Run the kernel from Python."""
        arguments = [inputs[0].item(), *inputs[1:-1], int(inputs[-1])]
        for storage, value in zip(
            output_storage, log_likelihood_and_gradient(*arguments), strict=True
        ):
            storage[0] = np.asarray(value)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """First derivatives of the value; the other outputs are not differentiated."""
        _, d_sigma, d_L, d_c = outputs
        g = cotangents[0]
        return [g * d_sigma, g * d_L, g * d_c, *(disconnected_type() for _ in inputs[3:])]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """The data are constants to the gradient."""
        return [[True] * 4] * 3 + [[False] * 4] * 4


@register_funcify_default_op_cache_key(MarginalLogLikelihood)
def _numba_marginal(op: MarginalLogLikelihood, **kwargs: Any) -> Any:
    @numba.njit
    def marginal(sigma, L, c, R, G, E, n_rows):
        value, d_sigma, d_L, d_c = log_likelihood_and_gradient(
            sigma.item(), L, c, R, G, E, n_rows.item()
        )
        return np.asarray(value), np.asarray(d_sigma), d_L, d_c

    return marginal, VERSION


def of_factors(
    rows: Elimination, sigma: float, L: np.ndarray, c: np.ndarray
) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Value and gradient by sigma, L (Q, Q) and c (p + 1) for several factors, none of them small.

    sigma and L are over the response's scale, columns of all factors side by side; without the
    constant of 2π.
    """
    ends = np.cumsum([0, *rows.widths])
    at = [slice(start, stop) for start, stop in pairwise(ends)]
    solved = rows.solve([L[own, own] / sigma for own in at])
    toward = solved.C @ c / sigma**2
    value = -rows.n_rows * np.log(sigma) - (solved.log_det + c @ toward) / 2
    d_sigma, d_L = (c @ toward - rows.n_rows) / sigma, np.zeros_like(L)
    for f, (by_det, by_C) in rows.slopes(solved).items():
        turn = -(by_det + np.einsum("abij,i,j->ab", by_C, c, c) / sigma**2) / 2
        d_L[at[f], at[f]] = np.linalg.pinv(L[at[f], at[f]]).T @ turn
        d_sigma -= np.trace(turn) / sigma
    return float(value), float(d_sigma), d_L, -toward


class FactorsLogLikelihood(Op):
    """Inputs sigma, L and c of rows of several factors; outputs as those of one factor."""

    def __init__(self, rows: Elimination) -> None:
        self.rows = rows

    def make_node(self, *inputs: Any) -> Apply:
        """Outputs: scalar, scalar, matrix, vector."""
        variables = [pt.as_tensor_variable(value) for value in inputs]
        return Apply(self, variables, [pt.dscalar(), pt.dscalar(), pt.dmatrix(), pt.dvector()])

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Solve the rows."""
        found = of_factors(self.rows, float(inputs[0]), *inputs[1:])
        for storage, value in zip(output_storage, found, strict=True):
            storage[0] = np.asarray(value)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """First derivatives of the value; the other outputs are not differentiated."""
        return [cotangents[0] * slope for slope in outputs[1:]]


@numba_funcify.register(FactorsLogLikelihood)
def _numba_factors(op: FactorsLogLikelihood, node: Apply, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it runs in Python, which is meant
        return generate_fallback_impl(op, node, **kwargs)

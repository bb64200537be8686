"""Cholesky factors and inverses of large dense matrices, several of them at the same time.

SciPy's own wrappers of LAPACK let no other thread of Python run meanwhile; called through ctypes
the same routines do. BLAS itself keeps to one thread: on more it loses several times what it gains
where others compute too, and matrices that have nothing to do with each other share cores for free.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import Any

import numba
import numpy as np
from numba.extending import get_cython_function_address
from scipy.linalg.blas import dsymm, strsm
from threadpoolctl import ThreadpoolController

#: Rows of a matrix from which on a second thread is worth its start, and up to which there is
#: memory for one matrix a thread; most threads.
WORTH_THREADS, LARGE, MOST_THREADS = 300, 3500, 4
#: Rows from which on single precision is worth what refining costs, and what LAPACK calls either.
WORTH_SINGLE = 300
PRECISION = {"float64": "d", "float32": "s"}


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def over_threads[T, R](function: Callable[[T], R], items: Sequence[T], n: int) -> list[R]:
    """What a function makes of each item, in their order, where each takes an (n, n) matrix.

    On several threads where that pays. The function must not run loops that numba spreads over
    threads itself: two of these at once are more than it allows.
    """
    workers = min(numba.get_num_threads(), MOST_THREADS, len(items))
    if workers < 2 or not WORTH_THREADS <= n <= LARGE:
        return [function(item) for item in items]
    # each has numpy's way with rounding errors of its own
    contexts = [copy_context() for _ in items]
    # here too, for the limits of single calls end in any order
    with one_thread(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda context, item: context.run(function, item), contexts, items))


def cholesky(S: np.ndarray) -> np.ndarray:
    """Upper U (n, n) with ``S = UᵀU``, from the lower triangle of S, in whose memory it stands.

    In the precision of S, double or single. What lies below the diagonal of U means nothing.

    Raises
    ------
    LinAlgError
        Where S is not positive definite.
    """
    _in_place("potrf", S)
    return S.T


def inverse(U: np.ndarray) -> np.ndarray:
    """Lower triangle of ``(UᵀU)⁻¹``, in double precision, from what `cholesky` returns."""
    out = U.T.copy()
    _in_place("potri", out)
    return out.astype(float, copy=False)


def refined(S: np.ndarray, U: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``V = S⁻¹B`` (n, m) and ``BᵀV`` by a factor U of single precision, to that of S.

    From the lower triangle of S. A first answer is off by some 1e-6, the refined one by the square
    of it. ``BᵀV + VᵀR`` is of the first with its residual R: its error is quadratic in V's.
    """

    def roughly(right: np.ndarray) -> np.ndarray:
        half = strsm(1.0, U, np.asfortranarray(right, dtype=np.float32), trans_a=1)
        return strsm(1.0, U, half, overwrite_b=1).astype(float)

    with one_thread():
        V = roughly(B)
        residual = B - dsymm(1.0, S.T, V)
        return V + roughly(residual), B.T @ V + V.T @ residual


def _in_place(name: str, A: np.ndarray) -> None:
    """Run a routine of LAPACK on the lower triangle in C's order, the upper one in Fortran's."""
    assert A.flags.c_contiguous
    size, failed = ctypes.c_int(len(A)), ctypes.c_int()
    n = ctypes.byref(size)
    with one_thread():
        _routine(PRECISION[A.dtype.name] + name)(b"U", n, A.ctypes.data, n, ctypes.byref(failed))
    if failed.value:
        raise np.linalg.LinAlgError("a dense system is not positive definite")


@cache
def _routine(name: str) -> Any:
    pointer = ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, pointer, pointer, pointer, pointer)
    return kind(get_cython_function_address("scipy.linalg.cython_lapack", name))

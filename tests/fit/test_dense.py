"""Dense matrices: LAPACK called so that other threads go on, and several at the same time."""

import threading

import numba
import numpy as np
import pytest
from scipy.linalg import lapack
from threadpoolctl import threadpool_info

from partialpool.fit import dense


def definite(n, seed=0):
    A = np.random.default_rng(seed).normal(size=(n, n))
    return A @ A.T + n * np.eye(n)


def test_factor_and_inverse_are_those_of_scipy():
    S = definite(70)
    lower = np.tril(S)  # the rest plays no part
    U = dense.cholesky(lower)
    assert np.shares_memory(U, lower)
    expected, _ = lapack.dpotrf(S, lower=0)
    np.testing.assert_array_equal(np.triu(U), np.triu(expected))
    inverse = np.tril(dense.inverse(U))
    np.testing.assert_allclose(inverse, np.tril(np.linalg.inv(S)), rtol=1e-9, atol=1e-15)
    with pytest.raises(np.linalg.LinAlgError, match="definite"):
        dense.cholesky(-np.eye(3))


def test_single_precision_is_refined():
    """What a factor of single precision gives is off by 1e-7; refined it is not."""
    S, B = definite(400), np.random.default_rng(1).normal(size=(400, 3))
    lower = np.tril(S)
    U = dense.cholesky(lower.astype(np.float32))
    assert U.dtype == np.float32
    V, products = dense.refined(lower, U, B)
    expected = np.linalg.solve(S, B)
    np.testing.assert_allclose(V, expected, atol=1e-11 * np.abs(expected).max())
    np.testing.assert_allclose(products, B.T @ expected, atol=1e-12 * np.abs(B.T @ expected).max())
    off = 2 * np.log(np.diag(U).astype(float)).sum() - np.linalg.slogdet(S)[1]
    assert 0 < abs(off) < 1e-4
    inverse = np.tril(dense.inverse(U))
    np.testing.assert_allclose(inverse, np.tril(np.linalg.inv(S)), atol=1e-5 * inverse.max())


def test_python_goes_on_meanwhile():
    """Held back until a factor is there, another thread would stand at one number."""
    S, count, seen = definite(1500), [0], []

    def factor():
        before = count[0]
        dense.cholesky(S)
        seen.append(count[0] - before)

    worker = threading.Thread(target=factor)
    worker.start()
    while worker.is_alive():
        count[0] += 1
    assert seen[0] > 100


def test_items_keep_their_order_on_several_threads(monkeypatch):
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    meeting = threading.Barrier(2)  # passed only by two at the same time

    def value(item):
        meeting.wait(timeout=60)
        with np.errstate(over="raise"):
            dense.cholesky(definite(50))
        blas = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
        return item, set(blas), np.exp(np.array([1e6]))[0], np.geterr()["over"]

    before = threadpool_info()
    with np.errstate(over="ignore"):
        found = dense.over_threads(value, range(6), 1000)
    assert found == [(item, {1}, np.inf, "ignore") for item in range(6)]
    assert threadpool_info() == before


@pytest.mark.parametrize(("threads", "n"), [(1, 1000), (2, 100), (2, 5000)])
def test_one_thread_where_others_do_not_pay(threads, n, monkeypatch):
    """One core, small matrices, or so large ones that two would take too much memory."""
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    here = threading.get_ident()
    assert dense.over_threads(lambda _: threading.get_ident(), range(3), n) == [here] * 3

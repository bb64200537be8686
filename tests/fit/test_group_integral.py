"""The integral over group effects against brute force, and its certificate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import CubicSpline
from scipy.special import expit, logsumexp

from partialpool.design.families import LINKS
from partialpool.fit.counted_rows import counted_rows
from partialpool.fit.elementary import exponentials, logarithms
from partialpool.fit.group_draws import philox
from partialpool.fit.group_integral import group_integral
from partialpool.fit.integral import AIM, LIMIT


def problem(family, q, seed, *, kind="mixed", size=1.0):
    """Random rows of a family in five groups, one of them empty, and parameters."""
    rng = np.random.default_rng(seed)
    n = 24
    made = {
        "codes": rng.integers(4, size=n),
        "X": np.column_stack([np.ones(n), rng.integers(2, size=n)]).astype(float),
        "Z": np.column_stack([np.ones(n), rng.normal(size=n)])[:, :q],
        "offset": 0.3 * rng.normal(size=n),
        "trials": rng.integers(1, 9, size=n) if family == "binomial" else None,
    }
    most = made["trials"] if family == "binomial" else 4 if family == "cumulative" else 9
    low = 1 if family == "cumulative" else 0
    ends = {"zeros": np.full(n, low), "ones": np.broadcast_to(most, n)}
    made["y"] = ends.get(kind, rng.integers(low, most, size=n, endpoint=True)).astype(float)
    thresholds = np.sort(rng.normal(size=int(made["y"].max()) - 1)) if low else np.empty(0)
    L = size * np.tril(0.4 * rng.normal(size=(q, q)) + np.eye(q))
    return made, 0.5 * rng.normal(size=2), thresholds, L, float(rng.uniform(0.5, 5))


def log_density(family, made, eta, mine, thresholds, shape):
    """Log probability of some rows' responses at linear predictors (n,), by SciPy."""
    y = made["y"][mine]
    if family == "binomial":
        return stats.binom.logpmf(y, made["trials"][mine], expit(eta))
    if family == "poisson":
        return stats.poisson.logpmf(y, np.exp(eta))
    if family == "negbinomial":
        return stats.nbinom.logpmf(y, shape, shape / (shape + np.exp(eta)))
    cuts = np.concatenate([[-np.inf], thresholds, [np.inf]])
    at = y.astype(int)
    # from the side on which nothing cancels
    low, high = cuts[at - 1] - eta, cuts[at] - eta
    turned = low > 0
    low, high = np.where(turned, -high, low), np.where(turned, -low, high)
    return np.log(expit(high) - expit(low))


def brute_force(family, made, beta, thresholds, L, shape):
    """Log likelihood of all groups by the trapezium rule on a wide, fine grid."""
    q = len(L)
    x = np.linspace(-12, 12, 6_001 if q == 1 else 481)
    w = x[:, None] if q == 1 else np.stack(np.meshgrid(x, x), -1).reshape(-1, 2)
    prior = stats.norm.logpdf(w).sum(1) + q * np.log(x[1] - x[0])
    total = 0.0
    for j in np.unique(made["codes"]):
        mine = made["codes"] == j
        eta = made["X"][mine] @ beta + made["offset"][mine] + w @ L.T @ made["Z"][mine].T
        with np.errstate(divide="ignore", invalid="ignore"):
            each = log_density(family, made, eta, mine, thresholds, shape).sum(1)
        total += logsumexp(np.where(np.isfinite(each), each, -np.inf) + prior)
    return total


def integral_of(family, made, beta, thresholds, L, shape):
    """The adapted integral, and the parameters as it takes them."""
    rows = counted_rows(family, n_groups=5, **made)
    at = np.concatenate([beta, thresholds])[None], L[None], np.array([shape])
    return group_integral(rows).adapted(*at), at


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(list(LINKS)),
    st.sampled_from(["mixed", "zeros", "ones"]),
    st.sampled_from([0.01, 1.0, 3.0]),
    st.integers(0, 2**31),
)
def test_integral_is_that_of_brute_force(family, kind, size, seed):
    if family == "cumulative" and kind == "zeros":
        kind = "mixed"
    parts = problem(family, 1, seed, kind=kind, size=size)
    integral, at = integral_of(family, *parts)
    found = integral(*at)[0]
    assert found == pytest.approx(brute_force(family, *parts), abs=5e-6)
    # and that of a group alone is its own, constants included
    made = parts[0]
    constants = integral.rows.constants(at[2], at[0], by_group=True)
    own = (integral.log_integrals(*at) + constants)[0, made["codes"][0]]
    mine = made["codes"] == made["codes"][0]
    alone = {name: None if part is None else part[mine] for name, part in made.items()}
    assert own == pytest.approx(brute_force(family, alone, *parts[1:]), abs=5e-6)
    assert integral.errors(*at)[0].sum() < 2 * AIM


@pytest.mark.parametrize("family", list(LINKS))
def test_integral_over_two_effects_is_that_of_brute_force(family):
    parts = problem(family, 2, 3)
    integral, at = integral_of(family, *parts)
    assert integral(*at)[0] == pytest.approx(brute_force(family, *parts), abs=5e-6)


@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("family", list(LINKS))
def test_gradient_is_that_of_differences(family, q):
    made, beta, thresholds, L, shape = problem(family, q, 5)
    integral, (coefficients, L, shape) = integral_of(family, made, beta, thresholds, L, shape)
    fine = group_integral(integral.rows, 101 if q == 1 else 61)
    value, by_coefficients, by_L = fine.gradient(coefficients, L, shape)
    assert value == pytest.approx(fine(coefficients, L, shape))
    h = 1e-4
    for c, unit in enumerate(h * np.eye(coefficients.shape[1])):
        up, down = (fine(coefficients + s * unit, L, shape)[0] for s in (1, -1))
        assert by_coefficients[0, c] == pytest.approx((up - down) / (2 * h), rel=2e-6, abs=2e-5)
    for i, k in zip(*np.tril_indices(q), strict=True):
        unit = np.zeros_like(L)
        unit[0, i, k] = h
        up, down = (fine(coefficients, L + s * unit, shape)[0] for s in (1, -1))
        assert by_L[0, i, k] == pytest.approx((up - down) / (2 * h), rel=2e-6, abs=2e-5)


def test_moments_of_effects_are_those_of_brute_force():
    made, beta, _, L, shape = problem("binomial", 1, 8)
    integral, at = integral_of("binomial", made, beta, np.empty(0), L, shape)
    ((_, ((mean, square),)),) = integral.moments(*at)
    w = np.linspace(-12, 12, 24_001)
    for j in range(4):
        mine = made["codes"] == j
        eta = made["X"][mine] @ beta + made["offset"][mine] + np.outer(w, L[0] * made["Z"][mine])
        each = log_density("binomial", made, eta, mine, None, None)
        chance = np.exp(each.sum(1) - 0.5 * w**2)
        chance /= chance.sum()
        b = L[0, 0] * w
        assert mean[0, j, 0] == pytest.approx(chance @ b, abs=1e-6)
        assert square[0, j, 0, 0] == pytest.approx(chance @ b**2, abs=1e-6)
    assert (mean[0, 4, 0], square[0, 4, 0, 0]) == pytest.approx(
        (0, L[0, 0] ** 2), rel=1e-5
    )  # no rows


def test_large_counts_and_many_rows_take_logarithms():
    rng = np.random.default_rng(2)
    n = 900
    made = {
        "y": rng.integers(2, size=n).astype(float),
        "X": rng.normal(size=(n, 2)),
        "Z": np.ones((n, 1)),
        "codes": np.zeros(n, dtype=int),
        "offset": np.zeros(n),
        "trials": np.ones(n),
    }
    made["trials"][:3] = made["y"][:3] = 4000
    made["y"][:3] -= 1500
    parts = made, np.array([0.5, -1.0]), np.empty(0), np.array([[1.3]]), 0.0
    integral, at = integral_of("binomial", *parts)
    assert integral(*at)[0] == pytest.approx(brute_force("binomial", *parts), abs=1e-5)


def test_laplace_is_not_certified_where_groups_are_small():
    made, beta, _, L, shape = problem("binomial", 1, 4, size=2.5)
    made["trials"], made["y"] = None, (made["y"] > 3).astype(float)
    at = beta[None], L[None], np.array([shape])
    laplace = group_integral(counted_rows("binomial", n_groups=5, **made), 1)
    assert laplace.errors(*at)[0].sum() > 100 * LIMIT


def test_rows_alike_are_one_row():
    y, codes = np.array([1.0, 0, 1, 1, 0, 1]), np.array([1, 0, 1, 1, 0, 0])
    X, offset = np.ones((6, 1)), np.log([1.0, 2, 3, 4, 5, 6])
    binomial = counted_rows("binomial", y, X, X, codes, 3)
    assert (binomial.y.tolist(), binomial.trials.tolist()) == ([1, 3], [3, 3])
    assert binomial.start.tolist() == [0, 1, 2, 2]
    poisson = counted_rows("poisson", y, X, X, codes, 3, offset=offset)
    assert np.exp(poisson.offset) == pytest.approx([2 + 5 + 6, 1 + 3 + 4])
    ordered = counted_rows("cumulative", y + 1 + (codes > 0), X, X, codes, 3)
    assert ordered.totals.tolist() == [2, 1, 3]
    # without rows, as where a group's only one is left out, kernels need not be compiled anew
    none = counted_rows("poisson", y[:0], X[:0], X[:0], codes[:0], 3)
    assert (none.y.dtype, none.y.size) == (poisson.y.dtype, 0)


def test_random_numbers_are_those_of_philox():
    """The known answers of Random123 for a counter and a key of zeros, and of ones."""
    ones = 2**32 - 1
    u, v = philox(np.uint64(0), 0, 0, 0)
    assert (u, v) == pytest.approx((0x6627E8D5 / 2**32, 0xBC57AC4C / 2**32), abs=2**-32)
    u, v = philox(np.uint64(2**64 - 1), np.uint64(2**64 - 1), ones, ones)
    assert (u, v) == pytest.approx((0x408F276D / 2**32, 0xA20BC7C6 / 2**32), abs=2**-32)


def test_exponentials_and_logarithms_are_right_to_the_last_digit():
    x = np.linspace(-690, 690, 4004).reshape(-1, 7)
    found, room = np.empty_like(x), np.empty_like(x)
    exponentials(x, len(x), found, room)
    assert found == pytest.approx(np.exp(x), rel=5e-16)
    logarithms(np.exp(x), len(x), found, room)
    assert found == pytest.approx(x, rel=5e-16)
    # beyond, they are cut off
    exponentials(np.array([[-np.inf, np.inf]]), 1, found[:1, :2], room[:1, :2])
    assert found[0, 0] == pytest.approx(np.exp(-700))
    assert found[0, 1] == pytest.approx(np.exp(700))


def test_many_trials_and_large_groups_need_no_room():
    """Products of their odds would be infinite: logarithms are taken on the way."""
    rng = np.random.default_rng(3)
    n = 1500
    codes, X = np.repeat([0, 1], [n - 40, 40]), np.column_stack([np.ones(n), rng.normal(size=n)])
    trials = np.where(codes == 0, 1, rng.integers(1, 3000, size=n)).astype(float)
    beta, L, b = np.array([1.0, 0.7]), np.array([[[0.8]]]), np.array([0.5, -2.0])
    line = X @ beta + b[codes]
    y = rng.binomial(trials.astype(int), expit(line)).astype(float)
    rows = counted_rows("binomial", y, X, X[:, :1], codes, 2, trials=trials)
    at = beta[None], L, np.ones(1)
    found = group_integral(rows).adapted(*at).by_group(*at)[0]
    w = np.linspace(-8, 8, 20_001)
    for j in range(2):
        mine = codes == j
        eta = (X @ beta)[mine] + 0.8 * w[:, None]
        each = stats.binom.logpmf(y[mine], trials[mine], expit(eta)).sum(1) + stats.norm.logpdf(w)
        assert found[j] == pytest.approx(logsumexp(each) + np.log(w[1] - w[0]), abs=1e-6)


@pytest.mark.parametrize("family", list(LINKS))
def test_effects_are_drawn_from_their_density(family):
    made, beta, thresholds, L, shape = problem(family, 1, 6, size=2.0)
    integral, at = integral_of(family, made, beta, thresholds, L, shape)
    n = 4000
    ((b,),) = integral.draw(*(np.repeat(part, n, axis=0) for part in at), seed=5)
    w = np.linspace(-12, 12, 24_001)
    for j in range(5):
        mine = made["codes"] == j
        eta = (made["X"] @ beta + made["offset"])[mine] + np.outer(w, L[0] * made["Z"][mine])
        with np.errstate(divide="ignore", invalid="ignore"):
            each = log_density(family, made, eta, mine, thresholds, shape).sum(1) - 0.5 * w**2
        chance = np.cumsum(np.exp(np.where(np.isfinite(each), each, -np.inf) - np.nanmax(each)))
        found = np.interp(b[:, j], L[0, 0] * w, chance / chance[-1])
        assert stats.kstest(found, "uniform").pvalue > 1e-4
    # a group's draws do not hang on which others are drawn, nor on how many draws are asked for
    many = (np.repeat(part, 9, axis=0) for part in at)
    (some,) = integral.draw(*many, seed=5, some=[np.array([3])])
    assert some[0, :, 0] == pytest.approx(b[:9, 3])


def test_two_effects_are_drawn_from_their_density():
    made, beta, thresholds, L, shape = problem("binomial", 2, 7, size=1.5)
    integral, at = integral_of("binomial", made, beta, thresholds, L, shape)
    n = 6000
    (b,) = integral.draw(*(np.repeat(part, n, axis=0) for part in at), seed=2)
    ((_, ((mean, square),)),) = integral.moments(*at)
    w, step = np.linspace(-7, 7, 281, retstep=True)
    grid = np.stack(np.meshgrid(w, w, indexing="ij"), -1).reshape(-1, 2)
    for j in range(4):
        sd = np.sqrt(np.diag(square[0, j]) - mean[0, j] ** 2)
        assert (b[:, :, j].mean(1) - mean[0, j]) / sd * np.sqrt(n) == pytest.approx(0, abs=4)
        product = (b[0, :, j] * b[1, :, j]).mean()
        assert product == pytest.approx(square[0, j, 0, 1], abs=0.1 * sd.prod())
        mine = made["codes"] == j
        eta = (made["X"] @ beta + made["offset"])[mine] + grid @ L.T @ made["Z"][mine].T
        each = log_density("binomial", made, eta, mine, None, None).sum(1) - (grid**2).sum(1) / 2
        # standard normals of the effects, each against its marginal
        normals = np.linalg.solve(L, b[:, :, j])
        chance = np.exp(each - each.max()).reshape(len(w), len(w))
        for d in range(2):
            own = chance.sum(1 - d)
            below = CubicSpline(w, own / own.sum() / step).antiderivative()
            assert stats.kstest(below(normals[d]), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("sd", [8.0, 9.0, 20.0, 22.0, 25.0, 27.0, 30.0])
def test_products_over_many_rows_do_not_overflow(sd):
    """24 answers alike, in whose lattice linear predictors go to a hundred and beyond."""
    n, place = 24, (np.zeros((1, 1)), np.array([[[sd]]]), np.ones(1))
    ones = np.ones((n, 1))
    different = ones + 1e-9 * np.arange(n)[:, None]  # or they would be one row of 24 trials
    rows = counted_rows("binomial", np.ones(n), different, ones, np.zeros(n, dtype=int), 1)
    assert len(rows.y) == n
    w, step = np.linspace(-12, 12, 20_001, retstep=True)
    log = -n * np.logaddexp(0, -sd * w) + stats.norm.logpdf(w)
    expected = logsumexp(log) + np.log(step)
    plain = group_integral(rows, 251)
    fitted = plain.adapted(np.zeros((1, 1)), np.array([[[10.0]]]), np.ones(1))
    for integral in (plain, fitted):
        assert integral.by_group(*place)[0, 0] == pytest.approx(expected, abs=1e-3)

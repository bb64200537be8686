"""Proposals in bent coordinates, held against integrals that are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate
from scipy.special import log_expit
from threadpoolctl import threadpool_info, threadpool_limits

import partialpool as pp
from partialpool.fit import importance, integrated_fit
from partialpool.fit.slices import Bend, Bent, bend

D = 20
#: Answers alike behind each coordinate: none, so that it is normal, or some, so that it is a wall.
ALIKE = np.array([0.0] * 14 + [1.0, 2.0, 3.0, 4.0, 6.0, 9.0])


def log_wall(v):
    """A normal prior of spread 20 (1 without a wall), and answers that are all alike."""
    spread = np.where(ALIKE > 0, 20.0, 1.0)
    return -0.5 * (v / spread) ** 2 + ALIKE * log_expit(v)


@pytest.fixture(scope="module")
def walls():
    """Skew density in mixed coordinates: its log, its mode, a root there, and its integral."""
    rng = np.random.default_rng(3)
    turn = np.eye(D) + 0.3 * np.tril(rng.standard_normal((D, D)), -1) / np.sqrt(D)
    unturn = np.linalg.inv(turn)

    def log_density(u):
        return log_wall(np.atleast_2d(u) @ unturn.T).sum(1)

    grid = np.linspace(-10, 40, 200_001)[:, None]
    peak = grid[log_wall(grid).argmax(0), 0]
    h = 1e-3
    curvature = -(log_wall(peak + h) - 2 * log_wall(peak) + log_wall(peak - h)) / h**2
    total = sum(
        np.log(integrate.quad(lambda x, k=k: np.exp(log_wall(np.full(D, x))[k]), -60, 140)[0])
        for k in range(D)
    )
    return log_density, turn @ peak, turn / np.sqrt(curvature), total


def test_walls_need_bent_coordinates(walls):
    log_density, mode, root, total = walls
    plain, found = (
        importance.refine(log_density, mode, root, np.random.default_rng(1), bent=bent)
        for bent in (False, True)
    )
    assert not plain.trusted
    assert found.trusted
    assert found.effective > len(found.u) / 2
    assert abs(found.log_evidence - total) < 4 * found.log_evidence_se


def test_a_bent_proposal_is_a_density():
    def log_density(u):
        return 4 * log_expit(u[:, 0]) - 0.02 * u[:, 0] ** 2 - 0.5 * (u[:, 1] - u[:, 0] / 4) ** 2

    mode = np.array([3.9, 1.0])
    found = bend(log_density, mode, np.array([[3.0, 0.0], [0.75, 1.0]]), 0)
    kernels = importance.around(np.zeros((1, 2)), np.eye(2)[None], np.ones(1), (1.0,), (1.0,))
    proposal = Bent(**vars(kernels), bend=found)
    x, y = np.linspace(-60, 120, 1501), np.linspace(-60, 60, 1001)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(proposal.log_density(grid)).reshape(len(x), len(y))
    inside = integrate.trapezoid(integrate.trapezoid(density, y, axis=1), x)
    drawn = proposal.draw(np.random.default_rng(2), 100_000)[0]
    share = (np.abs(drawn - [30, 0]) < [90, 60]).all(1).mean()
    assert inside == pytest.approx(share, abs=2e-3)  # four standard errors, and the rule's own


def test_what_is_bent_is_bent_back(walls):
    found: Bend = bend(*walls[:3], 0)
    z = np.random.default_rng(4).normal(scale=2.5, size=(200, D))
    again, log_slope = found.back(found.out(z))
    np.testing.assert_allclose(again, z, atol=1e-8)
    h = 1e-6
    u = found.out(z[:1])
    moved = (found.back(u + h * np.eye(D))[0] - found.back(u - h * np.eye(D))[0]) / (2 * h)
    assert np.linalg.slogdet(moved)[1] == pytest.approx(log_slope[0], abs=1e-4)


def test_a_mirrored_coordinate_stays_straight_and_is_folded():
    def log_density(u):
        wall = 6 * log_expit(u[:, 1]) - 0.02 * u[:, 1] ** 2
        return -0.5 * ((np.abs(u[:, 0]) - 0.7) / 0.6) ** 2 + wall

    mode, root = np.array([0.7, 4.6]), np.diag([0.6, 3.0])
    mirrors = np.array([[-1.0, 1.0]])
    found = importance.refine(
        log_density, mode, root, np.random.default_rng(5), mirrors=mirrors, bent=True
    )
    half = [
        integrate.quad(lambda x: np.exp(-0.5 * ((x - 0.7) / 0.6) ** 2), 0, 20)[0],
        integrate.quad(lambda x: np.exp(6 * log_expit(x) - 0.02 * x**2), -40, 60)[0],
    ]
    assert found.trusted
    assert found.u[:, 0].min() >= 0
    assert abs(found.log_evidence - np.log(half).sum()) < 4 * found.log_evidence_se


def levels_with_one_answer() -> pd.DataFrame:
    """384 answers in 10 groups, of 20 levels three of which were only ever answered one way."""
    rng = np.random.default_rng(6)
    level, group = rng.integers(0, 20, 384), rng.integers(0, 10, 384)
    line = rng.normal(0, 1, 20)[level] + rng.normal(0, 0.8, 10)[group] - 0.7
    y = (rng.uniform(size=384) < 1 / (1 + np.exp(-line))).astype(int)
    y[np.isin(level, (4, 9))], y[level == 14] = 0, 1
    names = np.array([f"level{k:02d}" for k in range(20)])
    return pd.DataFrame({"y": y, "level": names[level], "group": group})


def test_levels_with_one_answer_need_no_nuts():
    model = pp.Model("y ~ level + (1 | group)", levels_with_one_answer(), family="binomial")
    fits = [model.fit(seed=seed) for seed in (1, 2)]
    assert all(fit.attrs["method"] == "exact" for fit in fits)
    one, other = fits
    error = np.hypot(one.attrs["log_evidence_se"], other.attrs["log_evidence_se"])
    assert abs(one.attrs["log_evidence"] - other.attrs["log_evidence"]) < 4 * error


def test_linear_algebra_of_a_certified_fit_keeps_to_one_thread(monkeypatch):
    seen = []

    def explore(*_, **__):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        raise InterruptedError

    monkeypatch.setattr(integrated_fit, "explore", explore)
    model = pp.Model("y ~ 1 + (1 | group)", levels_with_one_answer(), family="binomial")
    with threadpool_limits(2, "blas"), pytest.raises(InterruptedError):
        model.fit()
    assert seen
    assert set(seen) == {1}

"""Whether a posterior exists, and its means, against the growth of its integrals."""

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.design.default_priors import resolve
from partialpool.design.estimable import Explained
from partialpool.design.from_table import build
from partialpool.design.propriety import propriety


def data(groups, rows=3, seed=0):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), rows)
    table = pd.DataFrame({"g": g, "x": rng.normal(size=len(g)), "y": rng.normal(size=len(g))})
    table["of_group"] = (table["g"] % 2).astype(float)
    return table


def density(design, flat, sds, sigma):
    """Log likelihood at scales, dense: flat coefficients integrated, others N(0, 1)."""
    dummies = design.only.codes[:, None] == np.arange(design.only.n_levels)
    V = sigma**2 * np.eye(len(design.y))
    for k, sd in enumerate(sds):
        B = design.only.Z[:, [k]] * dummies
        V += sd**2 * B @ B.T
    other = np.delete(design.X, flat, axis=1)
    V += other @ other.T
    F = design.X[:, flat]
    W = np.linalg.solve(V, np.column_stack([F, design.y]))
    A, b = F.T @ W[:, :-1], F.T @ W[:, -1]
    quadratic = design.y @ W[:, -1] - (b @ np.linalg.solve(A, b) if len(A) else 0)
    determinants = np.linalg.slogdet(V)[1] + (np.linalg.slogdet(A)[1] if len(A) else 0)
    return -(determinants + quadratic) / 2


CASES = [
    ("y ~ 1 + (1 | g)", 2, "Flat"),
    ("y ~ 1 + (1 | g)", 2, "Normal(0, 1)"),
    ("y ~ 1 + (1 | g)", 3, "Flat"),
    ("y ~ x + of_group + (1 | g)", 5, "Flat"),
    ("y ~ x + (x || g)", 3, "Flat"),
    ("y ~ x + (0 + x | g)", 4, "Flat"),
    ("y ~ 0 + x + (1 | g)", 3, "Flat"),
]


@pytest.mark.parametrize(("formula", "groups", "coefficients"), CASES)
def test_the_likelihood_falls_as_the_ranks_say(formula, groups, coefficients):
    """The slope of the log likelihood in log r, against rank([F Z]) - rank(F)."""
    design = build(formula, data(groups))
    flat = [*range(len(design.x_names))] if coefficients == "Flat" else []
    q = len(design.only.z_names)
    explained = Explained(design)
    r = np.array([1e4, 1e5])
    for S in [[k] for k in range(q)] + [[*range(q)]]:
        t = explained.by(S, flat)[0] - explained.by([], flat)[0]
        sds = [[value if k in S else 1.0 for k in range(q)] for value in r]
        one, other = (density(design, flat, sd, 1.0) for sd in sds)
        assert (one - other) / np.log(10) == pytest.approx(t, abs=1e-3)
    spare = len(design.y) - len(flat)
    one, other = (density(design, flat, [1.0] * q, value) for value in r)
    assert (one - other) / np.log(10) == pytest.approx(spare, abs=1e-3)


def moments(design, flat, powers=(0, 1)):
    """How integrals over one flat standard deviation grow: those to 1e5 over those to 1e3."""
    u = np.linspace(-10, np.log(1e5), 4001)
    values = np.array([density(design, flat, [np.exp(v)], 1.0) for v in u])
    grown = []
    for power in powers:
        weight = np.exp(values - values.max() + (power + 1) * u)
        total = np.concatenate([[0], np.cumsum(weight[1:] + weight[:-1])])
        grown.append(total[-1] / total[np.searchsorted(u, np.log(1e3))])
    return grown


@pytest.mark.parametrize(
    ("groups", "coefficients", "proper", "mean"),
    [
        (2, "Flat", False, False),
        (2, "Normal(0, 1)", True, False),
        (3, "Flat", True, False),
        (3, "Normal(0, 1)", True, True),
        (4, "Flat", True, True),
    ],
)
def test_a_flat_standard_deviation(groups, coefficients, proper, mean):
    design = build("y ~ 1 + (1 | g)", data(groups))
    priors = resolve(design, {"sd": "HalfFlat", "coefficients": coefficients})
    whole, first = moments(design, [0] if coefficients == "Flat" else [])
    assert (whole < 1.02) == proper
    assert (first < 1.02) == mean
    if not proper:
        with pytest.raises(ValueError, match=r"no posterior: with HalfFlat.. on '1.g_sigma'"):
            propriety(design, priors)
        return
    found = propriety(design, priors)
    assert ("1|g_sigma" in found.without_mean) != mean
    assert ("Intercept" in found.without_mean) == (not mean and coefficients == "Flat")
    assert "1|g_sigma" in found.without_variance or groups > 4


def test_a_flat_sigma_needs_two_rows_to_spare():
    """Four rows, three coefficients: what is left falls as 1 / sigma."""
    table = pd.DataFrame({"x": [0.0, 1, 2, 4, 5, 7], "y": [0.0, 1, 1, 3, 2, 5]})
    flat = {"sigma": "HalfFlat", "coefficients": "Flat"}
    for rows, lacking in ((5, ("Intercept", "x", "I(x ** 2)", "sigma")), (6, ())):
        design = build("y ~ x + I(x**2)", table[:rows])
        assert propriety(design, resolve(design, flat)).without_mean == lacking
    design = build("y ~ x + I(x**2)", table[:4])
    with pytest.raises(ValueError, match=r"on 'sigma', the data have 1 direction to"):
        propriety(design, resolve(design, flat))
    assert propriety(design, resolve(design, flat | {"sigma": "HalfNormal(1)"})).without_mean == ()


def test_several_flat_scales_need_more_directions_together():
    """Two groups, two effects, proper coefficients: each alone has two directions, both four."""
    design = build("y ~ x + (x || g)", data(2, rows=4))
    given = {"sd": "HalfFlat", "coefficients": "Flat"}
    with pytest.raises(ValueError, match="no posterior"):
        propriety(design, resolve(design, given))
    design = build("y ~ x + (x || g)", data(3, rows=4))
    found = propriety(design, resolve(design, given))
    assert found.without_mean[:4] == ("Intercept", "x", "1|g_sigma", "x|g_sigma")
    assert "1|g" in found.without_mean
    # a flat sigma beside a flat sd, one row for each group: three rows, two scales
    design = build("y ~ 1 + (1 | g)", data(3, rows=1))
    flat = {"sd": "HalfFlat", "sigma": "HalfFlat", "coefficients": "Flat"}
    with pytest.raises(ValueError, match=r"on '1.g_sigma', HalfFlat.. on 'sigma'"):
        propriety(design, resolve(design, flat))


def test_a_half_cauchy_has_a_posterior_and_may_lack_moments():
    design = build("y ~ 1 + (1 | g)", data(2))
    found = propriety(design, resolve(design, {"sd": "HalfCauchy(1)", "coefficients": "Flat"}))
    assert found.without_mean == ()
    assert found.without_variance == ("Intercept", "1|g_sigma", "1|g")


def test_usual_priors_have_all_moments():
    design = build("y ~ x + (x | g)", data(2))
    assert propriety(design, resolve(design)).without_variance == ()
    flat = resolve(design, {"coefficients": "Flat"})
    assert propriety(design, flat).without_variance == ()


def test_a_model_without_a_posterior_is_refused_before_it_is_fitted():
    with pytest.raises(ValueError, match="no posterior"):
        pp.Model("y ~ 1 + (1 | g)", data(2), {"sd": "HalfFlat", "Intercept": "Flat"})
    model = pp.Model("y ~ 1 + (1 | g)", data(3), {"sd": "HalfFlat", "Intercept": "Flat"})
    assert "1|g_sigma" in model.propriety.without_mean

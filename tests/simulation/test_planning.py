"""How many groups it takes: against power in closed form and published simulations."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nct
from scipy.stats import t as student

import partialpool as pp
from partialpool.plots import theme
from partialpool.plots.planning import curves
from partialpool.posterior.fitted import Fitted
from partialpool.simulation import planning

FLAT = {"coefficients": "Normal(0, 100)", "sd": "HalfNormal(5)", "sigma": "HalfNormal(20)"}


@pytest.fixture(scope="module")
def pilot():
    """Three groups with x = 1 to 10, as in simr's vignette "Power analysis from scratch"."""
    rng = np.random.default_rng(0)
    x = np.tile(np.arange(1.0, 11), 3)
    table = pd.DataFrame({"x": x, "g": np.repeat(list("abc"), 10), "y": rng.normal(size=30)})
    return Fitted.of(pp.Model("y ~ x + (1 | g)", table, FLAT), draws=200)


def test_power_is_that_of_the_t_test(pilot, tmp_path):
    truth = {"Intercept": 2, "x": -0.1, "1|g_sigma": np.sqrt(0.5), "sigma": 1}
    plan = planning.plan(pilot.model, [3], [None], truth)
    table = planning.run(pilot, plan, 400, workers=1, cache=tmp_path)
    [share] = planning.shares(table, plan)["share"]
    # the slope is within groups: a t test with 30 - 3 - 1 degrees of freedom
    ncp = -0.1 * np.sqrt(3 * 82.5)
    limit = student.ppf(0.975, 26)
    power = nct.cdf(-limit, 26, ncp) + nct.sf(limit, 26, ncp)
    assert power == pytest.approx(0.33, abs=0.01)
    assert 0.1189 < power < 0.5428  # as published: 30.00% (11.89, 54.28) of 20 simulations
    assert abs(share - power) < 4 * np.sqrt(power * (1 - power) / 400)


def test_a_region_of_equivalence_and_what_is_said(pilot, tmp_path):
    plan = planning.plan(pilot.model, [2, 30], [4, 10], {"x": 0.0}, {"x": (-0.2, 0.2)})
    table = planning.run(pilot, plan, 50, workers=1, cache=tmp_path)
    found = planning.shares(table, plan).set_index(["per_group", "groups"])
    assert len(table) == 4 * 50
    assert found.at[(10, 30), "share"] == 1  # the interval's half width is about 0.04
    assert found.at[(4, 2), "share"] < 0.2
    assert (found["low"] < found["share"] + 1e-12).all()
    assert (found["share"] - 1e-12 < found["high"]).all()
    says = planning.sentence(pilot.model, found.reset_index(), plan)
    assert says.startswith("If the slope of x is 0, its 95 % interval lies within −0.2 to 0.2 in")
    assert "from 30 groups of g on with 10 rows each (100 %; 93 % to 100 %)" in says
    none = planning.sentence(pilot.model, found.reset_index().query("groups == 2"), plan)
    assert (
        "with none of the numbers of groups of g with 4 rows each that were tried (at most" in none
    )


def test_groups_keep_their_rows(pilot):
    design = pilot.model.design
    rng = np.random.default_rng(0)
    other = planning.resized(design, 50, 4, rng)
    for j in range(50):
        x = other.X[other.only.codes == j, 1]
        assert len(set(x)) == 4
    many = planning.resized(design, 2, 25, rng)
    assert (many.only.counts == 25).all()
    assert (planning.resized(design, 7, None, rng).only.counts == 10).all()


def test_known_standard_errors_are_part_of_the_noise():
    model = pp.Model("est ~ 1 + (1 | school)", pp.load("eight_schools"), se="se")
    fitted = Fitted.of(model, draws=100)
    truth = {"Intercept": 0.0, model.design.sd_names[0]: 0.0}
    plan = planning.plan(model, [8], [None], truth)
    found = planning.batch(planning._bare(model), fitted.population, plan, 0, 50, 0)
    # without an effect 5 % of intervals exclude zero; a prior on the spread makes that fewer
    assert ((found["low"] > 0) | (found["high"] < 0)).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 50)
    assert 4 < found["low"].std() < 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": [1]}, "of at least two groups"),
        ({"groups": []}, "give sizes"),
        ({"groups": [5], "truth": {"z": 1}}, "truth: there is no 'z'"),
        ({"groups": [5], "rope": {"y": (0, 1)}}, "rope: there is no 'y'"),
    ],
)
def test_what_cannot_be_planned(pilot, options, words):
    with pytest.raises(ValueError, match=words):
        planning.plan(pilot.model, **options)


def test_several_factors_are_refused():
    model = pp.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pp.load("Penicillin"))
    with pytest.raises(ValueError, match="one grouping factor"):
        planning.plan(model, [5])


def test_the_answer_has_units_and_its_picture_one_colour(pilot):
    """Orange is what has no pooling; sizes are told apart by dashes and marks."""
    units = {"y": "ms", "x": "days"}
    model = pp.Model("y ~ x + (1 | g)", pilot.model.table, units=units, labels={"g": "person"})
    plan = planning.plan(model, [5, 10], [None, 4], {"x": 5.0})
    rows = [["x", size, n, 0.9, 0.8, 0.95, 1.0] for size in (0, 4) for n in (5, 10)]
    found = pd.DataFrame(rows, columns=list(planning.HEADINGS))
    says = planning.sentence(model, found, plan)
    assert says.startswith("If the slope of x is 5 ms per day, its 95 % interval excludes zero in")
    assert "from 5 persons on with 4 rows each (90 %; 80 % to 95 %)" in says
    panel = curves(model, found, plan).figure.axes[0]
    assert {line.get_color() for line in panel.lines[:2]} == {theme.PARTIAL}
    assert len({line.get_linestyle() for line in panel.lines[:2]}) == 2
    assert panel.get_ylabel() == "share whose interval excludes zero"
    table = planning.table(model, found, plan).readable()
    assert {"persons", "intervals that exclude zero"} <= {*table}
    assert planning.trust(found.assign(trusted=True, data_set=0)).sentence == (
        "All 4 fits passed the check that each makes of itself."
    )

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
from partialpool.simulation import planning, planning_words

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
    says = planning_words.sentence(pilot.model, found.reset_index(), plan)
    assert says.startswith("If the slope of x is 0, its 95 % interval lies within −0.2 to 0.2 in")
    assert "groups of g on with 10 rows each (" in says
    assert "the 95 % Monte Carlo intervals of the shares leave open" in says
    none = planning_words.sentence(pilot.model, found.reset_index().query("groups == 2"), plan)
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
    says = planning_words.sentence(model, found, plan)
    assert says.startswith("If the slope of x is 5 ms per day, its 95 % interval excludes zero in")
    assert "with 5 persons already with all 10 rows each and with 5 persons already with 4" in says
    panel = curves(model, found, plan).figure.axes[0]
    assert {line.get_color() for line in panel.lines[:2]} == {theme.PARTIAL}
    assert len({line.get_linestyle() for line in panel.lines[:2]}) == 2
    assert panel.get_ylabel() == "share whose interval excludes zero"
    table = planning_words.table(model, found, plan).readable()
    assert {"persons", "intervals that exclude zero"} <= {*table}
    assert "average width of the interval, ms per day" in table
    assert set(table["rows in each group"]) == {"all 10", "4"}
    assert planning_words.trust(found.assign(trusted=True, data_set=0)).sentence == (
        "All 4 fits passed the check that each makes of itself."
    )


def test_how_many_groups_is_told_to_what_the_simulations_know(pilot):
    """81 % of 18 and 79 % of 24 groups were told as 18 against 36: neither differs from 80 %."""
    plan = planning.plan(pilot.model, [12, 18, 24, 36], [None, 4], {"x": 5.0})
    rows = [
        ["x", size, n, share, share - 0.06, share + 0.05, 1.0]
        for size, shares in ((0, (0.62, 0.81, 0.86, 0.96)), (4, (0.5, 0.7, 0.79, 0.92)))
        for n, share in zip(plan.groups, shares, strict=True)
    ]
    found = pd.DataFrame(rows, columns=list(planning.HEADINGS))
    says = planning_words.sentence(pilot.model, found, plan)
    assert "from about 18 groups of g on with all 10 rows each (15 to 24)" in says
    assert "from about 25 groups of g on with 4 rows each (21 to 30)" in says
    few = planning_words.sentence(pilot.model, found[found["groups"] < 24], plan)
    assert "from about 18 groups of g on with all 10 rows each (15 to more)" in few
    assert "none of the numbers of groups of g with 4 rows each that were tried (at most 70" in few


@pytest.mark.parametrize(
    ("shares", "at"),
    [([0.7, 0.9, 0.95], 20**0.5), ([0.9, 0.9, 0.9], 0), ([0.9, 0.7, 0.9], 50**0.5)],
)
def test_the_crossing_is_on_a_line_between_logarithms(shares, at):
    sizes = np.array([4, 5, 10])
    assert planning_words.crossing(sizes, np.array(shares)) == pytest.approx(at)
    assert planning_words.crossing(sizes, np.array(shares) - 0.5) == np.inf


def test_what_a_planned_study_may_do_otherwise_is_told(pilot):
    plan = planning.plan(pilot.model, [3], [4], {"x": 1.0})
    says = planning_words.describe(pilot, plan, 100).sentence
    assert "Rows that a group keeps are drawn at random" in says
    assert "differ in the" not in says  # the slope is the same in all groups
    model = pp.Model("y ~ x + (x | g)", pilot.model.table, FLAT)
    both = planning_words.describe(Fitted.of(model, draws=100), plan, 100).sentence
    assert "How much groups of g differ in the slope of x stays as the posterior has it" in both
    whole = planning.plan(pilot.model, [3], [None], {})
    assert "at random" not in planning_words.describe(pilot, whole, 100).sentence

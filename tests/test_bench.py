"""The cells of the bench that are ours still run, on the data that they share with the peers."""

from pathlib import Path

import pytest

from partialpool.fit.integral import LIMIT

BENCH = Path(__file__).parents[1] / "bench"


@pytest.mark.parametrize("name", ["exact", "exact_without_effects", "reference"])
def test_a_cell_gives_draws_of_every_parameter(name, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import samplers
    from data import DATASETS
    from results import Settings, figures

    monkeypatch.setattr(samplers.fitting, "MAX_EFFECTS", samplers.fitting.MAX_EFFECTS)
    data = DATASETS["sleepstudy"]()
    result = getattr(samplers, name)(data, 1, Settings(draws=200, chains=2))
    assert set(result.draws) == set(data.model.parameters)
    # lme4's estimate and its standard error, as its documentation prints them
    assert abs(result.draws["x"].mean() - 10.467) < 1.546
    assert figures(result, 1.0)["estimates"].keys() == result.draws.keys()


#: glmer's deviance components as its documentation and lme4's tests print them for 25 nodes.
CBPP = {"1|g_sigma": 0.6475, "Intercept": -1.3992, "x1": -0.9914, "x2": -1.1278, "x3": -1.5795}


@pytest.fixture
def bench(monkeypatch):
    """The folder of the bench as a place to import from."""
    monkeypatch.syspath_prepend(str(BENCH))


def test_data_sets_with_a_link_are_those_that_have_one(bench):
    from data import COUNTED, DATASETS, LINKED

    large = {"1000x100", "10000x100", "InstEval", "InstEval-dept", "ratings", "radon", "Exam"}
    for name in DATASETS.keys() - large:
        data = DATASETS[name]()
        assert data.model.linked == (name in LINKED), name
        assert (data.formula.startswith(COUNTED)) == (name == "cbpp")
    assert DATASETS["VerbAgg"]().model.design.n_rows == 7584


def test_a_certified_cell_gives_draws_and_its_error(bench):
    """Against the reference values of other packages for the same priors, see tests/fit."""
    import samplers
    from data import DATASETS
    from results import Settings, figures

    data = DATASETS["cbpp"]()
    result = samplers.exact(data, 1, Settings())
    found = figures(result, 1.0)
    assert found["error"] < LIMIT
    assert found["ess_per_second"] == found["ess"]
    assert found["ess_per_fit_second"] == found["ess"] / found["fit_seconds"]
    assert found["fit_seconds"] > 0
    sd = {"Intercept": 0.2627, "1|g_sigma": 0.2256}
    for name, mean in {"Intercept": -1.4198, "1|g_sigma": 0.7607}.items():
        assert abs(found["estimates"][name] - mean) < 4 * sd[name] / found["ess"] ** 0.5


def test_glmer_gets_the_same_columns(bench):
    import in_r
    from data import DATASETS
    from results import Settings

    try:
        result = in_r.glmer_25(DATASETS["cbpp"](), 1, Settings(warm=0))
    except in_r.Missing as why:
        pytest.skip(str(why))
    for name, value in CBPP.items():
        assert result.point[name] == pytest.approx(value, abs=2e-4), name
    laplace = in_r.glmer(DATASETS["cbpp"](), 1, Settings(warm=0)).point
    assert laplace["1|g_sigma"] == pytest.approx(0.6420699, abs=2e-4)  # lme4's documentation


def test_peers_meet_the_data_that_they_are_for(bench):
    from peers import PEERS

    linked = {name for name, peer in PEERS.items() if peer.takes(True)}
    assert {"exact", "bambi-nutpie", "glmer", "glmer-25", "glmm"} <= linked
    assert not {"lme4", "metropolis", "gpboost"} & linked
    assert not {"glmer", "glmm"} & {name for name, peer in PEERS.items() if peer.takes(False)}


def test_targets_of_rates_without_compiling_and_of_plain_seconds(bench):
    import report
    import targets

    def cell(seconds, rate):
        call = {"seconds": seconds, "ess_per_second": rate / 2, "ess_per_fit_second": rate}
        return {"first": call | {"error": 1e-7, "ess": 4000.0}}

    results = {
        "cbpp": {"exact": cell(0.2, 9000), "bambi-nutpie": cell(20.0, 1000)},
        "binary-500": {"exact": cell(0.6, 5000)},
    }
    rate, seconds = targets.held(results)
    assert (rate["needed"], rate["reached"]) == (10_000, 0.9)
    assert (seconds["needed"], seconds["reached"]) == (0.3, 0.5)
    assert "9,000 effective draws/s of the fit alone, 10,000 wanted (10 times bambi-nutpie" in (
        report.sentence(rate)
    )
    assert report.sentence(seconds) == (
        "binary-500: 0.6 s for the whole fit, 0.3 s wanted: missed, 0.5 of the target"
    )
    first, second = targets.leaders(results)
    assert first.endswith("bambi-nutpie; log likelihood right to 1e-07")
    assert second == "binary-500: log likelihood right to 1e-07"

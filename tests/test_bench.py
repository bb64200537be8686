"""The cells of the bench that are ours still run, on the data that they share with the peers."""

from pathlib import Path

import pytest

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

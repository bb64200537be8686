"""Predictions: known groups from their effects, new groups from the population."""

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.posterior import predictions


@pytest.fixture(scope="module")
def fitted():
    model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    return model.fit(draws=4000, seed=1)


def test_a_new_group_has_the_closed_form_variance(fitted):
    fit = fitted
    rows = pd.DataFrame({"Days": [0.0, 4.0, 9.0], "Subject": "new"})
    got = fit.predict(rows, unseen="population", seed=3)
    draws = fit.dataset.stack(sample=("chain", "draw"))
    a, b = draws["Intercept"].to_numpy(), draws["Days"].to_numpy()
    s1, s2 = draws["1|Subject_sigma"].to_numpy(), draws["Days|Subject_sigma"].to_numpy()
    rho, sigma = draws["cor(1,Days|Subject)"].to_numpy(), draws["sigma"].to_numpy()
    for k, x in enumerate(rows["Days"]):
        inner = s1**2 + 2 * x * rho * s1 * s2 + x**2 * s2**2
        sd = np.sqrt(np.var(a + b * x) + inner.mean())
        error = sd / np.sqrt(len(a))  # Monte Carlo error of the mean; that of the sd is near it
        assert abs(got["mean"][k] - (a + b * x).mean()) < 5 * error
        assert abs(got["sd"][k] - sd) < 8 * error
        width = got["observation_upper"][k] - got["observation_lower"][k]
        total = np.sqrt(sd**2 + (sigma**2).mean())
        assert width == pytest.approx(2 * 1.598 * total, rel=0.05)


def test_rows_of_one_new_group_share_its_effects(fitted):
    fit = fitted
    rows = pd.DataFrame({"Days": [0.0, 0.0, 0.0], "Subject": ["n", "n", "m"]})
    lines = predictions.line(fit, rows, unseen="population")
    np.testing.assert_allclose(lines[:, 0], lines[:, 1])
    assert np.abs(lines[:, 0] - lines[:, 2]).max() > 1


def test_known_groups_do_not_depend_on_new_ones(fitted):
    fit = fitted
    known = fit.model.table.iloc[[0, 15]]
    both = pd.concat([known, known.head(1).assign(Subject="new")], ignore_index=True)
    lines = predictions.line(fit, both, unseen="population")
    np.testing.assert_array_equal(lines[:, :2], predictions.line(fit, known))


def test_refused(fitted):
    fit = fitted
    rows = pd.DataFrame({"Days": [0.0], "Subject": ["new"]})
    with pytest.raises(ValueError, match="The level 'new' of Subject was not in the data; set"):
        fit.predict(rows)
    with pytest.raises(ValueError, match="unseen: choose from refuse, population"):
        fit.predict(rows, unseen="mean")

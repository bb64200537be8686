"""Distance from the exact posterior: signs, units and limits that are known in advance."""

import numpy as np
import pytest
import xarray as xr

from partialpool.posterior import checks


def tree(**variables):
    coords = {"chain": range(4), "draw": range(1000)}
    dims = ("chain", "draw")
    posterior = xr.Dataset({n: (dims, v) for n, v in variables.items()}, coords=coords)
    result = xr.DataTree.from_dict({"posterior": posterior})
    result.attrs = {"method": "exact"}
    return result


def draws(rng):
    """Independent draws with mean 0 and standard deviation 1 to the last digit."""
    values = rng.standard_normal((4, 1000))
    return (values - values.mean()) / values.std()


def means(verdict):
    return next(check for check in verdict.checks if check["name"].endswith(": means"))


def test_a_shift_has_the_sign_of_the_fit_and_the_unit_of_the_exact_posterior():
    """A mean of 1 where the exact one is 2 with sd 4: a quarter below."""
    rng = np.random.default_rng(1)
    found = checks.compare(tree(a=1 + 2 * draws(rng)), tree(a=2 + 4 * draws(rng))).loc["a"]
    assert found["shift"] == pytest.approx(-0.25)
    assert (found["mean"], found["exact"]) == pytest.approx((1, 2))
    # ArviZ's effective draws of independent ones are 4,000 within a tenth
    assert found["z"] == pytest.approx(-1 / np.sqrt((2**2 + 4**2) / 4000), rel=0.06)


@pytest.mark.parametrize(("parameters", "limit"), [(1, 3.29), (20, 4.06)])
def test_the_limit_on_means_holds_for_all_parameters_together(parameters, limit):
    """Two-sided normal quantiles of 0.001 over 1 and 20 parameters, from a table."""
    rng = np.random.default_rng(2)
    values = draws(rng)
    ours = {f"p{k}": values for k in range(parameters)}
    assert means(checks.verdict(tree(**ours), tree(**ours)))["threshold"] == f"≤ {limit}"


def test_one_of_twenty_means_at_three_and_a_half_errors_is_chance():
    """And at four and a half it is none: the limit is 4.06."""
    rng = np.random.default_rng(3)
    exact = {f"p{k}": draws(rng) for k in range(20)}
    for z, passed in ((3.5, True), (4.7, False)):
        ours = {name: draws(rng) for name in exact}
        ours["p7"] = ours["p7"] - z * np.sqrt(2 / 4000)
        check = means(checks.verdict(tree(**ours), tree(**exact)))
        assert check["passed"] == passed
        assert check["value"] == pytest.approx(z, rel=0.1)
        assert "at p7; chance passes the limit for 20 means" in check["help"]


def test_groups_that_are_checked_are_spread_over_all():
    """Of 3,000 groups 500, the first and the last among them, six or seven apart."""
    values = np.broadcast_to(np.arange(3000.0), (4, 2, 3000))
    shown = checks.checked(xr.Dataset({"1|g": (("chain", "draw", "g"), values)}))
    kept = shown["1|g"].to_numpy()[0, 0]
    assert len(kept) == 500
    assert (kept[0], kept[-1]) == (0, 2999)
    assert set(np.diff(kept)) == {6, 7}


def test_up_to_two_thousand_groups_all_are_checked():
    for groups, kept in ((2000, 2000), (2001, 500)):
        effects = (("chain", "draw", "g"), np.zeros((4, 2, groups)))
        assert checks.checked(xr.Dataset({"1|g": effects})).sizes["g"] == kept

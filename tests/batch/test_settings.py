"""Common settings are checked before anything runs, and quickly."""

import subprocess
import sys

import pytest

from partialpool.batch.settings import validate


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "nutz"}, "^method: there is no 'nutz'; choose from exact"),
        ({"parametrization": "centred"}, "^parametrization: there is no 'centred'"),
        ({"method": "exact", "parametrization": "centered"}, "the exact fit has none"),
        (
            {"family": "poisson", "method": "nuts", "parametrization": "marginal"},
            "^parametrization: the marginal form of `family: poisson` is sampled by nutpie alone",
        ),
        ({"draws": 0}, "^draws: must be at least 1, not 0"),
        ({"chains": 1}, "^chains: must be at least 2"),
        ({"priors": {"sd": "HalfNorml(1)"}}, "^priors: sd: .*did you mean 'HalfNormal'"),
        ({"priors": {"sd": "HalfNormal(-1)"}}, "must be positive"),
        ({"labels": {"Days": 3}}, "^labels: 3 is not text; put it in quotes"),
        ({"labels": {"basement": {0: "basement"}}}, "^labels: {0: 'basement'} is not text"),
        ({"units": {1: "ms"}}, "^units: 1 is not text"),
        ({"units": {"Reaction": ""}}, "^units: '' is not text"),
    ],
)
def test_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        validate(settings)


def test_accepted():
    validate({"family": "poisson", "method": "nutpie", "parametrization": "marginal"})
    validate({"method": "nuts", "parametrization": None, "draws": 10, "data": "sleepstudy"})
    validate(
        {
            "priors": {"sd": "HalfNormal(1)"},
            "labels": {"x": "y", "x[0]": "none"},
            "units": {"x": "ms"},
        }
    )


def test_nothing_heavy_is_imported():
    code = (
        "import sys, partialpool.batch.study_file\n"
        "heavy = {'scipy', 'pandas', 'numba', 'xarray', 'pymc', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Common settings are checked before anything runs, and quickly."""

import subprocess
import sys

import pytest

from partialpool.batch.study_file import validate


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "nutz"}, "^method: there is no 'nutz'; choose from exact"),
        ({"parametrization": "centred"}, "^parametrization: there is no 'centred'"),
        ({"method": "exact", "parametrization": "centered"}, "the exact fit has none"),
        ({"draws": 0}, "^draws: must be at least 1, not 0"),
        ({"chains": 1}, "^chains: must be at least 2"),
        ({"priors": {"sd": "HalfNorml(1)"}}, "^priors: sd: .*did you mean 'HalfNormal'"),
        ({"priors": {"sd": "HalfNormal(-1)"}}, "must be positive"),
    ],
)
def test_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        validate(settings)


def test_accepted():
    validate({"method": "nuts", "parametrization": None, "draws": 10, "data": "sleepstudy"})
    validate({"priors": {"sd": "HalfNormal(1)"}, "labels": {"x": "y"}})


def test_nothing_heavy_is_imported():
    code = (
        "import sys, partialpool.batch.study_file\n"
        "heavy = {'scipy', 'pandas', 'numba', 'xarray', 'pymc', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

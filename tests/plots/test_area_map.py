"""Groups on a map: outlines by name, and what is drawn and said of them."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.data import areas
from partialpool.plots import area_map
from partialpool.posterior.natural_scale import Natural

NAMES = ["Aitkin", "St. Louis", "Lake of the Woods", "Cook"]
LEVELS = ["AITKIN", "ST LOUIS", "Nowhere"]


def square(x, y=45.0):
    return [[[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1], [x, y]]]


@pytest.fixture
def outlines(tmp_path):
    """Four squares in a row, the second in two parts; half a map's width is cos 45.5°."""
    shapes = [{"type": "Polygon", "coordinates": square(x)} for x in (0, 1, 2, 3)]
    shapes[1] = {"type": "MultiPolygon", "coordinates": [square(1), square(1, 47.0)]}
    features = [
        {"type": "Feature", "properties": {"NAME": name, "code": 1}, "geometry": shape}
        for name, shape in zip(NAMES, shapes, strict=True)
    ]
    path = tmp_path / "some.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(0)
    group = np.repeat(LEVELS, [40, 10, 3])
    y = np.repeat([0.0, 1.0, 2.0], [40, 10, 3]) + 0.5 * rng.normal(size=53)
    return pp.Model("y ~ 1 + (1 | group)", pd.DataFrame({"y": y, "group": group})).fit(seed=1)


def test_outlines_come_by_name_and_degrees_are_as_long_both_ways(outlines):
    found = areas.read(str(outlines))
    assert found.names == tuple(NAMES)
    assert [len(parts) for parts in found.outlines] == [1, 2, 1, 1]
    flat = np.cos(np.radians(np.mean([45.5, 46.5, 45.5, 45.5])))
    np.testing.assert_allclose(np.ptp(found.outlines[0][0], axis=0), [flat, 1])
    np.testing.assert_array_equal(found.of(LEVELS), [0, 1, -1])


def test_counties_of_a_state_are_those_of_the_radon_data():
    """Minnesota has 87 counties; the study has houses in 85 of them."""
    found = areas.read("us-counties:MN")
    at = found.of(
        pp.Model("log.radon ~ 1 + (1 | county.name)", pp.load("radon")).design.only.levels
    )
    assert len(found.names) == 87
    assert len(set(at)) == 85
    assert at.min() >= 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "is no GeoJSON of polygons that have a 'name' each"),
        ('{"features": []}', "has no features"),
        (
            '{"features": [{"properties": {"id": 1}, "geometry": '
            '{"type": "Polygon", "coordinates": [[[0,0],[1,0],[1,1],[0,0]]]}}]}',
            "have a 'name' each",
        ),
        (
            '{"features": [{"properties": {"name": "a"}, "geometry": '
            '{"type": "Point", "coordinates": [0, 0]}}]}',
            "is no GeoJSON of polygons",
        ),
    ],
)
def test_what_is_no_map_is_refused(tmp_path, text, says):
    path = tmp_path / "wrong.geojson"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        areas.read(str(path))


def test_areas_of_other_groups_and_twice_the_same_name_are_refused(outlines, tmp_path):
    with pytest.raises(
        ValueError, match=r"of 3 groups 0 have an area .* 'x', and areas such as 'Ait"
    ):
        areas.read(str(outlines)).of(["x", "y", "z"])
    twice = tmp_path / "twice.geojson"
    twice.write_text(outlines.read_text().replace("Cook", "ST LOUIS"))
    with pytest.raises(ValueError, match="more than one area named 'ST LOUIS'"):
        areas.read(str(twice))
    with pytest.raises(ValueError, match="'us-counties:XX' has no counties; give two letters"):
        areas.read("us-counties:XX")


def test_medians_and_their_widths_are_on_the_map(fit, outlines):
    found = area_map.areas(fit, None, areas.read(str(outlines)))
    line = fit.values["Intercept"][:, None] + fit.values["1|group"]
    levels = list(fit.model.design.only.levels)
    for name in LEVELS[:2]:
        low, middle, high = np.quantile(line[:, levels.index(name)], [0.05, 0.5, 0.95])
        assert found.table.loc[name].tolist() == pytest.approx([middle, low, high])
    assert list(found.table.index) == ["ST LOUIS", "AITKIN"]
    assert "2 of 4 areas have rows in the data; `Nowhere` of the groups has none" in found.sentence
    widths = [np.ptp(found.table.loc[name, ["lower", "upper"]]) for name in LEVELS[:2]]
    told = f"from {widths[0]:.3g} in AITKIN to {widths[1]:.3g} in ST LOUIS."  # forty rows and ten
    assert found.sentence.endswith(told)
    for axes in found.figure.axes:
        drawn = [c for c in axes.collections if c.get_facecolor().size]
        assert sum(len(c.get_paths()) for c in drawn) == 3  # Aitkin, and both parts of St. Louis
    plt.close(found.figure)


def test_the_limit_of_a_natural_scale_has_the_second_map(fit, outlines):
    natural = Natural("radon", "pCi/L", limit=2.0)
    found = area_map.areas(fit, natural, areas.read(str(outlines)))
    values = fit.values
    shares = []
    for k, name in enumerate(fit.model.design.only.levels):
        noise = values["sigma"] * np.random.default_rng(k).normal(size=len(values["sigma"]))
        line = values["Intercept"] + values["1|group"][:, k]
        shares += [(np.exp(line + noise) > 2.0).mean()] if name in LEVELS[:2] else []
    low, high = (float(part.split(" %")[0]) for part in re.split(" from | to ", found.sentence)[1:])
    error = 100 * 4 * np.sqrt(0.25 / len(line)) + 0.5  # and rounding
    assert abs(low - 100 * min(shares)) < error
    assert abs(high - 100 * max(shares)) < error
    assert found.table is None
    assert "probability of a new value above 2 pCi/L runs from" in found.sentence
    plt.close(found.figure)

"""The areas of groups, for a map: outlines by name, from a GeoJSON file or a package of them."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from partialpool.data.text import listed

#: Counties of one of the United States by its two letters, as in ``us-counties:MN``: outlines of
#: the Census Bureau from the package bokeh_sampledata.
COUNTIES = "us-counties:"
#: Corners closer to a line than this share of the map's width are left out.
COARSE = 0.002


@dataclass(frozen=True)
class Areas:
    """Outlines in degrees, drawn so that a degree has the same length both ways.

    Attributes
    ----------
    names : tuple of str
    outlines : tuple of lists of (n, 2) arrays
        Of each area one array for each of its parts.
    """

    names: tuple[str, ...]
    outlines: tuple[list[np.ndarray], ...]

    def of(self, levels: Iterable[Any], called: str = "groups") -> np.ndarray:
        """Area (J,) of each level, by letters and digits of its name alone; -1 where none is.

        Raises
        ------
        ValueError
            Where fewer than half of the levels have an area.
        """
        levels = list(levels)
        known = {_plain(name): at for at, name in enumerate(self.names)}
        at = np.array([known.get(_plain(level), -1) for level in levels], dtype=int)
        if 2 * (at >= 0).sum() < len(at):
            raise ValueError(
                f"areas: of {len(at)} {called} {(at >= 0).sum()} have an area of their name; "
                f"there are levels such as {levels[int(at.argmin())]!r}, and areas such as "
                f"{listed([repr(name) for name in self.names[:3]])}."
            )
        return at


def read(source: str) -> Areas:
    """Areas from a GeoJSON file whose features have a ``name``, or ``us-counties:MN``.

    Raises
    ------
    ValueError
        Where a package is missing, for no such state, and for a file that is no such GeoJSON.
    OSError
        Where there is no such file.
    """
    if find_spec("shapely") is None or find_spec("bokeh_sampledata") is None:
        raise ValueError('areas: a map needs two more packages: pip install "partialpool[maps]".')
    found = _counties(source) if source.startswith(COUNTIES) else _geojson(Path(source))
    names = [name for name, _ in found]
    often = Counter(map(_plain, names))
    twice = sorted(name for name in names if often[_plain(name)] > 1)
    if twice:
        raise ValueError(f"areas: {source} has more than one area named {twice[0]!r}.")
    low, _, high, _ = np.array([shape.bounds for _, shape in found]).T
    tolerance = COARSE * float(high.max() - low.min())
    flat = np.cos(np.radians(np.mean([shape.centroid.y for _, shape in found])))
    outlines = []
    for _, shape in found:
        plain = shape.simplify(tolerance)
        parts = getattr(plain, "geoms", [plain])
        outlines.append([np.asarray(part.exterior.coords)[:, :2] * [flat, 1] for part in parts])
    return Areas(tuple(names), tuple(outlines))


def _counties(source: str) -> list[tuple[str, Any]]:
    from bokeh_sampledata.us_counties import records

    state = source.removeprefix(COUNTIES)
    found = records(state) if len(state) == 2 and state.isalpha() and state.isascii() else []
    if not found:
        raise ValueError(f"areas: {source!r} has no counties; give two letters, as in {COUNTIES}MN")
    return [(record["name"], record["geometry"]) for record in found]


def _geojson(path: Path) -> list[tuple[str, Any]]:
    from shapely.geometry import shape

    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        found = []
        for feature in features:
            named = {key.casefold(): value for key, value in feature["properties"].items()}
            area = shape(feature["geometry"])
            if area.geom_type not in ("Polygon", "MultiPolygon"):
                raise ValueError(area.geom_type)
            found.append((str(named["name"]), area))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"areas: {path} is no GeoJSON of polygons that have a 'name' each ({error!r})."
        ) from None
    if not found:
        raise ValueError(f"areas: {path} has no features.")
    return found


def _plain(name: Any) -> str:
    return "".join(c for c in str(name).casefold() if c.isalnum())

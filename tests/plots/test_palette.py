"""Colours of figures: contrast with the ground, and apart for any colour vision."""

import io
import re
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from partialpool.plots import palette, theme
from partialpool.plots.stage import Stage
from partialpool.posterior.finding import Finding
from partialpool.report import drawings, page

#: Linear RGB as seen with a missing kind of cone (Machado, Oliveira & Fernandes 2009, table 1).
VISION = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
#: From linear RGB to CIE XYZ, in units of the white point D65 (IEC 61966-2-1).
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
) / np.array([[0.95047], [1.0], [1.08883]])


def linear(color):
    c = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG's ratio of relative luminances."""
    low, high = sorted((XYZ[1] @ linear(color)) + 0.05 for color in (one, other))
    return high / low


def lab(rgb):
    t = XYZ @ rgb
    f = np.where(t > (6 / 29) ** 3, np.cbrt(np.maximum(t, 0)), t * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ground(dark):
    """The page's own background, read from its style sheet."""
    style = page.asset("style.css")["text"]
    return style.split("--page:")[1 + dark].split(";")[0].strip()


SCHEMES = [(palette.COLORS, False), (palette.DARK, True)]


@pytest.mark.parametrize(("colors", "dark"), SCHEMES, ids=["light", "dark"])
def test_every_colour_stands_out_from_the_ground(colors, dark):
    ratios = {name: contrast(color, ground(dark)) for name, color in colors.items()}
    assert min(ratios.values()) >= 3, ratios


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("colors", "dark"), SCHEMES, ids=["light", "dark"])
def test_colours_differ_for_every_reader(colors, dark, vision):
    seen = {
        name: lab(np.clip(VISION[vision] @ linear(color), 0, 1)) for name, color in colors.items()
    }
    gaps = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in combinations(seen, 2)}
    assert min(gaps.values()) > 15, min(gaps.items(), key=lambda item: item[1])


@pytest.mark.parametrize("vision", VISION)
def test_chosen_points_have_colours_that_mean_nothing_else(vision):
    """Orange was no pooling, a chain, a chosen point and a divergence, in one report."""

    def seen(color):
        return lab(np.clip(VISION[vision] @ linear(color), 0, 1))

    for one, other in combinations(palette.CHOSEN, 2):
        assert np.linalg.norm(seen(one) - seen(other)) > 20, (one, other)
    for color in palette.CHOSEN:
        assert min(contrast(color, ground(dark)) for dark in (False, True)) >= 3
        full = lab(linear(color))
        for meaning in (*palette.COLORS.values(), *palette.DARK.values()):
            assert np.linalg.norm(full - lab(linear(meaning))) > 25, (color, meaning)
    assert not {*theme.PALETTE[1:]} & {*palette.COLORS.values()}


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(
    ("colors", "ink"),
    [(palette.COLORS, palette.INK), (palette.DARK, palette.DARK_INK)],
    ids=["light", "dark"],
)
def test_a_fit_stands_out_from_the_exact_posterior_under_it(colors, ink, vision):
    """Two lines that should lie on each other: in the dark both were nearly white."""
    one, other = (
        lab(np.clip(VISION[vision] @ linear(color), 0, 1)) for color in (colors["exact"], ink)
    )
    assert np.linalg.norm(one - other) > 40


def test_text_can_be_read_on_every_ground_it_has():
    style = page.asset("style.css")["text"]
    for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]:  # light, dark
        colors = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        words = ("ink", "soft", "link", "keyword", "string", "number", "comment", "name")
        pairs = [(word, under) for word in words for under in ("page", "raised")]
        pairs += [(v, under) for v in ("pass", "warn", "fail") for under in (f"{v}-bg", "page")]
        faint = [pair for pair in pairs if contrast(*(colors[name] for name in pair)) < 4.5]
        assert faint == []


def test_known_values():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    np.testing.assert_allclose(lab(linear("#ffffff")), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(lab(linear("#ff0000")), [53.24, 80.09, 67.20], atol=0.02)


def test_figures_take_the_pages_colours():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><path style="stroke: #2252AC; fill: none"/></svg>'
    )
    drawn = str(drawings.inline_svg(svg, "a", "p"))
    assert "stroke: var(--fig-partial,#2252ac)" in drawn
    rules = palette.rules()
    assert rules.count("--fig-partial") == 2
    assert palette.DARK["partial"] in rules.split("dark")[1]


def test_a_figure_in_a_notebook_wears_both_schemes():
    """Ink on no ground could not be read in the dark; a page takes the colours and no ground."""
    figure, axes = plt.subplots()
    axes.plot([0, 1], color=theme.PARTIAL)
    finding = Finding("line", figure=figure)
    worn = finding.dressed(finding.svg)
    plt.close(figure)
    assert palette.INK in finding.svg  # as files have it
    light, dark = worn.split("prefers-color-scheme:dark", 1)
    assert f"svg{{color:{palette.INK}" in light
    assert f"background:{palette.GROUND}" in light
    assert f"svg{{color:{palette.DARK_INK};background:{palette.DARK_GROUND}}}" in dark
    assert "stroke: var(--fig-partial,#2252ac)" in worn
    assert worn.count(palette.INK) == 1
    shown = str(drawings.inline_svg(worn, "a line", "p"))
    assert shown.count("var(--fig-partial,#2252ac)") == 1
    assert "<style" not in shown
    assert contrast(palette.DARK_INK, palette.DARK_GROUND) >= 7


def test_a_picture_that_moves_has_its_colours_in_the_dark():
    stage = Stage((2, 2))
    axes = stage.figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, 9), ylim=(0, 2))
    colors = [palette.INK, *palette.COLORS.values()]
    for k, color in enumerate(colors):
        axes.add_patch(plt.Rectangle((k + 0.1, 0), 0.8, 1, color=color, lw=0))
        axes.add_patch(plt.Rectangle((k + 0.1, 1), 0.8, 0.9, color=color, alpha=0.5, lw=0))
    light, dark = (np.array(Image.open(io.BytesIO(png)).convert("RGB")) for png in stage.pngs())
    for picture, ground, shown in (
        (light, palette.GROUND, colors),
        (dark, palette.DARK_GROUND, [palette.DARK_INK, *palette.DARK.values()]),
    ):
        under = 255 * np.array(to_rgb(ground))
        np.testing.assert_allclose(picture[2, 2], under, atol=4)
        for k, color in enumerate(shown):
            x, over = int(200 * (k + 0.5) / 9), 255 * np.array(to_rgb(color))
            # few colours: each is one of a table of 128
            np.testing.assert_allclose(picture[150, x], over, atol=12)
            np.testing.assert_allclose(picture[60, x], (under + over) / 2, atol=12)

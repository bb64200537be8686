"""The colours of every figure, by meaning, on light and on dark ground.

Does without matplotlib, so that the index can be written without loading it. Each colour has a
contrast of 3 : 1 or more with its ground (WCAG 2.2, 1.4.11), and any two stay apart for readers of
any colour vision, the exact posterior most of all from the ink in which a fit is drawn over it; the
tests compute all three.
"""

import re

#: The colour of text and axes in figures, which pages replace by their own text colour.
INK = "#1f2328"
#: The same in the dark, and the grounds of both where a figure has no page around it.
DARK_INK, GROUND, DARK_GROUND = "#e6e9ec", "#ffffff", "#14181d"
#: On light ground; what matplotlib draws. A colour means one thing in all figures: the posterior of
#: the fit that is shown (populations, groups, draws); no and complete pooling; the exact posterior
#: that something else is held against; a true value; a prior; the data.
COLORS = {
    "partial": "#2252ac",
    "none": "#d97a05",
    "complete": "#198840",
    "exact": "#8f40ff",
    "truth": "#ae1f0d",
    "prior": "#ae599f",
    "data": "#8a8a90",
}
#: The same on dark ground, which pages put in their place.
DARK = {
    "partial": "#5a93ea",
    "none": "#fabc31",
    "complete": "#33d598",
    "exact": "#8566ff",
    "truth": "#ee6f45",
    "prior": "#d3a2ec",
    "data": "#8c8a92",
}
#: For what has no meaning of its own, such as points chosen at random; these stay as they are.
CHOSEN = ("#33a0ac", "#9b9508", "#d71d72", "#9b6437", "#ae06c0")
#: Where a drawing has bitmaps, for very many points or lines: red, green and blue of the dark from
#: those of the light and one. Such a map can have four colours right: ink, fit, exact and data.
BITMAPS = (
    (0.798, -0.958, -0.7376, 1.0521),
    (-0.0579, -0.3212, -0.5358, 1.0489),
    (-0.2272, -0.9799, 0.3389, 1.0345),
)


def rules() -> str:
    """CSS that gives each colour a name, by the reader's scheme, and bitmaps in drawings theirs."""
    light, dark = (
        ";".join(f"--fig-{name}:{color}" for name, color in colors.items())
        for colors in (COLORS, DARK)
    )
    dark = f":root{{{dark}}}image.drawn{{filter:url(#dark-bitmaps)}}"
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def bitmap_filter() -> str:
    """What `rules` have bitmaps go through in the dark, as SVG."""
    rows = " ".join(f"{r} {g} {b} 0 {one}" for r, g, b, one in BITMAPS)
    return (
        '<filter id="dark-bitmaps" x="0" y="0" width="1" height="1" '
        'color-interpolation-filters="sRGB">'
        f'<feColorMatrix values="{rows} 0 0 0 1 0"/></filter>'
    )


def marked(svg: str) -> str:
    """A drawing in our colours whose bitmaps `rules` tell from those of others, which stay."""
    return svg.replace("<image ", '<image class="drawn" ')


def named(svg: str) -> str:
    """A drawing in which ink and colours have the names by which a style sheet knows them."""
    svg = re.sub(re.escape(INK), "currentColor", svg, flags=re.IGNORECASE)
    for name, color in COLORS.items():
        svg = re.sub(f'{color}(?=[;"])', f"var(--fig-{name},{color})", svg, flags=re.IGNORECASE)
    return svg


def dressed(svg: str, *, ground: bool = True) -> str:
    """A drawing that follows light and dark by itself, on a ground that suits its ink, or on none.

    A browser that shows it as a picture takes the scheme of the page around it, so far as that has
    one.
    """
    light, dark = (f";background:{g}" if ground else "" for g in (GROUND, DARK_GROUND))
    style = (
        f"<style>svg{{color:{INK};stroke-linejoin:round{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{svg{{color:{DARK_INK}{dark}}}}}"
        f"{rules()}</style>{bitmap_filter()}"
    )
    return re.sub(r"<svg\b[^>]*>", lambda head: head[0] + style, named(svg), count=1)

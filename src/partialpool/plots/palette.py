"""The colours of every figure, by meaning, on light and on dark ground.

Imports nothing, so that the index can be written without loading matplotlib. Each colour has a
contrast of 3 : 1 or more with its ground (WCAG 2.2, 1.4.11), and any two stay apart for readers of
any colour vision; the tests compute both.
"""

#: The colour of text and axes in figures, which pages replace by their own text colour.
INK = "#1f2328"
#: On light ground; what matplotlib draws.
COLORS = {
    "partial": "#2252ac",
    "none": "#d97a05",
    "complete": "#198840",
    "exact": "#3097f0",
    "truth": "#ae1f0d",
    "prior": "#ae599f",
    "data": "#8a8a90",
}
#: The same on dark ground, which pages put in their place.
DARK = {
    "partial": "#5a93ea",
    "none": "#fabc31",
    "complete": "#33d598",
    "exact": "#c4f3ff",
    "truth": "#ee6f45",
    "prior": "#d3a2ec",
    "data": "#8c8a92",
}


def rules() -> str:
    """CSS that gives each colour a name, by the reader's scheme."""
    light, dark = (
        ";".join(f"--fig-{name}:{color}" for name, color in colors.items())
        for colors in (COLORS, DARK)
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"

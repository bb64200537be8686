"""What may stand in a page of all that a notebook displays: what is named here, and nothing else.

What a browser would make of the text is decided by a parser of HTML 5 (nh3, a binding of Ammonia),
and what it leaves is written anew, so that no odd spelling passes. Nothing that is allowed reads
its content in a way of its own (as ``style`` or ``svg`` do), loads anything, or leaves its place.
"""

import re

import nh3
from markupsafe import Markup
from pygments.token import STANDARD_TYPES

MATHS = {
    *("math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded"),
    *("mphantom", "mprescripts", "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub"),
    *("msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover", "none"),
}
#: Parts that a page itself is made of, which a displayed text has no business to add.
LANDMARKS = {"area", "article", "aside", "footer", "header", "hgroup", "map", "nav"}
TAGS = (nh3.ALLOWED_TAGS - LANDMARKS) | {"tfoot"} | MATHS
#: Go with all that is in them; of any other element the text stays.
REMOVED = {
    *("annotation", "annotation-xml", "iframe", "noembed", "noframes", "noscript", "object"),
    *("script", "select", "style", "svg", "template", "textarea", "title", "xmp"),
}
SIZES = {
    *("columnspacing", "linethickness", "lspace", "mathsize", "maxsize", "minsize"),
    *("rowspacing", "rspace", "width"),
}
MATHS_ATTRIBUTES = SIZES | {
    *("accent", "accentunder", "columnalign", "columnlines", "columnspan", "display"),
    *("displaystyle", "fence", "form", "largeop", "linebreak", "mathbackground", "mathcolor"),
    *("mathvariant", "movablelimits", "notation", "rowalign", "rowlines", "rowspan"),
    *("scriptlevel", "separator", "stretchy", "symmetric"),
}
CELL = {"align", "colspan", "headers", "rowspan", "scope"}
ATTRIBUTES = {
    **dict.fromkeys(MATHS, MATHS_ATTRIBUTES),
    "*": {"dir", "id", "lang", "style", "title"},
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "data": {"value"},
    "details": {"open"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"reversed", "start", "type"},
    "td": CELL,
    "th": CELL,
    "time": {"datetime"},
}
#: Classes of what displays and Markdown make; the others of the style sheet are the page's own.
CLASSES = {
    "div": {"highlight", "math"},
    "span": set(STANDARD_TYPES.values()),
    "table": {"dataframe"},
}
#: Styles that a text may give itself. None moves or enlarges anything.
STYLES = {
    *("background-color", "color", "font-style", "font-weight", "text-align"),
    *("text-decoration", "vertical-align", "white-space"),
}
IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]")
#: One or more lengths, each below ten, and backwards less than one.
LENGTHS = re.compile(r"(?: ?(?:-?0?\.\d+|\d(?:\.\d+)?)(?:em|ex|pt|px)?)+")
BOX = '<div class="{}" tabindex="0" role="group" aria-label="{}">'


def sanitize(html: str, ids: set[str] | None = None) -> Markup:
    """Make displayed HTML fit for a page: nothing that runs, loads or moves; tables that scroll.

    Parameters
    ----------
    html : str
        HTML from anywhere, MathML included.
    ids : set of str, optional
        Ids that the page has already, which are extended by those that the HTML brings; default
        lets it bring none.
    """

    def kept(element: str, name: str, value: str) -> str | None:
        good = True
        if name == "id":
            good = ids is not None and value not in ids
            if good and ids is not None:
                ids.add(value)
        elif name == "src":
            good = IMAGE.match(value) is not None
        elif name == "href":
            good = not value.strip().lower().startswith("data:")
        elif name == "style":
            good = "url" not in value.lower() and "\\" not in value
        elif element in MATHS and name in SIZES:
            good = LENGTHS.fullmatch(value) is not None
        return value if good else None

    text = nh3.clean(
        html,
        tags=TAGS,
        clean_content_tags=REMOVED,
        attributes=ATTRIBUTES,
        attribute_filter=kept,
        allowed_classes=CLASSES,
        filter_style_properties=STYLES,
        set_tag_attribute_values={"pre": {"tabindex": "0"}},
        url_schemes={"data", "http", "https", "mailto"},
    )
    text = text.replace(' class=""', "")
    # what nh3 writes has no "<" or ">" but those of its elements
    text = re.sub(r"<img(?![^>]* src=)[^>]*>", "", text)
    text = re.sub(r"<img(?![^>]* alt=)", '<img alt=""', text)
    # an empty header is announced, and heads nothing
    text = re.sub(r"<th((?: [^>]*)?)>\s*</th>", r"<td\1></td>", text)
    text = re.sub(r"<table\b", BOX.format("scroll", "Table") + "<table", text)
    text = text.replace("</table>", "</table></div>")
    text = text.replace('<div class="math">', BOX.format("math", "Formula"))
    return Markup(text)

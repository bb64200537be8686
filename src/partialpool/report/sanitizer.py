"""What may stand in a page of all that a notebook displays: what is named here, and nothing else.

What a browser would make of the text is decided by a parser of HTML 5 (nh3, a binding of Ammonia),
and what it leaves is written anew, so that no odd spelling passes. Nothing that is allowed reads
its content in a way of its own (as ``style`` or ``svg`` do), loads anything, or leaves its place.
"""

import re

import nh3
from markupsafe import Markup
from pygments.token import STANDARD_TYPES

TEXT = set(
    "a abbr b bdi bdo blockquote br center cite code data dd del details dfn div dl dt em figcaption "
    "figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q rp rt ruby s samp small span "
    "strike strong sub summary sup time tt u ul var wbr".split()
)
TABLE = set("caption col colgroup table tbody td tfoot th thead tr".split())
MATHS = set(
    "math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms "
    "mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none".split()
)
#: Go with all that is in them; of any other element the text stays.
REMOVED = set(
    "annotation annotation-xml iframe noembed noframes noscript object script select style svg "
    "template textarea title xmp".split()
)
CELL = {"colspan", "rowspan", "scope", "headers", "align"}
MATHS_SIZES = {"lspace", "rspace", "width", "minsize", "maxsize", "mathsize", "linethickness"}
MATHS_SIZES |= {"rowspacing", "columnspacing"}
MATHS_ATTRIBUTES = MATHS_SIZES | set(
    "accent accentunder columnalign columnlines columnspan display displaystyle fence form largeop "
    "linebreak mathbackground mathcolor mathvariant movablelimits notation rowalign rowlines rowspan "
    "scriptlevel separator stretchy symmetric".split()
)
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
#: Classes under which the style sheet knows what displays and Markdown make; its others are its own.
CLASSES = {
    "table": {"dataframe"},
    "div": {"highlight", "math"},
    "span": set(STANDARD_TYPES.values()),
}
#: Styles that a text may give itself. None moves or enlarges anything.
STYLES = set(
    "background-color color font-style font-weight text-align text-decoration vertical-align "
    "white-space".split()
)
IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]")
#: One or more lengths, each below ten, and backwards less than one.
SIZES = re.compile(r"(?: ?(?:-?0?\.\d+|\d(?:\.\d+)?)(?:em|ex|pt|px)?)+")
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
        elif element in MATHS and name in MATHS_SIZES:
            good = SIZES.fullmatch(value) is not None
        return value if good else None

    text = nh3.clean(
        html,
        tags=TEXT | TABLE | MATHS,
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

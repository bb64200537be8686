"""Small pieces of sentences: numbers, durations, names, lists."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

#: Units of a duration with their seconds, the longest first.
UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
#: What stands on the line of the number before it: short units, and the sign of percent.
KEPT = r"%|(?:ms|s|min|h|d|sd|points?|pCi/L)(?!\w)"


def closest(name: str, known: Iterable[str]) -> str:
    """How a sentence about an unknown name ends: with the likeliest one meant, or not at all.

    Parameters
    ----------
    name : str
        What was written.
    known : iterable of str
        What there is. Letters count in whichever case, the commonest slip.

    Examples
    --------
    >>> closest("days", ["Days", "Subject"])
    "; did you mean 'Days'?"
    >>> closest("weight", ["Days", "Subject"])
    ''
    """
    there = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), there, n=1, cutoff=0.5)
    return f"; did you mean {there[close[0]]!r}?" if close else ""


def number(value: Any, digits: int = 4, *, zeros: bool = False) -> str:
    """A number in few characters, with a true minus sign.

    Of what is not whole that many digits are told, or all before the point where these are more;
    with `zeros` that many of every one, as in a column of figures.

    Examples
    --------
    >>> number(-0.123456), number(12.0), number(12345.6), number(None)
    ('−0.1235', '12', '12346', '–')
    >>> number(0.2, 2, zeros=True), number(1.0, 3, zeros=True), number(1234.0, 3, zeros=True)
    ('0.20', '1.00', '1234')
    """
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, float) and (not value.is_integer() or (zeros and value)):
        if 1e-4 <= abs(value) < 1e7:
            decimals = digits - 1 - math.floor(math.log10(abs(value)))
            text = f"{value:.{max(decimals, 0)}f}"
            text = text.rstrip("0").rstrip(".") if "." in text and not zeros else text
        else:
            text = f"{value:.2e}"
    else:
        text = f"{int(value)}" if abs(value) < 1e7 else f"{value:.3e}"
    return text.replace("-", "−")


def short(value: float) -> str:
    """Two or three significant digits of a positive number, with thousands separated.

    Examples
    --------
    >>> short(0.0341), short(12345.0)
    ('0.034', '12,000')
    """
    if value >= 100:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{value:#.2g}".rstrip(".")


def rounded(value: float, sd: float | None) -> str:
    """A number to two digits of its standard deviation: the decimals that its width deserves.

    All figures of a parameter are written with the same sd, and so to the same place.

    Examples
    --------
    >>> rounded(251.3934, 7.5), rounded(-0.56321, 0.0124), rounded(12345.6, 830.0)
    ('251.4', '−0.563', '12,346')
    """
    if not sd or not 1e-6 < sd < 1e9 or abs(value) > 1e9:
        return number(value)
    decimals = max(0, 1 - math.floor(math.log10(sd)))
    text = f"{value:,.{decimals}f}".replace("-", "−")
    return text.removeprefix("−") if not re.search("[1-9]", text) else text


def percent(share: float, decimals: int = 0) -> str:
    """A share as people write it.

    Examples
    --------
    >>> percent(0.9), percent(0.1234, 1)
    ('90 %', '12.3 %')
    """
    return f"{100 * share:.{decimals}f} %".replace("-", "−")


def in_percent(share: float, sd: float | None) -> str:
    """A share in percent, to two digits of its standard deviation, at most a tenth of a percent.

    Examples
    --------
    >>> in_percent(0.193, 0.16), in_percent(0.4457, 0.0085), in_percent(0.0749, 0.02)
    ('19 %', '44.6 %', '7.5 %')
    """
    return f"{rounded(100 * share, max(100 * (sd or 0), 1.0))} %"


def likely(probability: float, decimals: int = 1) -> str:
    """A probability in words: draws do not know one of all but certainty more exactly.

    Examples
    --------
    >>> likely(0.9321), likely(1.0), likely(0.9321, 0), likely(0.996, 0)
    ('93.2 %', 'more than 99.9 %', '93 %', 'more than 99 %')
    """
    most = 1 - 10.0 ** -(2 + decimals)
    return (
        f"more than {percent(most, decimals)}"
        if probability > most
        else (percent(probability, decimals))
    )


def typeset(text: str) -> str:
    """Words with true minus signs, and a space before the sign of percent.

    Examples
    --------
    >>> typeset("-0.5 (-1.2 to 3e-05), 50% of 2026-01-01")
    '−0.5 (−1.2 to 3e−05), 50 % of 2026-01-01'
    """
    text = re.sub(r"(?<=\d)%", " %", text)
    return re.sub(r"(?<![\w.,)\]-])-(?=\.?\d)|(?<=\de)-(?=\d\d\b)", "−", text)


def bound(text: str) -> str:
    r"""Words in which no line ends between a number and its unit or sign, nor within R-hat.

    Examples
    --------
    >>> bound("90 % of 5 or 75 %"), bound("p = 0.011, 5 ms in 2 min 5 s")
    ('90\xa0% of 5 or 75\xa0%', 'p\xa0=\xa00.011, 5\xa0ms in 2\xa0min 5\xa0s')
    >>> bound("R-hat \u2264 1.01, 5 days; 5 sd")
    'R\u2011hat\xa0\u2264\xa01.01, 5 days; 5\xa0sd'
    """
    text = re.sub(rf"(?<=\d) (?={KEPT})", "\N{NO-BREAK SPACE}", text)
    text = re.sub(r"(?<=[\w)]) ([=<>≤≥]) (?=[−\d])", "\N{NO-BREAK SPACE}\\1 ", text)
    text = re.sub(r"([=<>≤≥]) (?=[−\d])", "\\1\N{NO-BREAK SPACE}", text)
    return text.replace("R-hat", "R\N{NON-BREAKING HYPHEN}hat")


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Words for the short names of parameters, wherever they stand in a sentence.

    Those with a bar are found everywhere, an element of a group's effects too; the others, which
    may be words themselves, where they are printed bold.

    Examples
    --------
    >>> names = {"1|g": "intercept of g", "1|g_sigma": "sd of the intercept", "x": "slope of x"}
    >>> renamed("1|g_sigma, 1|g[308], x and **x**", names)
    'sd of the intercept, intercept of g 308, x and **slope of x**'
    """
    barred = [re.escape(name) for name in sorted(names, key=len, reverse=True) if "|" in name]
    if barred:
        pattern = rf"(?<!\w)({'|'.join(barred)})(?:\[([^\]]*)\])?(?!\w)"
        text = re.sub(pattern, lambda found: f"{names[found[1]]} {found[2] or ''}".rstrip(), text)
    return re.sub(r"\*\*(.+?)\*\*", lambda found: f"**{names.get(found[1], found[1])}**", text)


def in_words(name: str, names: Mapping[str, str]) -> str:
    """Words for one name of a parameter or of an element of it; itself where there are none.

    Examples
    --------
    >>> names = {"x|g": "slope of x of g", "x": "slope of x"}
    >>> in_words("x", names), in_words("x|g[308]", names), in_words("z", names)
    ('slope of x', 'slope of x of g 308', 'z')
    """
    return renamed(f"**{name}**", names).removeprefix("**").removesuffix("**")


def capital(text: str) -> str:
    """Words as a sentence begins, after what marks them as bold.

    Examples
    --------
    >>> capital("**slope of x** is 2"), capital("10 %")
    ('**Slope of x** is 2', '10 %')
    """
    start = re.match(r"\W*", text)
    at = start.end() if start else 0
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def plural(noun: str) -> str:
    """Several of what a noun names.

    Examples
    --------
    >>> plural("county"), plural("epoch"), plural("class"), plural("day"), plural("ms")
    ('counties', 'epochs', 'classes', 'days', 'ms')
    """
    if noun.endswith("s") and not noun.endswith("ss"):
        return noun
    if re.search("[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search("(ss|x|[^o]ch|sh)$", noun) else f"{noun}s"


def singular(noun: str) -> str:
    """One of what a noun in the plural names; symbols of two letters stay.

    Examples
    --------
    >>> singular("days"), singular("counties"), singular("inches"), singular("ms"), singular("km")
    ('day', 'county', 'inch', 'ms', 'km')
    """
    if len(noun) < 3 or not noun.endswith("s") or noun.endswith("ss"):
        return noun
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    return noun[:-2] if re.search("(sses|xes|ches|shes)$", noun) else noun[:-1]


def duration(seconds: float | None) -> str:
    """A duration as people say it: in two units from a minute on.

    Examples
    --------
    >>> duration(0.0341), duration(125), duration(7300), duration(1e6), duration(None)
    ('0.0341 s', '2 min 5 s', '2 h 1 min', '11 d 13 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    fitting = (pair for pair in pairwise(UNITS) if whole >= pair[0][1])
    (unit, size), (smaller, part) = next(fitting)
    return f"{whole // size} {unit} {whole % size // part} {smaller}"


def code(name: Any) -> str:
    """A name as Markdown code, where ``|`` and ``_`` mean nothing else."""
    return f"`{str(name).replace('`', '')}`"


def safe(name: str) -> str:
    """A name that xarray takes: its trees read ``/`` as a path, so it becomes ``∕`` (U+2215)."""
    return name.replace("/", "∕")


def listed(names: Sequence[str]) -> str:
    """Words joined with commas and a final "and".

    Examples
    --------
    >>> listed(["one", "two", "three"])
    'one, two and three'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))

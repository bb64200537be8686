"""Small pieces of sentences."""

import difflib
from collections.abc import Iterable


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

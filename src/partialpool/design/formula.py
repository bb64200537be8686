"""Reading a formula: response, population, offset, and group terms as they were written.

formulae describes ``(x | g)`` and ``(1 | g) + (0 + x | g)`` alike and does not know ``||``; lme4's
meaning (correlated within one written term, independent between terms) is kept by taking the group
terms out before formulae sees the rest. formulae also stops reading at the first word that does
not fit; here a formula is read whole or refused.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from formulae import model_description
from formulae.expr import Binary, Call, Grouping, QuotedName, Unary, Variable
from formulae.parser import Parser
from formulae.scanner import Scanner
from formulae.token import Token

#: What R's formulas have and these have not, and what to write instead.
UNSUPPORTED = {
    ".": "'.' for all other columns is not supported; write the columns out",
    "offset": "offset() is a term of its own; add it: '+ offset(x)'",
    "weights": "weights() is not supported; give standard errors (`se`) instead",
    "cbind": "several responses are not supported; cbind(successes, failures) is a response alone",
}
#: R's words -> those of `evaluation`.
TRANSLATED = {"as.factor": "factor", "TRUE": "True", "FALSE": "False"}
#: Names that are numbers, not columns.
CONSTANTS = {"pi": math.pi}


@dataclass(frozen=True)
class GroupTerm:
    """One written group term ``(expression | a:b)``; `correlated` unless written with ``||``."""

    expression: str
    columns: tuple[str, ...]
    correlated: bool

    @property
    def factor(self) -> str:
        """Name of the grouping factor."""
        return ":".join(self.columns)

    def __str__(self) -> str:
        bar = "|" if self.correlated else "||"
        return f"({self.expression} {bar} {':'.join(f'`{name}`' for name in self.columns)})"


@dataclass(frozen=True)
class Formula:
    """A formula taken apart.

    Attributes
    ----------
    text : str
        As written.
    response, population : str
        As formulae reads them; a response that is `arithmetic` only inside ``I()``.
    offsets : tuple of str
        What is added to the line, row by row, before anything is estimated.
    terms : tuple of GroupTerm
        In the order written, ``(x | a/b)`` as ``(x | a)`` and ``(x | a:b)``.
    arithmetic : bool
        Whether the response is an expression such as ``a / b``, which means what it says.
    trials : str
        Of how many trials the response counts the successes, ``n`` in ``y | trials(n)`` and
        ``a + b`` in ``cbind(a, b)``; empty without.
    """

    text: str
    response: str
    population: str
    offsets: tuple[str, ...]
    terms: tuple[GroupTerm, ...]
    arithmetic: bool
    trials: str = ""

    @property
    def answer(self) -> str:
        """The response as a term."""
        return f"I({self.response})" if self.arithmetic else self.response

    @property
    def without_groups(self) -> str:
        """The same formula without its group terms."""
        return self.without(*self.factors)

    def without(self, *factors: tuple[str, ...]) -> str:
        """The same formula without the group terms of some `factors`."""
        offsets = [f"offset({offset})" for offset in self.offsets]
        kept = [str(term) for term in self.terms if term.columns not in factors]
        trials = f" | trials({self.trials})" if self.trials else ""
        return f"{self.response}{trials} ~ {' + '.join([self.population, *offsets, *kept])}"

    @property
    def predictors(self) -> frozenset[str]:
        """Names of the columns on the right-hand side, grouping factors left out."""
        offsets = [f"I({offset})" for offset in self.offsets]
        parts = [self.population, *offsets, *(term.expression for term in self.terms)]
        return frozenset().union(*(variables(part, self.text) for part in parts))

    @property
    def factors(self) -> tuple[tuple[str, ...], ...]:
        """The grouping factors, in the order first written: columns whose combination groups."""
        return tuple(dict.fromkeys(term.columns for term in self.terms))


def read(formula: str) -> Formula:
    """Take a formula apart.

    Only top-level offsets and parentheses with a bar are taken out; the rest is formulae's.

    Raises
    ------
    ValueError
        Where the formula cannot be read whole, or says something that is not supported.
    """
    if not isinstance(formula, str):
        raise TypeError(f"The formula is a {type(formula).__name__}; write it as text.")
    return _read(formula)


@lru_cache
def _read(formula: str) -> Formula:
    tokens = _tokens(formula)
    kinds = [token.kind for token in tokens]
    words = [token.lexeme for token in tokens]
    if kinds.count("TILDE") != 1 or kinds[0] == "TILDE":
        raise ValueError(f"The formula {formula!r} needs the form 'response ~ predictors'.")
    tilde = kinds.index("TILDE")
    if kinds[-1] in ("TILDE", "PLUS", "MINUS"):
        raise ValueError(
            f"In {formula!r}, nothing follows the last {words[-1]!r}; write '~ 1' for an "
            "intercept alone."
        )
    common: list[str] = []
    terms: list[GroupTerm] = []
    offsets: list[str] = []
    i = tilde + 1
    while i < len(tokens):
        offset = words[i : i + 2] == ["offset", "("]
        end = _closing(kinds, i + offset) if kinds[i + offset] == "LEFT_PAREN" else None
        inside = slice(i + offset + 1, end)
        group = not offset and end is not None and _bar(kinds, i, end)
        if kinds[i - 1] in ("TILDE", "PLUS") and end is not None and (offset or group):
            if offset:
                offsets.append(_spelled(words[inside]))
            else:
                terms += _group_terms(tokens[inside], formula)
            if common and common[-1] == "+":
                common.pop()
            i = end + 1
            if i < len(tokens) and kinds[i] not in ("PLUS", "MINUS"):
                name = "an offset" if offset else "a group term (x | g)"
                raise ValueError(
                    f"In {formula!r}, {name} can only be added, not combined by {words[i]!r}."
                )
            continue
        if kinds[i] == "PIPE":
            raise ValueError(
                f"In {formula!r}, write a group term in parentheses of its own and add it: "
                "'+ (x | g)'."
            )
        word, following = words[i], words[i + 1 : i + 2]
        if kinds[i] != "BQNAME" and word in UNSUPPORTED and (word == "." or following == ["("]):
            raise ValueError(f"In {formula!r}, {UNSUPPORTED[word]}.")
        common.append(word)
        i += 1
    if common and common[0] == "+":
        common = common[1:]
    response, trials = _successes(words[:tilde], kinds[:tilde], formula)
    population = _spelled(common) or "1"
    arithmetic_parts = [*offsets, trials] if trials else offsets
    for part in (population, *(f"I({text})" for text in arithmetic_parts)):
        _parsed(part, formula)
    for term in terms:
        _parsed(term.expression, formula)
    # a:b and b:a are one factor, called as it is first written
    first: dict[frozenset[str], tuple[str, ...]] = {}
    terms = [
        replace(term, columns=first.setdefault(frozenset(term.columns), term.columns))
        for term in terms
    ]
    arithmetic = isinstance(_parsed(response, formula, response=True), Binary | Unary | Grouping)
    return Formula(formula, response, population, tuple(offsets), tuple(terms), arithmetic, trials)


def _spelled(words: list[str]) -> str:
    """Words of a formula as one writes them: a function next to its parenthesis."""
    text = ""
    for before, word in zip(["(", *words], words, strict=False):
        calls = word == "(" and re.fullmatch(r"[^\W\d][\w.]*", before)
        text += word if before == "(" or word in (")", ",") or calls else f" {word}"
    return text


def _successes(words: list[str], kinds: list[str], formula: str) -> tuple[str, str]:
    """The response without its trials, and these: brms's ``y | trials(n)`` and R's ``cbind``."""
    if words[:2] == ["cbind", "("] and _closing(kinds, 1) == len(words) - 1:
        depth = [
            kinds[: i + 1].count("LEFT_PAREN") - kinds[:i].count("RIGHT_PAREN")
            for i in range(len(kinds))
        ]
        commas = [i for i, kind in enumerate(kinds) if kind == "COMMA" and depth[i] == 1]
        if len(commas) != 1:
            raise ValueError(
                f"In {formula!r}, cbind() takes two columns: cbind(successes, failures)."
            )
        hits, misses = _spelled(words[2 : commas[0]]), _spelled(words[commas[0] + 1 : -1])
        return hits, f"({hits}) + ({misses})"
    if "PIPE" not in kinds:
        return _spelled(words), ""
    bar = kinds.index("PIPE")
    if words[bar + 1 : bar + 3] != ["trials", "("] or _closing(kinds, bar + 2) != len(words) - 1:
        raise ValueError(
            f"In {formula!r}, only trials() can follow '|' in the response: "
            "'successes | trials(n) ~ predictors'."
        )
    return _spelled(words[:bar]), _spelled(words[bar + 3 : -1])


def require_no_constant(columns: Iterable[str], formula: str) -> None:
    """Raise a ValueError where a name of the formula is both a number and a column."""
    for name in {*CONSTANTS} & {*columns}:
        if re.search(rf"\b{name}\b", formula):
            raise ValueError(
                f"In {formula!r}, {name!r} is the number {CONSTANTS[name]:.4g}, and the "
                "table has a column of that name; rename the column."
            )


@lru_cache
def variables(part: str, formula: str) -> frozenset[str]:
    """Names of the columns that a part of a formula reads."""
    try:
        names = model_description(part).var_names
    except Exception as error:
        raise ValueError(f"The formula {formula!r} cannot be read: {said(error)}") from None
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"In {formula!r}, the number {name} is no term; write arithmetic inside I(), such "
                "as I(2 * x)."
            )
    return frozenset(str(name) for name in names if name) - {*CONSTANTS}  # "" for literals


def used_columns(formula: str, se: str | None = None) -> list[str]:
    """Sorted names of all columns that a model reads, those of grouping factors too."""
    found = read(formula)
    used = variables(found.answer, formula) | found.predictors
    if found.trials:
        used |= variables(f"I({found.trials})", formula)
    used |= {name for term in found.terms for name in term.columns}
    return sorted(used | ({se} if se else set()))


def said(error: Exception) -> str:
    """What another package says went wrong, as the end of a sentence."""
    text = " ".join(str(error).split()).rstrip(". ")
    if re.search(r"<class|operand type|no attribute", text):
        text = "its terms cannot be combined in this way"
    return f"{text}."


def _tokens(formula: str) -> list[Token]:
    """The words of a formula, R's among them translated."""
    quoted = r"`[^`]*`|\"[^\"]*\"|'[^']*'"
    if "`" in re.sub(quoted, "", formula):
        raise ValueError(f"The formula {formula!r} cannot be read: a backquote is not closed.")
    powers = re.sub(rf"({quoted})|\^", lambda found: found[1] or "**", formula)
    try:
        tokens = Scanner(powers).scan(add_intercept=False)[:-1]
    except Exception as error:
        raise ValueError(f"The formula {formula!r} cannot be read: {said(error)}") from None
    for token in tokens:
        if token.kind == "IDENTIFIER":
            token.lexeme = TRANSLATED.get(token.lexeme, token.lexeme)
    return tokens


def _parsed(part: str, formula: str, *, response: bool = False) -> Any:
    """A part of a formula as formulae reads it; a ValueError where it does not read it whole."""
    parser = Parser(Scanner(part).scan(add_intercept=False))
    try:
        tree = parser.parse()
    except Exception as error:
        word = parser.peek().lexeme
        if not str(error).startswith("Don't know"):
            says = said(error)
        elif word:
            says = f"{word!r} stands where a term should."
        else:
            says = f"something is missing after {part!r}."
        raise ValueError(f"The formula {formula!r} cannot be read: {says}") from None
    if not parser.at_end():
        word = parser.peek().lexeme
        remedy = {
            ")": "leave it out, or open the parenthesis before",
            ",": "add terms with '+'",
        }.get(word, "put '+' or another operator between terms")
        raise ValueError(f"In {formula!r}, {word!r} follows what is complete without it; {remedy}.")
    _require_plain(tree, formula, response=response)
    return tree


def _require_plain(tree: Any, formula: str, *, response: bool, inside: bool = False) -> None:
    """Refuse what formulae reads otherwise than people do: comparisons and powers of a column."""
    if tree is None:
        return
    if isinstance(tree, Binary) and tree.operator.kind == "STAR_STAR":
        if isinstance(tree.left, Unary):
            raise ValueError(
                f"In {formula!r}, a power of a negative term could be read in two ways; write "
                "parentheses, -(x**2) or (-x)**2."
            )
        if isinstance(tree.left, Variable | QuotedName) and not inside and not response:
            raise ValueError(
                f"In {formula!r}, a power of one column stands for the column itself; write "
                "I(x**2) for its square."
            )
    if isinstance(tree, Binary) and not inside and tree.operator.lexeme[0] in "<>=!":
        raise ValueError(
            f"In {formula!r}, a comparison is no term; write it inside I(), such as I(x > 3)."
        )
    parts = [getattr(tree, name, None) for name in ("left", "right", "expression", "value")]
    inside = inside or isinstance(tree, Call)
    for part in [*parts, *getattr(tree, "args", ())]:
        _require_plain(part, formula, response=response, inside=inside)


def _closing(kinds: list[str], start: int) -> int | None:
    depth = 0
    for i in range(start, len(kinds)):
        depth += (kinds[i] == "LEFT_PAREN") - (kinds[i] == "RIGHT_PAREN")
        if depth == 0:
            return i
    return None


def _bar(kinds: list[str], start: int, end: int) -> bool:
    depth = 0
    for i in range(start, end):
        depth += (kinds[i] == "LEFT_PAREN") - (kinds[i] == "RIGHT_PAREN")
        if depth == 1 and kinds[i] == "PIPE":
            return True
    return False


def _group_terms(tokens: list[Token], formula: str) -> list[GroupTerm]:
    """The terms that ``x | a/b`` stands for: ``(x | a)`` and ``(x | a:b)``."""
    words, kinds = ([getattr(token, f) for token in tokens] for f in ("lexeme", "kind"))
    bar = kinds.index("PIPE")
    double = kinds[bar + 1 : bar + 2] == ["PIPE"]
    start = bar + 1 + double
    expression, factor, kinds = words[:bar], words[start:], kinds[start:]
    if not expression or not factor:
        raise ValueError(f"In {formula!r}, a group term needs both sides: (x | g).")
    written = _spelled(factor)
    named = all(kind in ("IDENTIFIER", "BQNAME") for kind in kinds[::2])
    if not named or len(kinds) % 2 == 0 or {*kinds[1::2]} - {"COLON", "SLASH"}:
        raise ValueError(
            f"In {formula!r}, {written!r} is no grouping factor: write a column, a:b for the "
            "combinations of two, or a/b for a and a:b. Add a group term for each further factor, "
            "and make a column of an expression."
        )
    columns = tuple(word.strip("`") for word in factor[::2])
    if len({*columns}) < len(columns):
        raise ValueError(f"In {formula!r}, {written!r} has a column twice; leave one out.")
    # after ':' the combination goes on, after '/' and at the end it is a factor
    ends = [k for k, kind in enumerate([*kinds[1::2], "SLASH"], start=1) if kind == "SLASH"]
    return [GroupTerm(_spelled(expression), columns[:end], correlated=not double) for end in ends]

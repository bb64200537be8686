"""Splitting a formula: response, population part, and group terms as they were written.

formulae describes ``(x | g)`` and ``(1 | g) + (0 + x | g)`` alike and does not know ``||``; lme4's
meaning (correlated within one written term, independent between terms) is kept by taking the group
terms out before formulae sees the rest.
"""

from dataclasses import dataclass

from formulae import model_description
from formulae.scanner import Scanner

#: What R's formulas have and these have not, and what to write instead.
UNSUPPORTED = {
    ".": "'.' for all other columns is not supported; write the columns out",
    "offset": "offset() is not supported; subtract the column from the response",
    "weights": "weights() is not supported; give standard errors (`se`) instead",
}


@dataclass(frozen=True)
class GroupTerm:
    """One written group term ``(expression | factor)``; `correlated` unless written with ``||``."""

    expression: str
    factor: str
    correlated: bool


def split_formula(formula: str) -> tuple[str, str, list[GroupTerm]]:
    """Split a formula into response, population part and written group terms.

    Only top-level parentheses with a bar are taken out; the rest is formulae's.

    Raises
    ------
    ValueError
        Where the formula cannot be read, or says something that is not supported.
    """
    if not isinstance(formula, str):
        raise TypeError(f"The formula is a {type(formula).__name__}; write it as text.")
    try:
        tokens = Scanner(formula).scan(add_intercept=False)[:-1]
    except Exception as error:
        raise ValueError(f"The formula {formula!r} cannot be read: {error}.") from None
    kinds = [token.kind for token in tokens]
    if kinds.count("TILDE") != 1 or kinds[0] == "TILDE":
        raise ValueError(f"The formula {formula!r} needs the form 'response ~ predictors'.")
    for token, kind in zip(tokens, [*kinds[1:], ""], strict=True):
        if token.lexeme in UNSUPPORTED and (token.lexeme == "." or kind == "LEFT_PAREN"):
            raise ValueError(f"In {formula!r}, {UNSUPPORTED[token.lexeme]}.")
    tilde = kinds.index("TILDE")
    common: list[str] = []
    terms: list[GroupTerm] = []
    i = tilde + 1
    while i < len(tokens):
        end = _closing(kinds, i) if kinds[i] == "LEFT_PAREN" else None
        starts_term = kinds[i - 1] in ("TILDE", "PLUS")
        if end is not None and starts_term and _bar(kinds, i, end) is not None:
            terms.append(_group_term([t.lexeme for t in tokens[i + 1 : end]], formula))
            if common and common[-1] == "+":
                common.pop()
            i = end + 1
            if i < len(tokens) and kinds[i] not in ("PLUS", "MINUS"):
                raise ValueError(
                    f"In {formula!r}, a group term (x | g) can only be added, not combined by "
                    f"{tokens[i].lexeme!r}."
                )
            continue
        if kinds[i] == "PIPE":
            raise ValueError(
                f"In {formula!r}, write a group term in parentheses of its own and add it: "
                "'+ (x | g)'."
            )
        common.append(tokens[i].lexeme)
        i += 1
    response = " ".join(token.lexeme for token in tokens[:tilde])
    if common and common[0] == "+":
        common = common[1:]
    return response, " ".join(common) or "1", terms


def variables(part: str, formula: str) -> set[str]:
    """Names of the columns that a part of a formula reads."""
    try:
        return {str(name) for name in model_description(part).var_names if name}  # "" for literals
    except Exception as error:
        raise ValueError(f"The formula {formula!r} cannot be read: {said(error)}") from None


def used_columns(formula: str, se: str | None = None) -> list[str]:
    """Sorted names of all columns that a model reads, those of grouping factors too."""
    response, common, terms = split_formula(formula)
    used = variables(f"{response} ~ {common}", formula)
    for term in terms:
        used |= variables(term.expression, formula) | set(term.factor.split(":"))
    return sorted(used | ({se} if se else set()))


def said(error: Exception) -> str:
    """What another package says went wrong, as the end of a sentence."""
    return " ".join(str(error).split()).rstrip(". ") + "."


def _closing(kinds: list[str], start: int) -> int | None:
    depth = 0
    for i in range(start, len(kinds)):
        depth += (kinds[i] == "LEFT_PAREN") - (kinds[i] == "RIGHT_PAREN")
        if depth == 0:
            return i
    return None


def _bar(kinds: list[str], start: int, end: int) -> int | None:
    depth = 0
    for i in range(start, end):
        depth += (kinds[i] == "LEFT_PAREN") - (kinds[i] == "RIGHT_PAREN")
        if depth == 1 and kinds[i] == "PIPE":
            return i
    return None


def _group_term(lexemes: list[str], formula: str) -> GroupTerm:
    bar = lexemes.index("|")
    double = lexemes[bar + 1 : bar + 2] == ["|"]
    expression, factor = lexemes[:bar], lexemes[bar + 1 + double :]
    if not expression or not factor:
        raise ValueError(f"In {formula!r}, a group term needs both sides: (x | g).")
    if any(symbol in factor for symbol in ("/", "+", "*", "|", "(")):
        raise ValueError(
            f"In {formula!r}, '{' '.join(factor)}' stands for several grouping factors or an "
            "expression; one factor, or an interaction a:b of factors, is supported."
        )
    name = ":".join(part.strip("`") for part in factor if part != ":")
    return GroupTerm(" ".join(expression), name, correlated=not double)

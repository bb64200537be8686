"""Families of responses: their links, and the parameters that they have beside the line's."""

#: Families whose response is the line and noise of one scale, ``sigma``.
NOISE = ("gaussian", "student")
#: Other families -> the link: what the line is of the response's mean, and of the probability of a
#: later category (docs/method.md, eq. (50) and (52)).
LINKS = {"binomial": "logit", "poisson": "log", "negbinomial": "log", "cumulative": "logit"}
#: All of them, as a study and a model name them.
RESPONSES = (*NOISE, *LINKS)
#: Family -> names of its own parameters; those of ``cumulative`` are `thresholds`.
OWN = {"gaussian": ("sigma",), "student": ("sigma", "nu"), "negbinomial": ("shape",)}


def thresholds(n_answers: int) -> tuple[str, ...]:
    """Names of the thresholds between ordered answers: ``threshold[1]`` is after the first."""
    return tuple(f"threshold[{k}]" for k in range(1, n_answers))

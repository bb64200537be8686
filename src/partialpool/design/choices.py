"""Words that a person chooses from. Imports nothing, so that checking a study stays quick."""

#: Families of the noise.
NOISE = ("gaussian", "student")
#: What to do with rows that lack a value.
MISSING = ("refuse", "drop")
#: Method -> the parametrization it uses when none is asked for.
METHODS = {"exact": None, "nuts": "marginal", "nutpie": "marginal", "metropolis": "centered"}
PARAMETRIZATIONS = ("centered", "noncentered", "marginal")


def safe(name: str) -> str:
    """A name that xarray takes: its trees read ``/`` as a path, so it becomes ``∕`` (U+2215)."""
    return name.replace("/", "∕")

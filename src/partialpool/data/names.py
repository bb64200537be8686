"""Names that every library on the way accepts."""


def safe(name: str) -> str:
    """A name that xarray takes: its trees read ``/`` as a path, so it becomes ``∕`` (U+2215)."""
    return name.replace("/", "∕")

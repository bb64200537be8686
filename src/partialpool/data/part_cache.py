"""What is remembered of parts that were read, one file each, under a key.

The key is made from the part's mark and from what was asked of it; so a changed part is read
again, and an unchanged one never.
"""

import contextlib
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from partialpool.data import paths
from partialpool.data.moments import Moments
from partialpool.data.reading import Part

#: Part of every key: raise it when what is kept of a part changes.
VERSION = 2


@dataclass(frozen=True)
class Piece:
    """What a part, or a piece of it, came to; `halvings` as in `row_sample.Sampler`."""

    moments: Moments
    sample: pd.DataFrame
    halvings: int = 0


def place(folder: Path | None, part: Part, ending: str, what: list[Any]) -> Path | None:
    """Where the answer to `what` is kept for a part; None when nothing is kept."""
    if folder is None:
        return None
    key = json.dumps([VERSION, part.mark, what], sort_keys=True)
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.{ending}"


def recall(path: Path | None) -> Piece | None:
    """What was remembered, or None."""
    if path is None or not path.is_file():
        return None
    try:
        with np.load(path) as kept:
            sample = pa.ipc.open_file(pa.BufferReader(kept["sample"].tobytes())).read_pandas()
            sample.index = pd.Index(kept["numbers"])
            found = Moments(tuple(kept["names"].tolist()), kept["levels"], kept["records"])
            return Piece(found, sample, int(kept["halvings"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # damaged, as after a power cut: the checksums in the file tell


def remember(path: Path | None, piece: Piece) -> None:
    """Keep what a part came to."""
    if path is None:
        return
    table = pa.Table.from_pandas(piece.sample, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        names=np.array(piece.moments.names),
        levels=piece.moments.levels,
        records=piece.moments.records,
        halvings=piece.halvings,
        numbers=piece.sample.index.to_numpy(),
        sample=np.frombuffer(sink.getvalue(), dtype=np.uint8),
    )
    write(path, buffer.getbuffer())


def write(path: Path | None, content: str | memoryview) -> None:
    """Keep what only saves time: not at all where there is no room, or no place."""
    if path is not None:
        with contextlib.suppress(OSError):
            paths.write(path, content)

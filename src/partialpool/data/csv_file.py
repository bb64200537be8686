"""CSV as people write it: which delimiter, decimal mark and encoding; refused where rows differ."""

import codecs
import csv
import gzip
import io
import re
import zlib
from itertools import islice
from pathlib import Path

import pandas as pd

#: What may stand between fields.
DELIMITERS = ",;\t|"
#: Rows from which the decimal mark is told.
ROWS = 1000


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file, compressed or not.

    UTF-8 and, by its mark, UTF-16; anything else is taken for Windows-1252, which R and Excel
    write. Fields are separated by whichever of comma, semicolon, tab and bar is most in the header.

    Raises
    ------
    ValueError
        With one sentence that names the file, what is wrong with it, and the remedy.
    """
    text = _text(path)
    if not text.strip():
        raise ValueError(f"{path} is empty.")
    delimiter, decimal = dialect(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next(row for row in reader if row)
        require_names(header, str(path))
        for row in reader:
            if row and len(row) != len(header):
                raise ValueError(
                    f"{path} has {len(row)} fields in line {reader.line_num} and {len(header)} in "
                    "its header. Give each row as many, text with a delimiter in quotes, and a "
                    "column of row names its own name."
                )
        return pd.read_csv(
            io.StringIO(text), sep=delimiter, decimal=decimal, index_col=False, low_memory=False
        )
    except (csv.Error, pd.errors.ParserError) as error:
        raise ValueError(
            f"{path} cannot be read as CSV ({str(error).strip()}); look for a quote that is not "
            "closed."
        ) from None


def dialect(text: str) -> tuple[str, str]:
    """Delimiter and decimal mark of the beginning of a file."""
    lines = [line for line in islice(io.StringIO(text), ROWS) if line.strip()]
    header = re.sub(r'"[^"]*"', "", lines[0]) if lines else ""
    delimiter = max(DELIMITERS, key=header.count)
    fields = [field for line in lines[1:] for field in line.rstrip("\r\n").split(delimiter)]
    commas = any(re.fullmatch(r'"?[+-]?\d+,\d+([eE][+-]?\d+)?"?', field) for field in fields)
    points = any(re.fullmatch(r'"?[+-]?\d*\.\d+([eE][+-]?\d+)?"?', field) for field in fields)
    return delimiter, "," if delimiter != "," and commas and not points else "."


def require_names(names: list[str], file: str) -> None:
    """Raise a ValueError for a name that two columns have."""
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise ValueError(f"{file} has several columns {twice[0]!r}; rename them.")


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error):
            raise ValueError(
                f"{path} is damaged or not compressed by gzip; get it once more."
            ) from None
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in raw:
        raise ValueError(f"{path} is no text: it has bytes of zero. Save it as CSV in UTF-8.")
    else:
        encoding = "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")

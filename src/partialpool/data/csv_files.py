"""CSV as people write it: its delimiter, decimal mark and encoding are told from the file."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pandas as pd

#: What may stand between fields, and its name.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: Encodings beside UTF-8, and how a sentence names them.
ENCODINGS = {"utf-16": "UTF-16", "cp1252": "Windows-1252, for it is not UTF-8"}
#: Lines from which delimiter and decimal mark are told.
LINES = 1000
WHOLE = re.compile(r"[+-]?\d+")
COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
#: Could be thousands as well as decimals.
THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file, compressed or not.

    UTF-8 and, by its mark, UTF-16; anything else is taken for Windows-1252, which R and Excel
    write. `dialect` says how delimiter and decimal mark are told.

    Returns
    -------
    pandas.DataFrame
        ``attrs["read_as"]`` is a sentence on what was told; not there where it was nothing but
        commas, decimal points and UTF-8.

    Raises
    ------
    ValueError
        With one sentence that names the file, what is wrong with it, and the remedy.
    """
    text, encoding = decoded(_unpacked(path), str(path))
    if not text.strip():
        raise ValueError(f"{path} is empty.")
    delimiter, decimal = dialect(text, str(path))
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
        table = pd.read_csv(
            io.StringIO(text), sep=delimiter, decimal=decimal, index_col=False, low_memory=False
        )
    except (csv.Error, pd.errors.ParserError) as error:
        raise ValueError(
            f"{path} cannot be read as CSV ({str(error).strip()}); look for a quote that is not "
            "closed."
        ) from None
    if said := told(delimiter, decimal, encoding):
        table.attrs["read_as"] = said
    return table


def told(delimiter: str, decimal: str, encoding: str) -> str:
    """What was told from a file, in a sentence; empty for commas, decimal points and UTF-8."""
    guessed = [
        f"with {DELIMITERS[delimiter]} between fields" if delimiter != "," else "",
        "with decimal commas" if decimal == "," else "",
        f"as {ENCODINGS[encoding]}" if encoding in ENCODINGS else "",
    ]
    return f"Read {', '.join(filter(None, guessed))}." if any(guessed) else ""


def dialect(text: str, file: str) -> tuple[str, str]:
    """Delimiter and decimal mark of the beginning of a file.

    The delimiter is the one of `DELIMITERS` that is most in the header, of those that cut all rows
    alike. A comma within numbers is a decimal mark.

    Raises
    ------
    ValueError
        Where two delimiters, or two meanings of a number, do equally well.
    """
    lines = [*islice((line for line in io.StringIO(text) if line.strip()), LINES)]
    if not lines:
        return ",", "."
    cut = {delimiter: _rows(lines, delimiter) for delimiter in DELIMITERS}
    sizes = {d: len(rows[0]) if len({*map(len, rows)}) == 1 else 0 for d, rows in cut.items()}
    most = max(sizes.values())
    best = [d for d in DELIMITERS if sizes[d] == most]
    if most > 1 and len(best) > 1:
        which = " or ".join(DELIMITERS[d] for d in best)
        raise ValueError(
            f"{file} may have {which} between its fields: each cuts every row into {most}. Put "
            "text that holds one of them in quotes."
        )
    delimiter = best[0] if most > 1 else max(DELIMITERS, key=lambda d: len(cut[d][0]))
    return delimiter, _decimal_mark(cut[delimiter][1:], file)


def _decimal_mark(rows: Iterable[list[str]], file: str) -> str:
    """Comma or point: what the columns of nothing but numbers have."""
    commas: list[str] = []
    points: list[str] = []
    for column in zip(*rows, strict=False):
        marked = [field for field in column if field and not WHOLE.fullmatch(field)]
        for mark, found in ((COMMA, commas), (POINT, points)):
            if all(map(mark.fullmatch, marked)):
                found += marked
    if not commas:
        return "."
    point = next(iter(points), None)
    if point is not None:
        raise ValueError(
            f"{file} has numbers with a comma ({commas[0]}) and with a point ({point}); write all "
            "with one decimal mark, and thousands without any."
        )
    if all(THOUSANDS.fullmatch(field) for field in commas):
        whole = commas[0].replace(",", "")
        raise ValueError(
            f"{file} has {commas[0]}, which may be {whole} or {commas[0].replace(',', '.')}: every "
            "number with a comma has three digits after it. Write decimals with a point, and "
            "thousands without any mark."
        )
    return ","


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:  # a field without an end; the whole file says where
        return [[""]]


def require_names(names: list[str], file: str) -> None:
    """Raise a ValueError for a name that two columns have."""
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise ValueError(f"{file} has several columns {twice[0]!r}; rename them.")


def _unpacked(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error):
            raise ValueError(
                f"{path} is damaged or not compressed by gzip; get it once more."
            ) from None
    return raw


def decoded(raw: bytes, file: str, *, whole: bool = True) -> tuple[str, str]:
    """What a file or, unless `whole`, its beginning says, and its encoding as Python names it."""
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in raw and not utf16:
        raise ValueError(f"{file} is no text: it has bytes of zero. Save it as CSV in UTF-8.")
    encoding = "utf-16" if utf16 else "utf-8-sig"
    try:
        return codecs.getincrementaldecoder(encoding)().decode(raw, final=whole), encoding
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace"), "cp1252"

"""A finding: a figure or a table, a description of it, and the sentence that it supports.

Names and values that come from data are text wherever a finding is shown: everything that this
module hands to a notebook is escaped here, and nowhere else.
"""

import html
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar

import pandas as pd

from partialpool.data.paths import KEEP
from partialpool.data.text import capital, in_percent, number, renamed, rounded, typeset
from partialpool.posterior.beside import Beside

#: Pieces of Markdown that are shown character by character: code, and mathematics by itself.
CODE = re.compile(r"(`[^`]+`|\$\$.+?\$\$)", re.DOTALL)
#: Stands for a value that there is not.
NOTHING = "–"
#: A cell that stands under others by its digits.
FIGURE = re.compile(r"([<>] )?[-−+]?[\d.,]+(e[-−+]?\d+)?( %)?|–|[-−]?inf|nan|")
#: Characters from which on words are wrapped.
SENTENCE = 30
#: Format of a figure of a parameter: to two digits of the row's standard deviation.
ESTIMATE = "estimate"
#: Format of a probability: draws do not know one of 0 or 1 exactly.
CHANCE = "probability"
#: Format of a share: in percent, to two digits of the row's standard deviation.
SHARE = "share"
#: Standard normal quantile of an interval from 5 % to 95 %.
NORMAL = NormalDist().inv_cdf(0.95)
#: Columns of a table that are the ends of a 90 % interval.
ENDS = (("q05", "q95"), ("lower", "upper"))
#: Above this many rows a table is kept as CSV only: nobody prints it.
PRINTED = 500
#: How figures are saved: without the time, so that the same figure is the same file.
FORMATS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"dpi": 300, "facecolor": "white"},
}
#: Signs of our own that LaTeX does not know by themselves.
SIGNS: dict[str, Any] = {
    sign: rf"\ensuremath{{{command}}}"
    for sign, command in zip(
        "−≤≥<>✓✗", ("-", r"\le", r"\ge", "<", ">", r"\surd", r"\times"), strict=True
    )
}
#: What XML, and so a Word file, cannot hold.
NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def gaussian_sd(low: Any, high: Any) -> Any:
    """The standard deviation that a 90 % interval has where it is a Gaussian's.

    What stands beside such an interval is `rounded` to it.
    """
    return (high - low) / (2 * NORMAL)


def _kind(column: pd.Series) -> str:
    """Class of a column's cells: none for figures, and whether words are few or a sentence."""
    cells = [str(cell) for cell in column]
    if all(FIGURE.fullmatch(cell) for cell in cells):
        return ""
    return "words prose" if max(map(len, cells)) > SENTENCE else "words"


def _marked(row: str, kinds: Sequence[str]) -> str:
    """A row of HTML, the cells of its last columns with their classes."""
    cells = list(re.finditer(r"<t[hd]\b", row))
    if len(cells) < len(kinds) or "colspan" in row:
        return row
    for cell, kind in reversed([*zip(cells[len(cells) - len(kinds) :], kinds, strict=True)]):
        if kind:
            row = f'{row[: cell.end()]} class="{kind}"{row[cell.end() :]}'
    return row


@dataclass(frozen=True, eq=False)
class Finding:
    """What a section of a report shows; shows itself in Jupyter and in a terminal.

    Attributes
    ----------
    name : str
        Of its files, such as ``"shrinkage"``.
    sentence : str
        The conclusion, in Markdown, computed from the same numbers.
    figure : matplotlib.figure.Figure, optional
    table : pandas.DataFrame, optional
        With its own names and all digits; `columns` says how people see it.
    description : str
        What the figure shows, for readers who do not see it.
    columns : mapping
        Column of the table -> its heading and format, such as ``("mean", "{:.4g}")``. Columns
        that are not named keep their name; six digits of their numbers are shown.
    index : bool
        Whether the table's index names its rows.
    names : mapping
        Words for the short names of parameters, for people who read a page.
    cells : mapping
        Column of the table -> what people see in its rows, in place of codes and short names.
    """

    name: str
    sentence: str = ""
    figure: Any = None
    table: pd.DataFrame | None = None
    description: str = ""
    columns: Mapping[Any, tuple[str, str]] = field(default_factory=dict)
    index: bool = True
    names: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[Any, Sequence[str]] = field(default_factory=dict)
    #: What a drawing wears in a notebook, in light and in dark; the room that draws says it.
    dressed: ClassVar[Callable[[str], str]] = staticmethod(str)

    def readable(self) -> pd.DataFrame:
        """The table as people see it: headings, and digits as text."""
        assert self.table is not None
        shown, spreads = {}, self._spreads()
        for name in self.table.columns:
            plain = "{:.6g}" if pd.api.types.is_float_dtype(self.table[name]) else "{}"
            heading, form = self.columns.get(name, (name, plain))
            shown[heading] = self.cells.get(name) or [
                NOTHING if pd.isna(value) else self._written(form, value, spread)
                for value, spread in zip(self.table[name], spreads, strict=True)
            ]
        return pd.DataFrame(shown, index=self.table.index)

    def _in_words(self) -> pd.DataFrame:
        """The table as people see it on paper, where no short name can be pointed at."""
        shown = self.readable()
        return shown.replace(dict(self.names)).rename(index=self.names)

    def _spreads(self) -> list[float | None]:
        """What decides the digits of each row: its standard deviation, or that of its interval."""
        assert self.table is not None
        rows = self.table
        deviations = [c for c in rows if (c[-1] if isinstance(c, tuple) else c) == "sd"]
        if deviations:
            return list(rows[deviations].min(axis=1))
        for low, high in ENDS:
            if {low, high} <= {*rows}:
                return list(gaussian_sd(rows[low], rows[high]))
        return [None] * len(rows)

    @staticmethod
    def _written(form: str, value: Any, spread: float | None) -> str:
        if form == ESTIMATE:
            return rounded(value, spread)
        if form == CHANCE and not 0.0005 <= value < 0.9995:
            return "< 0.001" if value < 0.5 else "> 0.999"
        if form == SHARE:
            return in_percent(value, spread)
        form = "{:.3f}" if form == CHANCE else form
        digits = re.fullmatch(r"\{:(#?)\.(\d)g\}", form)
        text = typeset(form.format(value))
        if digits:
            text = number(value, int(digits[2]), zeros=bool(digits[1]))
        return text[1:] if re.fullmatch(r"[−+]0(\.0+)?( %)?", text) else text

    def to_html(self) -> str:
        """The table as HTML, in which all that came from data is text.

        Parameters stand there in words; their short names appear when one points at them.
        """
        # pandas escapes headings, labels and values
        readable = self.readable()
        names = [self.names.get(str(label), str(label)) for label in readable.index]
        kind = "short" if self.index and max(map(len, names), default=0) <= SENTENCE else None
        text = readable.to_html(index=self.index, escape=True, border=0, classes=kind)
        for name, words in self.names.items():
            short, long = (html.escape(one, quote=False) for one in (name, words))
            for cell in ("th", "td"):
                said = f'<{cell} title="{html.escape(name)}">{long}</{cell}>'
                text = text.replace(f"<{cell}>{short}</{cell}>", said)
        kinds = [_kind(column) for _, column in readable.items()]
        return re.sub("<tr.*?</tr>", lambda row: _marked(row[0], kinds), text, flags=re.DOTALL)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table with all its digits."""
        assert self.table is not None
        self.table.to_csv(path, index=self.index)
        return Path(path)

    def to_latex(self) -> str:
        """The table in LaTeX, as people see it."""
        style = self._in_words().style.format(escape="latex").format_index_names(escape="latex")
        for axis in ("index", "columns"):
            style = style.format_index(escape="latex", axis=axis)
        text = (style if self.index else style.hide()).to_latex(hrules=True)
        return text.translate(str.maketrans(SIGNS))

    def to_word(self, path: str | Path) -> Path:
        """Write the table as people see it, under its sentence, as a Word file."""
        import docx

        shown = self._in_words()
        rows = [list(shown.columns), *map(list, shown.itertuples(index=False))]
        if self.index:
            labels = ["" if shown.index.name is None else shown.index.name, *shown.index]
            rows = [[label, *row] for label, row in zip(labels, rows, strict=True)]
        document = docx.Document()
        document.add_paragraph(NO_XML.sub("\ufffd", re.sub(r"\*\*|`", "", self.sentence)))
        table = document.add_table(len(rows), len(rows[0]), style="Table Grid")
        for k, (row, values) in enumerate(zip(table.rows, rows, strict=True)):
            for cell, value in zip(row.cells, values, strict=True):
                run = cell.paragraphs[0].add_run(NO_XML.sub("\ufffd", str(value)))
                run.bold = k == 0
        document.save(str(path))
        return Path(path)

    def save(self, folder: str | Path, name: str | None = None) -> list[Path]:
        """Keep the finding as files: the table as CSV, LaTeX and Word; the figure for print.

        A figure is kept as SVG, PDF, and PNG of 300 dots an inch.

        Parameters
        ----------
        folder : str or Path
            Is made if need be.
        name : str, optional
            Of the files, without an ending; default is the finding's.

        Returns
        -------
        list of Path
            What was written; of a table of more than `PRINTED` rows CSV only.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        stem = name or self.name
        written = []
        if self.table is not None:
            written.append(self.to_csv(place / f"{stem}.csv"))
            if len(self.table) <= PRINTED:
                written.append(place / f"{stem}.tex")
                written[-1].write_text(self.to_latex(), encoding="utf-8")
                written.append(self.to_word(place / f"{stem}.docx"))
        if self.figure is not None:
            for ending in FORMATS:
                written.append(place / f"{stem}.{ending}")
                written[-1].write_bytes(self._drawn(ending))
        return written

    def _drawn(self, ending: str) -> bytes:
        """The figure in a format, from a fork of this process if one has drawn it."""
        if ending == "svg":
            return self.svg.encode()
        drawn = self._beside[ending] if "_beside" in vars(self) else None
        if drawn is None:
            self._draw(ending, file := io.BytesIO())
            drawn = file.getvalue()
        return drawn

    def _draw(self, ending: str, file: Any) -> None:
        self.figure.savefig(file, format=ending, **FORMATS[ending])

    @cached_property
    def _beside(self) -> Beside:
        return Beside({name: partial(self._draw, name) for name in FORMATS if name != "svg"})

    @cached_property
    def svg(self) -> str:
        """The figure as SVG, drawn once for whoever shows or keeps it."""
        text = io.StringIO()
        self._draw("svg", text)
        # it has its layout now; to make it anew for each further format takes half of the time
        self.figure.set_layout_engine("none")
        return text.getvalue()

    def __str__(self) -> str:
        parts = [self.description] if self.figure is not None else []
        if self.table is not None:
            parts.append(self._in_lines())
        if self.sentence:
            pieces = CODE.split(self.sentence)
            pieces[::2] = [typeset(piece.replace("**", "")) for piece in pieces[::2]]
            parts.append("".join(pieces))
        return "\n\n".join(parts)

    def _in_lines(self) -> str:
        """The table for a terminal, its last column wrapped where that has sentences."""
        shown = self.readable()
        last = shown.columns[-1] if len(shown) else None
        if last is None or "prose" not in _kind(shown[last]):
            return shown.to_string(index=self.index)
        shown = shown.reset_index(drop=not self.index, names=shown.index.name or "")
        taken = len(shown.drop(columns=last).to_string(index=False).partition("\n")[0])
        width = max(SENTENCE, shutil.get_terminal_size().columns - taken - 1)
        shown[last] = [textwrap.wrap(cell, width) or [""] for cell in shown[last]]
        lines = shown.explode(last)
        lines.loc[lines.index.duplicated(), lines.columns != last] = ""
        lines[last] = lines[last].str.ljust(width)
        text = lines.rename(columns={last: last.ljust(width)}).to_string(index=False)
        return "\n".join(map(str.rstrip, text.splitlines()))

    __repr__ = __str__

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        if self.figure is not None:
            alt = {"image/svg+xml": {"alt": typeset(self.description)}}
            # a browser draws SVG; who has words alone has the description
            shown = {"image/svg+xml": Finding.dressed(self.svg), "text/plain": self.description}
            display(shown, raw=True, metadata=alt)
            pyplot = sys.modules.get("matplotlib.pyplot")
            if pyplot is not None:  # or it is shown a second time at the end of the cell
                pyplot.close(self.figure)
        if self.table is not None:
            display({"text/html": self.to_html(), "text/plain": str(self)}, raw=True)
        if self.sentence:
            display(Markdown(self._as_text()))
        if os.environ.get(KEEP):
            SHOWN.append(self)
            if self.figure is not None:
                _ = self._beside  # is drawn for print while the notebook goes on

    def _as_text(self) -> str:
        """The sentence as a page has it: names in words, and no markup of the data's own.

        Code and mathematics stay as they are: Markdown shows what is in them character by
        character.
        """
        pieces = CODE.split(self.sentence)
        pieces[::2] = [html.escape(self._words(piece), quote=False) for piece in pieces[::2]]
        text = "".join(pieces)
        first = re.match(r"\*\*(.+?)\*\*", self.sentence)
        begins = first and first[1] in self.names  # a name that has become words
        return capital(text) if begins or text[:4] != self.sentence[:4] else text

    def _words(self, piece: str) -> str:
        """A piece of the sentence in which formulas stand in single dollars."""
        parts = re.split(r"(\$[^$\n]+\$)", piece)
        parts[::2] = [typeset(renamed(part, self.names)) for part in parts[::2]]
        return "".join(parts)


#: What a run has shown so far; whoever ends the run takes it.
SHOWN: list[Finding] = []

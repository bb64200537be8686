"""A first study from a table and a formula: every setting present, every default spelled out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from partialpool.batch import schema, study_file
from partialpool.batch.runs import data_files, data_path
from partialpool.data.paths import find_root, seen_from, write
from partialpool.data.tables import load
from partialpool.data.text import listed
from partialpool.design import default_priors
from partialpool.fit.regression import Regression
from partialpool.posterior.names import sizes

TEMPLATE = """\
{schema}
{summary}
notebook: regression
title: null               # what the page and the index say first; null: the formula in words
question: null            # what you want to know, in one line; null: what the formula asks
about: null               # Markdown, with sources; no title, question or text needs a new run
settings:
  data: {data}
  formula: {formula}
  family: {family}        # gaussian, student (bends less to outliers), binomial, poisson, ...
  se: {se}                # column of known standard errors of the response, as in a meta-analysis
  missing: {missing}         # rows without a value: refuse, or drop and count them
  # Coefficients take Normal or Flat; standard deviations (.._sigma) and sigma take HalfNormal,
  # HalfStudentT, HalfCauchy, Exponential, Gamma, Uniform, HalfFlat or Fixed; correlations LKJ.
  # {defaults} on the scale of the data (2.5 sd(y) / sd(x), as in Bambi and rstanarm;
  # 2.5 / sd(x) with a link).
  # What you know beforehand is better: change them.
  priors:
{priors}
  # What sentences and axes say instead of column names; a level is written as sex[F].
  labels:
{labels}
  units: {{}}               # as they stand after a number, such as {{Days: days, Reaction: ms}}
  compare: {{}}             # other formulas by name, such as {{"no slopes": "y ~ x + (1 | g)"}}
  rope: {{}}                # changes too small to matter, such as {{x: [-0.1, 0.1]}}
  natural: {{}}             # what a logged response is of: {{name: radon, unit: pCi/L, limit: 4}}
  areas: null             # of groups, for a map: us-counties:MN, or GeoJSON with names
  # Rows to predict: a path, or a list such as [{{x: 1.5, group: new}}]; null: typical ones.
  predict: null
  method: null            # exact; nuts, nutpie, metropolis sample; null: exact where possible
  parametrization: null   # of a sampled fit: centered, noncentered, marginal; null: its own
  draws: 1000             # draws kept in each of four chains
  tune: 1000              # draws thrown away in each chain (sampled fits)
  sample_rows: 10000      # of data in parts: rows kept for plots and predictive checks
seeds: [{seed}]                # one run for each; all randomness comes from it
# grid: {{method: [exact, nutpie]}}    # one run for each combination; take `method` out above
"""


def new_study(
    name: str,
    data: str | Path,
    formula: str,
    *,
    priors: Mapping[str, str] | None = None,
    family: str = "gaussian",
    se: str | None = None,
    missing: str = "refuse",
    seed: int = 1,
    root: Path | None = None,
) -> Path:
    """Look at a table, check a formula on it, and write ``params/<name>.yml``.

    Parameters
    ----------
    name : str
        Of the study, and so of its folder in ``reports/``.
    data : str or Path
        A path, seen from the current folder or from the project's, or whatever `load` takes.
    formula : str
        Such as ``"log(wage) ~ experience + (experience | person)"``.
    priors : mapping of str to str, optional
        As `Model` takes them; all others are written as the defaults that they are.
    family : str
        Of the response: gaussian, student, binomial, poisson, negbinomial or cumulative.
    se : str, optional
        Column of known standard errors of the response.
    missing : {"refuse", "drop"}
        What to do with rows that lack a value in a column of the formula.
    seed : int
        Of the study's run.
    root : Path, optional
        The project's folder; found from the current one when not given.

    Returns
    -------
    Path
        The file, which has been checked as ``make report`` checks it.

    Raises
    ------
    ValueError
        With one sentence, for a name that is taken or unfit, and for data and formulas that do
        not go together. Nothing is written then.
    FileNotFoundError
        For a path at which there is nothing, and outside a project.
    """
    root = find_root(root)
    path = new_path(name, root)
    place = seen(str(data), root)
    model = Regression(formula, read(place, root), priors, family=family, se=se, missing=missing)
    write(path, text(model, place, missing, seed))
    try:
        study_file.plan(root, [path])
    except study_file.StudyError:
        path.unlink()
        raise
    schema.write_schema(root)
    return path


def new_path(name: str, root: Path) -> Path:
    """The file of a study that is to be; a ValueError for a name that is taken or unfit."""
    path = root / "params" / f"{name}.yml"
    if not study_file.is_name(name):
        raise ValueError(
            f"{name!r} cannot name a study: use letters, digits and . _ + -, without '..'."
        )
    taken = [p for group in study_file.known(root) for p in group]
    if any(p.stem.casefold() == name.casefold() for p in taken) or path.exists():
        raise ValueError(f"There is a study {name!r} already; choose another name.")
    return path


def seen(data: str, root: Path) -> str:
    """The setting `data` as the project's folder sees it; names of sets and URLs stay."""
    if data_path(data, root) is None or data_files(data, root):
        return data
    return seen_from(root, Path.cwd() / data)


def read(place: str, root: Path) -> Any:
    """The table that a setting `data` stands for, as `load` has it."""
    found = data_path(place, root)
    return load(place if found is None else found)


def text(model: Regression, place: str, missing: str = "refuse", seed: int = 1) -> str:
    """The study file of a regression of the data at a place, every setting spelled out."""
    design = model.design
    remarks = [
        f"{sizes(model)}.",
        model.table.attrs.get("read_as"),
        model.dropped,
        model.unidentified,
        *(
            f"{column} has {model.table[column].nunique()} whole numbers for values; if they are "
            f"names of categories, write C({column})."
            for column in design.predictors
            if _looks_categorical(model.table[column]) and f"C({column}" not in model.formula
        ),
    ]
    factors = [grouping.name for grouping in design.groupings]
    columns = dict.fromkeys([design.response, *design.predictors, *factors])
    usual = default_priors.defaults(design, model.family)
    own = [name for name, prior in model.priors.items() if prior != usual[name]]
    return TEMPLATE.format(
        schema=schema.LINE,
        summary="\n".join(f"# {_line(remark)}" for remark in remarks if remark),
        data=_quoted(place),
        formula=_quoted(model.formula),
        family=model.family,
        se="null" if model.se is None else _quoted(model.se),
        missing=missing,
        defaults=f"All but {_line(listed(own))} are defaults" if own else "These are the defaults",
        priors=_pairs({name: str(prior) for name, prior in model.priors.items()}),
        labels=_pairs({column: column for column in columns}),
        seed=seed,
    )


def _looks_categorical(values: pd.Series) -> bool:
    """Whether whole numbers take so few values, three to six, that they may be codes."""
    return pd.api.types.is_integer_dtype(values) and 3 <= values.nunique() <= 6


def _pairs(content: dict[str, str]) -> str:
    return "\n".join(f"    {_quoted(key)}: {_quoted(value)}" for key, value in content.items())


def _quoted(text: str) -> str:
    """Text as YAML that reads back as the same text, on one line."""
    style = '"' if "\n" in text else None
    dumped = yaml.safe_dump(text, allow_unicode=True, width=10**6, default_style=style)
    return dumped.removesuffix("\n...\n").rstrip("\n")


def _line(text: str) -> str:
    """Text that stays inside a comment, whatever a column is called."""
    return " ".join(text.split())

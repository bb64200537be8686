"""Parts whose rows collapse to counts: the same fit as from the whole table, however it is cut."""

import dataclasses
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

import partialpool as pp
from partialpool.data import distinct, reading
from partialpool.design import from_distinct
from partialpool.design.default_priors import defaults, spread
from partialpool.fit import left_out_rows
from partialpool.fit.exact_fit import integrated_values
from partialpool.fit.fitting import _nuts_instead
from partialpool.fit.integrated_design import integrated_posterior
from partialpool.posterior import comparison, leave_group_out, overview
from partialpool.posterior.fitted import Fitted

CASES = {
    "one or none": ("hit ~ f + x + (1 | g)", "binomial"),
    "text": ("said ~ x + (1 | g:f)", "binomial"),
    "trials": ("hits | trials(size) ~ f + x + (x | g)", "binomial"),
    "no groups": ("hit ~ x + size", "binomial"),
    "poisson": ("count ~ f * x + offset(log(size)) + (1 | g)", "poisson"),
    "negbinomial": ("count ~ x + (0 + x | g)", "negbinomial"),
    "cumulative": ("factor(answer, c('no', 'so', 'yes')) ~ f + x + (1 | g)", "cumulative"),
}
EACH = pytest.mark.parametrize("case", CASES)


def made(seed=0, n=900, groups=12):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"g": rng.integers(0, groups, n) * 7, "f": rng.choice(["a", "b", "c"], n)})
    table["x"] = rng.integers(0, 3, n) / 2
    table["size"] = rng.integers(1, 4, n)
    eta = 0.8 * table["x"] - 0.4 + rng.normal(0, 0.7, groups)[table["g"] // 7]
    table["hit"], table["hits"] = (
        rng.binomial(1, expit(eta)),
        rng.binomial(table["size"], expit(eta)),
    )
    table["said"] = np.where(table["hit"] == 1, "yes", "no")
    table["count"] = rng.poisson(np.exp(eta / 2))
    answer = np.digitize(eta + rng.logistic(size=n), [-0.5, 1.0])
    table["answer"] = np.array(["no", "so", "yes"])[answer]
    # a group that one part only has, and a category that one part lacks
    return table.sort_values("f", kind="stable").reset_index(drop=True)


TABLE = made()


def write(table, folder, cuts=4, ending="parquet"):
    folder.mkdir()
    for k, rows in enumerate(np.array_split(np.arange(len(table)), cuts)):
        part = table.iloc[rows]
        if ending == "parquet":
            part.to_parquet(folder / f"{k}.parquet")
        else:
            part.to_csv(folder / f"{k}.csv", index=False)
    return folder


def opened(folder, **options):
    return dataclasses.replace(pp.load(str(folder), **options), cache=None)


def rows_of(model):
    made = integrated_posterior(model.family, model.design, model.priors, model.thresholds)
    return made.integral.rows


def assert_same(model, whole):
    """What a fit knows of the data is the same, up to rounding of sums."""
    assert model.design.x_names == whole.design.x_names
    assert model.design.n_rows == whole.design.n_rows
    assert model.design.answers == whole.design.answers
    assert model.design.written == whole.design.written
    assert model.priors == whole.priors
    assert model.spreads == whole.spreads
    assert model.unidentified == whole.unidentified
    np.testing.assert_array_equal(model.design.only.levels, whole.design.only.levels)
    np.testing.assert_array_equal(model.design.only.counts, whole.design.only.counts)
    for one, other in zip(model.design.totals, whole.design.totals, strict=True):
        for name in ("mean", "sd", "rms"):
            mine, theirs = getattr(one, name), getattr(other, name)
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
    mine, theirs = rows_of(model), rows_of(whole)
    for name in ("y", "trials", "count", "X", "Z", "start", "values"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    for name in ("offset", "constant"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-12)
    assert (mine.histogram != theirs.histogram).nnz == 0


@EACH
def test_a_model_from_parts_is_the_model_from_the_table(case, tmp_path):
    formula, family = CASES[case]
    model = pp.Model(formula, opened(write(TABLE, tmp_path / "p")), family=family)
    whole = pp.Model(formula, TABLE, family=family)
    assert_same(model, whole)
    assert len(model.design.all_rows.y) < len(TABLE)
    assert len(model.table) == len(model.design.y) == len(TABLE)
    np.testing.assert_array_equal(model.design.y.sum(), whole.design.y.sum())
    assert_same(model.pooled(), whole.pooled())
    if model.design.groupings:
        mine, theirs = model.unpooled(), whole.unpooled()
        assert mine.design.x_names == theirs.design.x_names
        assert mine.design.all_rows.x_names == theirs.design.x_names
        np.testing.assert_array_equal(rows_of(mine).X, rows_of(theirs).X)
        assert {k: str(v) for k, v in mine.priors.items()} == {
            k: str(v) for k, v in theirs.priors.items()
        }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("splits")


@settings(max_examples=30, deadline=None)
@given(
    case=st.sampled_from(sorted(CASES)),
    seed=st.integers(0, 1000),
    order=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(0, 120), max_size=6),
    batch=st.integers(1, 130),
)
def test_any_split_in_any_order_gives_the_same(folders, case, seed, order, cuts, batch):
    """Bit by bit, and what the table gives."""
    formula, family = CASES[case]
    table = made(seed, 120, 5)
    rows = [*range(len(table))]
    order.shuffle(rows)
    ends = [0, *sorted(cuts), len(rows)]
    pieces = [rows[a:b] for a, b in pairwise(ends) if a < b]
    models = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BATCH", batch)
        for name, split in (("any", pieces), ("one", [[*range(len(table))]])):
            folder = folders / f"{name}-{len([*folders.iterdir()])}"
            folder.mkdir()
            for k, some in enumerate(split):
                table.iloc[some].to_parquet(folder / f"{k}.parquet")
            models.append(pp.Model(formula, opened(folder), family=family))
    cut, one = (rows_of(model) for model in models)
    for name in ("y", "trials", "count", "offset", "X", "Z", "start", "constant"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(one, name))
    assert_same(models[0], pp.Model(formula, table, family=family))


@EACH
def test_the_fit_is_that_of_the_table(case, tmp_path):
    formula, family = CASES[case]
    parts = opened(write(TABLE, tmp_path / "p"), sample_rows=50)
    fits = [pp.Model(formula, t, family=family).fit(draws=50, seed=1) for t in (parts, TABLE)]
    mine, theirs = (fit.posterior["posterior"].to_dataset() for fit in fits)
    assert [*mine] == [*theirs]
    for name in mine:
        np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-10, atol=1e-10)
    for name in ("log_evidence", "integral_error_max"):
        assert fits[0].attrs[name] == pytest.approx(fits[1].attrs[name], abs=1e-9)


def test_rows_are_left_out_as_those_of_the_table(tmp_path):
    """Each is one of those that it equals, of which the others stay."""
    formula, family = CASES["one or none"]
    parts = pp.Model(formula, opened(write(TABLE, tmp_path / "p"), sample_rows=40), family=family)
    whole = pp.Model(formula, TABLE, family=family)
    fit = whole.fit(draws=10, seed=1)
    place, rows = integrated_values(whole, fit.held), np.arange(len(parts.design.y))
    at, log, _ = left_out_rows.given_others(parts, place, rows, 1)
    np.testing.assert_array_equal(at, rows)
    # rows of the table that equal those of the sample
    columns = ["g", "f", "x", "hit"]
    same = TABLE.drop_duplicates(columns).reset_index()
    found = parts.table[columns].merge(same, on=columns, how="left")["index"].to_numpy()
    _, expected, _ = left_out_rows.given_others(whole, place, found, 1)
    np.testing.assert_allclose(log, expected, atol=1e-6)


def test_what_a_report_asks_of_it(tmp_path):
    formula, family = CASES["one or none"]
    parts = opened(write(TABLE, tmp_path / "p"), sample_rows=60)
    fit = pp.Model(formula, parts, family=family).fit(draws=500, seed=1)
    assert fit.check().status == "passed"
    assert "random sample of 60 rows" in overview.columns(fit.model).sentence
    assert not overview.columns(pp.Model(formula, TABLE, family=family)).sentence
    left_out = fit.loo(seed=1)
    assert (len(left_out.rows), left_out.of, left_out.refitted) == (60, len(TABLE), 0)
    assert [*fit.ways] == ["complete", "none", "partial"]
    assert len(comparison.coefficients(fit.ways).table)
    whole = pp.Model(formula, TABLE, family=family).fit(draws=500, seed=1)
    for way in ("complete", "none"):
        np.testing.assert_allclose(
            fit.ways[way].population["x"], whole.ways[way].population["x"], atol=1e-9
        )
    with pytest.raises(ValueError, match="only a sample of the rows is kept"):
        leave_group_out.leave_groups_out(fit)
    with pytest.raises(ValueError, match="needs all rows"):
        fit.model.with_response(np.zeros(60))
    for method in ("nuts", "metropolis", "nutpie"):
        with pytest.raises(ValueError, match="exact, or nutpie with `parametrization: marginal`"):
            fit.model.fit(method)
    with pytest.raises(ValueError, match="PyMC samples row by row"):
        fit.model.pymc("noncentered")
    with pytest.raises(ValueError, match=r"needs every row, .* \(it is not certified\)"):
        _nuts_instead(fit.model, "it is not certified", 10, 4, 1)


def test_nuts_without_the_effects_needs_no_rows(tmp_path):
    formula, family = CASES["one or none"]
    model = pp.Model(formula, opened(write(TABLE, tmp_path / "p")), family=family)
    fit = model.fit("nutpie", "marginal", draws=200, tune=200, seed=1)
    exact = Fitted.of(model, seed=2)
    for name in model.parameters:
        one, other = fit.population[name], exact.population[name]
        assert abs(one.mean() - other.mean()) < 5 * np.hypot(one.std(), other.std()) / np.sqrt(200)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_kinds_of_columns_and_parts(ending, tmp_path):
    """Whole numbers that turn into fractions, text in codes, and parts without a row."""
    table = TABLE.assign(x=(2 * TABLE["x"]).astype(int))
    odd = table.iloc[600:].assign(x=table["x"].iloc[600:] / 4 - 0.0)
    folder = write(table.iloc[:600], tmp_path / "p", 2, ending)
    if ending == "csv":
        odd.to_csv(folder / "2.csv", index=False)
    else:
        odd.assign(f=pd.Categorical(odd["f"])).to_parquet(folder / "2.parquet")
        odd.iloc[:0].to_parquet(folder / "3.parquet")
    model = pp.Model("hit ~ f + x + (1 | g)", opened(folder), family="binomial")
    both = pd.concat([table.iloc[:600], odd], ignore_index=True)
    assert_same(model, pp.Model("hit ~ f + x + (1 | g)", both, family="binomial"))


def test_only_what_is_new_is_read(tmp_path, monkeypatch):
    folder, cache, read = write(TABLE, tmp_path / "p"), tmp_path / "cache", []
    count = from_distinct.count_piece

    def counted(part, *others):
        read.append(part.name)
        return count(part, *others)

    monkeypatch.setattr(from_distinct, "count_piece", counted)

    def models():
        read.clear()
        parts = dataclasses.replace(pp.load(str(folder)), cache=cache)
        return pp.Model(*CASES["poisson"][:1], parts, family="poisson")

    models()
    assert len(read) == 4
    TABLE.iloc[:50].assign(g=99).to_parquet(folder / "new.parquet")
    more = pd.concat([TABLE, TABLE.iloc[:50].assign(g=99)], ignore_index=True)
    assert_same(models(), pp.Model(CASES["poisson"][0], more, family="poisson"))
    assert read == ["new.parquet"]
    for kept in cache.glob("*.npz"):
        kept.write_bytes(kept.read_bytes()[:100])
    models()
    assert len(read) == 5, "a damaged memory was believed"


def test_what_does_not_collapse_is_refused(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    folder = write(TABLE.assign(z=rng.normal(size=len(TABLE))), tmp_path / "p")
    monkeypatch.setattr(distinct, "MOST", 500)
    words = (
        r"more than 500 distinct rows .* classes \(there is 'z' with \d+ values or more\), leave"
    )
    with pytest.raises(ValueError, match=words):
        pp.Model("hit ~ z + (1 | g)", opened(folder), family="binomial")
    pp.Model("hit ~ x + (1 | g)", opened(folder), family="binomial")


@pytest.mark.parametrize(
    ("formula", "family", "changed", "words"),
    [
        ("hit ~ scale(x) + (1 | g)", "binomial", {}, r"scale\(\) must see all rows at once"),
        ("hit ~ x + (1 | g) + (1 | f)", "binomial", {}, "there are 2 grouping factors"),
        ("hit ~ x + (x + size | g)", "binomial", {}, r"3 coefficients vary by 'g', .* 2 can"),
        ("hit ~ x + (1 | g)", "student", {}, "or a family with a link"),
        ("count ~ x", "binomial", {}, "Of the distinct rows of .*: .* takes 0 and 1"),
        ("count ~ x", "poisson", {"count": -1}, r"is negative in \d+ of \d+ rows, such as -1"),
        ("hit ~ x + (1 | g)", "binomial", {"x": np.nan}, r"in 1\.parquet: 225 in 'x'\. Drop"),
        ("hit ~ x + (1 | g)", "binomial", {"x": np.inf}, r"in 1\.parquet: 225 in 'x'\. Drop"),
        ("hit ~ f + (1 | g)", "binomial", {"f": None}, r"in 1\.parquet: 225 in 'f'\. Drop"),
    ],
)
def test_what_cannot_be_said_of_such_parts(formula, family, changed, words, tmp_path):
    folder = write(TABLE, tmp_path / "p")
    part = pd.read_parquet(folder / "1.parquet")
    part.assign(**{k: part[k] if v is None else v for k, v in changed.items()}).assign(
        **{k: pd.Series([None] * len(part), dtype="str") for k, v in changed.items() if v is None}
    ).to_parquet(folder / "1.parquet")
    with pytest.raises(ValueError, match=words):
        pp.Model(formula, opened(folder), family=family)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 5)), min_size=1, max_size=12),
    st.sampled_from([1.0, 0.1]),
)
def test_spreads_of_values_that_are_there_several_times(pairs, unit):
    values, repeats = np.array(pairs).T
    values = unit * values
    expected = spread(np.repeat(values, repeats))
    assert spread(values, repeats) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_default_priors_of_collapsed_rows():
    """Of predictors that hang together, and of an offset, as those of all rows."""
    table = TABLE.assign(z=TABLE["x"] + (TABLE["size"] == 1))
    formula = "count ~ f + x + z + offset(log(size)) + (x | g)"
    whole = pp.Model(formula, table, family="poisson").design
    columns = [*zip(whole.y, map(tuple, whole.X), whole.only.codes, whole.offset, strict=True)]
    _, first, repeats = np.unique(
        np.array([hash(c) for c in columns]), return_index=True, return_counts=True
    )
    some = dataclasses.replace(whole.of_rows(first), repeats=repeats)
    assert defaults(some, "poisson") == defaults(whole, "poisson")

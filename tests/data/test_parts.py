"""A table in parts: the same fit as from the whole table, and no part read twice."""

import dataclasses
import gzip
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partialpool as pp
from partialpool.data import reading
from partialpool.design import from_parts
from partialpool.plots import groups
from partialpool.posterior import predictions
from partialpool.posterior.fitted import Fitted
from partialpool.simulation import simulate

FORMULAS = (
    "y ~ x + (x | group)",
    "y ~ x * f + (f || group)",
    "y ~ 0 + x + (0 + x | group)",
    "y ~ f + (0 + x | group) + (1 | group)",
    "log(y + 100) ~ I(x**2) + (1 | group:f)",
    "y ~ x + offset(x) + (1 | label:f)",
    "y ~ 1 + (1 | half:f)",
    "y ~ x",
)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    table = simulate.grouped(rng, groups=30, per_group=20, cor=0.3)
    table["f"] = rng.choice(["a", "b", "c"], len(table))
    table["label"] = rng.choice(["x:y", "x", 'x"', "x::y"], len(table))
    table["half"] = rng.choice([0.5, 1.0, 1e6], len(table))
    # a group that one part only has, and a category that one part lacks
    return table.sort_values("f", kind="stable").reset_index(drop=True)


def write(table, folder, cuts, ending="parquet"):
    folder.mkdir()
    for i, rows in enumerate(np.array_split(np.arange(len(table)), cuts)):
        piece = table.iloc[rows]
        if ending == "parquet":
            piece.to_parquet(folder / f"{i:02}.parquet")
        else:
            piece.to_csv(folder / f"{i:02}.{ending}", index=False)
    return folder


def opened(folder, cache=None, **options):
    found = pp.load(str(folder), **options)
    return dataclasses.replace(found, cache=cache)


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_model_from_parts_is_the_model_from_the_table(table, tmp_path, formula):
    whole = pp.Model(formula, table)
    model = pp.Model(formula, opened(write(table, tmp_path / "parts", 5)))
    assert model.design.x_names == whole.design.x_names
    assert model.design.n_rows == len(table)
    assert model.design.response == whole.design.response
    if model.design.only.name:
        np.testing.assert_array_equal(model.design.only.levels, whole.design.only.levels)
    np.testing.assert_array_equal(model.design.only.counts, whole.design.only.counts)
    assert (model.design.only.codes >= 0).all()
    assert {k: str(v) for k, v in model.priors.items()} == {
        k: str(v) for k, v in whole.priors.items()
    }
    for name in ("R", "G", "E", "T", "A", "a", "counts"):
        mine, theirs = getattr(model.cross, name), getattr(whole.cross, name)
        size = np.abs(theirs).max(initial=1)
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11 * size)


def test_the_fit_and_the_pools_are_the_same(table, tmp_path):
    whole = pp.Model(FORMULAS[0], table)
    model = pp.Model(FORMULAS[0], pp.load(str(write(table, tmp_path / "parts", 4) / "*.parquet")))
    for one, other in (
        (model, whole),
        (model.pooled(), whole.pooled()),
        (model.unpooled(), whole.unpooled()),
    ):
        mine, theirs = (Fitted.of(m, seed=1, draws=50).dataset for m in (one, other))
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="needs all rows"):
        model.with_response(np.zeros(3))
    with pytest.raises(ValueError, match="PyMC samples row by row"):
        model.pymc("centered")  # it would see the sample alone


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_parts_and_a_number_that_turns_into_a_fraction(table, tmp_path, ending):
    table = table.assign(x=table["x"].round())
    table.loc[len(table) - 1, "x"] = 0.25  # the other parts have whole numbers only
    folder = write(table, tmp_path / "parts", 3, ending)
    model = pp.Model("y ~ x + f + (1 | group)", opened(folder))
    whole = pp.Model("y ~ x + f + (1 | group)", table)
    np.testing.assert_allclose(model.cross.E, whole.cross.E, rtol=1e-10, atol=1e-10)


def test_csv_parts_as_people_write_them(table, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    table.iloc[:300].to_csv(folder / "0.CSV", index=False, sep=";", decimal=",")
    table.iloc[300:].to_csv(folder / "1.csv", index=False)
    model = pp.Model("y ~ x + (1 | group)", opened(folder))
    whole = pp.Model("y ~ x + (1 | group)", table)
    np.testing.assert_allclose(model.cross.E, whole.cross.E, rtol=1e-10, atol=1e-10)
    for content, words in (
        ("y,x,x,group\n1,2,3,4\n", "The part 1.csv has several columns 'x'"),
        ("y,x,group\n1,2,3\n1,2,3,4\n", "The part 1.csv cannot be read .* as many fields"),
        ("y,x,group\n1,2,\0\n", "The part 1.csv is no text: it has bytes of zero"),
        ("\n", "The part 1.csv is empty"),
        (
            'y,x,group,z\n1,2,3,a\n1,2,3,"a\n4,5,6,a\n7,8,9,a\n',
            "The part 1.csv has a quote that is not closed: 5 lines make 2 rows",
        ),
    ):
        (folder / "1.csv").write_text(content)
        with pytest.raises(ValueError, match=words):
            pp.Model("y ~ x + (1 | group)", opened(folder))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_parts_in_any_encoding(table, tmp_path, encoding, ending):
    """What was guessed is said; an inch is no quote that is not closed."""
    table = table.rename(columns={"f": "Größe"}).assign(Größe=[f'{f}" ü' for f in table["f"]])
    (tmp_path / "parts").mkdir()
    rows = table.iloc[:599].to_csv(index=False, sep=";").replace('"', "").replace(" ü", '" ü')
    content = rows.encode(encoding)
    place = tmp_path / "parts" / f"0.{ending}"
    place.write_bytes(gzip.compress(content) if ending == "csv.gz" else content)
    model = pp.Model("y ~ x + Größe + (1 | group)", opened(tmp_path / "parts"))
    whole = pp.Model("y ~ x + Größe + (1 | group)", table.iloc[:599])
    np.testing.assert_allclose(model.cross.E, whole.cross.E, rtol=1e-10, atol=1e-10)
    assert model.design.x_names == whole.design.x_names
    told = {"utf-16": ", as UTF-16", "cp1252": ", as Windows-1252, for it is not UTF-8"}
    read_as = f"Read with semicolons between fields{told.get(encoding, '')}."
    assert model.table.attrs["read_as"] == read_as
    if ending == "csv.gz":
        place.write_bytes(place.read_bytes()[:-200])
        with pytest.raises(ValueError, match=r"The part 0\.csv\.gz cannot be read"):
            pp.Model("y ~ x + (1 | group)", opened(tmp_path / "parts"))


def test_columns_of_parts_that_no_formula_can_use(table, tmp_path):
    folder = write(table.assign(z=[{"a": 1}] * len(table), n=None), tmp_path / "parts", 2)
    for formula, words in (
        ("y ~ z", "'z' holds struct<a: int64> in 00.parquet, which a formula cannot use"),
        ("y ~ n", "'n' has no values in any part"),
    ):
        with pytest.raises(ValueError, match=words):
            pp.Model(formula, opened(folder))
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "0.csv").write_text("y,x,group\n")
    with pytest.raises(ValueError, match=r"The part 0\.csv has no rows"):
        pp.Model("y ~ x + (1 | group)", opened(tmp_path / "csv"))
    odd = table.assign(x=["?", *table["x"].astype(str)[1:]])
    with pytest.raises(ValueError, match=r"'x' holds text, such as '[^']*', and has"):
        pp.Model("y ~ x", opened(write(odd, tmp_path / "odd", 2)))


def test_decimals_of_parts_are_numbers(tmp_path):
    (tmp_path / "parts").mkdir()
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=60), "x": rng.integers(0, 999, 60) / 4})
    whole = pp.Model("y ~ I(x**2)", table)
    found = pa.Table.from_pandas(table)
    x = found.column("x").cast(pa.decimal128(9, 2))
    pq.write_table(found.set_column(1, "x", x), tmp_path / "parts" / "0.parquet")
    model = pp.Model("y ~ I(x**2)", opened(tmp_path / "parts"))
    np.testing.assert_allclose(model.cross.E, whole.cross.E, rtol=1e-10, atol=1e-10)


def test_only_what_is_new_is_read(table, tmp_path):
    folder, cache = write(table, tmp_path / "parts", 4), tmp_path / "cache"

    def read():
        return from_parts.reduce(opened(folder, cache), "y ~ x * f + (x | group)").read

    assert len(read()) == 4
    assert read() == ()
    more = table.iloc[:50].assign(group=99, f="d")  # a new group and a new category
    more.to_parquet(folder / "more.parquet")
    assert read() == ("more.parquet",)
    found = pp.Model("y ~ x * f + (x | group)", opened(folder, cache))
    whole = pp.Model("y ~ x * f + (x | group)", pd.concat([table, more]))
    assert "x:f[d]" in found.design.x_names
    np.testing.assert_allclose(found.cross.E, whole.cross.E, rtol=1e-10, atol=1e-10)
    table.iloc[:7].to_parquet(folder / "01.parquet")
    os.utime(folder / "01.parquet", ns=(1, 1))  # a clock that went backwards
    assert read() == ("01.parquet",)
    (folder / "02.parquet").unlink()
    assert read() == ()
    rows = from_parts.reduce(opened(folder, cache), "y ~ x * f + (x | group)").moments.counts.sum()
    assert rows == len(table) // 2 + 7 + 50
    for kept in cache.glob("*.npz"):
        kept.write_bytes(kept.read_bytes()[:100])
    assert len(read()) == 4, "a damaged memory was believed"


def test_the_sample_depends_on_nothing_but_seed_and_rows(table, tmp_path):
    folder = write(table, tmp_path / "parts", 6)
    first = opened(folder, sample_rows=100)
    backwards = dataclasses.replace(first, files=first.files[::-1])
    one, other = (from_parts.reduce(p, "y ~ x + (x | group)").sample for p in (first, backwards))
    pd.testing.assert_frame_equal(one, other)
    assert len(one) == 100
    again = from_parts.reduce(opened(folder, sample_rows=100, seed=1), "y ~ x + (x | group)").sample
    assert not again.equals(one)
    everything = from_parts.reduce(opened(folder), "y ~ x + (x | group)").sample
    assert sorted(everything["y"]) == sorted(table["y"])


def test_the_sample_is_uniform(tmp_path):
    n = 200_000
    table = pd.DataFrame({"y": np.arange(n, dtype=float), "x": np.arange(n) % 7})
    folder = write(table, tmp_path / "parts", 2)
    found = opened(folder, sample_rows=2000)
    assert found.halvings > 0
    sample = from_parts.reduce(found, "y ~ x").sample
    assert len(sample) == 2000
    counts = np.histogram(sample["y"], bins=20, range=(0, n))[0]
    assert ((counts - 100) ** 2 / 100).sum() < 45  # chi-squared(19): beyond once in 1,000


def test_groups_by_address_and_by_name(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.standard_normal(400), "y": rng.standard_normal(400)})
    small = rng.integers(0, 5, 400)
    far = np.where(np.arange(400) < 100, small, small * 10**12)  # near labels first, then not
    for k, labels in enumerate((small - 3, far, far.astype(str), pd.Categorical(far.astype(str)))):
        folder = write(table.assign(g=labels), tmp_path / f"{k}", 1)
        found = from_parts.reduce(opened(folder), "y ~ x + (x | g)").moments
        counts = pd.Series(labels).astype(found.levels.dtype).value_counts().sort_index()
        np.testing.assert_array_equal(found.levels, counts.index.to_numpy())
        np.testing.assert_array_equal(found.counts, counts)


def test_what_cannot_be_said_of_parts(table, tmp_path):
    folder = write(table, tmp_path / "parts", 2)
    with pytest.raises(ValueError, match=r"scale\(\) must see all rows at once"):
        pp.Model("y ~ scale(x) + (1 | group)", opened(folder))
    with pytest.raises(ValueError, match=r"00.parquet has no column 'z'"):
        pp.Model("y ~ z + (1 | group)", opened(folder))
    table.assign(x=1.0).to_parquet(tmp_path / "flat.parquet")
    with pytest.raises(ValueError, match="'x' is constant"):
        pp.Model("y ~ x", opened(tmp_path / "flat*"))
    twice = table.assign(z=3 - 2 * table["x"])
    twice.to_parquet(tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="'z' is a linear combination"):
        pp.Model("y ~ x + z", opened(tmp_path / "twice*"))
    table.assign(y=3 - 2 * table["x"]).to_parquet(tmp_path / "exact.parquet")
    with pytest.raises(ValueError, match="'y' has no noise"):
        pp.Model("y ~ x + (1 | group)", opened(tmp_path / "exact*"))
    broken = table.copy()
    broken.loc[:4, "x"] = np.nan
    broken.loc[3, "y"] = np.inf
    broken.to_parquet(folder / "02.parquet")
    with pytest.raises(ValueError, match=r"in 02.parquet: 5 in 'x', 1 in 'y'"):
        pp.Model("y ~ x + (1 | group)", opened(folder))
    table.assign(x="high").to_parquet(folder / "02.parquet")
    with pytest.raises(ValueError, match=r"'x' is text in 02.parquet and a number in the first"):
        pp.Model("y ~ x + (1 | group)", opened(folder))
    with pytest.raises(FileNotFoundError, match="no files"):
        pp.load(str(tmp_path / "none*.parquet"))
    table.to_csv(folder / "x.csv")
    with pytest.raises(ValueError, match="both Parquet and CSV"):
        pp.load(str(folder))


def test_anything_that_fsspec_reads(table):
    import fsspec

    store = fsspec.filesystem("memory")
    for i in range(2):
        with store.open(f"/data/{i}.parquet", "wb") as file:
            table.iloc[i::2].to_parquet(file)
    model = pp.Model("y ~ x + (1 | group)", pp.load("memory://data/*.parquet"))
    whole = pp.Model("y ~ x + (1 | group)", table)
    np.testing.assert_allclose(model.cross.E, whole.cross.E, rtol=1e-10, atol=1e-10)


def test_a_large_file_is_read_in_pieces(table, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PIECE", 150)
    monkeypatch.setattr(reading, "ROW_GROUP", 60)
    table.to_parquet(tmp_path / "one.parquet", row_group_size=70)
    found = opened(tmp_path / "*.parquet", sample_rows=50)
    assert len(reading.pieces(found.files[0])) > 2
    result = from_parts.reduce(found, "y ~ x + (x | group)")
    assert result.moments.counts.sum() == len(table)
    assert len(result.sample.drop_duplicates()) == 50


def test_groups_without_a_row_in_the_sample_are_not_drawn(tmp_path):
    """A figure shows rows; the fit knows the groups of all."""
    table = simulate.grouped(np.random.default_rng(0), groups=40, per_group=20)
    (tmp_path / "parts").mkdir()
    for k in range(2):
        table.iloc[k::2].to_csv(tmp_path / "parts" / f"{k}.csv", index=False)
    parts = pp.load(str(tmp_path / "parts"), sample_rows=25, seed=1)
    model = pp.Model("y ~ x + (x | group)", parts)
    present = set(np.unique(model.design.only.codes))
    assert model.design.only.n_levels == 40
    assert len(present) <= 25
    assert set(groups.chosen_groups(model.design.groupings[0])) <= present
    fit = model.fit(draws=100, seed=1)
    rows = predictions.chosen_rows(model)
    assert len(fit.predict(rows, unseen="population")) == 12
    assert len(fit.loo().pit) == len(model.design.y)
    assert len(groups.group_lines(fit).figure.axes) >= 18

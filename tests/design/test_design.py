"""Formulas keep lme4's meaning; bad ones get one clear sentence."""

import numpy as np
import pandas as pd
import pytest
from formulae import design_matrices
from hypothesis import given, settings
from hypothesis import strategies as st

import partialpool as pp
from partialpool.design.formula import read, used_columns
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
    assert design.only.z_names == z_names
    assert design.blocks == blocks


def test_names_follow_the_contract():
    design = build("Reaction ~ Days + (Days | Subject)", SLEEP)
    assert design.sd_names == ["1|Subject_sigma", "Days|Subject_sigma"]
    assert design.cor_names == ["cor(1,Days|Subject)"]
    assert design.only.effect(1) == "Days|Subject"
    assert design.only.dim == "Subject"


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
    np.testing.assert_array_equal(design.only.levels[design.only.codes], exam["school"])


def test_new_rows_keep_the_state_of_transformations():
    design = build("Reaction ~ scale(Days) + (scale(Days) | Subject)", SLEEP)
    new = pd.DataFrame({"Days": [3, 30], "Subject": [309, 999]})
    X, [(Z, codes)] = design.rows(new)
    mean, sd = SLEEP["Days"].mean(), SLEEP["Days"].std(ddof=0)
    np.testing.assert_allclose(X[:, 1], (new["Days"] - mean) / sd)
    np.testing.assert_allclose(Z, X)
    assert design.only.levels[codes[0]] == 309
    assert codes[1] == -1


def test_interaction_of_factors_groups():
    table = pd.DataFrame({"y": range(8), "a": list("aabbaabb"), "b": list("xyxyxyxy")})
    design = build("y ~ 1 + (1 | a:b)", table)
    assert list(design.only.levels) == ["a:x", "a:y", "b:x", "b:y"]
    assert design.only.effect(0) == "1|a:b"


def test_combinations_of_labels_with_colons_stay_apart():
    table = pd.DataFrame(
        {
            "y": [1.0, 2, 4, 3, 5, 8],
            "a": ["x:y", "x", "u", 'x"', "x:y", "x"],
            "b": ["w", "y:w", "v", "w", "w", "y:w"],
        }
    )
    design = build("y ~ 1 + (1 | a:b)", table)
    assert sorted(design.only.levels) == sorted(['"x:y":w', 'x:"y:w"', "u:v", '"x""":w'])
    np.testing.assert_array_equal(design.rows(table)[1][0][1], design.only.codes)
    model = pp.Model("y ~ 1 + (1 | a:b)", table)
    assert model.design.only.columns == ("a", "b")
    new = pd.DataFrame({"a": ["x:y:w"], "b": [""]})
    with pytest.raises(ValueError, match=r'The level .*"x:y:w":.* of a:b was not in the data'):
        model.fit(draws=50).predict(new)


def test_a_column_whose_name_has_a_colon():
    design = build("Reaction ~ Days + (1 | `s:t`)", SLEEP.rename(columns={"Subject": "s:t"}))
    assert design.only.columns == ("s:t",)
    assert design.only.n_levels == 18


@pytest.mark.parametrize(
    ("formula", "same"),
    [
        ("Reaction ~ I(Days^2)", "Reaction ~ I(Days ** 2)"),
        ("Reaction ~ I(Days ^ 2) + (I(Days^2) | Subject)", None),
        ("Reaction ~ as.factor(Days)", "Reaction ~ C(Days)"),
        ("Reaction ~ factor(Days)", "Reaction ~ C(Days)"),
        ("Reaction ~ log(Days + 1, 2)", "Reaction ~ log2(Days + 1)"),
        ("Reaction ~ ifelse(Days > 4, 1, 0)", "Reaction ~ I(Days > 4)"),
        ("Reaction ~ pmax(Days, 3)", "Reaction ~ I(Days * (Days > 3) + 3 * (Days <= 3))"),
        ("Reaction ~ pmin(Days, 3, 9)", "Reaction ~ I(Days * (Days < 3) + 3 * (Days >= 3))"),
        ("Reaction ~ poly(Days, 2, raw = TRUE)", "Reaction ~ Days + I(Days ** 2)"),
        ("Reaction / 2 ~ Days", "I(Reaction / 2) ~ Days"),
    ],
)
def test_words_of_r(formula, same):
    design, other = build(formula, SLEEP), build(same or formula, SLEEP)
    np.testing.assert_allclose(design.X, other.X)
    np.testing.assert_array_equal(design.y, other.y)


def test_means_of_groups_are_those_of_the_fit():
    design = build(
        "Reaction ~ I(Days - ave(Days, Late, Subject))", SLEEP.assign(Late=SLEEP["Days"] > 4)
    )
    assert design.x_names[1] == "I(Days - ave(Days, Late, Subject))"
    np.testing.assert_allclose(design.X[:, 1], np.tile([-2, -1, 0, 1, 2], 36))
    design = build("Reaction ~ ave(Days, Late)", SLEEP.assign(Late=SLEEP["Days"] > 4))
    rows = pd.DataFrame({"Days": [100.0], "Late": [True]})
    np.testing.assert_allclose(design.columns(rows)[0], [[1, 7]])
    few = build("Reaction ~ ave(Days, Days)", SLEEP)
    with pytest.raises(ValueError, match="groups that were not in the data"):
        few.columns(rows)
    assert build("Reaction ~ 0 + I(ave(Days) * Days)", SLEEP).X[9, 0] == 40.5


def test_pi_is_a_number():
    design = build("Reaction ~ sin(2 * pi * Days / 10)", SLEEP)
    np.testing.assert_allclose(design.X[:, 1], np.sin(2 * np.pi * SLEEP["Days"] / 10))
    assert design.predictors == ("Days",)
    with pytest.raises(ValueError, match=r"'pi' is the number 3.142, and the table has a column"):
        build("Reaction ~ pi", SLEEP.assign(pi=SLEEP["Days"]))


def test_orthogonal_polynomials_are_those_of_r():
    """R: ``poly(1:10, 2)``, and ``predict(poly(1:10, 2), 11)``."""
    table = pd.DataFrame({"x": np.arange(1.0, 11), "y": np.arange(10.0) ** 3})
    design = build("y ~ poly(x, 2)", table)
    first = [-0.49543369, -0.38533732, -0.27524094, -0.16514456, -0.05504819]
    second = [0.52223297, 0.17407766, -0.08703883, -0.26111648, -0.34815531]
    np.testing.assert_allclose(design.X[:5, 1:], np.transpose([first, second]), atol=5e-9)
    X, _ = design.columns(pd.DataFrame({"x": [11.0]}))
    np.testing.assert_allclose(X[0, 1:], [0.6055301, 0.9574271], atol=5e-8)


def test_natural_splines_are_those_of_r():
    """R: ``ns(women$height, df = 5)``, an example of its help page."""
    table = pd.DataFrame({"h": np.arange(58.0, 73), "w": np.arange(15.0) ** 2})
    design = build("w ~ ns(h, df=5)", table)
    known = [
        [0, 0, 0, 0, 0],
        [7.592323e-03, 0, -8.670223e-02, 2.601067e-01, -1.734045e-01],
        [6.073858e-02, 0, -1.503044e-01, 4.509132e-01, -3.006088e-01],
    ]
    np.testing.assert_allclose(design.X[:3, 1:], known, rtol=5e-7, atol=1e-15)
    # linear beyond the data, and the knots do not move with new rows
    beyond, _ = design.columns(pd.DataFrame({"h": [72.0, 75, 78, 58, 50, 42]}))
    np.testing.assert_allclose(beyond[0] - 2 * beyond[1] + beyond[2], 0, atol=1e-12)
    np.testing.assert_allclose(beyond[3] - 2 * beyond[4] + beyond[5], 0, atol=1e-12)
    np.testing.assert_allclose(beyond[[0, 3]], design.X[[-1, 0]], atol=1e-12)
    knots = build("w ~ ns(h, knots=c(60.8, 63.6, 66.4, 69.2))", table)
    np.testing.assert_allclose(knots.X, design.X, atol=1e-12)


def test_intervals_are_those_of_r():
    """R: ``levels(cut(0:10, 3))``."""
    table = pd.DataFrame({"x": np.arange(11.0), "y": np.arange(11.0) ** 2})
    design = build("y ~ 0 + cut(x, 3)", table)
    names = ("(-0.01,3.33]", "(3.33,6.67]", "(6.67,10]")
    assert design.x_names == tuple(f"cut(x, 3)[{name}]" for name in names)
    X, _ = design.columns(pd.DataFrame({"x": [0.0, 9.5]}))
    np.testing.assert_array_equal(X, [[1, 0, 0], [0, 0, 1]])
    given = build("y ~ 0 + cut(x, c(-1, 5, 10))", table)
    np.testing.assert_array_equal(given.X.sum(0), [6, 5])
    assert given.x_names[0] == "cut(x, c(-1, 5, 10))[(-1,5]]"


def test_an_offset_is_taken_from_the_response_and_given_back():
    table = SLEEP.assign(Base=np.linspace(200, 300, len(SLEEP)))
    design = build("Reaction ~ Days + offset(log(Base)) + (1 | Subject)", table)
    np.testing.assert_allclose(design.y, table["Reaction"] - np.log(table["Base"]))
    assert design.x_names == ("Intercept", "Days")
    assert design.response == "Reaction - log(Base)"
    with pytest.raises(ValueError, match="no column 'Base'"):
        design.rows(SLEEP)
    formula = "Reaction ~ Days + offset(10 * Days) + (1 | Subject)"
    plain, offset = (
        pp.Model(f, SLEEP) for f in (formula.replace("+ offset(10 * Days) ", ""), formula)
    )
    assert offset.pooled().design.response == offset.design.response
    flat = {"Days": "Flat", "Intercept": "Normal(250, 100)", "sd": "HalfNormal(50)"}
    flat["sigma"] = "HalfNormal(50)"
    one, other = (
        pp.Model(model.formula, SLEEP, flat).fit(draws=250, seed=1) for model in (plain, offset)
    )
    rows = SLEEP.iloc[[0, 50]]
    np.testing.assert_allclose(one.predict(rows)["mean"], other.predict(rows)["mean"], rtol=1e-4)
    moved = one.values["Days"].mean() - other.values["Days"].mean()
    assert moved == pytest.approx(10, abs=0.01)
    with pytest.raises(ValueError, match="the offset 'f' must be numbers"):
        build("Reaction ~ Days + offset(f)", SLEEP.assign(f=["a", "b"] * 90))


@pytest.mark.parametrize(
    ("formula", "written"),
    [
        ("Reaction~Days+(Days|Subject)", "Reaction ~ 1 + Days + (1 + Days | Subject)"),
        (
            "Reaction ~ 0 + Days + (0 + Days || Subject)",
            "Reaction ~ 0 + Days + (0 + Days || Subject)",
        ),
        ("Reaction ~ (1 | Subject)", "Reaction ~ 1 + (1 | Subject)"),
        ("Reaction ~ 0 + (1 | Subject)", "Reaction ~ 0 + (1 | Subject)"),
    ],
)
def test_a_design_says_what_it_read(formula, written):
    assert build(formula, SLEEP).written == written


def test_predictor_and_group_of_the_same_name():
    table = pd.DataFrame({"y": [1.0, 3, 2, 5], "g": [1, 1, 2, 2]})
    assert build("y ~ g + (1 | g)", table).only.dim == "g__factor_dim"


def test_quoted_names():
    table = SLEEP.rename(columns={"Days": "days <of> test", "Subject": "subject's id"})
    design = build("Reaction ~ `days <of> test` + (1 | `subject's id`)", table)
    assert design.x_names == ("Intercept", "days <of> test")
    assert design.only.name == "subject's id"


def test_names_with_slashes_fit():
    table = SLEEP.rename(columns={"Days": "d/t", "Subject": "s/u", "Reaction": "r/v"})
    model = pp.Model(
        "`r/v` ~ `d/t` + I(`d/t` / 2 > 2) + (1 | `s/u`)", table, {"d/t": "Normal(0, 9)"}
    )
    assert model.design.x_names[1] == "d∕t"
    assert str(model.priors["d∕t"]) == "Normal(0, 9)"
    assert "1|s∕u" in model.fit(draws=100).dataset


def test_split():
    found = read("log(y) ~ a*(b + c) - 1 + offset(log(t)) + (0 + x || g)")
    assert (found.response, found.population) == ("log(y)", "a * (b + c) - 1")
    assert found.offsets == ("log(t)",)
    assert [(t.expression, t.factor, t.correlated) for t in found.terms] == [("0 + x", "g", False)]


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("Reaction ~ Day + (1 | Subject)", "no column 'Day'; did you mean 'Days'"),
        ("Reaction ~ Days + (1 | Subjct)", "no column 'Subjct'; did you mean 'Subject'"),
        ("Reaction", "needs the form 'response ~ predictors'"),
        ("Reaction ~ Days | Subject", "in parentheses of its own"),
        ("Reaction ~ Days * (1 | Subject)", "parentheses of its own"),
        ("Reaction ~ (1 | Subject) * Days", "can only be added"),
        ("Reaction ~ Days + (1 | Subject * Days)", "'Subject . Days' is no grouping factor: write"),
        ("Reaction ~ Days + (1 | Subject / )", "'Subject /' is no grouping factor"),
        ("Reaction ~ Days + (1 | factor(Subject))", "make a column of an expression"),
        ("Reaction ~ Days + (1 | Subject:Subject)", "'Subject : Subject' has a column twice"),
        (
            "Reaction ~ (1 | Subject) + (1 | Days) + (Days | Subject)",
            "'1' by Subject is written tw",
        ),
        ("Reaction ~ (1 | Subject:Days) + (1 | Days:Subject)", "'1' by Subject:Days is written tw"),
        ("Reaction ~ (1 | Subject) + (Days | Subject)", "written twice"),
        ("Reaction ~ foo(Days) + (1 | Subject)", "'foo' is not a known function"),
        ("Reaction ~ s(Days) + (1 | Subject)", r"'s' is a smooth term.*ns\(x, 4\).*Bambi"),
        ("Reaction ~ Days + I(2 * Days) + (1 | Subject)", "collinear"),
        ("Reaction ~ `Days + (1 | Subject)", "cannot be read"),
        ("Reaction ~ Days + (| Subject)", "needs both sides"),
        ("Reaction ~ days + (1 | Subject)", "no column 'days'; did you mean 'Days'"),
        ("Reaction ~ log(Days) + (1 | Subject)", "log.Days. is not a finite number in 18 of 180"),
        ("Reaction ~ Days + (log(Days) | Subject)", "log.Days. is not a finite number"),
        ("log(Reaction - 300) ~ Days", "is not a finite number in 102 of 180 rows"),
        ("Reaction ~ exp(100 * Days)", "exp.100 . Days. is not a finite number"),
        ("Reaction ~ Days * offset(Days)", "offset.. is a term of its own; add it"),
        ("Reaction ~ offset(Days) * Days", "an offset can only be added, not combined by '.'"),
        ("Reaction ~ Days + (1 | Subject Days)", "'Subject Days' is no grouping factor"),
        ("Reaction ~ 1) + Days", "'.' follows what is complete without it; leave it out"),
        ("Reaction ~ 1 Days", "'Days' follows what is complete without it; put"),
        ("Reaction ~ Days, Subject", "',' follows what is complete without it; add terms with"),
        ("Reaction ~ Days Subject", "'Subject' follows what is complete without it"),
        ("Reaction ~ Days %in% Subject", "'%' follows what is complete without it"),
        ("Reaction ~ Days < 3", "a comparison is no term; write it inside I"),
        ("Reaction Days ~ 1", "'Days' follows what is complete without it"),
        ("Reaction ~ (1 Days | Subject)", "'Days' follows what is complete without it"),
        ("Reaction ~", "nothing follows the last '~'; write '~ 1'"),
        ("Reaction ~ (1 | Subject) +", "nothing follows the last '.'"),
        ("Reaction ~ Days * ", "something is missing after 'Days .'"),
        ("Reaction ~ Days^2", "a power of one column stands for the column itself; write I"),
        ("Reaction ~ I(-Days^2)", "a power of a negative term could be read in two ways"),
        ("Reaction ~ 2 * Days", "the number 2 is no term; write arithmetic inside I"),
        ("Reaction ~ 1 * Days", "its terms cannot be combined in this way"),
        ("cbind(Reaction, Days) ~ 1", "set `family: binomial`"),
        ("Reaction ~ cut(Days, c(2, 5))", "cut.. has values outside .2,5.; give wider breaks"),
        ("Reaction ~ . + (1 | Subject)", "write the columns out"),
        ("~ Days", "needs the form 'response ~ predictors'"),
    ],
)
def test_bad_formulas(formula, words):
    with pytest.raises(ValueError, match=words):
        build(formula, SLEEP)


def test_an_open_last_category_is_no_mistake():
    design = build("Reaction ~ kids", SLEEP.assign(kids=["0", "1", "2", "3+", "3+"] * 36))
    assert design.x_names == ("Intercept", "kids[1]", "kids[2]", "kids[3+]")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Days": [np.nan] * 2 + [1.0] * 178}, "2 in 'Days'"),
        ({"Reaction": [np.inf] + [1.0] * 179}, "1 in 'Reaction'"),
        ({"Reaction": ["a"] * 90 + ["b"] * 90}, "such as 'a' in row 1; .* `family: binomial`"),
        ({"Reaction": ["1.5"] * 179 + ["n/a"]}, "such as 'n/a' in row 180; it must be numbers"),
        ({"Days": pd.Timestamp("2020-01-01")}, "'Days' holds datetime64.*, which a formula cannot"),
        ({"Days": [[1]] * 180}, "'Days' holds values such as \\[1\\], which a formula cannot use"),
        ({"Days": 1j}, "'Days' holds complex128"),
        ({"Reaction": 3.0}, "is constant"),
        ({"Subject": 1}, "has one level"),
        (
            {"Days": ["hello"] + ["1.5", "2"] * 89 + ["3"]},
            "text, such as 'hello' in row 1, and has 4",
        ),
        ({"Days": [f"{k}" for k in range(12)] * 14 + ["?"] * 12}, r"such as '\?' in row 169"),
        (
            {"Days": [f"2020-{k}" for k in range(180)]},
            "'Days' holds text, .* 180 levels in 180 rows",
        ),
        ({"Days": np.linspace(1, 2, 180) * 1e200}, "whose squares a computer cannot hold"),
        ({"Reaction": np.linspace(1, 2, 180) * 1e-200}, "whose squares a computer cannot hold"),
        ({"Days": 7}, "'Days' is constant"),
        ({"Days": 0}, "'Days' is zero in every row"),
    ],
)
def test_bad_tables(change, words):
    with pytest.raises(ValueError, match=words):
        build("Reaction ~ Days + (1 | Subject)", SLEEP.assign(**change))


def test_too_many_effects():
    table = SLEEP.assign(Days=[f"day {k % 40}" for k in range(180)])
    build("Reaction ~ Days + (1 | Subject)", table)
    with pytest.raises(ValueError, match=r"40 effects would vary by Subject, .* 780 correlations"):
        build("Reaction ~ 1 + (Days | Subject)", table)


def test_a_predictor_called_sigma():
    with pytest.raises(ValueError, match="rename the column"):
        build("Reaction ~ sigma", SLEEP.rename(columns={"Days": "sigma"}))


def test_data_without_noise():
    """Refused at once, unless every row has an effect of its own."""
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(6), 5), rng.normal(size=30)
    table = pd.DataFrame({"g": g, "x": x, "y": 2 + 3 * x})
    for formula in ("y ~ x", "y ~ x + (1 | g)", "y ~ x + (x | g)"):
        with pytest.raises(ValueError, match="no noise: it is an exact combination of the pred"):
            build(formula, table)
    lines = table.assign(y=rng.normal(size=6)[g] + rng.normal(size=6)[g] * x)
    with pytest.raises(ValueError, match="an exact combination of the predictors within each"):
        build("y ~ x + (x | g)", lines)
    build("y ~ x + (1 | g)", lines)
    build("y ~ x + (x | g)", lines.assign(y=lines["y"] + 1e-6 * rng.normal(size=30)))
    # much larger between groups, or along x, than what is left
    build("y ~ 1 + (1 | g)", table.assign(y=3e8 * rng.normal(size=6)[g] + rng.normal(size=30)))
    build("y ~ x", table.assign(y=1e8 * x + rng.normal(size=30)))
    origin = pd.DataFrame({"i": np.arange(9), "x": np.arange(9.0)})
    origin["y"] = rng.normal(2, 1, 9) * origin["x"] + 1
    build("y ~ x + (0 + x | i)", origin)
    with pytest.raises(ValueError, match="no noise"):
        build("y ~ 1 + (1 | g)", table.assign(y=rng.normal(size=6)[g]))


def test_a_column_of_zeros():
    for formula in ("Reaction ~ 0 + Days + (1 | Subject)", "Reaction ~ 1 + (Days | Subject)"):
        with pytest.raises(ValueError, match="'Days' is zero in every row"):
            build(formula, SLEEP.assign(Days=False))


def test_too_few_rows():
    with pytest.raises(ValueError, match="2 rows for 3 coefficients"):
        build("y ~ x + z", pd.DataFrame({"y": [1.0, 2], "x": [1.0, 3], "z": [2.0, 1]}))


def test_tables_that_are_none():
    with pytest.raises(ValueError, match="The table has no rows"):
        build("Reaction ~ Days", SLEEP.head(0))
    twice = SLEEP.rename(columns={"Days": "Reaction"})
    with pytest.raises(ValueError, match="has 2 columns 'Reaction'; rename them"):
        build("Reaction ~ 1 + (1 | Subject)", twice)
    with pytest.raises(TypeError, match="give a DataFrame of pandas"):
        build("Reaction ~ Days", 5)
    with pytest.raises(TypeError, match="write it as text"):
        build(None, SLEEP)
    with pytest.raises(TypeError, match="The priors are a mapping"):
        pp.Model("Reaction ~ Days", SLEEP, "HalfNormal(1)")


def test_groups_may_be_anything_that_has_values():
    dates = SLEEP.assign(Subject=pd.to_datetime("2020-01-01") + pd.to_timedelta(SLEEP["Days"], "D"))
    assert build("Reaction ~ 1 + (1 | Subject)", dates).only.n_levels == 10


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


@pytest.mark.parametrize("missing", ["refuse", "drop"])
def test_a_column_named_like_a_number_of_formulas_is_refused(missing):
    table = pd.DataFrame({"pi": [1.0, np.nan, 2.0]})
    with pytest.raises(ValueError, match=r"'pi' is the number 3\.142, .* rename the column\.$"):
        pp.Model("`pi` ~ 1", table, missing=missing)


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
    assert np.isfinite(design.only.Z).all()
    shown = overview.columns(model).to_html()
    assert "<script>" not in shown
    assert "<b>x" not in shown
    target = model.theta_posterior
    assert np.isfinite(target(exact.starts(design, target))).all()


def test_an_offset_is_shown_where_the_formula_is_shown_back():
    """With a link it is part of the line; without, it has been taken from the response."""
    table = pd.DataFrame(
        {"c": [1, 2, 3, 4, 2, 1], "x": [1.0, 2, 1, 3, 2, 0], "n": [1, 2, 3, 4, 2, 2]}
    )
    counted = build("c ~ x + offset(log(n*2))", table, family="poisson")
    assert counted.written == "c ~ 1 + x + offset(log(n * 2))"
    measured = build("c ~ x + offset(log(n*2))", table)
    assert measured.written == "c - log(n * 2) ~ 1 + x"


def test_shares_are_sent_to_their_trials():
    table = pd.DataFrame({"share": [0.2, 0.5, 1.0, 0.0], "x": [1.0, 2, 1, 3]})
    with pytest.raises(ValueError, match="give the successes and their trials"):
        build("share ~ x", table, family="binomial")

"""Title and question of a regression whose study gives neither."""

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.posterior import asked
from partialpool.posterior.natural_scale import Natural

LABELS = {"y": "reaction time", "Days": "days of restricted sleep", "Subject": "person"}


def model(formula, **options):
    rng = np.random.default_rng(1)
    n = np.arange(120)
    columns = {
        "y": rng.normal(300, 50, 120),
        "success": rng.integers(0, 2, 120),
        "Days": n % 10,
        "sex": np.where(n % 24 < 12, "F", "M"),
        "height": rng.normal(170, 10, 120),
        "weight": rng.normal(70, 10, 120),
        "Subject": n // 10,
        "g": n % 7,
    }
    return pp.Model(formula, pd.DataFrame(columns), **options)


@pytest.mark.parametrize(
    ("formula", "title", "question"),
    [
        (
            "y ~ Days + (Days | Subject)",
            "y by Days, across subjects",
            "How does y change with Days, and how much do subjects differ?",
        ),
        (
            "y ~ sex + height + (1 | Subject)",
            "y by sex and height, across subjects",
            "How does y differ by sex at the same height, and how much do subjects differ?",
        ),
        (
            "height ~ Days * sex + (1 | g)",
            "Height by Days and sex, across groups of g",
            "How does height differ by sex, how does that depend on Days, and how much do groups "
            "of g differ?",
        ),
        (
            "y ~ Days + sex + height + weight",
            "y by Days, sex and 2 other predictors",
            "How does y change with Days when the 3 other predictors stay the same?",
        ),
        (
            "log(y) ~ 1 + (1 | Subject) + (1 | g)",
            "log(y) across subjects and groups of g",
            "What is the average of log(y), and how much do subjects and groups of g differ?",
        ),
        (
            "y ~ 0 + (1 | Subject)",
            "y across subjects",
            "How much do subjects differ in y?",
        ),
        ("y ~ 1", "y", "What is the average of y?"),
    ],
)
def test_title_and_question_in_the_words_of_the_formula(formula, title, question):
    found = model(formula)
    assert (asked.title(found), asked.question(found)) == (title, question)


def test_labels_and_the_natural_scale_take_the_place_of_names():
    found = model("y ~ Days + (Days | Subject)", labels=LABELS)
    assert asked.title(found) == "Reaction time by days of restricted sleep, across persons"
    assert asked.question(found) == (
        "How does the reaction time change with days of restricted sleep, and how much do persons "
        "differ?"
    )
    radon = Natural("radon", "pCi/L")
    assert asked.title(found, radon).startswith("Radon by days")
    assert asked.question(found, radon).startswith("How does radon change with days")


def test_a_link_asks_for_the_probability():
    found = model("success ~ Days + (1 | Subject)", family="binomial")
    assert asked.title(found) == "Success by Days, across subjects"
    assert asked.question(found).startswith("How does the probability of success")
    assert asked.question(model("success ~ 1", family="binomial")).startswith(
        "What is the probability of success"
    )

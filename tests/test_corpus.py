"""What the bench says became of a published model."""

import asyncio
import contextlib
import sys
from pathlib import Path

import psutil
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import corpus

    return corpus


def row(**more):
    """A row of the registry."""
    usual = {"source": "lme4", "object": "one", "sources": "lme4:one", "model_index": "1"}
    usual |= {"response": "y", "response_type": "continuous", "trials": "", "family": ""}
    usual |= {"covariates": "x.1;t", "grouping_factors": "a:b", "random_slopes": "x.1|a:b"}
    return usual | {"formula": "y ~ x.1*log(t) + (x.1 | a:b)"} | more


def published(corpus, **more):
    return corpus.read([row(**more)], {"lme4": {"one"}})[0]


def test_models_whose_data_are_at_hand(corpus):
    rows = [
        row(),
        row(source="nlme", sources="nlme:one;lme4:one"),
        row(source="other", sources="other:set", object="set"),
        row(source="other", sources="other:none", object="none"),
    ]
    found = corpus.read(rows, {"boot": {"one", "set"}, "lme4": {"one"}})
    assert [(model.name, model.source) for model in found] == [
        ("lme4/one/1", "lme4/one"),
        ("nlme/one/1", "lme4/one"),
        ("other/set/1", "boot/set"),
    ]
    assert found[0].columns == {"y", "x.1", "t", "a", "b"}


@pytest.mark.parametrize(
    ("formula", "foreign"),
    [
        ("y ~ x.1 + sin(2*pi*t) + (0 + I(t^2) | a:b)", set()),
        ("y ~ x.1 + offset(log(e)) + (1 | a)", set()),
        ("y ~ SSlogis(t, Asym, scal) + (Asym | a)", {"Asym", "scal"}),
        ("y ~ b*exp(-t/th) + (1 | a)", {"th"}),
        ("y ~ growth curve in t", {"growth", "curve", "in"}),
    ],
)
def test_formulas_that_are_not_linear(corpus, formula, foreign):
    assert published(corpus, formula=formula).foreign == foreign


@pytest.mark.parametrize(
    ("response_type", "found", "outcome"),
    [
        ("continuous", {"verdict": "passed (exact)", "kind": ""}, "one factor"),
        ("continuous", {"verdict": "passed", "kind": "", "factors": 2}, "several factors"),
        ("continuous", {"verdict": "passed (exact)", "kind": "Counts."}, "one factor"),
        ("count", {"verdict": "passed (exact)", "kind": ""}, "other family"),
        ("categorical", {"verdict": "passed (exact)", "kind": "Codes."}, "other response"),
        ("categorical", {"verdict": "passed (exact)", "kind": ""}, "silent"),
        ("count", {"refused": "It must be numbers; use Bambi."}, "other response"),
        ("continuous", {"refused": "'^' is unexpected.", "read": False}, "syntax"),
        ("continuous", {"refused": "'x' is collinear.", "read": True}, "refused"),
        ("continuous", {"refused": "No column.", "lacking": ["x"]}, "other columns"),
        ("continuous", {"refused": "No column.", "lacking": ["x"], "foreign": ["k"]}, "not linear"),
        ("continuous", {"status": "failed", "reason": "KeyError: 'x'"}, "lost"),
        ("continuous", {"status": "out of time", "reason": "more than 60 s"}, "too slow"),
        # lme4 was what took so long
        ("continuous", {"status": "out of time", "verdict": "passed", "kind": ""}, "one factor"),
    ],
)
def test_outcomes(corpus, response_type, found, outcome):
    model = published(corpus, response_type=response_type)
    found = {"status": "ok", "lacking": [], "foreign": [], "factors": 1} | found
    assert corpus.outcome(model, found) == outcome
    cells = corpus.row(model, found)
    assert cells[:3] == ["lme4/one/1", model.formula, outcome]
    assert len(cells) == len(corpus.HEADS) + len(corpus.NUMBERS)


def test_a_family_that_departs_from_the_kind_of_response(corpus):
    model = published(corpus, response_type="count", family="gaussian")
    found = {"status": "ok", "verdict": "passed", "kind": "", "factors": 1}
    assert corpus.outcome(model, found) == "one factor"


@pytest.mark.parametrize(
    ("formula", "refusal", "read"),
    [
        ("y ~ x ~ z", "In 'y ~ x ~ z' there are two.", False),
        ("y ~ x + (1 | a)", "The predictor 'x' is constant.", True),
        ("y ~ x + (1 | a)", "In 'y ~ x + (1 | a)', x is no function.", False),
    ],
)
def test_whether_it_was_the_formula_that_was_refused(corpus, formula, refusal, read):
    assert corpus.is_read(formula, refusal) is read


def test_pages_and_what_is_kept(corpus, tmp_path):
    model = published(corpus, formula="y ~ x.1 < t + (1 | a)")
    found = {"status": "ok", "verdict": "passed (exact)", "kind": "", "seconds": 1.26}
    found["factors"] = 1
    found |= {"distances": {"x.1": 0.25, "Intercept": -0.5}, "boundary": True}
    report = {"machine": "2 cores", "version": "1", "limit": 60.0, "made_of": ["a"]}
    report["results"] = {"lme4/one/1": found, "gone": {"status": "out of time", "reason": "slow"}}
    corpus.write([model], report, tmp_path)
    page = (tmp_path / "corpus.html").read_text(encoding="utf-8")
    assert "y ~ x.1 &lt; t + (1 | a)" in page
    assert "0.38 posterior standard deviations in the median, 0.50 at most" in page
    line = (tmp_path / "corpus.csv").read_text(encoding="utf-8").splitlines()[1]
    assert line.endswith("passed (exact),1.3,,−0.50,Intercept (lme4 at the boundary)")
    assert corpus.kept(report, tmp_path) == {"lme4/one/1": found}
    assert corpus.kept(report | {"made_of": ["b"]}, tmp_path) == {}
    (tmp_path / "corpus.json").write_text("[]")
    assert corpus.kept(report, tmp_path) == {}


def test_a_process_and_its_limit(corpus):
    def ended(code, limit=60.0):
        return asyncio.run(corpus.ended([sys.executable, "-c", code], limit, {"MORE": "1"}))

    assert ended("import os; print(os.environ['MORE'])")[:2] == ("ok", "1\n")
    status, printed, said = ended("print(1, flush=True); raise ValueError('no such thing')")
    assert (status, printed, said) == ("failed", "1\n", "ValueError: no such thing")
    endless = "import time\nwhile True: time.sleep(1)"
    assert ended(endless, 0.5)[0] == "out of time"
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # others end meanwhile
            assert endless not in child.cmdline()

"""A study over formulas: its page says which predicts best, as ArviZ would from the fits."""

import arviz_stats as azs
import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.plots import study_formulas
from partialpool.posterior import leave_one_out, left_out_file
from partialpool.report import index

FORMULAS = ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (1 | Subject)"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    rows, left = [], {}
    for k, formula in enumerate(FORMULAS):
        folder = tmp_path_factory.mktemp("run")
        fit = pp.Model(formula, pp.load("sleepstudy")).fit(seed=1)
        left[formula] = leave_one_out.leave_out(fit)
        left_out_file.keep(fit.model, left[formula], folder)
        summary = {
            "title": "Sleep",
            "status": "passed",
            "estimates": ["Days"],
            "parameters": {"Days": {"mean": 10.0, "q05": 7.0, "q95": 13.0}},
            "log_evidence": fit.attrs["log_evidence"],
            "log_evidence_se": fit.attrs["log_evidence_se"],
            "seconds": {"fit": 1.0, "total": 2.0},
        }
        settings, name = {"formula": formula, "seed": 1}, f"formula-{k}"
        swept = {"name": name, "settings": settings, "swept": ["formula"], "metrics": {}}
        rows.append(swept | {"summary": summary, "folder": str(folder)})
    return rows, left


def test_the_ranking_is_that_of_the_fits_themselves(runs):
    rows, left = runs
    ((title, found),) = study_formulas.comparisons(rows)
    assert title == "The formulas compared"
    ranked = azs.compare({name: one.elpd for name, one in left.items()}, round_to="none")
    gap, error = ranked["elpd_diff"].abs().iloc[1], ranked["dse"].iloc[1]
    assert f"{FORMULAS[0]} predicts best; {FORMULAS[1]} is {gap:.1f} behind" in found.sentence
    assert f"(standard error {error:.1f}: " in found.sentence
    evidence = [row["summary"]["log_evidence"] for row in rows]
    assert evidence[0] - evidence[1] > np.log(1000)
    assert f"likeliest under {FORMULAS[0]}: more than 1,000 times" in found.sentence
    page = index.render_study("sleep", rows, "abc")
    assert ">The formulas compared</h2>" in page


def test_families_are_models_of_the_same_rows_too(runs):
    """A study that sweeps the noise says which family predicts best."""
    rows, _ = runs
    families = ["gaussian", "student"]
    rows = [
        row | {"swept": ["family"], "settings": {"family": family, "seed": 1}}
        for row, family in zip(rows, families, strict=True)
    ]
    ((title, found),) = study_formulas.comparisons(rows)
    assert title == "The families compared"
    assert "gaussian predicts best; student is " in found.sentence
    assert ">The families compared</h2>" in index.render_study("sleep", rows, "abc")
    sampled = [row | {"summary": row["summary"] | {"log_evidence": None}} for row in rows]
    ((_, found),) = study_formulas.comparisons(sampled)
    assert len(found.figure.axes) == 1
    assert "nan" not in found.description


def test_what_is_kept_reads_back(runs):
    rows, left = runs
    one = left[FORMULAS[0]]
    kept = left_out_file.kept(study_formulas.Path(rows[0]["folder"]))
    assert np.allclose(kept.elpd.elpd, one.elpd.elpd)
    assert np.allclose(kept.elpd.pareto_k, one.elpd.pareto_k)
    assert kept.refitted == one.refitted
    assert list(kept.rows) == list(one.rows + 1)
    assert list(kept.y) == list(pp.load("sleepstudy")["Reaction"])


def test_runs_of_other_rows_are_not_compared(runs, tmp_path):
    rows, _ = runs
    table = pd.read_csv(study_formulas.Path(rows[1]["folder"]) / left_out_file.LEFT_OUT)
    table.iloc[1:].to_csv(tmp_path / left_out_file.LEFT_OUT, index=False)
    ((_, found),) = study_formulas.comparisons([rows[0], rows[1] | {"folder": str(tmp_path)}])
    assert found.sentence.startswith("The runs left out different rows")
    assert found.figure is None


def test_densities_of_a_response_and_of_its_logarithm_are_not_compared(runs, tmp_path):
    """They differ by the logarithm's derivative, and as many rows stand in both."""
    rows, _ = runs
    fit = pp.Model("log(Reaction) ~ Days + (1 | Subject)", pp.load("sleepstudy")).fit(seed=1)
    left_out_file.keep(fit.model, leave_one_out.leave_out(fit), tmp_path)
    ((_, found),) = study_formulas.comparisons([rows[0], rows[1] | {"folder": str(tmp_path)}])
    assert "have different responses" in found.sentence
    assert found.figure is None


def test_other_settings_make_comparisons_of_their_own_and_seeds_none(runs):
    rows, _ = runs
    both = [
        row | {"swept": ["formula", "se"], "settings": row["settings"] | {"se": se, "seed": seed}}
        for row in rows
        for se in ("a", "b")
        for seed in (2, 1)
    ]
    titles = [title for title, _ in study_formulas.comparisons(both)]
    assert titles == [f"The formulas compared, se {se}" for se in "ab"]

"""What the index says has changed since the last report."""

import copy

from partialpool import changes


def summary(mean=1.0, status="passed", started="2026-01-01T00:00:00", **provenance):
    return {
        "status": status,
        "settings": {"formula": "y ~ x"},
        "estimates": ["a", "b"],
        "parameters": {"a": {"mean": mean, "mcse_mean": 0.1}, "b": {"mean": 2.0, "mcse_mean": 0.1}},
        "provenance": {"started": started, "inputs": {"x.py": "1"}, "data_sha256": "d"}
        | provenance,
    }


def test_changes_stay_until_there_are_others(tmp_path):
    first = {"s/a": summary(), "s/b": summary(), "s/c": summary()}
    assert changes.since(tmp_path, first) == []  # nothing to compare with
    then = copy.deepcopy(first)
    then["s/a"] = summary(started="2026-01-02T00:00:00", inputs={"x.py": "2"})
    then["s/b"] = summary(mean=3.0, started="2026-01-02T00:00:00", data_sha256="e")
    del then["s/c"]
    then["s/d"] = summary(status="failed")
    found = changes.since(tmp_path, then)
    assert {change["label"]: (change["kind"], change["what"]) for change in found} == {
        "s/a": ("again", "x.py changed; the same numbers"),
        "s/b": ("again", "the data changed; a moved from 1 to 3, 14.1 Monte Carlo errors"),
        "s/c": ("gone", "no study defines it any more"),
        "s/d": ("new", "failed"),
    }
    assert found[0]["label"] == "s/b"  # what matters most comes first
    assert changes.since(tmp_path, then) == found
    worse = copy.deepcopy(then)
    worse["s/a"] = summary(status="failed", started="2026-01-03T00:00:00")
    worse["s/a"]["settings"] = {"formula": "y ~ 1"}
    [only] = changes.since(tmp_path, worse)
    assert only["what"] == "formula changed; passed → failed"


def test_within_monte_carlo_error_is_said(tmp_path):
    changes.since(tmp_path, {"s/a": summary()})
    [only] = changes.since(tmp_path, {"s/a": summary(mean=1.2, started="later")})
    assert only["what"] == "done again; estimates within Monte Carlo error"


def test_a_snapshot_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "reports").mkdir()
    for text in ("", "[]", "{", '{"runs": {}}'):
        (tmp_path / "reports" / "index.json").write_text(text)
        assert changes.since(tmp_path, {"s/a": summary()}) == []

"""Compiled loops are made anew when a module that they take in has changed."""

import os

from partialpool.fit import kernel_cache


def test_loops_are_forgotten_when_what_they_take_in_has_changed(tmp_path):
    """`outer` takes from `inner` by way of `middle`; `other` from none of them."""
    takes = {"outer": "middle", "middle": "inner", "inner": "", "other": ""}
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for at, (name, module) in enumerate(takes.items()):
        source = tmp_path / f"{name}.py"
        source.write_text(f"from partialpool.fit.{module} import loop\n" if module else "")
        os.utime(source, (at, at))
        kept = cache / f"{name}.loop-12.py313.nbi"
        kept.touch()
        os.utime(kept, (100, 100))
    (cache / "gone.loop-1.py313.nbi").touch()  # of a source that there is no more
    kernel_cache.forget_stale(tmp_path)
    assert len([*cache.iterdir()]) == 5
    os.utime(tmp_path / "inner.py", (200, 200))
    kernel_cache.forget_stale(tmp_path)
    left = {file.name.partition(".")[0] for file in cache.iterdir()}
    assert left == {"other", "gone"}

"""One cell of the bench, in a process of its own: ``cell.py DATASET PEER SETTINGS``.

Imports come first, then the first call, then later ones; each has its own time. A line of JSON is
printed after the first call and again at the end, so that a cell that runs out of time later is
not lost.
"""

import contextlib
import importlib
import json
import logging
import os
import sys
import time
import warnings
from typing import Any


def measure(dataset: str, peer: str) -> Any:
    """Yield the figures of a cell, after the first call and after the last."""
    from peers import PEERS, REFERENCE

    entry = PEERS.get(peer, REFERENCE)
    begun = time.perf_counter()
    for package in entry.packages:
        importlib.import_module(package)
    found: dict[str, Any] = {"import_seconds": time.perf_counter() - begun}

    from data import DATASETS
    from results import Settings, figures

    data, settings = DATASETS[dataset](), Settings(**json.loads(sys.argv[3]))
    data.model  # noqa: B018 -- names and priors are read from it; made before the clock starts
    function = entry.load()
    begun = time.perf_counter()
    result = function(data, 1, settings)
    first = time.perf_counter() - begun
    if result.calls:  # it kept its own clock, and made its own later calls
        first, *later = result.calls
        found["import_seconds"] = result.imports
        found["first"] = figures(result, first)
        if later:
            found |= {"later": figures(result, min(later)), "later_calls": len(later)}
        yield found
        return
    found["first"] = figures(result, first)
    yield found
    if entry is REFERENCE:
        return
    # A slow peer is called once more, now warm; a fast one until the time for it is over.
    calls = 0
    begun = time.perf_counter()
    while calls == 0 or (time.perf_counter() - begun < settings.warm and calls < 20):
        started = time.perf_counter()
        result = function(data, 2 + calls, settings)
        seconds = time.perf_counter() - started
        calls += 1
        if "later" not in found or seconds < found["later"]["seconds"]:
            found["later"] = figures(result, seconds)
    yield found | {"later_calls": calls}


def main() -> None:
    """Print the figures alone to the standard output; what packages say goes elsewhere."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # also for what is printed by compiled code
    with contextlib.redirect_stdout(sys.stderr):
        for found in measure(sys.argv[1], sys.argv[2]):
            print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()

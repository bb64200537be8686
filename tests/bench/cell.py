"""One cell of the bench in a process of its own: ``cell.py DATASET PEER`` prints a line of JSON.

The first call is cold (a fresh process, with whatever compile caches earlier runs left on disk),
the second warm. Data are made before the clock starts.
"""

import json
import logging
import sys
import time
import warnings

import arviz_stats as azs
import numpy as np
import xarray as xr
from data import DATASETS
from peers import PEERS


def measure(peer: str, dataset: str, seed: int) -> dict:
    """Seconds and quality of one call."""
    table, formula, priors = DATASETS[dataset]()
    begun = time.perf_counter()
    result = PEERS[peer](table, formula, priors, seed)
    seconds = result.get("seconds", time.perf_counter() - begun)
    figures = {"seconds": seconds}
    if "draws" in result:
        posterior = xr.Dataset(
            {name: (("chain", "draw"), value) for name, value in result["draws"].items()}
        )
        worst = {
            kind: min(float(v) for v in azs.ess(posterior, method=kind).data_vars.values())
            for kind in ("bulk", "tail")
        }
        rhat = azs.rhat(posterior).data_vars.values()
        figures |= {
            "ess": min(worst.values()),
            "ess_per_second": min(worst.values()) / seconds,
            "rhat": max(float(v) for v in rhat),
            "estimates": {n: float(np.mean(v)) for n, v in result["draws"].items()},
            "sds": {n: float(np.std(v)) for n, v in result["draws"].items()},
        }
    else:
        figures |= {"estimates": result["point"]}
    return figures


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    dataset, peer, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
    out = {"cold": measure(peer, dataset, 1)}
    for seed in range(2, 2 + repeats):
        again = measure(peer, dataset, seed)
        if "warm" not in out or again["seconds"] < out["warm"]["seconds"]:
            out["warm"] = again
    print("\n" + json.dumps(out))

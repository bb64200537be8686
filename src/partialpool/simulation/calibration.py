"""What many fits of simulated data say: calibration, recovery, pooling, alarms.

Everything reads the table of `many_fits.run`. If truths come from the prior and data from the
model, the rank of each truth among its posterior draws (docs/method.md, eq. (35)) is uniform,
whatever the model (Cook, Gelman & Rubin 2006; Talts et al. 2018), and an interval of probability p
holds the truth with probability p.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import beta, binomtest, chisquare

from partialpool.data.text import code, in_words, listed, number, percent, rounded, short
from partialpool.posterior.agreement import FALSE_ALARM
from partialpool.posterior.finding import NOTHING, Finding
from partialpool.posterior.fitted import POOLING
from partialpool.posterior.verdict import Verdict, one
from partialpool.simulation import figures

#: Nominal probability of an equal-tailed interval -> the columns of its ends.
INTERVALS = {0.5: ("q25", "q75"), 0.8: ("q10", "q90"), 0.95: ("q2.5", "q97.5")}
#: Share of fits that may distrust themselves before the study fails.
MAX_ALARMS = 0.01
BINS = 20
#: Part of its prior's variance that data leave where that prior says next to nothing.
LEFT = 0.01
#: Column of a table of recovery -> its heading and format where people read it.
HEADINGS = {
    "truth": ("truth", "{:.3g}"),
    "estimate": ("average estimate", "{:#.3g}"),
    "bias": ("bias", "{}"),
    "bias_se": ("its MC error", "{:#.2g}"),
    "rmse": ("root mean squared error", "{:#.2g}"),
    "width": ("width of 95 % intervals", "{:#.3g}"),
    "covered": ("truth in them", "{:.0%}"),
    "contraction": ("contraction", "{}"),
}
#: The same of a table of alarms.
ALARM_HEADINGS = {
    "fits": ("fits", "{:,}"),
    "distrusted": ("raised an alarm", "{:,}"),
    "off_trusted": ("95 % intervals that miss the truth, without alarm", "{:.1%}"),
    "off_distrusted": ("with one", "{:.1%}"),
}


def uniformity(table: pd.DataFrame) -> pd.Series:
    """p-value of each parameter's ranks being uniform, by chi-squared over `BINS` equal bins."""

    def p(ranks: pd.Series) -> float:
        return float(chisquare(np.histogram(ranks, bins=BINS, range=(0, 1))[0]).pvalue)

    return table.groupby("parameter", sort=False)["rank"].agg(p)


def held(table: pd.DataFrame, nominal: float = 0.95) -> pd.Series:
    """Whether each equal-tailed interval of a nominal probability holds the truth."""
    lower, upper = INTERVALS[nominal]
    return (table[lower] <= table["truth"]) & (table["truth"] <= table[upper])


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """How often intervals hold the truth, with Monte Carlo intervals.

    Returns
    -------
    pandas.DataFrame
        A row per parameter and nominal probability: ``parameter``, ``nominal``, ``covered``,
        ``low`` and ``high`` (a 95 % interval of the true coverage, Clopper & Pearson 1934), ``p``
        (of the nominal value).
    """
    rows = []
    for name, group in table.groupby("parameter", sort=False):
        for nominal in INTERVALS:
            k, n = int(held(group, nominal).sum()), len(group)
            # by quantiles of the beta distribution, which SciPy looks for step by step
            low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
            high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
            rows.append([str(name), nominal, k / n, low, high, binomtest(k, n, nominal).pvalue])
    return pd.DataFrame(rows, columns=["parameter", "nominal", "covered", "low", "high", "p"])


def verdict(table: pd.DataFrame, names: Mapping[str, str] | None = None) -> Verdict:
    """Check a study whose truths came from the prior; `names` are words for its parameters.

    A right fit fails each of the first two checks with probability `FALSE_ALARM`, whatever the
    number of data sets and parameters (Bonferroni).
    """
    p = uniformity(table)
    covered = coverage(table)
    worst = covered.loc[covered["p"].idxmin()]
    alarms = 1 - once(table)["trusted"].mean()
    rule = f"a right fit falls below the limit in one of {1 / FALSE_ALARM:,.0f} studies"
    uniform = (
        "p-value that the truths' ranks are uniform, over all parameters; worst is "
        f"{called(p.idxmin(), names)}; {rule}"
    )
    holding = (
        "p-value that 50, 80 and 95 % intervals hold the truth as often as they say; worst are the "
        f"{worst['nominal']:.0%} intervals of {called(worst['parameter'], names)}, with "
        f"{worst['covered']:.1%}; {rule}"
    )
    distrust = "share of fits that did not trust themselves; the limit is a convention"
    found = [
        one("Ranks uniform", min(1.0, p.min() * len(p)), "≥", FALSE_ALARM, uniform),
        one("Coverage", min(1.0, worst["p"] * len(covered)), "≥", FALSE_ALARM, holding),
        one("Alarms", alarms, "≤", MAX_ALARMS, distrust),
    ]
    return Verdict(found, pd.DataFrame())


def called(name: str, names: Mapping[str, str] | None) -> str:
    """What a sentence calls a parameter: its words where there are some, or its name as code."""
    return in_words(name, names) if names else code(name)


def once(table: pd.DataFrame) -> pd.DataFrame:
    """A row per data set: what does not depend on the parameter."""
    return table.drop_duplicates("data_set").set_index("data_set")


def errors(table: pd.DataFrame, prior_sd: dict[str, float] | None = None) -> pd.DataFrame:
    """Errors of the estimates about fixed truths.

    Returns
    -------
    pandas.DataFrame
        By parameter: ``truth``, ``estimate`` (average posterior mean), ``bias`` with its Monte
        Carlo error ``bias_se``, ``rmse``, ``width`` of the 95 % intervals, ``covered`` by them,
        and ``contraction``, one minus the ratio of posterior to prior variance (Betancourt 2018),
        where `prior_sd` has the parameter.
    """
    rows = {}
    for name, group in table.groupby("parameter", sort=False):
        error = group["mean"] - group["truth"]
        prior = (prior_sd or {}).get(str(name))
        rows[str(name)] = {
            "truth": group["truth"].mean(),
            "estimate": group["mean"].mean(),
            "bias": error.mean(),
            "bias_se": error.std() / np.sqrt(len(error)),
            "rmse": np.sqrt((error**2).mean()),
            "width": (group["q97.5"] - group["q2.5"]).mean(),
            "covered": held(group).mean(),
            "contraction": 1 - (group["sd"] ** 2).mean() / prior**2 if prior else np.nan,
        }
    return pd.DataFrame(rows).T


def pooling(table: pd.DataFrame) -> pd.DataFrame:
    """Error of the groups' lines under each way to pool, and how often partial pooling wins.

    Returns
    -------
    pandas.DataFrame
        By way: ``error``, the average root mean squared error; ``ratio`` to partial pooling's, a
        geometric mean with its ends ``low`` and ``high`` (95 %); ``wins``, the share of data sets
        in which partial pooling has the smaller error.
    """
    ways = once(table)[["complete", "none", "partial"]]
    logs = np.log(ways.div(ways["partial"], axis=0))
    error = 1.96 * logs.std() / np.sqrt(len(logs))
    wins = (ways.gt(ways["partial"], axis=0)).mean()
    return pd.DataFrame(
        {
            "error": ways.mean(),
            "ratio": np.exp(logs.mean()),
            "low": np.exp(logs.mean() - error),
            "high": np.exp(logs.mean() + error),
            "wins": wins.where(wins.index != "partial"),
        }
    )


def without_noise(table: pd.DataFrame) -> bool:
    """Whether the fixed truth has no noise, so that errors have no ratios to speak of."""
    return "sigma" in on_the_edge(table)


def exact_lines(table: pd.DataFrame) -> str:
    """What stands for the ratios of `pooling` where there is no noise."""
    error = once(table)[["partial", "complete"]].mean()
    return (
        "there is no noise, so that every group's own line passes through its points and no "
        f"pooling has no error; the groups' lines are off by {short(error['partial'])} on average "
        f"with partial pooling and by {short(error['complete'])} with complete pooling."
    )


def recovery(
    table: pd.DataFrame, prior_sd: dict[str, float], names: Mapping[str, str] | None = None
) -> Finding:
    """The table of `errors` for the population's parameters, by their words in `names`."""
    found = errors(of_population(table), prior_sd)
    least = found["contraction"].idxmin()
    taken = {name: _contraction(share) for name, share in found["contraction"].items()}
    return Finding(
        "recovery",
        "Contraction is the part of the prior's variance that the data take away. They say least "
        f"about {called(least, names)}: {taken[least]}. "
        f"{_coverage_at_truths(table, found['contraction'], names)}",
        table=found,
        columns=HEADINGS,
        names=names or {},
        cells={
            "bias": [rounded(row["bias"], row["bias_se"]) for _, row in found.iterrows()],
            "contraction": [*taken.values()],
        },
    )


def _contraction(share: float) -> str:
    """Never all: data leave something."""
    if np.isnan(share):
        return NOTHING
    return percent(share, 1) if share < 0.9995 else "> 99.9 %"


def of_population(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of parameters that are no group's, such as ``1|group[0]``."""
    return table[~table["parameter"].str.contains(r"\|.*\[")]


def _coverage_at_truths(
    table: pd.DataFrame, contraction: pd.Series, names: Mapping[str, str] | None
) -> str:
    """How often intervals hold fixed truths, and why that need not be as often as they say."""
    found, edge = coverage(table), on_the_edge(table)
    says = (
        "Intervals hold the truth as often as they say on average over the prior, not at each "
        "value: more often where the prior draws estimates towards it, less often where it draws "
        "them away. So this is no check of the fit, as the calibration above is."
    )
    rest = found[~found["parameter"].isin(edge)]
    if len(rest):
        worst = rest.loc[rest["p"].idxmin()]
        name, p = worst["parameter"], min(1.0, worst["p"] * len(rest))
        told = f"p = {number(p, 2)}" if p >= 1e-4 else "p below 0.0001"
        says += (
            f" The most surprising of {len(rest)} here are the {percent(worst['nominal'])} "
            f"intervals of {called(name, names)}: {percent(worst['covered'])} hold the truth (95 % "
            f"Monte Carlo interval {percent(worst['low'])} to {percent(worst['high'])}; {told}, "
            f"corrected for so many). "
        )
        says += _why(p, name, 1 - contraction, names)
    if edge:
        says += (
            f" No interval can hold the truth of {listed([called(name, names) for name in edge])}: "
            "it is 0, the boundary of a standard deviation, and every draw lies above it."
        )
    return says


def _why(p: float, name: str, left: pd.Series, names: Mapping[str, str] | None) -> str:
    """What explains a coverage, where the data have `left` so much of each prior's variance."""
    if p >= FALSE_ALARM:
        return f"Chance explains that by the limit of {FALSE_ALARM:g}."
    says, own = f"Chance does not explain that, by the limit of {FALSE_ALARM:g}", left.get(name)
    if own is None or np.isnan(own):
        return f"{says}."
    if own >= LEFT:
        return f"{says}; its prior can, of whose variance the data leave {percent(own)}."
    says += f", nor does its own prior, of whose variance the data leave {percent(own, 1)}"
    most = left.idxmax()
    if left[most] >= LEFT:
        says += f"; that of {called(str(most), names)} may, of which they leave "
        return f"{says}{percent(left[most])}."
    return f"{says}, nor any other: it is bad luck or a fault, and another seed tells which."


def on_the_edge(table: pd.DataFrame) -> list[str]:
    """Standard deviations whose fixed truth is zero, below every draw: no interval can hold it."""
    truths = table.groupby("parameter", sort=False)["truth"].agg(["min", "max"])
    scales = (truths.index == "sigma") | truths.index.str.endswith("_sigma")
    return list(truths.index[scales & (truths == 0).all(axis=1)])


def alarms(tables: dict[str, pd.DataFrame]) -> Finding:
    """Whether alarms go with wrong answers: a row for each study of many fits.

    Intervals of parameters `on_the_edge` miss the truth whoever is right, and are left out.
    """
    rows = {}
    for name, table in tables.items():
        table = table[~table["parameter"].isin(on_the_edge(table))]
        off = 1 - held(table).groupby(table["trusted"]).mean()
        trusted = once(table)["trusted"]
        rows[name] = {
            "fits": len(trusted),
            "distrusted": int((~trusted).sum()),
            "off_trusted": off.get(True, np.nan),
            "off_distrusted": off.get(False, np.nan),
        }
    return Finding(
        "alarms",
        " ".join(_alarm_sentence(name, row) for name, row in rows.items()),
        table=pd.DataFrame.from_dict(rows, orient="index"),
        columns=ALARM_HEADINGS,
    )


def _alarm_sentence(name: str, row: Mapping[str, float]) -> str:
    missed = [
        f"{percent(row[f'off_{kind}'], 1)} of the 95 % intervals of fits {how} miss the truth"
        for kind, how in (("trusted", "without an alarm"), ("distrusted", "with one"))
        if not np.isnan(row[f"off_{kind}"])
    ]
    return (
        f"{name.capitalize()}: {row['distrusted']:,} of {row['fits']:,} fits raised an alarm; "
        f"{' and '.join(missed)}."
    )


def tree(tables: dict[str, pd.DataFrame]) -> xr.DataTree:
    """The tables as a DataTree, a group each, over data sets and parameters: what a run stores."""
    result = xr.DataTree.from_dict(
        {
            name: table.set_index(["data_set", "parameter"]).to_xarray()
            for name, table in tables.items()
        }
    )
    result.attrs = {
        "method": "many data sets",
        "averaged": max(table["data_set"].nunique() for table in tables.values()),
        "fit_seconds": sum(once(table)["seconds"].sum() for table in tables.values()),
    }
    return result


def parameters(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Average figures of each parameter's posteriors, for the summary of a run."""
    grouped = table.groupby("parameter", sort=False)
    found = grouped[["mean", "sd"]].mean()
    for name, share in {"q05": 0.05, "q50": 0.5, "q95": 0.95}.items():
        found[name] = grouped["mean"].quantile(share)
    return found.to_dict("index")


def metrics(recovered: pd.DataFrame, calibrated: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Figures to compare over a study's runs: name -> parameter -> value.

    Coverage is that of the fixed truth. Over truths from the prior, `figures.PROMISE`, it is right
    on average whatever the truth, so that runs which differ in the truth alone have one figure.
    """
    population = of_population(recovered)
    found = coverage(population)
    found = found[~found["parameter"].isin(on_the_edge(recovered))]
    told = {
        f"coverage of {nominal:.0%} intervals at the true values": rows.set_index("parameter")[
            "covered"
        ].to_dict()
        for nominal, rows in found.groupby("nominal")
    }
    off, kept = errors(population), coverage(calibrated).set_index("parameter")
    told |= {
        figures.BIAS: off["bias"].to_dict(),
        figures.ERROR: off["rmse"].to_dict(),
        figures.WIDTH: off["width"].to_dict(),
        figures.PROMISE: kept.loc[kept["nominal"] == 0.95, "covered"].to_dict(),
    }
    if not without_noise(recovered):
        ratios = pooling(recovered)["ratio"]
        told[figures.RATIO] = {POOLING[way]: ratios[way] for way in ("complete", "none")}
    return told

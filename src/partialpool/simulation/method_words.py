"""What a comparison of methods says: a table, and sentences from its figures."""

from collections.abc import Iterable, Mapping

import pandas as pd

from partialpool.data.text import capital, duration, in_words, listed, short
from partialpool.posterior import checks
from partialpool.posterior.finding import Finding
from partialpool.posterior.names import readable
from partialpool.simulation.methods import Comparison

#: R-hat from which on chains have not met: the limit of Gelman & Rubin's time.
APART = 1.1
#: Effective draws below which the Monte Carlo error of a mean is a tenth of a posterior sd.
FEW = 100
#: Column of the table of methods -> its heading and format where people read it.
HEADINGS = {
    "seconds": ("seconds", "{:.3g}"),
    "draws": ("draws", "{:,}"),
    "ess": ("effective draws", "{:,.0f}"),
    "ess_per_second": ("effective per second", "{:,.2f}"),
    "rhat": ("R-hat", "{:.3f}"),
    "divergences": ("divergences", "{:,.0f}"),
    "z": ("means: |z|", "{:.1f}"),
    "wasserstein": ("marginals: distance", "{:.3f}"),
    "reached": ("reached", "{}"),
    "missed": ("its own checks missed", "{}"),
}


def headline(comparison: Comparison) -> str:
    """Which samplers came to the exact posterior, which know it, and how fast, in plain text."""
    rows, kind = comparison.rows, comparison.kind
    speed = {words: short(each) for words, each in rows["ess_per_second"].items()}
    first = (
        f"The {kind} fit gives {speed[comparison.own]} effective draws a second of the parameter "
        "that has the fewest"
    )
    if not comparison.sampled:
        return f"{first}; no sampler was run beside it."
    good = rows["ess_per_second"][comparison.sampled][comparison.good[comparison.sampled]]
    best = f", {unpunctuated(good.idxmax())} {speed[good.idxmax()]}" if len(good) else ""
    return f"{reached(comparison)} {first}{best}."


def reached(comparison: Comparison) -> str:
    """How many samplers are near the exact posterior, and how many of these say so themselves."""
    rows = comparison.rows.loc[comparison.sampled]
    near, far = rows[rows["reached"]], rows[~rows["reached"]]
    count = "All" if len(near) == len(rows) > 1 else f"{len(near) or 'None'} of"
    verb = "reach" if len(near) > 1 else "reaches"
    where = f"the {comparison.kind} posterior within the limits"
    says = [f"{count} {len(rows)} samplers {verb} {where}"]
    sound = near.index[near["missed"] == ""]
    own = [f"{unpunctuated(words)} has {why}" for words, why in near["missed"].items() if why]
    if len(sound):
        verb = "pass their" if len(sound) > 1 else "passes its"
        own.insert(0, f"{len(sound)} {verb} own checks as well ({_names(sound)})")
    if own:
        says.append(listed(own))
    if len(far):
        found = int((far["missed"] != "").sum())
        their, do = ("its", "does") if len(far) == 1 else ("their", "do")
        shown = f"as {their} own checks show"
        if found < len(far):
            shown = f"which own checks show of {found or 'none'} of them"
        says.append(f"the other {len(far)} {do} not, {shown}" if len(near) else shown)
    glue = "; " if len(near) else ", "
    return f"{glue.join(says)}."


def unpunctuated(label: str) -> str:
    """A method's name without its comma, for use in a list."""
    return label.replace(", ", " ")


def _names(labels: Iterable[str]) -> str:
    return listed([unpunctuated(label) for label in labels])


def method_table(comparison: Comparison) -> Finding:
    """The figures of every method, and for each in words what came of it."""
    called, kind = readable(comparison.model), comparison.kind
    says = [
        f"* **{words}**: "
        + (_about_own(row, comparison) if words == comparison.own else _about(row, called, kind))
        for words, row in comparison.rows.iterrows()
    ]
    shown = comparison.rows[list(HEADINGS)]
    pace = [short(value) for value in shown["ess_per_second"]]
    limits = (
        f"A sampler has reached the {kind} posterior where its means are within "
        f"{comparison.rows['z_limit'].max():g} Monte Carlo errors and its marginals within "
        f"{checks.MAX_WASSERSTEIN:g} posterior standard deviations. Its own checks need no {kind} "
        f"posterior: R-hat, effective draws, and divergences."
    )
    return Finding(
        "methods",
        "\n".join([f"{limits}\n", *says]),
        table=shown,
        columns=HEADINGS,
        cells={
            "ess_per_second": pace,
            "reached": ["yes" if near else "no" for near in shown["reached"]],
            "missed": [missed or "none" for missed in shown["missed"]],
        },
    )


def _about_own(row: pd.Series, comparison: Comparison) -> str:
    own = comparison.fits[comparison.own]
    attrs, integral = own.attrs, ""
    if "integral_error_max" in attrs:
        integral = (
            "The log likelihood, group effects integrated out, is right to "
            f"{attrs['integral_error_max']:.1g}. "
        )
    return (
        f"{row['draws']:,} draws in {duration(row['seconds'])}, of which loading compiled code "
        f"took {duration(attrs['loading_seconds'])} (route: {checks.route(own)}). {integral}"
        f"Two {comparison.kind} fits with different seeds have means at most {row['z']:.1f} Monte "
        f"Carlo errors apart and marginals at most {row['wasserstein']:.3f} posterior standard "
        "deviations: that much is chance."
    )


def grade(rhat: float) -> str:
    """What chains with this R-hat do, by the limits `checks.MAX_RHAT` and `APART`."""
    if rhat <= checks.MAX_RHAT:
        return "agree"
    if rhat <= APART:
        return f"are not quite mixed by the limit of {checks.MAX_RHAT}"
    return "tell different stories"


def _about(row: pd.Series, called: Mapping[str, str], kind: str) -> str:
    chains = f"Its chains {grade(row['rhat'])} (R-hat {row['rhat']:.3f})"
    if row["divergences"] > 0:
        chains += f" and {row['divergences']:,.0f} of {row['draws']:,} transitions diverged"
    worst = (
        f"{capital(in_words(row['worst'], called))} is worth {row['ess']:,.0f} independent draws "
        f"out of {row['draws']:,}, {short(row['ess_per_second'])} per second"
    )
    if row["ess"] < checks.MIN_ESS:
        need = checks.MIN_ESS / row["ess_per_second"]
        worst += f", so that {checks.MIN_ESS} of them would take {duration(need)} at best"
    wrong = row["z"] > row["z_limit"]
    if wrong:
        means = (
            f"Its means are up to {row['z']:.1f} Monte Carlo errors from the {kind} ones "
            f"({in_words(row['z_at'], called)}), which chance does not explain"
        )
    elif row["ess"] < FEW:
        means = (
            f"With fewer than {FEW} effective draws the Monte Carlo error of a mean is more than a "
            "tenth of a posterior standard deviation, so that agreement says little"
        )
    else:
        means = (
            f"Its means are within {row['z']:.1f} Monte Carlo errors of the {kind} ones, which "
            "chance explains"
        )
    far = row["wasserstein"] > checks.MAX_WASSERSTEIN
    return (
        f"{chains}. {worst}. {means}, {'and' if far == (wrong or row['ess'] < FEW) else 'but'} its "
        f"farthest marginal, that of {in_words(row['wasserstein_at'], called)}, lies "
        f"{row['wasserstein']:.3f} posterior standard deviations from the {kind} one."
    )

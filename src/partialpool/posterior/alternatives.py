"""Other formulas for the same response and rows: how they predict, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.text import listed, rounded
from partialpool.design.default_priors import KINDS
from partialpool.design.formula import read
from partialpool.fit.regression import Regression
from partialpool.posterior import contrasts, draws, leave_one_out
from partialpool.posterior.averages import averages, change
from partialpool.posterior.finding import ESTIMATE, Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.leave_group_out import MAX_REFITS, GroupsOut, leave_groups_out
from partialpool.posterior.leave_one_out import LeftOut

#: What the model itself is called beside the others.
THIS = "this model"
#: From here on the evidence is said to be overwhelming rather than counted.
OVERWHELMING = 1000
#: Column -> its heading, which may be of two storeys, and its format.
HEADINGS: dict[str, tuple[Any, str]] = {
    "log_evidence": (("evidence", "log"), "{:,.2f}"),
    "log_evidence_se": (("evidence", "error"), "{:.2g}"),
    **{
        f"{figure}{part}": ((called, heading), form)
        for figure, called in (("loo", "leave-one-out"), ("logo", "leave-one-group-out"))
        for part, heading, form in (
            ("", "density", "{:,.1f}"),
            ("_diff", "behind", "{:,.1f}"),
            ("_se", "error", "{:,.1f}"),
            ("_pareto_k", "k", "{:.2f}"),
        )
    },
    "estimate": ("estimate", ESTIMATE),
    "lower": ("5 %", ESTIMATE),
    "upper": ("95 %", ESTIMATE),
}


def regressions(
    model: Regression, compare: Mapping[str, str], priors: Mapping[str, str] | None = None
) -> dict[str, Regression]:
    """The same regression with other formulas.

    Parameters
    ----------
    model : Regression
    compare : mapping of str to str
        Name -> formula.
    priors : mapping of str to str, optional
        As they were given for the model: those of a kind, and those of parameters that the other
        formula has too; the rest have their defaults.

    Raises
    ------
    ValueError
        For a formula with another response, or that cannot be fitted to the model's rows.
    """
    if not isinstance(compare, Mapping):
        raise TypeError("compare: give a mapping of names to formulas.")
    found: dict[str, Regression] = {}
    options: dict[str, Any] = {"family": model.family, "se": model.se}
    for name, formula in compare.items():
        if name == THIS:
            raise ValueError(f"compare: {THIS!r} is what the model itself is called.")
        try:
            there = Regression(formula, model.source, **options).priors
            kept = {k: v for k, v in (priors or {}).items() if k in there or k in KINDS}
            other = found[str(name)] = Regression(formula, model.source, kept, **options)
            other.labels, other.units = model.labels, model.units
        except (TypeError, ValueError) as error:
            raise ValueError(f"compare: {name}: {error}") from None
    require_comparable({THIS: model, **found})
    return found


def require_comparable(models: Mapping[str, Regression]) -> None:
    """Raise a ValueError unless all have the response and the rows of the first."""
    (first, one), *others = models.items()
    mine = read(one.formula).response
    for name, other in others:
        theirs = read(other.formula).response
        if theirs != mine:
            raise ValueError(
                f"compare: the response of {name!r} is {theirs}, that of {first!r} {mine}; "
                "evidence and predictions compare models of one response."
            )
        same = other.design.n_rows == one.design.n_rows and np.allclose(
            observed(other), observed(one), equal_nan=True
        )
        if not same:
            raise ValueError(
                f"compare: {name!r} and {first!r} have different rows ({other.design.n_rows:,} "
                f"and {one.design.n_rows:,}); fit both to the same ones."
            )


def observed(model: Regression) -> np.ndarray:
    """The response (N,), what offsets take from it given back."""
    if model.linked:
        return model.design.y
    return model.design.y + model.design.offset_of(model.table)


@dataclass(frozen=True)
class Compared:
    """Fits of several formulas, each held against the same rows and groups.

    Attributes
    ----------
    fits : dict of str to Fitted
        The model first.
    rows : dict of str to LeftOut
    groups : dict of str to GroupsOut
        Of those where groups can be left out.
    without : dict of str to str
        Why the others have none.
    """

    fits: dict[str, Fitted]
    rows: dict[str, LeftOut]
    groups: dict[str, GroupsOut]
    without: dict[str, str]

    @classmethod
    def of(
        cls, fits: Mapping[str, Fitted], left_out: LeftOut | None = None, seed: int = 0
    ) -> "Compared":
        """Leave out rows and groups of each fit; `left_out` is that of the first, if at hand."""
        require_comparable({name: fitted.model for name, fitted in fits.items()})
        first, *_ = fits
        rows = {} if left_out is None else {first: left_out}
        for name, fitted in fits.items():
            rows[name] = rows.get(name) or leave_one_out.leave_out(fitted, seed)
        groups, without = {}, {}
        design = fits[first].model.design
        for name, fitted in fits.items() if design.groupings else ():
            try:
                groups[name] = leave_groups_out(fitted, design.groupings[0].codes, seed)
            except ValueError as error:
                without[name] = str(error)
        return cls(dict(fits), rows, groups, without)

    def findings(self) -> list[Finding]:
        """How the models predict, and what each answers."""
        return [self.predictive(), self.answers()]

    def predictive(self) -> Finding:
        """Evidence, leave-one-out and leave-one-group-out of each model.

        Returns
        -------
        Finding
            A row for each model: ``log_evidence`` and its Monte Carlo error ``log_evidence_se``;
            ``loo``, ``loo_diff`` behind the best and ``loo_se`` of that; the same for groups, as
            ``logo``, and the largest ``pareto_k`` left.
        """
        table = pd.DataFrame(index=list(self.fits))
        for figure in ("log_evidence", "log_evidence_se"):
            table[figure] = [evidence(fitted).get(figure, np.nan) for fitted in self.fits.values()]
        says = [evidence_in_words(table)]
        by_row = leave_one_out.comparison(self.rows)
        assert by_row.table is not None
        says.append(by_row.sentence)
        rankings = {"loo": by_row.table}
        if self.groups:
            elpds = {name: one.elpd for name, one in self.groups.items()}
            rankings["logo"] = leave_one_out.ranking(elpds)
            says.append(self._groups_in_words(rankings["logo"], elpds))
        for figure, ranking in rankings.items():
            named = {"elpd": figure, "elpd_diff": f"{figure}_diff", "dse": f"{figure}_se"}
            named["pareto_k"] = f"{figure}_pareto_k"
            table = table.join(ranking.rename(columns=named))
        for why in dict.fromkeys(self.without.values()):
            names = ", ".join(name for name, reason in self.without.items() if reason == why)
            says.append(f"Groups cannot be left out of {names}: {why}.")
        return Finding("models", "\n\n".join(filter(None, says)), table=table, columns=HEADINGS)

    def _groups_in_words(self, table: pd.DataFrame, elpds: Mapping[str, Any]) -> str:
        one, factor = next(iter(self.groups.values())), next(iter(self.fits.values())).model
        n = len(one.codes)
        of = f"{n:,}" if n == one.of else f"{n:,} of {one.of:,}, drawn at random,"
        each = f"all rows of each {factor.words(factor.design.groupings[0].name)} ({of} groups)"
        refitted = sum(one.refitted for one in self.groups.values())
        rule = f"for the {MAX_REFITS} worst groups of each model"
        return leave_one_out.in_words(table, elpds, each, "groups", refitted, rule)

    def answers(self) -> Finding:
        """What the first predictor does in each model, and by how much that differs.

        Returns
        -------
        Finding
            A row for each model: ``formula``, ``estimate``, ``lower`` and ``upper`` of the average
            change of the line; missing where the model does not have the predictor.
        """
        what, values = self._answer()
        rows = {}
        for name, fitted in self.fits.items():
            value = values.get(name, np.array([np.nan]))
            low, high = draws.interval(value)
            rows[name] = [fitted.model.formula, value.mean(), low, high]
        names = ["formula", "estimate", "lower", "upper"]
        table = pd.DataFrame.from_dict(rows, orient="index", columns=names)
        first, *others = self.fits
        sd = values[first].std()
        figures = {name: _with_interval(table.loc[name], values[name].std()) for name in values}
        told = [f"{figures[n]} in {n}" for n in others if n in values]
        says = f"{what} {figures[first]} in {first}"
        says += f", {', '.join(told)}" if told else ""
        if told:
            moved = max(abs(table.at[n, "estimate"] - table.at[first, "estimate"]) for n in values)
            says += f": at most {moved / sd:.2g} posterior standard deviations of {first} apart"
            zero = [n for n in values if table.at[n, "lower"] < 0 < table.at[n, "upper"]]
            if 0 < len(zero) < len(values):
                says += f"; the interval includes zero in {listed(zero)} alone"
        lacking = [name for name in others if name not in values]
        says += f"; it is not in {', '.join(lacking)}" if lacking else ""
        return Finding("answers", f"{says}.", table=table, columns=HEADINGS)

    def _answer(self) -> tuple[str, dict[str, np.ndarray]]:
        """What is asked of each model, in words, and its draws."""
        first = next(iter(self.fits.values())).model
        response, asked = contrasts.response(first), contrasts.predictors(first)
        one = np.zeros(len(first.table), dtype=np.int64)
        if not asked:
            return f"The average {response} over the population is", {
                name: averages(fitted, first.table, one)[:, 0] for name, fitted in self.fits.items()
            }
        contrast = contrasts.contrasts(first, [asked[0]], slope=True, doubling=True)[0]
        return f"With {contrast.words(first)}, {response} changes by", {
            name: change(fitted, contrast, first.table, one)[:, 0]
            for name, fitted in self.fits.items()
            if asked[0] in contrasts.predictors(fitted.model)
        }


def _with_interval(row: pd.Series, sd: float) -> str:
    """An estimate with its interval: ``10.4 (7.6 to 13.2)``."""
    mean, low, high = (rounded(row[name], sd) for name in ("estimate", "lower", "upper"))
    return f"{mean} ({low} to {high})"


def fit_all(fitted: Fitted, others: Mapping[str, Regression]) -> dict[str, Fitted]:
    """A fit under the name `THIS`, and fits of others with as many draws and its seed."""
    options = {name: int(fitted.attrs[name]) for name in ("draws", "chains", "seed")}
    return {THIS: fitted} | {name: Fitted.of(other, **options) for name, other in others.items()}


def evidence(fitted: Fitted) -> dict[str, Any]:
    """Attributes of the exact fit, which has the evidence; of this one where there is none."""
    if "log_evidence" in fitted.attrs or fitted.reference is None:
        return fitted.attrs
    return fitted.reference.attrs


def evidence_in_words(table: pd.DataFrame) -> str:
    """What the log evidences say, with their Monte Carlo errors."""
    known = table.dropna(subset="log_evidence").sort_values("log_evidence", ascending=False)
    if len(known) < 2:
        return ""
    best, *others = known.index
    told = []
    for name in others:
        gap = known.at[best, "log_evidence"] - known.at[name, "log_evidence"]
        error = np.hypot(known.at[best, "log_evidence_se"], known.at[name, "log_evidence_se"])
        if gap < 2 * error:
            told.append(f"as likely as under {name}, to within the Monte Carlo error")
        elif gap > np.log(OVERWHELMING):
            told.append(f"more than {OVERWHELMING:,} times as likely as under {name}")
        else:
            ratio, off = np.exp(gap), np.exp(gap) * error
            told.append(f"{ratio:.3g} times (error {off:.1g}) as likely as under {name}")
    return (
        f"The data are likeliest under **{best}**: {'; '.join(told)}. This is the evidence, which "
        "weighs the priors too."
    )

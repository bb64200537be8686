"""What a notebook leaves behind: `record`."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from partialpool.data.paths import KEEP

#: Figures of one parameter in a summary.
FIGURES = ("mean", "sd", "q05", "q50", "q95", "ess_bulk", "ess_tail", "rhat", "mcse_mean")
#: Above this many elements a parameter stays out of the summary (it is in the posterior).
MAX_ELEMENTS = 2000
#: Largest posterior stored whole; figures in the summary always come from every draw.
MAX_BYTES = 45_000_000
#: Folder of a run with a file or more for each table and figure on its page.
FINDINGS = "findings"
#: Verdicts of a run that finished.
FINISHED = ("passed", "warned", "failed")
#: Verdicts on the model beside its data.
FITTING = ("good", "look", "poor")


def record(
    posterior: Any,
    verdict: Any,
    output: str | Path | None,
    *,
    title: str | None = None,
    question: str | None = None,
    headline: str | None = None,
    estimates: Iterable[str] | None = None,
    parameters: Mapping[str, Mapping[str, float]] | None = None,
    log_evidence: float | None = None,
    truth: Mapping[str, float] | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Keep a run's results: the last line of every notebook.

    Parameters
    ----------
    posterior : Fitted, xarray.DataTree or None
        A fit or its posterior, written to ``posterior.nc``. None for a notebook that has no
        posterior of its own.
    verdict : Verdicts, Verdict or mapping
        With ``status`` ("passed", "warned" or "failed") and ``checks``; and, where the model was
        held against its data, ``fit`` with the same ("good", "look" or "poor").
    output : str, Path or None
        Folder to write to. None, the notebooks' default, does nothing.
    title, question : str, optional
        What pages and the index say first where the study does not say it; else the title is the
        notebook's.
    headline : str, optional
        The result in one sentence of plain text, shown on top of the page.
    estimates : iterable of str, optional
        The few parameters that matter most, in order; default is all that are single numbers.
    parameters : mapping, optional
        Name to figures (see `FIGURES`; missing ones are fine). Default is from the posterior.
    log_evidence : float, optional
        Default is the posterior's attribute of that name.
    truth : mapping, optional
        True values of simulated data, by parameter; marked where runs are compared.
    metrics : mapping, optional
        Further figures to compare over a study's runs: name -> parameter -> value.
    names : mapping, optional
        Words for parameters, which pages show in their place; default is those of a fit.

    Raises
    ------
    ValueError
        For a verdict that is none of the three, or an estimate that is no parameter.

    Examples
    --------
    >>> import partialpool as pp
    >>> pp.record(None, {"status": "passed", "checks": []}, output=None)
    """
    if isinstance(verdict, Mapping):
        verdict = SimpleNamespace(**{"summary": None, **verdict})
    status, checks = verdict.status, verdict.checks
    if status not in FINISHED:
        raise ValueError(f"The verdict is one of {', '.join(FINISHED)}, not {status!r}.")
    fit = getattr(verdict, "fit", None)
    if fit is not None and fit.status not in FITTING:
        raise ValueError(f"The fit is one of {', '.join(FITTING)}, not {fit.status!r}.")
    if output is None:
        return
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    fitted = None
    if posterior is not None:
        from partialpool.posterior.fitted import Fitted
        from partialpool.posterior.names import readable

        if isinstance(posterior, Fitted):
            fitted = posterior
            names = readable(posterior.model) if names is None else names
            posterior = posterior.posterior
    omitted: list[str] = []
    if parameters is None and posterior is not None:
        parameters, omitted = _figures(posterior, verdict.summary)
    parameters = parameters or {}
    chosen = [name for name in parameters if "[" not in name]
    if estimates is not None:
        chosen = list(estimates)
        unknown = [name for name in chosen if name not in parameters]
        if unknown:
            raise ValueError(f"estimates: {unknown[0]!r} is not a parameter of this run.")
    attrs: Mapping[str, Any] = {} if posterior is None else posterior.attrs
    result = {
        "status": status,
        "checks": [dict(check) for check in checks],
        "checked": getattr(verdict, "of", ""),
        "fit": None if fit is None else {"status": fit.status, "checks": list(fit.checks)},
        "title": title,
        "question": question,
        "headline": headline,
        "estimates": chosen,
        "parameters": {name: dict(figures) for name, figures in parameters.items()},
        "omitted": omitted,
        "log_evidence": attrs.get("log_evidence") if log_evidence is None else log_evidence,
        "log_evidence_se": attrs.get("log_evidence_se") if log_evidence is None else None,
        "seconds": {"fit": attrs.get("fit_seconds"), "loading": attrs.get("loading_seconds")},
        "data_sha256": attrs.get("data_sha256"),
        "truth": dict(truth or {}),
        "names": dict(names or {}),
        "averaged": attrs.get("averaged"),
        "metrics": {name: dict(values) for name, values in (metrics or {}).items()},
    }
    if posterior is not None:
        stored = thinned(posterior)
        if fitted is not None:
            stored = _with_arviz_groups(stored, fitted)
        stored.to_netcdf(folder / "posterior.nc")
    _keep_findings(folder, result, fitted)
    (folder / "result.json").write_text(dumps(result), encoding="utf-8")


def _keep_findings(folder: Path, result: dict[str, Any], fitted: Any) -> None:
    """Write what a run has shown into its ``findings/``, list it, and what manuscripts quote."""
    from partialpool.posterior import finding, finding_files, manuscript

    shown = finding.SHOWN.copy()
    finding.SHOWN.clear()
    result["findings"] = finding_files.write(shown, folder / FINDINGS) if shown else []
    if os.environ.get(KEEP):  # a run, whose folder lies in that of its study
        manuscript.write(folder, folder.resolve().parent.name, result, shown, fitted)


def _with_arviz_groups(posterior: Any, fitted: Any) -> Any:
    import xarray as xr

    from partialpool.posterior import arviz_groups

    whole = {name: group.to_dataset() for name, group in posterior.children.items()}
    tree = xr.DataTree.from_dict(whole | arviz_groups.groups(fitted))
    tree.attrs = posterior.attrs
    return tree


def thinned(posterior: Any) -> Any:
    """The posterior as it is stored: thinned if it is large, which its attributes then say."""
    size = sum(group.to_dataset().nbytes for group in posterior.children.values())
    every = math.ceil(size / MAX_BYTES)
    if every <= 1:
        return posterior
    result = posterior.map_over_datasets(
        lambda group: group.isel(draw=slice(None, None, every)) if "draw" in group.dims else group
    )
    result.attrs = {**posterior.attrs, "thinned": every}
    return result


def _figures(posterior: Any, summary: Any) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Figures by parameter, from the verdict's summary where there is one, and what has none."""
    draws = posterior["posterior"].to_dataset()
    omitted = [
        str(name)
        for name, variable in draws.data_vars.items()
        if variable.size > MAX_ELEMENTS * variable.sizes["chain"] * variable.sizes["draw"]
    ]
    if summary is None:
        from partialpool.posterior.checks import summarize

        summary = summarize(draws.drop_vars(omitted))
    figures = summary.to_dict("index")
    return {n: f for n, f in figures.items() if n.rsplit("[", 1)[0] not in omitted}, omitted


def dumps(value: Any) -> str:
    """JSON as other tools read it: NumPy numbers are numbers, NaN and infinities are null."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)

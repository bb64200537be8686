"""What Student's t changes: the same model with Gaussian noise beside it."""

from dataclasses import replace

import numpy as np

from partialpool.posterior import checks, draws, leave_one_out
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted


def weights(fitted: Fitted) -> np.ndarray:
    """How much each row counts, relative to one on the line: mean of ``nu / (nu + z²)``, (N,).

    Student's t is a mixture of normals; given the parameters, a row at z scales from the line has
    a precision of ``(nu + 1) / (nu + z²)`` on average (Lange, Little & Taylor 1989).
    """
    design, values = fitted.model.design, fitted.thinned(1000).values
    rows = np.arange(len(design.y))
    z = (design.y - draws.line(design, values, rows)) / draws.noise(design, values, rows)
    nu = values["nu"][:, None]
    return (nu / (nu + z**2)).mean(0)


def lightest(fitted: Fitted, most: int = 5) -> Finding:
    """The rows that count least, with their weight."""
    model, weight = fitted.model, weights(fitted)
    order = np.argsort(weight)[:most]
    design = model.design
    parts = design.factors
    columns = dict.fromkeys([*parts, *design.predictors])
    table = model.table.iloc[order][list(columns)].copy()
    table[design.response] = design.y[order]
    table["weight"] = weight[order]
    says = "The rows that count least; one on the line has weight 1."
    return Finding("lightest", says, table=table, columns={"weight": ("weight", "{:.3f}")})


def prediction(fitted: Fitted, left_out: leave_one_out.LeftOut, seed: int = 0) -> Finding:
    """Both kinds of noise by leave-one-out prediction; `left_out` is that of the fit."""
    gaussian = leave_one_out.leave_out(fitted.gaussian, seed)
    both = {"Student's t": left_out, "Gaussian noise": gaussian}
    return replace(leave_one_out.comparison(both), name="noise")


def sentence(fitted: Fitted) -> str:
    """How the two families differ, in words."""
    model = fitted.model
    ours = checks.summarize(fitted.dataset, model.parameters)
    theirs = checks.summarize(fitted.gaussian.dataset, fitted.gaussian.model.parameters)
    moved = {
        name: abs(ours.at[name, "mean"] - theirs.at[name, "mean"]) / theirs.at[name, "sd"]
        for name in model.design.x_names
    }
    says = ""
    if "nu" in model.parameters:
        nu = ours.loc["nu"]
        tail = "far from" if nu["q95"] < 10 else "close to" if nu["q05"] > 20 else "perhaps not"
        says = (
            f"The degrees of freedom are {nu['mean']:.1f} (90 % interval {nu['q05']:.1f} to "
            f"{nu['q95']:.1f}): the noise is {tail} Gaussian. "
        )
    if not moved:
        return says
    most = max(moved, key=moved.__getitem__)
    return says + (
        f"The coefficient that moves most against Gaussian noise is **{most}**, from "
        f"{theirs.at[most, 'mean']:.4g} to {ours.at[most, 'mean']:.4g}: {moved[most]:.2f} of its "
        "posterior standard deviation."
    )

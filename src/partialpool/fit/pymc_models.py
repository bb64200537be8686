"""The model in PyMC, in three forms of one posterior (docs/method.md, eq. (11) and (29)).

``centered`` and ``noncentered`` carry every group effect as a parameter and read every row;
``marginal`` has the group effects integrated out and reads cross-products only, so that its cost
does not grow with the rows and there is no funnel; with several factors those of `elimination`.
Parameters have the same names in each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from partialpool.design.families import OWN
from partialpool.design.matrices import Design, Grouping
from partialpool.design.priors import PARAMETRIZATIONS, Prior
from partialpool.fit.elimination import Elimination
from partialpool.fit.marginal import FactorsLogLikelihood, MarginalLogLikelihood
from partialpool.fit.regression import Regression

#: All thresholds together, as PyMC has them; draws have each by its own name.
THRESHOLDS = "thresholds__"
#: The line where predictors are at their means, which takes the place of an intercept far from the
#: rows; and how many of its spreads a predictor's mean is from zero then.
MIDDLE, FAR = "Intercept_middle", 2.0


def build(regression: Regression, parametrization: str | Sequence[str]) -> pm.Model:
    """A PyMC model of a regression.

    Parameters
    ----------
    regression : Regression
        Its family says what the rows are given their line.
    parametrization : {"centered", "noncentered", "marginal"} or a sequence of the first two
        For all coefficients that vary, those of all groupings side by side, or for each of them.
    """
    design, priors = regression.design, regression.priors
    forms = [parametrization] if isinstance(parametrization, str) else list(parametrization)
    unknown = [form for form in forms if form not in PARAMETRIZATIONS]
    if unknown:
        raise ValueError(
            f"There is no parametrization {unknown[0]!r}; choose from "
            f"{', '.join(PARAMETRIZATIONS)}."
        )
    if "marginal" in forms and not regression.integrates:
        raise ValueError(
            "parametrization: group effects do not integrate out of this model's noise; choose "
            "centered or noncentered."
        )
    coords = {grouping.dim: grouping.levels for grouping in design.groupings}
    with pm.Model(coords=coords) as model:
        beta = dict(zip(design.x_names, _coefficients(regression), strict=True))
        own = {name: _variable(name, priors[name]) for name in OWN.get(regression.family, ())}
        L = _covariance_factor(design, priors)
        if "marginal" in forms:
            _marginal_likelihood(regression, [*beta.values()], own["sigma"], L)
        else:
            if len(forms) == 1:
                forms *= len(design.effects)
            centered = [form == "centered" for form in forms]
            around = beta | ({"Intercept": model[MIDDLE]} if MIDDLE in model.named_vars else {})
            effects = _effects(design, around, L, centered)
            _row_likelihood(regression, [*beta.values()], own, effects)
    return model


def _coefficients(regression: Regression) -> list[pt.TensorVariable]:
    """One for each column of X; the intercept by way of `MIDDLE` where that serves.

    Intercept and slope of a year, say, could else hardly be told apart.
    """
    names, priors = regression.design.x_names, regression.priors
    middles = _middles(regression)
    if not middles:
        return [_variable(name, priors[name]) for name in names]
    slopes = {name: _variable(name, priors[name]) for name in names if name != "Intercept"}
    shift = sum((middles[name] * slope for name, slope in slopes.items()), start=pt.zeros(()))
    prior = priors["Intercept"]
    if prior.family == "Flat":
        middle = pm.Flat(MIDDLE)
    else:
        mean, sd = prior.arguments
        middle = pm.Normal(MIDDLE, mean + shift, sd)
    intercept = pm.Deterministic("Intercept", middle - shift)
    return [slopes.get(name, intercept) for name in names]


def _middles(regression: Regression) -> dict[str, float]:
    """Means of the columns of a family with a link, by name, where one of them is `FAR` from zero.

    Empty elsewhere, and without an intercept.
    """
    design = regression.design
    if not regression.linked or "Intercept" not in design.x_names:
        return {}
    means, spreads = design.X.mean(0), design.X.std(0)
    far = (np.abs(means) > FAR * spreads) & (spreads > 0)
    return dict(zip(design.x_names, means.tolist(), strict=True)) if far.any() else {}


def _variable(name: str, prior: Prior) -> pt.TensorVariable:
    if prior.fixed:
        return pm.Deterministic(name, pt.as_tensor_variable(prior.arguments[0]))
    return getattr(pm, prior.family)(name, **prior.keywords)


def _covariance_factor(design: Design, priors: dict[str, Prior]) -> list[list[pt.TensorVariable]]:
    """Lower Cholesky factor of Sigma as rows of scalars, zeros left out of later sums.

    Sigma is that of the effects of all groupings side by side. Correlations come from partial
    correlations (docs/method.md, eq. (14)); the graph stays small, where `LKJCholeskyCov` compiles
    for a minute.
    """
    q = len(design.sd_names)
    sds = [_variable(name, priors[name]) for name in design.sd_names]
    L: list[list[pt.TensorVariable]] = [[pt.zeros(()) for _ in range(q)] for _ in range(q)]
    names = dict(zip(design.correlated_pairs, design.cor_names, strict=True))
    for block in design.blocks:
        for i, row in enumerate(block):
            left = pt.ones(())
            for j in range(i):
                name = names[block[j], row]
                alpha = priors[name].arguments[0] + (len(block) - 2 - j) / 2
                share = pm.Beta(f"{name}_partial", alpha, alpha)
                z = 2 * share - 1
                L[row][block[j]] = sds[row] * z * pt.sqrt(left)
                left = left * 4 * share * (1 - share)
            L[row][row] = sds[row] * pt.sqrt(left)
    for (i, j), name in names.items():
        cor = sum(L[i][k] * L[j][k] for k in range(q)) / (sds[i] * sds[j])
        pm.Deterministic(name, cor)
    return L


def _effects(
    design: Design,
    beta: dict[str, pt.TensorVariable],
    L: list[list[pt.TensorVariable]],
    centered: Sequence[bool],
) -> list[pt.TensorVariable]:
    """Group effects (J,) of each varying column, those of all groupings side by side.

    The centred form draws b_k given b_1 ... b_(k-1), around the population's coefficient where
    there is one (hierarchical centring, Gelfand, Sahu & Carlin 1995, as in the origin), the
    non-centred one standard normals. Of several groupings with the same coefficient one alone can
    be around the population's: that of fewest groups, whose mean knows it least.
    """
    whitened: list[pt.TensorVariable] = []
    effects = []
    for k, (grouping, column) in enumerate(_columns(design)):
        dim, name = grouping.dim, grouping.effect(column)
        block = next(b for b in design.blocks if k in b)
        mean = sum((L[k][j] * whitened[j] for j in block if j < k), start=pt.zeros(()))
        if centered[k]:
            mean = mean + pt.zeros(grouping.n_levels)
            population = beta.get(_around(design, grouping, column))
            if population is None:
                effect = pm.Normal(name, mean, L[k][k], dims=dim)
            else:
                whole = pm.Normal(whole_name(name), population + mean, L[k][k], dims=dim)
                effect = pm.Deterministic(name, whole - population, dims=dim)
            whitened.append((effect - mean) / L[k][k])
        else:
            z = pm.Normal(f"{name}_offset", 0, 1, dims=dim)
            whitened.append(z)
            effect = pm.Deterministic(name, mean + L[k][k] * z, dims=dim)
        effects.append(effect)
    return effects


def apart(regression: Regression, model: pm.Model) -> set[pt.TensorVariable]:
    """Variables in which chains may start apart: all but the coefficients of a link's line.

    Samplers add up to one to each, and one more in the coefficient of a column of large values is a
    rate times exp(60), from where no chain comes back.
    """
    coefficients = (*regression.design.x_names, MIDDLE) if regression.linked else ()
    return {rv for rv in model.free_RVs if rv.name not in coefficients}


def whole_name(effect: str) -> str:
    """Name of the groups' whole coefficients, population part included, in the centred form."""
    return f"{effect}_whole"


def initial_values(
    regression: Regression, start: Mapping[str, Any], model: pm.Model
) -> dict[str, Any]:
    """Where chains start, by the model's own variables: whole coefficients for centred effects."""
    design, values = regression.design, dict(start)
    if MIDDLE in model.named_vars:
        middles = _middles(regression)
        values[MIDDLE] = sum(middles[name] * values[name] for name in design.x_names)
        values["Intercept"] = values[MIDDLE]
    for grouping, column in _columns(design):
        effect = grouping.effect(column)
        if whole_name(effect) in model.named_vars and effect in values:
            population = values[_around(design, grouping, column)]
            values[whole_name(effect)] = values.pop(effect) + population
    if MIDDLE in values:  # from which the intercept follows
        del values["Intercept"]
    return values


def _columns(design: Design) -> list[tuple[Grouping, int]]:
    """Grouping, and column of its Z, of every coefficient that varies."""
    return [(grouping, k) for grouping in design.groupings for k in range(len(grouping.z_names))]


def _around(design: Design, grouping: Grouping, column: int) -> str:
    """Name of the population coefficient around which a centred one may be; empty if none is."""
    name = grouping.z_names[column]
    others = [other for other in design.groupings if name in other.z_names]
    fewest = min(others, key=lambda other: other.n_levels)
    return ("Intercept" if name == "1" else name) if grouping is fewest else ""


def _row_likelihood(
    regression: Regression,
    beta: list[pt.TensorVariable],
    own: dict[str, pt.TensorVariable],
    effects: list[pt.TensorVariable],
) -> None:
    """The rows given their line; `own` are the parameters that the family has beside it."""
    # Arrays enter as data, so that compiled code can be reused for other data of the same shape.
    design = regression.design
    data = {name: pm.Data(name, value) for name, value in row_data(regression).items()}
    X, Z, codes, y = (data[f"data_{name}"] for name in ("X", "Z", "codes", "y"))
    mean = sum((b * X[:, k] for k, b in enumerate(beta)), start=pt.zeros(()))
    of = [f for f, grouping in enumerate(design.groupings) for _ in grouping.z_names]
    mean = mean + sum(effect[codes[:, of[k]]] * Z[:, k] for k, effect in enumerate(effects))
    if design.offset is not None:
        mean = mean + data["data_offset"]
    if regression.linked:
        mean = mean + pt.zeros(y.shape)  # of thresholds alone the line has no column
    name, family = f"{design.response} (observed)", regression.family
    if family == "binomial":
        if "data_trials" in data:
            pm.Binomial(name, n=data["data_trials"], logit_p=mean, observed=y)
        else:
            pm.Bernoulli(name, logit_p=mean, observed=y)
    elif family == "poisson":
        pm.Poisson(name, pt.exp(mean), observed=y)
    elif family == "negbinomial":
        pm.NegativeBinomial(name, mu=pt.exp(mean), alpha=own["shape"], observed=y)
    elif family == "cumulative":
        cuts = _thresholds(regression)
        pm.OrderedLogistic(name, eta=mean, cutpoints=cuts, compute_p=False, observed=y)
    else:
        sigma = own["sigma"]
        scale = sigma if design.se is None else pt.sqrt(sigma**2 + data["data_se"] ** 2)
        if family == "student":
            pm.StudentT(name, own["nu"], mu=mean, sigma=scale, observed=y)
        else:
            pm.Normal(name, mean, scale, observed=y)


def _thresholds(regression: Regression) -> pt.TensorVariable:
    """The ordered thresholds; their density is the product of their prior's, where in order.

    Draws of them are those of independent values put in order.
    """
    prior, K = regression.priors[regression.thresholds[0]], len(regression.thresholds)
    cuts = getattr(pm, prior.family)(
        THRESHOLDS,
        **prior.keywords,
        shape=K,
        transform=pm.distributions.transforms.ordered,
        initval=np.linspace(-1, 1, K) if K > 1 else np.zeros(1),
    )
    for k, name in enumerate(regression.thresholds):
        pm.Deterministic(name, cuts[k])
    return cuts


def row_data(regression: Regression) -> dict[str, np.ndarray]:
    """Data nodes of a model over rows: their names and values.

    Columns that vary are side by side (N, Q), and so are the codes of the groupings (N, F); counts
    are whole numbers, and PyMC has the first of ordered answers at zero.

    Raises
    ------
    ValueError
        Where only a sample of the rows is here.
    """
    design = regression.design
    if design.sampled:
        raise ValueError(
            "PyMC samples row by row, and of data in parts only a sample of the rows is kept: "
            "choose `method: exact`, or nutpie with `parametrization: marginal`."
        )
    n = len(design.y)
    Z = [np.empty((n, 0)), *(grouping.Z for grouping in design.groupings)]
    codes = [np.empty((n, 0), dtype=np.int64), *(g.codes[:, None] for g in design.groupings)]
    data = {
        "data_X": design.X,
        "data_Z": np.hstack(Z),
        "data_codes": np.hstack(codes),
        "data_y": design.y,
    }
    if regression.linked:
        first = 1 if regression.thresholds else 0
        data["data_y"] = (design.y - first).astype(np.int64)
    others = {"se": design.se, "offset": design.offset}
    if design.trials is not None and (design.trials > 1).any():
        others["trials"] = design.trials.astype(np.int64)
    return data | {f"data_{name}": v for name, v in others.items() if v is not None}


def _marginal_likelihood(
    regression: Regression,
    beta: list[pt.TensorVariable],
    sigma: pt.TensorVariable,
    L: list[list[pt.TensorVariable]],
) -> None:
    """``log p(y | theta, beta)`` from cross-products, or several factors' rows; see `marginal`."""
    several = len(regression.design.groupings) > 1
    rows = regression.wholly_eliminated if several else regression.cross
    q, scale = len(L), rows.y_scale
    c = pt.ones((1,))
    if beta:
        inside = pt.constant(rows.A / scale) @ pt.stack(beta) - rows.a / scale
        c = pt.concatenate([-inside, c])
    weighted = rows.log_weight is not None  # then sigma is part of the weights
    noise = pt.constant(1 / scale) if weighted else sigma / scale
    root = pt.stack([pt.stack(row) for row in L]) / scale if q else pt.zeros((0, 0))
    outputs: Any
    if isinstance(rows, Elimination):
        outputs = FactorsLogLikelihood(rows)(noise, root, c)
    else:
        outputs = MarginalLogLikelihood()(
            noise,
            pt.constant(rows.T) @ root if q else root,
            c,
            pm.Data("data_R", rows.R),
            pm.Data("data_G", rows.G),
            pm.Data("data_E", rows.E),
            pm.Data("data_n_rows", rows.n_rows),
        )
    constant = (rows.log_weight or 0.0) - rows.n_rows * np.log(np.sqrt(2 * np.pi) * scale)
    pm.Potential("log_likelihood_marginal", outputs[0] + constant)

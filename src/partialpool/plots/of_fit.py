"""Pictures of a fit that need more than its draws: rows left out, and replications of the data."""

from partialpool.plots import predictive, varying
from partialpool.posterior.data_fit import replications
from partialpool.posterior.draws import some_rows
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.leave_one_out import leave_out


def densities(fitted: Fitted) -> Finding:
    """The response's density over those of data sets that the fit makes in the same groups."""
    return predictive.densities(fitted.model, *replications(fitted))


def statistics(fitted: Fitted) -> Finding:
    """Figures of data sets that the fit makes in the same groups, with those of the data."""
    return predictive.statistics_check(fitted.model, *replications(fitted))


def pit(fitted: Fitted) -> Finding:
    """Whether predictions of rows that were left out are calibrated."""
    return predictive.pit(fitted.model, leave_out(fitted, fitted.seed))


def residuals(fitted: Fitted) -> Finding:
    """Standardized leave-one-out residuals, against the prediction and by each factor's groups."""
    return predictive.residuals(fitted.model, leave_out(fitted, fitted.seed))


def variance(fitted: Fitted) -> Finding:
    """Shares of the response's variance by the population and each factor."""
    return varying.variance(fitted, some_rows(fitted.model.design, seed=fitted.seed))

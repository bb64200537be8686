"""Theta's posterior from few evaluations of what rows and levels say, with a certificate.

``log|V0|`` and C are interpolated in the ratios of the large factors, over a box that holds the
posterior; sigma, the small factors and the coefficients stay exact. Two figures say whether that is
good enough: the error of the log density at fresh draws, and how many draws lie near the box's
sides, which the first cannot see (docs/method.md, eq. (47) and (48)).
"""

from dataclasses import dataclass, field, replace

import numpy as np

from partialpool.fit import given_ratios
from partialpool.fit.coordinates import Theta
from partialpool.fit.dense import over_threads
from partialpool.fit.exact import ThetaPosterior
from partialpool.fit.interpolation import Interpolant
from partialpool.fit.likelihoods import Reduced
from partialpool.fit.ratios import RIGHT_ANGLE, Profile, Ratios, ascend, box, climb

#: Draws at which the surrogate is held against the density, and the root mean square of the
#: differences of their logs from which on it is not good enough: it moves no mean by more than a
#: thousandth of its standard deviation, a sixteenth of the Monte Carlo error of 4,000 draws.
FRESH, MAX_ERROR = 8, 1e-3
#: Outer part of the box at each side, and the share of draws in it from which on it is extended.
EDGE, MAX_EDGE = 0.05, 2 / 4000
#: How far a side is extended, in widths of the box, and most nodes.
EXTENSION, MAX_NODES = 0.25, 400


@dataclass(frozen=True)
class Interpolated:
    """A likelihood whose expensive part is interpolated; zero outside the box."""

    ratios: Ratios
    interpolant: Interpolant

    @property
    def n_drawn(self) -> int:
        """Coefficients p and effects of the small factors."""
        return self.ratios.likelihood.n_drawn

    @property
    def y_scale(self) -> float:
        """Unit of the response inside."""
        return self.ratios.likelihood.y_scale

    def __call__(self, theta: Theta, z: np.ndarray, nodes: np.ndarray | None = None) -> np.ndarray:
        """Values (S,); z turns from normals into draws; of some polynomials, if nodes are given."""
        x = self.ratios.smooth(self.ratios.places(theta))
        inside = self.interpolant.inside(x)
        x = np.clip(np.nan_to_num(x), self.interpolant.low, self.interpolant.high)
        values = self.interpolant(x, nodes)
        packed = np.ascontiguousarray(values[:, 1:])
        found = self.ratios.likelihood.given(theta, values[:, 0].copy(), packed, z)
        return np.where(inside, found, -np.inf)

    def in_units(self, z: np.ndarray) -> np.ndarray:
        """Draws (S, n) in the user's units."""
        return self.ratios.likelihood.in_units(z)


@dataclass(frozen=True)
class Certificate:
    """How far the surrogate is from the density that it stands for (docs/method.md, eq. (48)).

    Attributes
    ----------
    rms, largest : float
        Root mean square and maximum of the errors of the log density at fresh posterior draws.
    edges : (D, 2) array
        Share of the draws in the outer 5 % of each coordinate's box, below and above; zero where
        the box ends because the coordinate does.
    nodes, evaluations : int
        Nodes of the surrogate, and evaluations of what rows and levels say in all.
    """

    rms: float
    largest: float
    edges: np.ndarray
    nodes: int
    evaluations: int

    @property
    def passed(self) -> bool:
        """Whether both figures are within their limits."""
        return self.rms <= MAX_ERROR and bool((self.edges <= MAX_EDGE).all())


@dataclass
class Surrogate:
    """An interpolated posterior, and what is needed to judge and to better it.

    Attributes
    ----------
    target : ThetaPosterior
        With a `Reduced` likelihood.
    profile : Profile
        Counts evaluations.
    mode : (d,) array
        Coordinates of theta where the search for modes begins.
    limits : (D, 2) array
        Where coordinates end by themselves.
    interpolant : Interpolant
    """

    target: ThetaPosterior
    profile: Profile
    mode: np.ndarray
    limits: np.ndarray
    interpolant: Interpolant
    tested: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    @property
    def ratios(self) -> Ratios:
        """The places that are interpolated in."""
        return self.profile.ratios

    @property
    def posterior(self) -> ThetaPosterior:
        """Theta's posterior under the surrogate."""
        return replace(self.target, likelihood=Interpolated(self.ratios, self.interpolant))

    def starts(self) -> np.ndarray:
        """Coordinates (K, d): the mode, and small factors one by one barely different from zero."""
        found = [self.mode]
        for at in self.profile.others:
            if 0 < at < len(self.target.free):
                found.append(self.mode.copy())
                found[-1][at] = np.arcsinh(0.3)
        return np.array(found)

    def edges(self, u: np.ndarray) -> np.ndarray:
        """Share (D, 2) of draws (S, d) in the outer part of the box, below and above."""
        x = self._variables(u)
        low, high = self.interpolant.low, self.interpolant.high
        t = (x - low) / (high - low)
        shares = np.stack([(t < EDGE).mean(0), (t > 1 - EDGE).mean(0)], 1)
        return np.where(np.stack([low, high], 1) == self.limits, 0.0, shares)

    def extend(self, sides: np.ndarray) -> None:
        """Move some sides (D, 2) of the box outwards and interpolate anew."""
        old = self.interpolant
        more = EXTENSION * (old.high - old.low)
        low = np.where(sides[:, 0], np.maximum(old.low - more, self.limits[:, 0]), old.low)
        high = np.where(sides[:, 1], np.minimum(old.high + more, self.limits[:, 1]), old.high)
        self.interpolant = _interpolant(self.profile, low, high, self.limits, old.degrees)

    def certify(self, u: np.ndarray, edges: np.ndarray) -> Certificate:
        """Hold the surrogate against the density at fresh posterior draws (n, d)."""
        self.profile.evaluations += len(u)
        self.tested.append((u, self.target(u)))
        error = self.tested[-1][1] - self.posterior(u)
        return Certificate(
            float(np.sqrt(np.mean(error**2))),
            float(np.abs(error).max()),
            edges,
            len(self.interpolant.nodes),
            self.profile.evaluations,
        )

    def grow(self, u: np.ndarray) -> None:
        """Raise degrees, that of the variable first which draws (n, d) say matters most.

        Until what has been tested would pass.
        """
        points, values = (np.concatenate(part) for part in zip(*self.tested, strict=True))
        while True:
            self._raise(u)
            with np.errstate(invalid="ignore"):
                error = values - self.posterior(points)
            if np.sqrt(np.mean(error**2)) <= MAX_ERROR or len(self.interpolant.nodes) > MAX_NODES:
                return

    def _raise(self, u: np.ndarray) -> None:
        theta, _ = self.target.theta(u)
        likelihood = Interpolated(self.ratios, self.interpolant)
        none = np.empty((0, likelihood.n_drawn))
        with np.errstate(all="ignore"):
            whole = likelihood(theta, none)
            moves = [
                np.nan_to_num(np.std(whole - likelihood(theta, none, nodes)), nan=np.inf)
                for nodes in map(self.interpolant.without, range(self.ratios.dimension))
            ]
        degrees = self.interpolant.degrees.copy()
        degrees[int(np.argmax(moves))] += 1
        self.interpolant.grow(degrees)

    def _variables(self, u: np.ndarray) -> np.ndarray:
        return self.ratios.smooth(self.ratios.places(self.target.theta(u)[0]))


def build(
    target: ThetaPosterior,
    start: np.ndarray,
    place: np.ndarray | None = None,
    degree: int | None = None,
) -> Surrogate:
    """Mode, box and first interpolant.

    Parameters
    ----------
    target : ThetaPosterior
        With a `Reduced` likelihood.
    start : (d,) array
        Coordinates from which the mode, or the best sigma and small factors, are looked for.
    place : (D,) array, optional
        Where the search for the mode begins; else `start`, or ratios of 0.4 where they are dear.
    degree : int, optional
        4, or 3 or 2 where there are more than four or eight coordinates.
    """
    assert isinstance(target.likelihood, Reduced)
    ratios = Ratios(target, target.likelihood)
    profile = Profile(ratios)
    D, n = ratios.dimension, len(ratios.sizes)
    w = start[profile.others]
    if target.likelihood.rows.n_middle:
        if place is None:
            place = np.zeros(D)
            place[:n] = np.arcsinh(0.4 * np.sqrt(ratios.weights[ratios.sizes]))
        mode, w, value, spreads = ascend(profile, place, w)
    else:
        if place is not None:
            start = profile.points(w[None], place[None])[0]
        mode, w, value, spreads = climb(profile, target, start)
    low, high = box(profile, mode, w, value, spreads)
    limits = np.tile([-RIGHT_ANGLE, RIGHT_ANGLE], (D, 1))
    limits[:n] = [0.0, np.inf]
    degrees = np.full(D, degree or (4 if D <= 4 else 3 if D <= 8 else 2))
    interpolant = _interpolant(profile, ratios.smooth(low), ratios.smooth(high), limits, degrees)
    return Surrogate(target, profile, profile.points(w[None], mode[None])[0], limits, interpolant)


def _interpolant(
    profile: Profile, low: np.ndarray, high: np.ndarray, limits: np.ndarray, degrees: np.ndarray
) -> Interpolant:
    ratios = profile.ratios

    def rows_say(x: np.ndarray) -> np.ndarray:
        profile.evaluations += len(x)
        return np.array(over_threads(at_node, list(x), len(ratios.likelihood.rows.E_middle)))

    def at_node(x: np.ndarray) -> np.ndarray:
        solved = ratios.solved(x)
        return np.concatenate([[solved.log_det], given_ratios.packed(solved.C)])

    free = (low > limits[:, 0]) & (high < limits[:, 1])
    return Interpolant(rows_say, low, high, free, degrees)

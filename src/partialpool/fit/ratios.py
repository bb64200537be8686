"""The ratios of standard deviations to the noise, on which the expensive part depends.

A place has, for each varying column of the first and the middle factors, ``asinh(sqrt(n z²) sd /
sigma)`` with the column's sum of squares in an average level, and the angles ``asin`` of their
partial correlations; what the rows say is smooth in them, zero included (docs/method.md,
eq. (46)).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from partialpool.fit import given_ratios
from partialpool.fit.coordinates import Coordinates, Theta
from partialpool.fit.dense import over_threads
from partialpool.fit.elimination import Solved
from partialpool.fit.exact import ThetaPosterior
from partialpool.fit.likelihoods import Reduced
from partialpool.fit.modes import CLOSE, MIN_BEND, find_modes

#: Fall of the log density from the mode to the end of the box, and between which it is near enough.
FALL, LEAST, MOST = 12.0, 9.0, 18.0
#: How near the best, by Newton's decrement, is near enough for that.
ROUGHLY = 1.0
#: Least size of a place's coordinate that is tried, and the largest angle.
NEAR_ZERO, RIGHT_ANGLE = 1e-3, np.pi / 2 - 1e-3
#: Effects of the middle factors up to which what rows say at a node is kept, 8 KEPT² bytes each.
KEPT = 1500
#: Step of differences of what is cheap.
STEP = 1e-5


@dataclass(frozen=True)
class Ratios:
    """Places (S, D) of theta, and back to the ratios of each factor.

    Attributes
    ----------
    coordinates : Coordinates
        Of theta.
    likelihood : Reduced
    """

    coordinates: Coordinates
    likelihood: Reduced

    @cached_property
    def weights(self) -> np.ndarray:
        """Sum of squares (Q,) of each varying column in an average level."""
        return np.concatenate(self.likelihood.rows.squares)

    @cached_property
    def sizes(self) -> list[int]:
        """Columns of theta's L that have a coordinate: of large factors, not fixed."""
        rows = self.likelihood.rows
        found: list[int] = []
        for f in (rows.first, *rows.middle):
            at = self.likelihood.columns[f]
            found += range(at.start, at.stop)
        return sorted(k for k in found if not self.coordinates.scales[1 + k].fixed)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of correlated columns, in the order of theta's partial correlations."""
        return [(i, j) for b in self.coordinates.blocks for at, i in enumerate(b) for j in b[:at]]

    @cached_property
    def angles(self) -> list[int]:
        """Which of `pairs` have a coordinate."""
        return [at for at, (i, _) in enumerate(self.pairs) if i in self.sizes]

    @property
    def dimension(self) -> int:
        """Number of coordinates D."""
        return len(self.sizes) + len(self.angles)

    @cached_property
    def alone(self) -> np.ndarray:
        """Which coordinates (D,) are sizes of columns that are correlated with no other."""
        correlated = {k for pair in self.pairs for k in pair}
        return np.array([k not in correlated for k in self.sizes] + [False] * len(self.angles))

    def places(self, theta: Theta) -> np.ndarray:
        """Places (S, D) of theta."""
        ratio = theta.sds[:, self.sizes] / self.likelihood.noise(theta)[:, None]
        x = np.arcsinh(ratio * np.sqrt(self.weights[self.sizes]))
        return np.hstack([x, np.arcsin(theta.partial[:, self.angles])])

    def smooth(self, places: np.ndarray) -> np.ndarray:
        """Variables (S, D) for polynomials: ``log(1 + n z² sd² / sigma²)`` of columns alone.

        Their sign plays no part. Elsewhere odd powers of a ratio meet those of a correlation.
        """
        return np.where(self.alone, 2 * np.log(np.cosh(places)), places)

    def rough(self, smooth: np.ndarray) -> np.ndarray:
        """Places (..., D) of such variables."""
        with np.errstate(over="ignore"):
            back = np.arccosh(np.exp(np.maximum(smooth, 0.0) / 2))
        return np.where(self.alone, back, smooth)

    def roots(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ratios (Q,), zero where they have no coordinate, and the correlations' factor (Q, Q)."""
        Q, n = len(self.weights), len(self.sizes)
        ratio = np.zeros(Q)
        ratio[self.sizes] = np.sinh(place[:n]) / np.sqrt(self.weights[self.sizes])
        root, left = np.eye(Q), np.ones(Q)
        for at, angle in zip(self.angles, place[n:], strict=True):
            i, j = self.pairs[at]
            root[i, j] = left[i] * np.sin(angle)
            left[i] *= np.cos(angle)
            root[i, i] = left[i]
        return ratio, root

    def solve(self, place: np.ndarray, *, fast: bool = False) -> Solved:
        """Rows and levels at a place; fast is good enough to look for a mode and a box."""
        ratio, root = self.roots(place)
        L = ratio[:, None] * root
        return self.likelihood.rows.solve([L[at, at] for at in self.likelihood.columns], fast=fast)

    def solved(self, smooth: np.ndarray) -> Solved:
        """The same at variables for polynomials (D,); kept for another time unless it is large."""
        key = smooth.tobytes()
        if key in self._kept:
            return self._kept[key]
        found = self.solve(self.rough(smooth))
        if self.likelihood.rows.n_middle <= KEPT:
            self._kept[key] = found
        return found

    @cached_property
    def _kept(self) -> dict[bytes, Solved]:
        return {}

    def slopes(self, place: np.ndarray, solved: Solved) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of ``log|V0|`` (D,) and of packed C (D, k) along the coordinates of a place.

        Those of sizes are taken where they are not zero.
        """
        _, root = self.roots(place)
        back, found = np.linalg.inv(root), self.likelihood.rows.slopes(solved)
        turns = []
        for at, k in enumerate(self.sizes):
            turns.append(np.outer(back[:, k], root[k]) / np.tanh(place[at]))
        for at in range(len(self.sizes), self.dimension):
            up, down = place.copy(), place.copy()
            up[at] += STEP
            down[at] -= STEP
            turns.append(back @ (self.roots(up)[1] - self.roots(down)[1]) / (2 * STEP))
        by_det, by_C = np.zeros(self.dimension), []
        for i, turn in enumerate(turns):
            total = np.zeros_like(solved.C)
            for f, (t, c) in found.items():
                own = turn[self.likelihood.columns[f], self.likelihood.columns[f]]
                by_det[i] += (own * t).sum()
                total += np.einsum("ab,abcd->cd", own, c)
            by_C.append(given_ratios.packed(total))
        return by_det, np.array(by_C)


@dataclass
class Profile:
    """The log density of theta at a place, at the best sigma and small factors."""

    ratios: Ratios
    evaluations: int = 0

    def __post_init__(self) -> None:
        coordinates, ratios = self.ratios.coordinates, self.ratios
        n = len(coordinates.free)
        large = {coordinates.free.index(1 + k) for k in ratios.sizes}
        large |= {n + at for at in ratios.angles}
        self.others = [at for at in range(coordinates.dimension) if at not in large]

    def points(self, w: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Coordinates (S, d) of theta from those of sigma and small factors, and of places (S, D).

        One of either may do for all of the other.
        """
        coordinates, ratios = self.ratios.coordinates, self.ratios
        n = len(ratios.sizes)
        u = np.zeros((max(len(w), len(places)), coordinates.dimension))
        u[:, self.others] = w
        sizes = np.sinh(places[:, :n]) / np.sqrt(ratios.weights[ratios.sizes])
        sizes = sizes * self._noise(u)[:, None]
        for at, k in enumerate(ratios.sizes):
            u[:, coordinates.free.index(1 + k)] = coordinates.coordinate(1 + k, sizes[:, at])
        u[:, [len(coordinates.free) + at for at in ratios.angles]] = np.arctanh(
            np.sin(places[:, n:])
        )
        return u

    def _noise(self, u: np.ndarray) -> np.ndarray:
        """Standard deviation (S,) of the noise, in units of which the ratios are."""
        sigma = self.ratios.coordinates.scales[0]
        if self.ratios.likelihood.rows.log_weight is not None:
            return np.ones(len(u))
        if sigma.fixed:
            return np.full(len(u), sigma.arguments[0])
        return self.ratios.coordinates.scale(0, np.abs(u[:, 0]))[0]

    def density(self, place: np.ndarray, solved: Solved) -> Callable[[np.ndarray], np.ndarray]:
        """The log density (S,) at some sigma and small factors (S, n), rows being known."""
        packed = given_ratios.packed(solved.C)
        likelihood, coordinates = self.ratios.likelihood, self.ratios.coordinates

        def value(w: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                theta, log_prior = coordinates.theta(self.points(w, place[None]))
                log_det = np.full(len(w), solved.log_det)
                C = np.repeat(packed[None], len(w), 0)
                found = log_prior + likelihood.given(theta, log_det, C, _nothing(likelihood))
            return np.where(np.isfinite(found), found, -np.inf)

        return value

    def best(
        self, place: np.ndarray, start: np.ndarray, close: float = CLOSE
    ) -> tuple[float, np.ndarray, Solved]:
        """Its value, where sigma and small factors are best (n,), and what the rows say there."""
        self.evaluations += 1
        solved = self.ratios.solve(place, fast=True)
        return *self._highest(place, start, close, solved), solved

    def values(self, places: list[np.ndarray], start: np.ndarray, close: float) -> list[float]:
        """The values alone, at several places."""
        self.evaluations += len(places)
        solved = over_threads(
            lambda place: replace(self.ratios.solve(place, fast=True), system=[]),
            places,
            len(self.ratios.likelihood.rows.E_middle),
        )
        each = zip(places, solved, strict=True)
        return [self._highest(place, start, close, one)[0] for place, one in each]

    def _highest(
        self, place: np.ndarray, start: np.ndarray, close: float, solved: Solved
    ) -> tuple[float, np.ndarray]:
        value = self.density(place, solved)
        if len(start):
            found = find_modes(value, start[None], np.empty((0, len(start))), close)
            if len(found.places):  # none where the prior has no mass
                return float(found.values[0]), found.places[0]
        return float(value(start[None])[0]), start

    def gradient(
        self, place: np.ndarray, w: np.ndarray, solved: Solved
    ) -> tuple[np.ndarray, np.ndarray]:
        """Slopes (D,) along a place, and of ``log|V0|`` alone.

        Those along sigma and small factors are zero at the best.
        """
        likelihood, coordinates = self.ratios.likelihood, self.ratios.coordinates
        by_det, by_C = self.ratios.slopes(place, solved)
        D = len(place)
        theta, _ = coordinates.theta(self.points(np.repeat(w[None], 2 * D, 0), place[None]))
        ways = STEP * np.repeat([1.0, -1.0], D)
        log_det = solved.log_det + ways * np.tile(by_det, 2)
        C = given_ratios.packed(solved.C) + ways[:, None] * np.tile(by_C, (2, 1))
        value = likelihood.given(theta, log_det, C, _nothing(likelihood))
        moved = place + ways[:, None] * np.tile(np.eye(D), (2, 1))
        value += coordinates.theta(self.points(w[None], moved))[1]
        return (value[:D] - value[D:]) / (2 * STEP), by_det


def _nothing(likelihood: Reduced) -> np.ndarray:
    return np.empty((0, likelihood.n_drawn))


def climb(
    profile: Profile, target: ThetaPosterior, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """The mode from coordinates (d,): place (D,), sigma and small factors (n,), value, spreads.

    By Newton's method in all coordinates, whose differences are taken at many thetas in one call.
    """

    def counted(u: np.ndarray) -> np.ndarray:
        profile.evaluations += len(u)
        return target(u)

    found = find_modes(counted, start[None], target.mirrors)
    mode, step = found.places[0], STEP * np.eye(len(start))
    ends = [profile.ratios.places(target.theta(mode + way)[0]) for way in (step, -step)]
    turn = (ends[0] - ends[1]) / (2 * STEP)
    spreads = np.sqrt(np.einsum("id,ij,jd->d", turn, found.covariances[0], turn))
    place = profile.ratios.places(target.theta(mode[None])[0])[0]
    return _within(profile, place), mode[profile.others], float(found.values[0]), spreads


def ascend(
    profile: Profile, place: np.ndarray, w: np.ndarray, most: int = 30
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """The same from a place, where each set of ratios is dear.

    A quasi-Newton method (BFGS) on exact slopes; the first curvature is that which the effective
    numbers of levels suggest.
    """
    place = _within(profile, place)
    value, w, solved = profile.best(place, w)
    slope, by_det = profile.gradient(place, w, solved)
    inverse = np.diag(1 / _first_bend(profile, place, by_det))
    for _ in range(most):
        step = inverse @ slope
        if slope @ step < 0.01:
            break
        step /= max(1.0, np.abs(step).max())
        for _ in range(8):
            other = _within(profile, place + step)
            found, v, solved = profile.best(other, w)
            if found > value:
                break
            step = step / 3
        else:
            break
        new, _ = profile.gradient(other, v, solved)
        s, y = other - place, slope - new
        if s @ y > 1e-10:
            turn = np.eye(len(s)) - np.outer(s, y) / (s @ y)
            inverse = turn @ inverse @ turn.T + np.outer(s, s) / (s @ y)
        place, w, value, slope = other, v, found, new
    return place, w, value, np.sqrt(np.minimum(np.diag(inverse), 1 / MIN_BEND))


def _within(profile: Profile, place: np.ndarray) -> np.ndarray:
    """The same place with positive sizes, and angles that are not right ones."""
    n, out = len(profile.ratios.sizes), place.copy()
    out[:n] = np.maximum(np.abs(out[:n]), NEAR_ZERO)
    out[n:] = np.clip(out[n:], -RIGHT_ANGLE, RIGHT_ANGLE)
    return out


def _first_bend(profile: Profile, place: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Curvatures (D,), from slopes (D,) of ``log|V0|``, which tell how many levels count."""
    ratios = profile.ratios
    levels = np.repeat(ratios.likelihood.rows.levels, ratios.likelihood.rows.widths)
    n = len(ratios.sizes)
    # d log|V0| / dx is twice coth(x) times the effective number of levels
    number = slopes[:n] * np.tanh(place[:n]) / 2
    told = np.zeros(len(ratios.weights))
    told[ratios.sizes] = number**2 / levels[ratios.sizes]
    bends = [*(2 * told[ratios.sizes] / np.tanh(place[:n]) ** 2)]
    bends += [min(told[i] for i in ratios.pairs[at]) for at in ratios.angles]
    return np.maximum(bends, MIN_BEND)


def box(
    profile: Profile, place: np.ndarray, w: np.ndarray, value: float, spreads: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (D,) and (D,) along each coordinate where the density has fallen by `FALL`.

    A size whose density at zero is not low enough begins there.
    """
    sides = [(i, way) for i in range(len(place)) for way in (0, 1)]
    ends = np.stack([place, place])
    searches = {(i, way): _side(profile, place, i, way, spreads[i]) for i, way in sides}
    asked = {side: next(search) for side, search in searches.items()}
    while asked:
        values = profile.values(list(asked.values()), w, ROUGHLY)
        for (i, way), found in zip(list(asked), values, strict=True):
            try:
                asked[i, way] = searches[i, way].send(max(value - found, 1e-3))
            except StopIteration as end:
                del asked[i, way]
                ends[way, i] = end.value
    return ends[0], ends[1]


def _side(
    profile: Profile, place: np.ndarray, i: int, way: int, spread: float
) -> Generator[np.ndarray, float, float]:
    """Search for the end of a coordinate, below or above: asks how far places have fallen."""
    size = i < len(profile.ratios.sizes)
    limits = (0.0, np.inf) if size else (-RIGHT_ANGLE, RIGHT_ANGLE)
    distance, near, far = spread * np.sqrt(2 * FALL), 0.0, np.inf
    room = abs(limits[way] - place[i])
    for _ in range(8):
        distance = min(distance, room)
        moved = place.copy()
        moved[i] += (2 * way - 1) * distance
        moved[i] = max(moved[i], NEAR_ZERO) if size else moved[i]
        fall = yield moved
        if LEAST <= fall <= MOST or (fall < LEAST and distance == room):
            break
        near, far = (distance, far) if fall < FALL else (near, distance)
        distance *= float(np.clip(np.sqrt(FALL / fall), 0.3, 3.0))
        if not near < distance < far:
            distance = (near + far) / 2
    return limits[way] if fall <= MOST and distance > 0.9 * room else moved[i]

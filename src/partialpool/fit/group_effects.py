"""Effects of the groups of several factors, given draws of theta and of the coefficients.

Means and standard deviations are those of the Gaussians given each draw, averaged (Rao &
Blackwell), so that no noise of their own is added. Through a surrogate the Gaussians' means are
interpolated between its nodes, their covariances between those of low degree, and nothing is solved
for a draw.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np

from partialpool.fit.coordinates import Theta
from partialpool.fit.dense import one_thread, over_threads
from partialpool.fit.elimination import Elimination, Solved
from partialpool.fit.exact import ThetaPosterior
from partialpool.fit.interpolation import Interpolant
from partialpool.fit.kernels import draw_effects, threads
from partialpool.fit.likelihoods import Reduced
from partialpool.fit.ratios import Ratios
from partialpool.fit.surrogate import Interpolated

#: Degree of the polynomials between nodes for variances, and for roots of covariances, where all
#: ratios are far from zero, so that the box is narrow. Elsewhere all polynomials serve.
OF_VARIANCES, OF_ROOTS = 2, 1
#: Draws that are worked on at a time.
BLOCK = 250


@dataclass(frozen=True)
class GroupEffects:
    """Effects of every factor for draws of theta and what was drawn with it.

    Attributes
    ----------
    likelihood : Reduced
    theta : Theta
        S draws.
    drawn : (S, n) array
        Coefficients and small factors' effects, in the user's units.
    ratios : Ratios, optional
    interpolant : Interpolant, optional
        Over a box that holds the draws; without it every draw is solved for.
    """

    likelihood: Reduced
    theta: Theta
    drawn: np.ndarray
    ratios: Ratios | None
    interpolant: Interpolant | None

    @property
    def rows(self) -> Elimination:
        """The reduced rows."""
        return self.likelihood.rows

    def moments(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Posterior means (J, q) and standard deviations (J, q) of each factor's effects."""
        found = dict(self._small())
        moments = {f: (b.mean(0), b.std(0)) for f, b in found.items()}
        if self.interpolant is None:
            moments |= self._moments_one_by_one()
        else:
            moments |= self._moments_between_nodes()
        return [moments[f] for f in range(len(self.rows.levels))]

    def draw(
        self,
        rng: np.random.Generator,
        factors: Sequence[int],
        levels: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """One draw of the effects (S, J, q) of some factors for each draw of theta, jointly.

        Of all levels, or of some of each of the model's factors.
        """
        rows, S = self.rows, len(self.theta.sigma)
        if levels is None:
            levels = [np.arange(n) for n in rows.levels]
        found = {f: b[:, levels[f]] for f, b in self._small()}
        large = [f for f in factors if f not in found]
        for f in large:
            found[f] = np.empty((S, len(levels[f]), rows.widths[f]))
        for start in range(0, S, BLOCK) if large else ():
            some = slice(start, start + BLOCK)
            z = rng.standard_normal((len(self.drawn[some]), rows.n_middle))
            middle = self._middle_draws(some, z)  # inside
            for f in set(large) & set(rows.middle):
                b = middle[:, rows.slices[f]].reshape(len(middle), -1, rows.widths[f])
                found[f][some] = b[:, levels[f]] @ np.linalg.inv(rows.T[f]).T * rows.y_scale
            if rows.first in large:
                first = self._first_draws(some, middle, rng)
                found[rows.first][some] = first[:, levels[rows.first]]
        return [found[f] for f in factors]

    def at_rows(
        self, Z: Sequence[np.ndarray], codes: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (S, n) of what the effects add to the line, given each draw of theta.

        The small factors' effects, which were drawn, have no variance.

        Parameters
        ----------
        Z : sequence of (n, q) arrays
            Varying columns of n rows, factor by factor.
        codes : sequence of (n,) int arrays
            Their levels.
        """
        c, noise = self.columns(), self.likelihood.noise(self.theta)
        mean, variance = np.zeros((2, len(c), len(codes[0])))
        for f, b in self._small():
            mean += np.einsum("nq,snq->sn", Z[f], b[:, codes[f]])
        if self.interpolant is None:
            for s in range(len(c)):
                solved = self.likelihood.solve(self.theta, s)
                mean[s] += self._of_columns(solved, Z, codes) @ c[s] * self.rows.y_scale
                variance[s] = noise[s] ** 2 * self._variance_at(solved, Z, codes)
            return mean, variance
        x, order = self._variables(), OF_VARIANCES if self._narrow else None
        weights, near = self.interpolant.cardinals(x), self.interpolant.cardinals(x, order)
        low = self.interpolant.places(order)
        for k, place in enumerate(self.interpolant.places()):
            solved = self._solved[k]
            of_columns = self._of_columns(solved, Z, codes)
            mean += (weights[:, [k]] * c) @ of_columns.T * self.rows.y_scale
            for at in np.flatnonzero((low == place).all(1)):
                spread = self._variance_at(solved, Z, codes)
                variance += (noise**2 * near[:, at])[:, None] * spread
        return mean, variance

    def _of_columns(
        self, solved: Solved, Z: Sequence[np.ndarray], codes: Sequence[np.ndarray]
    ) -> np.ndarray:
        """The large factors' part of the line at some rows for each column of K: (n, m)."""
        found = np.zeros((len(codes[0]), len(self.rows.E)))
        for f, (b, _) in self._effects(solved, False).items():
            found += np.einsum("nq,nqm->nm", Z[f], b[codes[f]])
        return found

    def _variance_at(
        self, solved: Solved, Z: Sequence[np.ndarray], codes: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Variance (n,) over sigma² of the same."""
        return self.rows.line_variances(solved, codes, self.rows.inside(Z))

    def _small(self) -> Iterator[tuple[int, np.ndarray]]:
        """Draws (S, J, q) of the small factors' effects: they were made with the coefficients."""
        for f in self.rows.small:
            yield (
                f,
                self.drawn[:, self.rows.slices[f]].reshape(
                    len(self.drawn), -1, self.rows.widths[f]
                ),
            )

    def columns(self, some: slice = slice(None)) -> np.ndarray:
        """What K is multiplied by (S, m), inside, to leave the large factors' share of y."""
        rows, p = self.rows, len(self.rows.a)
        drawn = self.drawn[some]
        parts = [-(drawn[:, :p] @ rows.A.T - rows.a)]
        for f in rows.small:
            effects = drawn[:, rows.slices[f]].reshape(len(drawn), -1, rows.widths[f])
            parts.append(-(effects @ rows.T[f].T).reshape(len(drawn), -1))
        return np.hstack([*parts, np.full((len(drawn), 1), rows.y_scale)]) / rows.y_scale

    def _variables(self, some: slice = slice(None)) -> np.ndarray:
        theta = Theta(*(part[some] for part in self.theta))
        assert self.ratios is not None
        return self.ratios.smooth(self.ratios.places(theta))

    @property
    def _narrow(self) -> bool:
        return self.interpolant is not None and bool(self.interpolant.weighted.all())

    @cached_property
    def _solved(self) -> list[Solved]:
        """What the rows say at the interpolant's nodes, roots at those of low degree only."""
        assert self.interpolant is not None
        assert self.ratios is not None
        ratios, narrow = self.ratios, self._narrow

        def at_node(node: tuple[tuple[int, ...], np.ndarray]) -> Solved:
            degrees, place = node
            solved = ratios.solved(place)
            high = narrow and sum(degrees) > OF_VARIANCES
            return replace(solved, system=[]) if high else solved

        nodes = list(zip(self.interpolant.nodes, self.interpolant.places(), strict=True))
        return over_threads(at_node, nodes, len(self.rows.E_middle))

    @cached_property
    def _middle_blups(self) -> list[np.ndarray]:
        return [self.rows.middle_effects(solved) for solved in self._solved]

    def _effects(
        self, solved: Solved, spread: bool
    ) -> dict[int, tuple[np.ndarray, np.ndarray | None]]:
        """By factor: effects (J, q, m) for each column of K, and variances (J, q) over sigma².

        Effects in units of y inside, variances if they are wanted.
        """
        within = self.rows.spreads(solved) if spread else {}
        found = {}
        for f, effects in self.rows.effects(solved).items():
            L = self._user_ratio(solved, f)
            own = np.einsum("ab,jbc,ac->ja", L, within[f], L) if spread else None
            found[f] = L @ effects, own
        return found

    def _user_ratio(self, solved: Solved, f: int) -> np.ndarray:
        return np.linalg.solve(self.rows.T[f], solved.ratios[f])

    def _moments_between_nodes(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        assert self.interpolant is not None
        rows, x, c = self.rows, self._variables(), self.columns()
        S, noise = len(c), self.likelihood.noise(self.theta)
        order = OF_VARIANCES if self._narrow else None
        low = self.interpolant.places(order)
        share = noise**2 @ self.interpolant.cardinals(x, order) / S
        means: dict[int, list[Any]] = {f: [] for f in (rows.first, *rows.middle)}
        variances: dict[int, Any] = dict.fromkeys(means, 0.0)
        near = [np.flatnonzero((low == place).all(1)) for place in self.interpolant.places()]
        nodes = list(zip(self._solved, near, strict=True))
        each = over_threads(
            lambda node: self._effects(node[0], len(node[1]) > 0), nodes, len(rows.E_middle)
        )
        for at_node, near_node in zip(each, near, strict=True):
            for f, (effects, variance) in at_node.items():
                means[f].append(effects)
                if variance is not None:
                    variances[f] = variances[f] + share[near_node[0]] * variance
        # weights of nodes times columns: all that the draws have to do with the means
        weights = self.interpolant.cardinals(x)[:, :, None] * c[:, None]
        flat = weights.reshape(S, -1) * rows.y_scale
        centre = flat.mean(0)
        with one_thread():
            spread = np.cov(flat.T, bias=True).reshape(len(centre), -1)
        found = {}
        for f, parts in means.items():
            M = np.stack(parts, 2).reshape(rows.levels[f], rows.widths[f], -1)
            variance = np.einsum("jqa,jqa->jq", M @ spread, M) + variances[f]
            found[f] = M @ centre, np.sqrt(np.maximum(variance, 0.0))
        return found

    def _moments_one_by_one(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        rows, c = self.rows, self.columns() * self.rows.y_scale
        S, noise = len(c), self.likelihood.noise(self.theta)
        found: dict[int, list[Any]] = {f: [0.0, 0.0, 0.0] for f in (rows.first, *rows.middle)}
        for s in range(S):
            solved = self.likelihood.solve(self.theta, s)
            for f, (effects, variance) in self._effects(solved, True).items():
                gap = effects @ c[s] - found[f][0]
                found[f][0] = found[f][0] + gap / (s + 1)
                found[f][1] = found[f][1] + gap**2 * s / (s + 1)
                found[f][2] = found[f][2] + noise[s] ** 2 * variance
        return {f: (mean, np.sqrt(np.maximum(a + b, 0.0) / S)) for f, (mean, a, b) in found.items()}

    def _middle_draws(self, some: slice, z: np.ndarray) -> np.ndarray:
        """Effects (S, n) of the middle factors, inside, from standard normals z (S, n)."""
        rows, c = self.rows, self.columns(some)
        noise = self.likelihood.noise(self.theta)[some] / rows.y_scale
        out = np.zeros((len(c), rows.n_middle))
        if not rows.n_middle:
            return out
        if self.interpolant is None:
            for i, s in enumerate(range(len(self.theta.sigma))[some]):
                solved = self.likelihood.solve(self.theta, s)
                out[i] = rows.middle_effects(solved) @ c[i]
                out[i] += noise[i] * _scattered(rows, solved, z[[i]])[0]
            return out
        x = self._variables(some)
        weights = self.interpolant.cardinals(x)
        for k, effects in enumerate(self._middle_blups):
            out += (weights[:, [k]] * c) @ effects.T
        if self._narrow:
            near = self.interpolant.cardinals(x, OF_ROOTS)
            low = [sum(node) <= OF_ROOTS for node in self.interpolant.nodes]
            for k, solved in enumerate(compress(self._solved, low)):
                out += (noise * near[:, k])[:, None] * _scattered(rows, solved, z)
            return out
        # near zero a root is smooth but for the ratio that it is a multiple of
        v = sum(weights[:, [k]] * rows.noise(solved, z) for k, solved in enumerate(self._solved))
        for f in rows.middle:
            at, q = rows.slices[f], self.likelihood.columns[f]
            L = rows.T[f] @ self.theta.L[some, q, q] / rows.y_scale
            own = v[:, at].reshape(len(v), -1, L.shape[1]) @ L.swapaxes(1, 2)
            out[:, at] += own.reshape(len(v), -1)
        return out

    def _first_draws(self, some: slice, middle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Effects (S, J, q) of the first factor given all others, in the user's units."""
        rows, c = self.rows, self.columns(some)
        at = self.likelihood.columns[rows.first]
        noise = self.likelihood.noise(self.theta)[some] / rows.y_scale
        out = np.ascontiguousarray(self.theta.L[some, at, at])
        inside = rows.T[rows.first] @ out / rows.y_scale
        R, G = rows.lanes
        rest = (c @ G).swapaxes(0, 1).copy()
        for a, part in enumerate(rows.shared_by_column):
            rest[:, a] -= (part @ middle.T).T
        b = rng.standard_normal((len(c), len(R), 1, R.shape[2]))
        nothing = np.empty((1, 0))
        with threads(b[0].size):
            for s in range(len(c)):
                one = slice(s, s + 1)
                draw_effects(noise[one], inside[one], out[one], R, rest[s][:, None], nothing, b[s])
        return b[:, :, 0].swapaxes(1, 2)


def _scattered(rows: Elimination, solved: Solved, z: np.ndarray) -> np.ndarray:
    """Noise (S, n) of the middle effects over sigma, inside, from standard normals z."""
    v = rows.noise(solved, z)
    for f in rows.middle:
        at, L = rows.slices[f], solved.ratios[f]
        v[:, at] = (v[:, at].reshape(len(v), -1, len(L)) @ L.T).reshape(len(v), -1)
    return v


def of_draws(posterior: ThetaPosterior, theta: Theta, drawn: np.ndarray) -> GroupEffects:
    """Effects for draws of theta from the posterior of several factors.

    Parameters
    ----------
    posterior : ThetaPosterior
        That which theta was drawn from: of a surrogate the nodes are used again.
    theta : Theta
    drawn : (S, n) array
    """
    likelihood = posterior.likelihood
    if isinstance(likelihood, Interpolated):
        ratios = likelihood.ratios
        return GroupEffects(ratios.likelihood, theta, drawn, ratios, likelihood.interpolant)
    assert isinstance(likelihood, Reduced)
    return GroupEffects(likelihood, theta, drawn, None, None)


def forget(posterior: ThetaPosterior) -> ThetaPosterior:
    """The same posterior without what its surrogate keeps of each node, a large matrix."""
    likelihood = posterior.likelihood
    if not isinstance(likelihood, Interpolated):
        return posterior
    vars(likelihood.ratios).pop("_kept", None)  # the interpolant knows these ratios too
    return replace(posterior, likelihood=replace(likelihood, ratios=replace(likelihood.ratios)))

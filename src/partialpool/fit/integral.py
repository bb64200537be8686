"""What callers know of an integral over group effects: of one factor, or of nested ones."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import numpy as np

from partialpool.fit.counted_rows import CountedRows

#: Error of the log likelihood, summed over groups, that is aimed at, and above which an integral
#: is not called certified.
AIM, LIMIT = 1e-6, 1e-4
#: Numbers in an array of values by groups that is made at a time.
AT_A_TIME = 2_000_000
#: Means (s, J, q) and mean products (s, J, q, q) of the effects of a factor.
Moments = tuple[np.ndarray, np.ndarray]


class Integral(ABC):
    """Log likelihood of the rows, the effects of a factor, or of nested ones, integrated out.

    Values of the parameters are coefficients (S, p + t), L (S, n, n) and shape (S,); the effects of
    the innermost factor have the first columns of L, and the outermost factor has the last one. Its
    groups are meant where nothing else is said. `moved` (M, S), where it is given, moves the lines
    of the groups that lie in each of M groups of a factor around all of these, told by `outer`.

    Attributes
    ----------
    aims : (float, float)
        Errors of the log likelihood that are aimed at: where most draws are, and where a few are.
    rows : CountedRows
        By groups of the innermost factor.
    outer : (J,) int array
        In which of those each group lies; empty where there is none.
    sizes : (J,) array
        Nodes in all for a group.
    ancestors : list of (J_f,) int arrays
        In which group those of each factor lie, from the innermost one on.
    """

    aims: ClassVar[tuple[float, float]] = (AIM, LIMIT / 10)

    rows: CountedRows
    outer: np.ndarray
    sizes: np.ndarray
    ancestors: list[np.ndarray]

    @abstractmethod
    def log_integrals(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
        *,
        some: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log of the integral of each group, or of some (G,), without constants: (S, G)."""

    @abstractmethod
    def slopes(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray,
        shares: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the sum of `log_integrals` by coefficients (S, p + t) and L (S, n, n).

        Those of each group are multiplied by `shares` (M, S), as `moved` moves them.
        """

    @abstractmethod
    def moments(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
    ) -> Iterator[tuple[slice, list[Moments]]]:
        """Of the effects of each factor, from the innermost one on, some draws at a time."""

    @abstractmethod
    def draw(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        seed: int,
        some: Sequence[np.ndarray] | None = None,
        moved: np.ndarray | None = None,
        first: int = 0,
    ) -> list[np.ndarray]:
        """One exact draw of the effects for each of S values of the parameters: (q, S, G) each.

        Of each factor from the innermost one on, or of some of its groups, which get what they
        would get among all; `first` is the number of the first draw.
        """

    @abstractmethod
    def adapted(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        aim: float | np.ndarray = AIM,
        moved: np.ndarray | None = None,
    ) -> Self:
        """Lattices fit for some values of the parameters (S, ...), the first the reference.

        They have the fewest nodes whose integral agrees with that of more than twice as many to its
        share of the error that is aimed at, at all values; `aim` may be one for each (S,).
        """

    @abstractmethod
    def with_nodes(self, K: int) -> Self:
        """K nodes on every lattice; of one factor 1 is Laplace's approximation."""

    @abstractmethod
    def finer(self) -> Self:
        """More than twice the nodes on every lattice."""

    @property
    @abstractmethod
    def nodes_by_factor(self) -> list[np.ndarray]:
        """Nodes of the lattices of each factor, from the innermost one on."""

    @property
    @abstractmethod
    def path(self) -> list[np.ndarray]:
        """Group of each row (n,) in each factor, from the innermost one on."""

    @abstractmethod
    def gradient(
        self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood (S,), its derivatives by the coefficients (S, p + t) and L (S, n, n).

        By Fisher's identity (docs/method.md, eq. (57)); that by the shape is not among them.
        """

    def by_group(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        some: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log likelihood (S, G) of each group, constants included; see `log_integrals`."""
        some = self._all if some is None else some
        constants = self._gathered(self.rows.constants(shape, coefficients, by_group=True))
        return self.log_integrals(coefficients, L, shape, some=some) + constants[:, some]

    def __call__(self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Log likelihood (S,), constants included; arguments as for `log_integrals`."""
        value = self.rows.constants(shape, coefficients)
        return np.asarray(value + self.log_integrals(coefficients, L, shape).sum(1))

    def errors(self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Certificate: how far the nodes are from more than twice as many, by group: (S, J)."""
        arguments = (coefficients, L, shape)
        finer = self.finer().log_integrals(*arguments)
        return np.abs(self.log_integrals(*arguments) - finer)

    def _gathered(self, figures: np.ndarray) -> np.ndarray:
        """Figures (S, ...) of the innermost groups, added up."""
        return figures

    @property
    def _all(self) -> np.ndarray:
        return np.arange(len(self.sizes))

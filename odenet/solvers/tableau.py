"""A Runge-Kutta method as a table of exact rationals, checked on construction."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from odenet.solvers.step import Weights, sparse

Row = tuple[Fraction, ...]


@dataclass(frozen=True)
class Tableau:
    r"""An explicit Runge-Kutta method with dense output (Butcher tableau).

    Stage ``i`` is ``k_i = f(t + c_i h, y + h sum_j a_ij k_j)``, the step ends at
    ``y + h sum_i b_i k_i``, and inside the step, at ``t + theta h``, the solution is
    ``y + h sum_i (sum_p dense_ip theta^(p+1)) k_i``.

    ``order`` and ``dense_order``, those of the step and of its dense output, are taken as given.
    ``b_embedded`` are the weights of the embedded solution, None without one; ``source`` says where
    the table is printed. Raises ``ValueError`` where row sums, weights or dense output contradict
    each other.

    Example:
        >>> import torch, odenet
        >>> from odenet.solvers import RungeKutta, Tableau
        >>> ralston = RungeKutta(Tableau.parse(
        ...     "ralston", order=2, dense_order=2, source="Ralston 1962",
        ...     table="0 |\n 2/3 | 2/3\n | 1/4 3/4", dense="1 -3/4\n 0 3/4",
        ... ))
        >>> solver, y0 = odenet.Solver(ralston, odenet.FixedSteps(100)), torch.ones(1)
        >>> round(odenet.solve(lambda t, y: -y, y0, [0.0, 1.0], solver).y1.item(), 4)  # exp(-1)
        0.3679
    """

    name: str
    order: int
    dense_order: int
    source: str
    c: Row
    a: tuple[Row, ...]
    b: Row
    b_embedded: Row | None
    dense: tuple[Row, ...]

    @classmethod
    def parse(
        cls, name: str, *, order: int, dense_order: int, source: str, table: str, dense: str
    ) -> Tableau:
        """The method printed in ``table``: stages ``c | a ...``, then ``| b ...`` once or twice.

        A second row of weights is the embedded solution. ``dense`` has one row a stage: the
        coefficients of theta, theta^2, ... in the weight of that stage. A ``*`` stands for the
        number that completes its row, where the others are printed rounded.
        """
        rows = [line.split("|") for line in table.strip().splitlines()]
        nodes = [Fraction(left) for left, _ in rows if left.strip()]
        stages = [(c, _row(right, c)) for c, (_, right) in zip(nodes, rows, strict=False)]
        weights = [_row(right, Fraction(1)) for left, right in rows if not left.strip()]
        interpolant = zip(weights[0], dense.strip().splitlines(), strict=True)
        return cls(
            name=name,
            order=order,
            dense_order=dense_order,
            source=source,
            c=tuple(c for c, _ in stages),
            a=tuple(row for _, row in stages),
            b=weights[0],
            b_embedded=weights[1] if len(weights) > 1 else None,
            dense=tuple(_row(line, b) for b, line in interpolant),
        )

    def __post_init__(self) -> None:
        for i, (c, row) in enumerate(zip(self.c, self.a, strict=True)):
            if len(row) != i or sum(row) != c:
                raise ValueError(
                    f"{self.name}: stage {i + 1} must have {i} weights that sum to {c}"
                )
        for weights in (self.b, self.b_embedded):
            if weights is not None and (len(weights) != len(self.c) or sum(weights) != 1):
                raise ValueError(f"{self.name}: the {len(self.c)} weights must sum to 1")
        if tuple(sum(row) for row in self.dense) != self.b:
            raise ValueError(f"{self.name}: dense output at the end of a step must be the step")
        for name, value in vars(type(self)).items():
            if isinstance(value, cached_property):  # now: torch.compile cannot trace a first use
                getattr(self, name)

    def __hash__(self) -> int:
        return hash((self.name, self.order))  # quick; equality compares all

    def __repr__(self) -> str:
        return f"<{self.name}: {self.stages} stages, order {self.order}>"

    @cached_property
    def stages(self) -> int:
        return len(self.c)

    @cached_property
    def fsal(self) -> bool:
        """Whether the last slope of a step is the first slope of the next one."""
        return self.c[-1] == 1 and (*self.a[-1], Fraction(0)) == self.b

    @cached_property
    def nodes(self) -> tuple[float, ...]:
        return _floats(self.c)

    @cached_property
    def rows(self) -> tuple[Weights, ...]:
        return tuple(sparse(_floats(row)) for row in self.a)

    @cached_property
    def weights(self) -> Weights:
        return sparse(_floats(self.b))

    @cached_property
    def error_weights(self) -> Weights | None:
        """``b - b_embedded``, or None for a method without an error estimate."""
        if self.b_embedded is None:
            return None
        return sparse(_floats(tuple(b - e for b, e in zip(self.b, self.b_embedded, strict=True))))

    @cached_property
    def dense_matrix(self) -> np.ndarray:
        """The coefficient of theta^(p+1) in the weight of each slope, ``(powers, stages)``."""
        return np.array([_floats(row) for row in self.dense]).T

    @cached_property
    def _powers(self) -> np.ndarray:
        return np.arange(1, len(self.dense_matrix) + 1)

    def dense_weights(self, theta: np.ndarray) -> np.ndarray:
        """The weight of each slope at fractions ``theta`` of a step, ``(len(theta), stages)``."""
        return theta[:, None] ** self._powers @ self.dense_matrix


def _row(text: str, total: Fraction) -> Row:
    """The numbers of a row; a ``*`` becomes what the others lack of ``total``."""
    words = text.split()
    rest = total - sum(Fraction(word) for word in words if word != "*")
    return tuple(rest if word == "*" else Fraction(word) for word in words)


def _floats(row: Row) -> tuple[float, ...]:
    return tuple(float(x) for x in row)

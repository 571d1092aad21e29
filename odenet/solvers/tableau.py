"""Runge-Kutta methods as tables of exact rationals, written as they are printed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

Row = tuple[Fraction, ...]


@dataclass(frozen=True, eq=False)
class Tableau:
    """An explicit Runge-Kutta method with dense output (Butcher tableau).

    Stage ``i`` is ``k_i = f(t + c_i h, y + h sum_j a_ij k_j)``, the step ends at
    ``y + h sum_i b_i k_i``, and inside the step, at ``t + theta h``, the solution is
    ``y + h sum_i (sum_p dense_ip theta^(p+1)) k_i``.

    Raises ``ValueError`` where row sums, weights or dense output contradict each other.
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
        coefficients of theta, theta^2, ... in the weight of that stage.
        """
        rows = [line.split("|") for line in table.strip().splitlines()]
        stages = [(Fraction(left), _fractions(right)) for left, right in rows if left.strip()]
        weights = [_fractions(right) for left, right in rows if not left.strip()]
        return cls(
            name=name,
            order=order,
            dense_order=dense_order,
            source=source,
            c=tuple(c for c, _ in stages),
            a=tuple(row for _, row in stages),
            b=weights[0],
            b_embedded=weights[1] if len(weights) > 1 else None,
            dense=tuple(_fractions(line) for line in dense.strip().splitlines()),
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
    def rows(self) -> tuple[tuple[float, ...], ...]:
        return tuple(_floats(row) for row in self.a)

    @cached_property
    def weights(self) -> tuple[float, ...]:
        return _floats(self.b)

    @cached_property
    def error_weights(self) -> tuple[float, ...] | None:
        """``b - b_embedded``, or None for a method without an error estimate."""
        if self.b_embedded is None:
            return None
        return _floats(tuple(b - e for b, e in zip(self.b, self.b_embedded, strict=True)))

    @cached_property
    def _dense(self) -> Tensor:
        return torch.tensor([_floats(row) for row in self.dense], dtype=torch.float64)

    def dense_weights(self, theta: Tensor) -> Tensor:
        """The weight of each slope at fractions ``theta`` of a step, ``(len(theta), stages)``."""
        powers = theta[:, None] ** torch.arange(1, self._dense.shape[1] + 1)
        return powers @ self._dense.T


def _fractions(text: str) -> Row:
    return tuple(Fraction(word) for word in text.split())


def _floats(row: Row) -> tuple[float, ...]:
    return tuple(float(x) for x in row)


EULER = Tableau.parse(
    "euler",
    order=1,
    dense_order=1,
    source="Euler 1768; Hairer, Norsett, Wanner: Solving ODEs I, section II.1",
    table="""
    0 |
      | 1
    """,
    dense="""
    1
    """,
)

MIDPOINT = Tableau.parse(
    "midpoint",
    order=2,
    dense_order=2,
    source="Runge 1895; Hairer, Norsett, Wanner: Solving ODEs I, section II.1",
    table="""
    0   |
    1/2 | 1/2
        | 0 1
    """,
    dense="""
    1 -1
    0  1
    """,
)

RK4 = Tableau.parse(
    "rk4",
    order=4,
    dense_order=3,
    source="Kutta 1901; dense output: Hairer, Norsett, Wanner: Solving ODEs I, section II.6",
    table="""
    0   |
    1/2 | 1/2
    1/2 | 0 1/2
    1   | 0 0 1
        | 1/6 1/3 1/3 1/6
    """,
    dense="""
    1 -3/2  2/3
    0  1   -2/3
    0  1   -2/3
    0 -1/2  2/3
    """,
)

BOSH3 = Tableau.parse(
    "bosh3",
    order=3,
    dense_order=3,
    source="Bogacki, Shampine 1989; dense output: the cubic Hermite interpolant",
    table="""
    0   |
    1/2 | 1/2
    3/4 | 0 3/4
    1   | 2/9 1/3 4/9
        | 2/9 1/3 4/9 0
        | 7/24 1/4 1/3 1/8
    """,
    dense="""
    1 -4/3  5/9
    0  1   -2/3
    0  4/3 -8/9
    0 -1    1
    """,
)

# The embedded weights are Shampine's, as in torchdiffeq and diffrax. Their error estimate is
# exactly 2/3 of that of the published pair (5179/57600, ...), which SciPy and Hairer use.
DOPRI5 = Tableau.parse(
    "dopri5",
    order=5,
    dense_order=4,
    source="Dormand, Prince 1980; embedded weights and dense output: Shampine 1986",
    table="""
    0    |
    1/5  | 1/5
    3/10 | 3/40        9/40
    4/5  | 44/45      -56/15       32/9
    8/9  | 19372/6561 -25360/2187  64448/6561 -212/729
    1    | 9017/3168  -355/33      46732/5247  49/176  -5103/18656
    1    | 35/384      0           500/1113    125/192 -2187/6784    11/84
         | 35/384      0           500/1113    125/192 -2187/6784    11/84    0
         | 1951/21600  0           22642/50085 451/720 -12231/42400  649/6300 1/60
    """,
    dense="""
    1 -8048581381/2820520608     8663915743/2820520608     -12715105075/11282082432
    0  0                         0                          0
    0  131558114200/32700410799 -68118460800/10900136933    87487479700/32700410799
    0 -1754552775/470086768      14199869525/1410260304    -10690763975/1880347072
    0  127303824393/49829197408 -318862633887/49829197408   701980252875/199316789632
    0 -282668133/205662961       2019193451/616988883      -1453857185/822651844
    0  40617522/29380423        -110615467/29380423         69997945/29380423
    """,
)

TABLEAUS = (EULER, MIDPOINT, RK4, BOSH3, DOPRI5)

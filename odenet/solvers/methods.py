"""The methods that a solver can be asked for by name."""

from odenet.solvers.adams import Adams
from odenet.solvers.runge_kutta import RungeKutta
from odenet.solvers.scipy_adams import SciPyAdams
from odenet.solvers.step import Method
from odenet.solvers.tables import TABLEAUS

_ALL: tuple[Method, ...] = (
    *(RungeKutta(tableau) for tableau in TABLEAUS),
    Adams(order=4),
    Adams(order=4, corrections=2),
    SciPyAdams("vode"),
    SciPyAdams("lsoda"),
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
METHODS["heun12"] = METHODS["heun"]  # as its adaptive use, order 2(1), is often called

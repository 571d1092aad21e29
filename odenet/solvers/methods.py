"""The methods that a solver can be asked for by name."""

from odenet.solvers.runge_kutta import RungeKutta
from odenet.solvers.step import Method
from odenet.solvers.tableau import TABLEAUS

METHODS: dict[str, Method] = {tableau.name: RungeKutta(tableau) for tableau in TABLEAUS}

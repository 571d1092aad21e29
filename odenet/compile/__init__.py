"""Compiled solves, as ``Solver(..., compile=True)`` makes them.

A call of compiled code makes a few attempts ahead of the loop, or pulls a cotangent back through a
few steps. The loop, the controller, dense output, events and all errors stay those of the eager
solve: an attempt that the loop does not ask for next is thrown away.
"""

from odenet.compile.problem import compiled_problem
from odenet.compile.rules import check_compiled, check_own, compiled_rule

__all__ = ["check_compiled", "check_own", "compiled_problem", "compiled_rule"]

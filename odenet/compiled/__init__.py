"""Compiled solves: the rules of `odenet.adjoint` with the loop itself in compiled code."""

from odenet.compiled.graph import CannotCompile, Compilation, compilations
from odenet.compiled.rule import Compiled

__all__ = ["CannotCompile", "Compilation", "Compiled", "compilations"]

"""The paper's models; each call returns ``(value, SolveStats)`` where a solve is inside."""

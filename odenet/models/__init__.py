"""The paper's models; each call returns ``(value, Work)`` where a solve is inside."""

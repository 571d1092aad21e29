"""Trials: each computed once, kept by content, wherever it may run."""

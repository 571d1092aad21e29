"""Data sets, each a function of a size and a seed."""

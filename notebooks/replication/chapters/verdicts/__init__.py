"""Chapter 10: the verdicts drawn."""

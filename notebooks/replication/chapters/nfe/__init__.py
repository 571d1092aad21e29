"""Chapter 04: what evaluations cost, and what they depend on (Figure 3)."""

"""Chapter 06: continuous normalizing flows beside planar ones (Figures 4 and 5)."""

"""Chapter 01: residual networks as Euler steps."""

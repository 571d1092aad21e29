"""Chapter 03: digits classified by an ODE-Net and its rivals (Table 1)."""

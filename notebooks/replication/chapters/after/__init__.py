"""Chapter 08, after the paper: what later work found about neural ODEs, measured here."""

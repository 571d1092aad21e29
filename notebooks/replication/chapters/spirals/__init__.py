"""Chapter 05: spirals continued by a latent ODE and by an RNN (Table 2)."""

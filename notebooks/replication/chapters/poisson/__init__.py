"""Chapter 07: a latent path and the rate of its events (Figure 7)."""

"""Chapter 02: gradients by the adjoint, their error and their memory."""

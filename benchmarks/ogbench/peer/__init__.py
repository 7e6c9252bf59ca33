"""What runs in the environment that has OGBench and JAX: nothing of `lwd_core` is imported here."""

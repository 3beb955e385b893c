"""Measures speed: one file per suite, `python -m epipolar_jax.tools.benchmark SUITE`."""

"""Command-line tools: python -m epipolar_jax.tools.NAME."""

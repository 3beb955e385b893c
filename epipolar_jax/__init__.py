"""Epipolar Transformers and multi-view 3D human pose in JAX/Flax."""

"""Cameras, epipolar lines and triangulation in jax: written for one item, at full precision."""

"""From 2D joints in several views to 3D: every method by name, and the one call that most need."""

from epipolar_jax.triangulation.estimate import Estimate, triangulate
from epipolar_jax.triangulation.methods import METHODS, Method, Options, make
from epipolar_jax.triangulation.views import Joints, Views

__all__ = [
  "METHODS",
  "Estimate",
  "Joints",
  "Method",
  "Options",
  "Views",
  "make",
  "triangulate",
]

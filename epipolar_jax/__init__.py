"""Epipolar Transformers and multi-view 3D pose in JAX/Flax.

import epipolar_jax as ej

rig = ej.Rig.read("calibration.toml")
estimate = ej.triangulate(ej.Observations(points, score, joints, views), rig)
model = ej.load("clothed")
joints = model(images, cameras)
"""

import importlib

__version__ = "0.2.0"

# Imported when first used: `import epipolar_jax` alone costs nothing.
_PUBLIC = {
  "Cameras": "geometry.cameras",
  "Rig": "rigs.rig",
  "Observations": "keypoints.observations",
  "Skeleton": "skeletons",
  "Estimate": "triangulation.estimate",
  "triangulate": "triangulation.estimate",
  "Model": "predicting",
  "load": "predicting",
}
__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str):
  if name not in _PUBLIC:
    raise AttributeError(f"epipolar_jax has no {name!r}; public: {', '.join(__all__)}")
  return getattr(importlib.import_module(f"epipolar_jax.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
  return __all__

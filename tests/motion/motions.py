"""A motion with gaps, of several people, that every 3D format is tried on."""

import numpy as np

from epipolar_jax.motion.motion import Motion


def make(count: int = 1, *, frames: int = 5, **fields) -> Motion:
  """Three joints; one is missing in one frame, and a frame is empty."""
  rng = np.random.default_rng(count)
  points = rng.normal(0, 700, (frames, count, 3, 3))
  points[1, 0, 2] = np.nan
  points[3, 0] = np.nan
  shape = points.shape[:3]
  fields = {
    "fps": 60.0,
    "error_px": rng.uniform(0, 9, shape),
    "num_views": rng.integers(2, 5, shape),
    "score": rng.uniform(0, 1, shape),
  } | fields
  return Motion(points, ("RHip", "tail tip", "nose"), **fields)


def assert_same(found: Motion, made: Motion, fields: tuple[str, ...] = (), *, atol: float = 0.0):
  """Points and these fields are equal, NaN where NaN."""
  assert found.joints == made.joints
  np.testing.assert_allclose(found.points, made.points, rtol=0, atol=atol)
  for name in fields:
    value, wanted = getattr(found, name), getattr(made, name)
    if isinstance(wanted, np.ndarray):
      np.testing.assert_array_equal(value, wanted, err_msg=name)
    else:
      assert value == wanted, name


def assert_sound(found: Motion):
  """What a reader may give of a damaged file: NaN or finite points, never infinite ones."""
  assert not np.isinf(found.points).any() and found.points.shape[2] == len(found.joints)

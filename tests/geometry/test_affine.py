"""Affine maps; the crop of a person box against the original's."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import affine
from epipolar_jax.inputs import crops
from tests import golden_files

_SCALE_UNIT_PX = 200.0  # the original states the side of a box in units of this


def test_crop_affine_golden_get_affine_transform():
  """To 1e-6 of the largest entry; the original's float32 triangle is worth 5e-7."""
  g = golden_files.load("affine")
  for i, expected in enumerate(g["trans"]):
    scale, (width, height) = g["scale"][i], g["output_size_wh"][i].tolist()
    transform = crops.crop_affine(
      g["center"][i] + _SCALE_UNIT_PX * scale * g["shift"][i],
      _SCALE_UNIT_PX * scale[0],
      rotation_deg=-float(g["rot_deg"][i]),
      size=int(width),
      mirror=False,
    )
    # Ours are squares; the middle of a higher input lies further down.
    transform[1, 2] += (height - width) / 2
    if g["inv"][i]:
      transform = np.linalg.inv(np.concatenate([transform, [[0, 0, 1]]]))[:2]
    np.testing.assert_allclose(transform, expected, atol=2e-6 * np.abs(expected).max())


def test_apply_golden_affine_transform():
  g = golden_files.load("affine")
  transforms, points = (jnp.asarray(g[k], jnp.float32) for k in ("trans", "pts"))
  moved = jax.jit(jax.vmap(affine.apply))(transforms, points)
  np.testing.assert_allclose(moved, g["affine_transform"], rtol=1e-5, atol=1e-3)

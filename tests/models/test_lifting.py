"""The lifting networks against the original's (modeling/lifting.py LiftingNet), by its weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.geometry import canonical
from epipolar_jax.models import lifting
from epipolar_jax.original import torch_names
from epipolar_jax.tasks.lifting import views as lifting_views
from tests import golden_files
from tests.models import weights

# golden name -> lifter; "h36m" nets have no hand side. Evaluation mode.
_HEATMAPS = {
  "lifting_direct_h36m": lifting.HeatmapLifter(17, pool=8, viewpoint=False),
  "lifting_direct_rhd": lifting.HeatmapLifter(21, pool=8, viewpoint=False),
  "lifting_rot_rhd_flip": lifting.HeatmapLifter(21, pool=8, viewpoint=True),
  "keypoint_lifting_rot_rhd": lifting.HeatmapLifter(21, pool=2, viewpoint=True),
  "keypoint_lifting_direct_h36m": lifting.HeatmapLifter(17, pool=8, viewpoint=False),
}
_FEATURES = {
  "img_lifting_rot_h36m_512": lifting.FeatureLifter(17),
  "img_lifting_rot_rhd_512": lifting.FeatureLifter(21),
}


def _golden(name):
  g = golden_files.load("lifting_networks")
  return {key.removeprefix(f"{name}."): v for key, v in g.items() if key.startswith(f"{name}.")}


def _shown(g):
  """What the network is shown: stored, or drawn from joints as the original draws them."""
  if "x" in g:
    x = jnp.asarray(g["x"])
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
  _, side, sigma, stride = g["heatmap_h_w_sigma_downsample"]
  draw = functools.partial(
    lifting_views.joint_heatmaps,
    visible=jnp.ones(g["joints"].shape[1]),
    image_size=int(side * stride),
    map_size=int(side),
    sigma=float(sigma),
    layout="crop",
  )
  return jax.vmap(draw)(jnp.asarray(g["joints"], jnp.float32))


@pytest.mark.parametrize("name", [*_HEATMAPS, *_FEATURES])
def test_networks_equal_the_original(name):
  g = _golden(name)
  net = lifting.LiftingNet((_HEATMAPS | _FEATURES)[name])
  side = jnp.asarray(g["hand_side"][:, 0], jnp.float32) if "hand_side" in g else None
  shown = _shown(g)

  def run(variables, x):
    return net.apply(variables, x, side, method=lambda m, *a: m.lifter(*a))

  like = jax.eval_shape(
    lambda: net.init(jax.random.key(0), shown, side, method=lambda m, *a: m.lifter(*a))
  )
  state_dict = weights.state_dict(g["keys"])
  wrapped = {f"liftingnet.module.{key}": x for key, x in state_dict.items()}
  variables = torch_names.to_flax(wrapped, like)
  back = torch_names.to_torch(variables)
  assert back.keys() == state_dict.keys()
  for key, value in state_dict.items():
    np.testing.assert_array_equal(back[key], value)
  coordinates, rotation = jax.jit(run)(variables, shown)
  # The golden tolerance is 2e-5; the sums have another order.
  np.testing.assert_allclose(coordinates, g["can_pred"], atol=3e-5)
  if rotation is None:
    assert "R_pred" not in g
    return
  np.testing.assert_allclose(rotation, g["R_pred"], atol=3e-5)
  if "flip" in name:
    flipped = jax.vmap(canonical.mirror)(coordinates)
    coordinates = jnp.where((side == 1)[:, None, None], flipped, coordinates)
  normed = jax.vmap(canonical.from_canonical)(coordinates, rotation)
  np.testing.assert_allclose(normed, g["normed_pred"], atol=3e-5)


def test_turning_predictions_to_the_world_equals_the_original():
  """LiftingNet.multiview_avg in the network's forward pass, VIS.MULTIVIEW."""
  g = _golden("lifting_rot_rhd_multiview")
  normed = jnp.asarray(g["normed_pred"])
  world = jax.vmap(canonical.to_world)(normed, jnp.asarray(g["R_global"], jnp.float32))
  np.testing.assert_allclose(world, g["global_pred"], atol=3e-5)


def test_blocks_at_the_border_are_means_of_what_is_there():
  x = np.random.default_rng(0).random((2, 5, 7, 3)).astype(np.float32)
  pooled = lifting.average_pool(jnp.asarray(x), 2)
  assert pooled.shape == (2, 3, 4, 3)
  np.testing.assert_allclose(pooled[:, 1, 1], x[:, 2:4, 2:4].mean((1, 2)), rtol=1e-6)
  np.testing.assert_allclose(pooled[:, 2, 3], x[:, 4, 6], rtol=1e-6)


def test_dropout_belongs_to_the_item():
  keys = jax.random.split(jax.random.key(0), 4)
  x = jnp.ones((4, 1000))
  dropped = lifting.drop(x, keys, 0.25, index=1)
  alone = lifting.drop(x[2:], keys[2:], 0.25, index=1)
  np.testing.assert_array_equal(dropped[2:], alone)
  assert set(np.unique(dropped)) == {np.float32(0.0), np.float32(1.0 / 0.75)}
  assert abs(float(jnp.mean(dropped)) - 1.0) < 0.05
  assert np.any(dropped[0] != dropped[1])
  assert np.any(dropped != lifting.drop(x, keys, 0.25, index=2))
  assert lifting.drop(x, None, 0.25, index=1) is x

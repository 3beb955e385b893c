"""MoveNet's trunk under a head of one's own: with its own joints it is MoveNet itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import footage
from epipolar_jax import models, skeletons, tasks
from epipolar_jax.models import movenet_weights, pose_movenet
from epipolar_jax.tasks import task as task_module


def test_loaded_it_gives_movenets_own_heatmaps():
  module, weights, _ = movenet_weights.load("lightning")
  images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
  wanted = jax.jit(module.apply)(weights, images).heatmap
  ours = pose_movenet.PoseMoveNet(num_joints=17, width=module.width)

  def run(network, x):
    return network.heatmaps(network.late(network.early(x, train=False), train=False))

  normal = task_module.normalize_images(jnp.asarray(images)[None], bgr=False)[0]
  shapes = jax.eval_shape(lambda x: ours.init(jax.random.key(0), x, method=run), normal)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
  joints = skeletons.COCO_17.joints
  loaded, fresh = pose_movenet.load({"params": {"backbone": zeros["params"]}}, "lightning", joints)
  assert not fresh
  got = jax.jit(lambda v, x: ours.apply(v, x, method=run))(
    {"params": loaded["params"]["backbone"]}, normal
  )
  # Normalising and undoing it costs float32 some last digits of 0..255.
  np.testing.assert_allclose(got, wanted, atol=2e-3 * float(np.abs(wanted).max()))
  order = ("tail", *joints[::-1][:16])
  loaded, fresh = pose_movenet.load({"params": {"backbone": zeros["params"]}}, "lightning", order)
  assert fresh == ["tail"]
  kernel = np.asarray(loaded["params"]["backbone"]["head"]["kernel"])
  own = weights["params"]["heatmap_map_kernel"]
  np.testing.assert_array_equal(kernel[..., 1], own[..., 16])
  assert not kernel[..., 0].any()


def test_what_does_not_fit_is_refused():
  config = footage.get_config()
  shapes = jax.eval_shape(tasks.build(config, axis_name=None).init, jax.random.key(0))
  with pytest.raises(ValueError, match=r"wants model\.backbone movenet_thunder"):
    pose_movenet.load(shapes, "thunder", skeletons.COCO_17.joints)
  config.model.fusion.merge = "early"
  with pytest.raises(ValueError, match=r"views meet after the first stage of a ResNet"):
    models.build(config.model, config.parity)

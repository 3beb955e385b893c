"""A training step of the original: loss, gradients, and the loss after Adam's step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import h36m
from epipolar_jax import heatmaps, losses, models
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import pose_resnet
from epipolar_jax.original import torch_names
from tests import golden_files, oracles
from tests.models import weights

_MEAN = np.float32([0.485, 0.456, 0.406])
_STD = np.float32([0.229, 0.224, 0.225])


def _shapes_with_20_joints(keys):
  return [str(key).replace("final_layer.weight 17,", "final_layer.weight 20,")
          .replace("final_layer.bias 17", "final_layer.bias 20") for key in keys]  # fmt: skip


def test_golden_train_step_of_the_single_view_network():
  """Modelbuilder.forward and make_optimizer on benchmark/keypoint_h36m, ResNet-18, 20 joints.

  The union of Human3.6M's and MPII's joints: those that Human3.6M lacks lie outside the crop and
  do not count. Losses are added up over the joints (LOSS_PER_JOINT).
  """
  golden = golden_files.load("train_step")
  model = pose_resnet.PoseResNet(num_joints=20, depth=18)
  images = golden["img_u8"].astype(np.float32) / 255
  images = (images - _MEAN) / _STD
  make = functools.partial(
    heatmaps.gaussian_target, size_hw=(64, 64), stride=4, sigma=8.0, floor=True
  )
  visible = jnp.asarray(golden["visibility"])

  def objective(params, batch_stats):
    maps, updates = model.apply(
      {"params": params, "batch_stats": batch_stats}, images, train=True, mutable=["batch_stats"]
    )
    targets = jax.vmap(jax.vmap(make))(jnp.asarray(golden["points_2d"]))
    each = jax.vmap(jax.vmap(losses.mse))(jnp.moveaxis(maps, -1, 1), targets, visible)
    return jnp.sum(jnp.mean(each, axis=0)), updates["batch_stats"]

  state = weights.state_dict(_shapes_with_20_joints(golden_files.load("models_inputs")["keys/R18"]))
  like = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), images)
  variables = torch_names.to_flax(state, like)
  adam = optax.adam(1e-3)

  @jax.jit
  def step(params, batch_stats, moments):
    (loss, stats), gradient = jax.value_and_grad(objective, has_aux=True)(params, batch_stats)
    updates, moments = adam.update(gradient, moments, params)
    return optax.apply_updates(params, updates), stats, moments, loss, gradient

  params, stats = variables["params"], variables["batch_stats"]
  params, stats, moments, first, gradient = step(params, stats, adam.init(params))
  np.testing.assert_allclose(first, golden["losses"][0], rtol=1e-4)
  named = torch_names.to_torch({"params": gradient, "batch_stats": stats})
  names = [str(name).removeprefix("backbone.module.") for name in golden["grad_names"]]
  norms = [np.linalg.norm(named[name]) for name in names]
  np.testing.assert_allclose(norms, golden["grad_norm"], rtol=2e-3)
  # Adam's first step is the learning rate times the sign of each gradient, tiny ones included.
  second = step(params, stats, moments)[3]
  np.testing.assert_allclose(second, golden["losses"][1], rtol=2e-2)


def test_golden_train_step_of_the_two_view_network():
  """Modelbuilder on epipolar/keypoint_h36m_zresidual_fixed, ResNet-18, which averages over joints.

  The original normalises its two views in separate passes, ours together: the parts of our network
  are put together as there, and read where its float32 lines are.
  """
  golden = golden_files.load("train_two_view")
  config = h36m.get_config()
  config.model.backbone_depth = 18
  config.parity.zero_means_outside = True
  model = models.build(config.model, config.parity)
  images, others = (
    (golden[name].astype(np.float32) / 255 - _MEAN) / _STD for name in ("img_u8", "other_img_u8")
  )
  samples = []
  for first, second, inverse in zip(*(golden[x] for x in ("KRT", "other_KRT", "KRT_pinverse"))):
    samples.append(oracles.sample_lines(first, second, inverse, 64, 64, np.float32)[0])
  samples = jnp.asarray(np.stack(samples), jnp.float32)
  make = functools.partial(
    heatmaps.gaussian_target, size_hw=(64, 64), stride=4, sigma=8.0, floor=True
  )
  visible = jnp.asarray(golden["visibility"])

  def objective(params, batch_stats):
    def run(module, name, *inputs, method=None):
      tree = {"params": params[name], "batch_stats": batch_stats[name]}
      return module.apply(tree, *inputs, train=True, mutable="batch_stats", method=method)[0]

    def features(images):
      early = run(model.backbone, "backbone", images, method="early")
      return run(model.backbone, "backbone", early, method="late")

    own, source = features(images), features(others)
    every = jnp.ones(samples.shape[:2], bool)
    fused = run(model.late_fusion, "late_fusion", own, source, samples, every)[0]
    maps = model.backbone.apply({"params": params["backbone"]}, own + fused, method="heatmaps")
    targets = jax.vmap(jax.vmap(make))(jnp.asarray(golden["points_2d"]))
    each = jax.vmap(jax.vmap(losses.mse))(jnp.moveaxis(maps, -1, 1), targets, visible)
    return jnp.mean(each)

  state = weights.state_dict(golden_files.load("models_inputs")["keys/R18_late"])
  cameras = Cameras(np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3)))
  init = functools.partial(model.init, train=False)
  like = jax.eval_shape(init, jax.random.key(0), np.zeros((1, 2, 256, 256, 3)), cameras)
  variables = torch_names.to_flax(state, like)
  adam = optax.adam(1e-3)

  @jax.jit
  def step(params, moments):
    loss, gradient = jax.value_and_grad(objective)(params, variables["batch_stats"])
    updates, moments = adam.update(gradient, moments, params)
    return optax.apply_updates(params, updates), moments, loss, gradient

  params, moments, first, gradient = step(variables["params"], adam.init(variables["params"]))
  np.testing.assert_allclose(first, golden["losses"][0], rtol=1e-4)
  named = torch_names.to_torch({"params": gradient, "batch_stats": variables["batch_stats"]})
  names = [str(name).removeprefix("reference.module.") for name in golden["grad_names"]]
  norms = np.array([np.linalg.norm(named[name]) for name in names])
  # A bias before normalisation has no gradient but rounding: theirs is 2e-6.
  np.testing.assert_allclose(norms, golden["grad_norm"], rtol=2e-3, atol=1e-4)
  second = step(params, moments)[2]
  np.testing.assert_allclose(second, golden["losses"][1], rtol=1e-3)  # measured 6e-5

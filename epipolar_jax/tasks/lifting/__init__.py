"""Joints in 3D from one view: bodies and hands, from 2D joints, images or estimated heatmaps.

`poses` are the targets, `views` the inputs, `network` the networks, `evaluation` the numbers.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from epipolar_jax import heatmaps, losses, models, skeletons
from epipolar_jax.geometry import canonical
from epipolar_jax.tasks import task
from epipolar_jax.tasks.lifting import evaluation, network, poses, views


def build(config: ml_collections.ConfigDict, axis_name: str | None) -> task.Task:
  """The task of a config whose `task` is in `network.KINDS`; arguments as of `tasks.build`.

  Raises:
    ValueError: an option that is unknown, or does not go with the task.
  """
  kind = network.KINDS[config.task]
  skeleton = skeletons.of_model(config.model)
  frame, hands = poses.frame_of(skeleton), skeleton == skeletons.RHD_21
  module = network.build(config, kind, axis_name)
  run = network.make_forward(config, kind)
  forward = nn.apply(run, module, mutable=["batch_stats"])
  forward_eval = nn.apply(run, module)
  compare = task.choose({"mse": _mse, "l1": _l1}, config.lifting.loss, "lifting.loss")
  joint_loss = functools.partial(_heatmap_loss, sigma=config.heatmap.sigma)
  label = functools.partial(poses.describe, frame=frame)
  see = functools.partial(
    views.look,
    size=config.data.image_size,
    hands=hands,
    images=kind.sees != "joints",
    bgr=config.parity.bgr,
  )

  def truth(batch: task.Batch, seen: views.Seen) -> poses.Truth:
    points = jnp.repeat(batch["joints_3d"], batch["rotation"].shape[1], axis=0)
    cameras = jax.tree.map(views.flat, task.cameras(batch))
    found = jax.vmap(label)(points, cameras)
    return found._replace(canonical=mirrored(found.canonical, seen))

  def mirrored(pose: jax.Array, seen: views.Seen) -> jax.Array:
    """With `lifting.flip`, between right hands and left ones; [n j 3] in the pose's own axes."""
    if not (hands and config.lifting.flip):
      return pose
    return poses.mirror_right(pose, seen.side)

  def complete(lifted: network.Lifted, seen: views.Seen) -> network.Lifted:
    """With a viewpoint, adds what follows from the network's output."""
    if not kind.viewpoint:
      return lifted
    own = mirrored(lifted.canonical, seen)
    if lifted.camera is None:
      return lifted._replace(camera=jax.vmap(canonical.from_canonical)(own, lifted.rotation))
    return lifted._replace(rotation=jax.vmap(canonical.rotation_between)(own, lifted.camera))

  @jax.jit
  def init(key: jax.Array) -> task.Variables:
    blank = views.blank(config.data.image_size, skeleton.num_joints, images=kind.sees != "joints")
    seen = see(blank)
    variables = nn.init(run, module)(key, seen, None, train=False)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

  def loss(variables: task.Variables, batch: task.Batch, key: jax.Array):
    seen = see(batch)
    count, v = batch["rotation"].shape[:2]
    keys = task.frame_keys(key, count, axis_name=axis_name)
    keys = views.flat(jax.vmap(lambda k: jax.random.split(k, v))(keys))
    lifted, updated = forward(variables, seen, keys, train=True)
    values = compare(lifted, complete(lifted, seen).camera, truth(batch, seen), seen)
    if lifted.maps is not None and config.lifting.heatmap_weight:
      maps = jnp.moveaxis(lifted.maps, -1, 1)
      of_joints = jax.vmap(jax.vmap(joint_loss))(maps, seen.uv) * seen.visible
      values = values + config.lifting.heatmap_weight * jnp.mean(of_joints, axis=1)
    weight = jnp.repeat(batch["valid"], v).astype(jnp.float32)
    return jnp.sum(values * weight), jnp.sum(weight), updated.get("batch_stats", {})

  def predict(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    seen = see(batch)
    lifted = complete(forward_eval(variables, seen, None, train=False), seen)
    wanted = truth(batch, seen)
    scale = wanted.scale[:, None, None]
    shape = batch["rotation"].shape[:2]
    out = {}
    if lifted.canonical is not None:
      out["canonical"] = lifted.canonical * scale
      out["canonical_truth"] = wanted.canonical * scale
    if lifted.camera is not None:
      out["camera"] = lifted.camera * scale
      out["camera_truth"] = wanted.camera * scale
      for name in ("", "_truth"):
        turn = views.flat(batch["rotation"])
        out[f"world{name}"] = jax.vmap(canonical.to_world)(out[f"camera{name}"], turn)
    if lifted.rotation is not None:
      off = jax.vmap(canonical.angle_between)(lifted.rotation, wanted.rotation)
      out["rotation_error_deg"] = off * (180.0 / jnp.pi)
    out = {name: x.reshape(*shape, *x.shape[1:]) for name, x in out.items()}
    if "world_truth" in out:
      out["world_truth"] = out["world_truth"][:, 0]  # the same of every view
    return out

  return task.Task(init, loss, predict, network.describe(config, kind), evaluation.build(config))


def _mse(
  lifted: network.Lifted,
  camera: jax.Array | None,
  truth: poses.Truth,
  seen: views.Seen,
) -> jax.Array:
  """The original's loss of each view, [n]: mean squared errors of the outputs, invisible joints
  as zeros."""
  del camera
  values = jnp.zeros(len(seen.uv))
  for pose, true in ((lifted.camera, truth.camera), (lifted.canonical, truth.canonical)):
    if pose is not None:
      values = values + jnp.mean(jnp.square((pose - true) * seen.visible[:, :, None]), (1, 2))
  if lifted.rotation is not None:
    values = values + jnp.mean(jnp.square(lifted.rotation - truth.rotation), (1, 2))
  return values


def _l1(
  lifted: network.Lifted,
  camera: jax.Array | None,
  truth: poses.Truth,
  seen: views.Seen,
) -> jax.Array:
  """Mean absolute differences of each view, [n], of all joints: hidden ones have labels too.

  Of what the network tells, and where that gives no pose in the camera's axes by itself, of what
  pose and rotation give together.
  """
  del seen
  told = (camera, truth.camera), (lifted.canonical, truth.canonical)
  told += ((lifted.rotation, truth.rotation),)
  return sum(jnp.mean(jnp.abs(x - true), (1, 2)) for x, true in told if x is not None)


def _heatmap_loss(heatmap: jax.Array, uv: jax.Array, *, sigma: float) -> jax.Array:
  """Cross-entropy of one heatmap [h w] against a Gaussian at uv [2] network px, []."""
  target = heatmaps.gaussian_target(uv, size_hw=heatmap.shape, stride=models.STRIDE, sigma=sigma)
  return losses.heatmap_cross_entropy(heatmap.astype(jnp.float32), target)

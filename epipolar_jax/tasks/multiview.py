"""Heatmaps in every view, fused along epipolar lines; joints by triangulation."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from epipolar_jax import heatmaps, losses, models
from epipolar_jax.geometry import affine, cameras, robust, triangulation
from epipolar_jax.tasks import task

# Of torchvision's ImageNet models, for RGB in [0, 1]; [b v h w 3].
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 1, 1, 1, 3)
_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 1, 1, 1, 3)


def build(config: ml_collections.ConfigDict, axis_name: str | None) -> task.Task:
  """The task of a config with `task = "multiview"`; arguments as of `tasks.build`."""
  model = models.build(config.model, axis_name=axis_name)
  if config.model.fusion.merge == "heatmaps" and config.train.loss != "cross_entropy":
    raise ValueError(
      "model.fusion.merge 'heatmaps' adds logarithms of probabilities, which only train.loss "
      f"'cross_entropy' makes; got {config.train.loss!r}"
    )
  size, sigma = config.data.image_size, config.heatmap.sigma
  joint_loss = _joint_loss(config.train.loss, sigma)
  decode = _decoder(config.heatmap.decode, sigma)
  triangulate = _triangulator(config.eval.triangulation)

  def apply(variables: task.Variables, batch: task.Batch, train: bool):
    return model.apply(
      variables,
      _normalize(batch),
      *_crop_cameras(batch),
      train=train,
      mutable=["batch_stats"] if train else False,
    )

  @jax.jit
  def init(key: jax.Array) -> task.Variables:
    # Two views: the parameters do not depend on their number.
    images = jnp.zeros((1, 2, size, size, 3))
    eye = jnp.broadcast_to(jnp.eye(3), (1, 2, 3, 3))
    translation = jnp.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    return dict(model.init(key, images, eye, eye, translation, train=False))

  def loss(variables: task.Variables, batch: task.Batch, key: jax.Array):
    del key  # nothing is drawn
    outputs, updated = apply(variables, batch, train=True)
    uv = _crop_joints(batch)
    seen = jnp.all((uv >= 0) & (uv <= size - 1), -1) & batch["valid"][:, None, None]
    values = _map_joints(joint_loss)(jnp.moveaxis(outputs["heatmaps"], -1, 2), uv)
    weight = seen.astype(jnp.float32)
    return jnp.sum(values * weight), jnp.sum(weight), updated["batch_stats"]

  def predict(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    maps = apply(variables, batch, train=False)["heatmaps"]
    uv, score = _map_joints(decode)(jnp.moveaxis(maps, -1, 2))
    points, valid = triangulate(uv, score, *_crop_cameras(batch))
    return {"joints_2d": uv, "score": score, "joints_3d": points, "joint_valid": valid}

  def inspect(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    maps = apply(variables, batch, train=False)["heatmaps"]
    if config.heatmap.decode == "softmax":
      maps = jax.nn.softmax(maps, axis=(2, 3))
    seen = predict(variables, batch) | {"heatmaps": maps}
    return seen if config.model.fusion.merge == "none" else seen | attention(variables, batch)

  def attention(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    # Any view may look at any other, unless fused features went into the layer that is looked at.
    shown = model if config.model.fusion.merge == "both" else model.clone(sources="all")
    outputs, left = shown.apply(
      variables, _normalize(batch), *_crop_cameras(batch), train=False, mutable=["intermediates"]
    )
    count = 1 if model.sources == "nearest" else None
    return {
      "others": outputs["source"],
      "source": outputs["source"][..., :count],
      "weights": left["intermediates"]["weights"],
    }

  return task.Task(init, loss, predict, _describe(config), inspect)


def _describe(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a checkpoint's weights depend on; stored with it and compared on restore."""
  model = config.model.to_dict()
  for name in ("dtype", "head_init_std", "init", "bn_momentum"):
    del model[name]
  del model["fusion"]["algorithm"]
  if model["fusion"]["sources"] == "nearest":
    # Checkpoints from before this option do not name it.
    del model["fusion"]["sources"]
  return {"task": config.task, "model": model}


def _normalize(batch: task.Batch) -> jax.Array:
  """The pictures as the network wants them, [b v h w 3] float32."""
  return (batch["image"].astype(jnp.float32) / 255.0 - _MEAN) / _STD


def _crop_cameras(batch: task.Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
  """K of the network input [b v 3 3], R [b v 3 3], t [b v 3]."""
  intrinsics = jax.vmap(jax.vmap(cameras.crop_intrinsics))(batch["crop"], batch["intrinsics"])
  return intrinsics, batch["rotation"], batch["translation"]


def _crop_joints(batch: task.Batch) -> jax.Array:
  """True joints in network px, [b v j 2]."""
  return jax.vmap(jax.vmap(affine.apply))(batch["crop"], batch["joints_2d"])


def _map_joints(function: Callable[..., Any]) -> Callable[..., Any]:
  """Maps a function of one joint's arrays over [b v j ...]."""
  return jax.vmap(jax.vmap(jax.vmap(function)))


def _joint_loss(name: str, sigma: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """The loss of one heatmap [h w] for a joint at `uv` [2] network px, []."""
  makers = {
    # The original's targets have a floor of 0.01; a distribution must not.
    "joint": (losses.mse, True),
    "smooth_mse": (losses.smooth_mse, True),
    "cross_entropy": (losses.heatmap_cross_entropy, False),
  }
  compare, floor = task.choose(makers, name, "train.loss")

  def loss(heatmap: jax.Array, uv: jax.Array) -> jax.Array:
    target = heatmaps.gaussian_target(
      uv, size_hw=heatmap.shape, stride=models.STRIDE, sigma=sigma, floor=floor
    )
    return compare(heatmap.astype(jnp.float32), target)

  return loss


def _decoder(name: str, sigma: float) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
  """From one heatmap [h w] to (u, v) network px and a score that weights the view."""
  decoders = {
    "peak": functools.partial(heatmaps.decode_peak, radius=sigma, stride=models.STRIDE),
    "softmax": functools.partial(
      heatmaps.decode_softmax, radius=2.5 * sigma / models.STRIDE, stride=models.STRIDE
    ),
  }
  return task.choose(decoders, name, "heatmap.decode")


def _triangulator(name: str) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """From uv [b v j 2], score [b v j] and cameras to points [b j 3] mm and valid [b j]."""
  methods = {"dlt": triangulation.dlt, "pymvg": _pymvg, "robust": _robust}
  one_joint = task.choose(methods, name, "eval.triangulation")

  def one_frame(uv: jax.Array, score: jax.Array, *camera: jax.Array):
    # A peak may be below zero in the parity decoder; such a view does not count.
    weight = jnp.maximum(score, 0.0)
    return jax.vmap(lambda p, w: one_joint(p, *camera, weight=w), in_axes=1)(uv, weight)

  return jax.vmap(one_frame)


def _pymvg(points: jax.Array, *camera: jax.Array, weight: jax.Array):
  """The original's triangulation: all views that score above 0.05, equally weighted."""
  chosen = triangulation.select_views(weight, threshold=0.05)
  return triangulation.dlt(points, *camera, weight=chosen.astype(jnp.float32), world_norm=True)


def _robust(points: jax.Array, *camera: jax.Array, weight: jax.Array):
  """Robust minimisation of the reprojection error, views weighted by their scores."""
  result = robust.robust(points, *camera, weight=weight)
  return result.point, result.valid

"""Heatmaps in every view, fused along epipolar lines; joints by triangulation."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from epipolar_jax import heatmaps, limb_priors, losses, models, reconstruction, skeletons
from epipolar_jax.geometry import affine, cameras, ransac
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
  reconstruct = _reconstructor(config)

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
    seen = jnp.all((uv >= 0) & (uv <= size - 1), -1) & batch["labelled"][:, None]
    seen = seen & batch["valid"][:, None, None]
    values = _map_joints(joint_loss)(jnp.moveaxis(outputs["heatmaps"], -1, 2), uv)
    weight = seen.astype(jnp.float32)
    return jnp.sum(values * weight), jnp.sum(weight), updated["batch_stats"]

  def predict(variables: task.Variables, batch: task.Batch) -> dict[str, Any]:
    outputs = apply(variables, batch, train=False)
    maps = jnp.moveaxis(outputs["heatmaps"], -1, 2)
    uv, score = _map_joints(decode)(maps)
    found = {"joints_2d": uv, "score": score, "peak": _map_joints(_peak)(maps)}
    if "match" in outputs:
      found |= _matches(outputs, uv)
    views = reconstruction.Views(
      uv, score, *_crop_cameras(batch), found.get("match"), found.get("neighbour")
    )
    return found | reconstruct(views, maps, batch)

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


def _peak(heatmap: jax.Array) -> jax.Array:
  """(u, v) [2] of the maximum of [h w], whole map px."""
  row, column = jnp.unravel_index(jnp.argmax(heatmap), heatmap.shape)
  return jnp.stack([column, row])


def _matches(outputs: dict[str, jax.Array], uv: jax.Array) -> dict[str, jax.Array]:
  """Where the nearest view saw what is at uv [b v j 2]: match [b v j 2] px, neighbour [b v]."""
  look_up = functools.partial(ransac.look_up_match, stride=models.STRIDE)
  each_view = jax.vmap(jax.vmap(jax.vmap(look_up, (None, 0))))
  return {"match": each_view(outputs["match"][:, :, 0], uv), "neighbour": outputs["source"][..., 0]}


def methods(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """The names in `eval.triangulation`, the main one first."""
  return tuple(name.strip() for name in config.eval.triangulation.split(","))


def _reconstructor(config: ml_collections.ConfigDict) -> Callable[..., dict[str, Any]]:
  """From `Views`, maps [b v j h w] and the batch to 3D by every method of `eval.triangulation`.

  The function returns joints_3d [b j 3] mm and joint_valid [b j] of the first method, and
  `methods`, the same of each by name.

  Raises:
    ValueError: unknown names, or a method that needs what this model or config does not have.
  """
  names = methods(config)
  locate = {name: _method(config, name) for name in names}
  choices = {"triangulated": False, "truth": True}
  true_root = task.choose(choices, config.eval.rpsm_root, "eval.rpsm_root")

  def reconstruct(views: reconstruction.Views, maps: jax.Array, batch: task.Batch):
    if any(map(reconstruction.needs_heatmaps, names)):
      views = views._replace(heatmaps=_positive(maps, views.score, config.heatmap.decode))
      if true_root:
        root = skeletons.by_num_joints(config.model.num_joints).root
        views = views._replace(root=batch["joints_3d"][:, root])
    found = {name: locate[name](views) for name in names}
    found = {name: {"joints_3d": j.points, "joint_valid": j.valid} for name, j in found.items()}
    return found[names[0]] | {"methods": found}

  return reconstruct


def _method(config: ml_collections.ConfigDict, name: str) -> Callable[..., reconstruction.Joints]:
  """One method of `eval.triangulation`, with the options of the config."""
  if reconstruction.needs_match(name) and config.model.fusion.merge == "none":
    raise ValueError(
      f"eval.triangulation {name!r} uses epipolar matches, but model.fusion.merge is 'none': "
      "choose dlt, robust, pymvg, naive or refine"
    )
  skeleton, lengths = skeletons.by_num_joints(config.model.num_joints), None
  if reconstruction.needs_heatmaps(name):
    if not config.eval.limb_priors:
      raise ValueError(
        f"eval.triangulation {name!r} needs limb lengths: set eval.limb_priors to a file that "
        "python -m epipolar_jax.tools.limb_priors wrote"
      )
    lengths = limb_priors.read(config.eval.limb_priors, skeleton).mean_mm
  try:
    return reconstruction.make(
      name,
      skeleton=skeleton,
      stride=models.STRIDE,
      limb_length=lengths,
      tolerance_px=config.data.image_size / 16,
      threshold_mm=config.eval.ransac_mm,
      confidence=config.eval.confidence,
    )
  except ValueError as error:
    raise ValueError(f"eval.triangulation: {error}") from error


def _positive(maps: jax.Array, score: jax.Array, decode: str) -> jax.Array:
  """Maps [b v j h w] of at least 0 whose peak is the score [b v j]."""
  if decode == "peak":
    return jnp.maximum(maps, 0.0)
  peak = jnp.max(maps, axis=(-2, -1), keepdims=True)
  return jnp.exp(maps - peak) * score[..., None, None]

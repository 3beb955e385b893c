"""Heatmaps in every view, fused along epipolar lines; joints by triangulation."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from epipolar_jax import heatmaps, losses, models, skeletons, triangulation
from epipolar_jax.geometry import affine
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import fusion, placement
from epipolar_jax.tasks import task
from epipolar_jax.triangulation import consensus, limb_priors


def build(config: ml_collections.ConfigDict, axis_name: str | None) -> task.Task:
  """The task of a config with `task = "multiview"`; arguments as of `tasks.build`."""
  model = models.build(config.model, config.parity, axis_name=axis_name)
  place = _placement(config)
  if place.logits and config.train.loss != "cross_entropy":
    raise ValueError(
      f"model.fusion.merge {config.model.fusion.merge!r} adds logarithms of probabilities, which "
      f"only train.loss 'cross_entropy' makes; got {config.train.loss!r}"
    )
  size, sigma = config.data.image_size, config.heatmap.sigma
  heatmap_loss = _heatmap_loss(config)
  consistency_loss = _consistency_loss(config)
  decode = _decoder(config.heatmap.decode, sigma, edge_aligned=config.parity.edge_aligned)
  reconstruct = _reconstructor(config)

  def normalize(batch: task.Batch) -> jax.Array:
    """The pictures as the network wants them, [b v h w 3] float32."""
    return task.normalize_images(batch["image"], bgr=config.parity.bgr)

  def choose_sources(batch: task.Batch, rule: str, keys: jax.Array | None = None):
    """The views [b v m] that each view looks at; None without fusion."""
    choose = functools.partial(fusion.choose_sources, rule=rule)
    if not place.fuses:
      return None
    if keys is None:
      return jax.vmap(choose)(task.cameras(batch))
    return jax.vmap(lambda frame, key: choose(frame, key=key))(task.cameras(batch), keys)

  def look(variables: task.Variables, batch: task.Batch, source: jax.Array | None):
    return model.apply(variables, normalize(batch), task.crop_cameras(batch), source, train=False)

  def apply(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    outputs = look(variables, batch, choose_sources(batch, config.model.fusion.sources))
    if not (place.fuses and config.eval.multitest):
      return outputs
    # One source view at a time; the backbone runs once, since it does not depend on it.
    others = jnp.moveaxis(choose_sources(batch, "all"), -1, 0)[..., None]
    maps = jax.vmap(lambda source: look(variables, batch, source)["heatmaps"])(others)
    return outputs | {"heatmaps": _most_confident(maps, decode)}

  @jax.jit
  def init(key: jax.Array) -> task.Variables:
    # Two views: the parameters do not depend on their number.
    images = jnp.zeros((1, 2, size, size, 3))
    eye = jnp.broadcast_to(jnp.eye(3), (1, 2, 3, 3))
    apart = Cameras(eye, eye, jnp.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]))
    return dict(model.init(key, images, apart, train=False))

  def loss(variables: task.Variables, batch: task.Batch, key: jax.Array):
    keys = task.frame_keys(key, len(batch["valid"]), axis_name=axis_name)
    outputs, updated = model.clone(consistency=consistency_loss is not None).apply(
      variables,
      normalize(batch),
      task.crop_cameras(batch),
      choose_sources(batch, config.model.fusion.sources, keys),
      train=True,
      mutable=["batch_stats"],
    )
    uv = _crop_joints(batch)
    known = batch["labelled"] & batch["valid"][:, None, None]
    # A place without a label may be anything: it must reach neither the loss nor its gradient.
    uv = jnp.where(known[..., None], uv, 0.0)
    seen = jnp.all((uv >= 0) & (uv <= size - 1), -1) & known
    maps = jnp.moveaxis(outputs["heatmaps"], -1, 2)
    total, weight = heatmap_loss(maps, uv, seen, known)
    if consistency_loss is not None:
      # A mean over the pixels of all devices, in a sum that will be divided by all weights.
      extra, count = consistency_loss(outputs, batch["valid"])
      total += everywhere(weight) * extra / jnp.maximum(everywhere(count), 1.0)
    return total, weight, updated["batch_stats"]

  def everywhere(value: jax.Array) -> jax.Array:
    """The sum over devices."""
    return value if axis_name is None else jax.lax.psum(value, axis_name)

  def predict(variables: task.Variables, batch: task.Batch) -> dict[str, Any]:
    outputs = apply(variables, batch)
    maps = jnp.moveaxis(outputs["heatmaps"], -1, 2)
    uv, score = _map_joints(decode)(maps)
    found = {"joints_2d": uv, "score": score, "peak": _map_joints(_peak)(maps)}
    if "match" in outputs:
      found |= _matches(outputs, uv)
    views = triangulation.Views(
      uv, score, task.crop_cameras(batch), found.get("match"), found.get("neighbour")
    )
    return found | reconstruct(views, maps, batch)

  def inspect(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    maps = apply(variables, batch)["heatmaps"]
    if config.heatmap.decode == "softmax":
      maps = jax.nn.softmax(maps, axis=(2, 3))
    seen = predict(variables, batch) | {"heatmaps": maps}
    return seen | attention(variables, batch) if place.fuses else seen

  def attention(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    # Any view may look at any other, unless fused features went into the layer that is looked at.
    source = choose_sources(batch, config.model.fusion.sources)
    shown = choose_sources(batch, "all") if place.pairwise else source
    _, left = model.apply(
      variables,
      normalize(batch),
      task.crop_cameras(batch),
      shown,
      train=False,
      mutable=["intermediates"],
    )
    seen = {"others": shown, "source": source}
    if not place.heatmaps:
      return seen | {"weights": left["intermediates"]["weights"]}
    own = left["intermediates"]["heatmap_fusion"]["evidence"]
    sharpness = variables["params"]["heatmap_fusion"]["sharpness"]
    return seen | {
      "evidence": own,
      "sharpness": jnp.broadcast_to(sharpness, (len(own), *sharpness.shape)),
    }

  return task.Task(init, loss, predict, _describe(config), inspect)


def _placement(config: ml_collections.ConfigDict) -> placement.Placement:
  return placement.PLACEMENTS[config.model.fusion.merge]


def _describe(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a checkpoint's weights depend on; stored with it and compared on restore."""
  model = config.model.to_dict() | skeletons.describe(skeletons.of_model(config.model))
  if isinstance(model.get("skeleton"), str):
    del model["skeleton"]
  for name in ("dtype", "head_init_std", "init", "bn_momentum"):
    del model[name]
  group, parity = model["fusion"], config.parity
  del group["algorithm"]
  # The names of the first checkpoints.
  group["early_source"] = "late" if parity.late_source else "early"
  group["zero_means_outside"] = parity.zero_means_outside
  group["sampling"] = models.sampling(parity)
  if group["sources"] != "all":
    # One source view at a time: which one does not matter to the weights.
    del group["sources"]
  # What came later is named only when it is in use.
  if model["share_weights"]:
    del model["share_weights"]
  if group["compare"] == "features":
    del group["compare"]
  used = {name: True for name in ("bgr", "lost_lines") if parity[name]}
  return {"task": config.task, "model": model} | ({"parity": used} if used else {})


def _crop_joints(batch: task.Batch) -> jax.Array:
  """True joints in network px, [b v j 2]."""
  return jax.vmap(jax.vmap(affine.apply))(batch["crop"], batch["joints_2d"])


def _map_joints(function: Callable[..., Any]) -> Callable[..., Any]:
  """Maps a function of one joint's arrays over [b v j ...]."""
  return jax.vmap(jax.vmap(jax.vmap(function)))


def _most_confident(maps: jax.Array, decode: Callable[..., Any]) -> jax.Array:
  """Of maps [m b v h w j], by source view, those [b v h w j] that decode to the highest score."""
  _, score = jax.vmap(_map_joints(decode))(jnp.moveaxis(maps, -1, 3))
  best = jnp.argmax(score, axis=0)[None, :, :, None, None, :]
  return jnp.take_along_axis(maps, best, axis=0)[0]


def _heatmap_loss(config: ml_collections.ConfigDict) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """From maps [b v j h w], joints uv [b v j 2] px, seen [b v j] and known to (sum, weight).

  `known` is [b v j], or [b j] where all views know the same joints.

  Their quotient is the original's loss of the same name: `joint` counts unseen joints as zeros,
  `smooth_mse` averages over the seen ones, `mse` compares the maps of all known joints.
  """
  names = {
    "joint": (losses.mse, True, False),
    "smooth_mse": (losses.smooth_mse, True, True),
    "mse": (losses.mse, False, False),
    "cross_entropy": (losses.heatmap_cross_entropy, True, True),
  }
  compare, only_seen, per_seen = task.choose(names, config.train.loss, "train.loss")
  floor = config.parity.target_floor
  if floor and config.train.loss == "cross_entropy":
    raise ValueError("parity.target_floor is for squared losses: a distribution has no floor")

  def one_joint(heatmap: jax.Array, uv: jax.Array) -> jax.Array:
    target = heatmaps.gaussian_target(
      uv, size_hw=heatmap.shape, stride=models.STRIDE, sigma=config.heatmap.sigma, floor=floor
    )
    return compare(heatmap.astype(jnp.float32), target)

  def loss(maps: jax.Array, uv: jax.Array, seen: jax.Array, known: jax.Array):
    values = _map_joints(one_joint)(maps, uv)
    known = known[:, None] if known.ndim < seen.ndim else known
    every = jnp.broadcast_to(known, seen.shape).astype(jnp.float32)
    seen = seen.astype(jnp.float32)
    weight = jnp.sum(seen if per_seen else every)
    factor = values.shape[-1] if config.train.loss_per_joint else 1
    return factor * jnp.sum(values * (seen if only_seen else every)), weight

  return loss


def _consistency_loss(
  config: ml_collections.ConfigDict,
) -> Callable[..., tuple[jax.Array, jax.Array]] | None:
  """From the network's outputs and valid [b] to (sum, count) of the weighted consistency losses.

  None when both weights are 0.
  """
  train = config.train
  if not (train.reprojection_weight or train.similarity_weight):
    return None
  if not _placement(config).matches:
    raise ValueError(
      "train.reprojection_weight and train.similarity_weight look at fused features: "
      f"model.fusion.merge must be early, late or both, not {config.model.fusion.merge!r}"
    )

  def loss(outputs: dict[str, jax.Array], valid: jax.Array):
    size_hw = outputs["heatmaps"].shape[2:4]
    distance = functools.partial(losses.reprojection, size_hw=size_hw)
    values = train.reprojection_weight * _map_joints(distance)(outputs["returned"])
    values += train.similarity_weight * (1.0 - outputs["similarity"])
    mask = outputs["valid"] & valid[:, None, None, None]
    return jnp.sum(jnp.where(mask, values, 0.0)), jnp.sum(mask.astype(jnp.float32))

  return loss


def _decoder(
  name: str, sigma: float, *, edge_aligned: bool
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
  """From one heatmap [h w] to (u, v) network px and a score that weights the view."""
  decoders = {
    "peak": functools.partial(
      heatmaps.decode_peak, radius=sigma, stride=models.STRIDE, align_corners=not edge_aligned
    ),
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
  look_up = functools.partial(consensus.look_up_match, stride=models.STRIDE)
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

  def reconstruct(views: triangulation.Views, maps: jax.Array, batch: task.Batch):
    if any(triangulation.METHODS[name].needs_heatmaps for name in names):
      views = views._replace(heatmaps=_positive(maps, views.score, config.heatmap.decode))
      if true_root:
        root = skeletons.of_model(config.model).root
        views = views._replace(root=batch["joints_3d"][:, root])
    found = {name: locate[name](views) for name in names}
    found = {name: {"joints_3d": j.points, "joint_valid": j.valid} for name, j in found.items()}
    return found[names[0]] | {"methods": found}

  return reconstruct


def _method(config: ml_collections.ConfigDict, name: str) -> Callable[..., triangulation.Joints]:
  """One method of `eval.triangulation`, with the options of the config."""
  # An unknown name is told by `make`.
  method = triangulation.METHODS.get(name)
  if method and method.needs_match and not _placement(config).matches:
    raise ValueError(
      f"eval.triangulation {name!r} uses matches of features, which model.fusion.merge "
      f"{config.model.fusion.merge!r} does not have: choose dlt, robust, pymvg, naive or refine"
    )
  skeleton, lengths = skeletons.of_model(config.model), None
  if method and method.needs_heatmaps:
    if not config.eval.limb_priors:
      raise ValueError(
        f"eval.triangulation {name!r} needs limb lengths: set eval.limb_priors to a file that "
        "python -m epipolar_jax.tools.limb_priors wrote"
      )
    lengths = limb_priors.read(config.eval.limb_priors, skeleton).mean_mm
  try:
    return triangulation.make(
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

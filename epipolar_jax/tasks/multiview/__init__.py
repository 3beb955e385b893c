"""Heatmaps in every view, fused along epipolar lines; joints by triangulation."""

import functools
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections

from epipolar_jax import models, skeletons, triangulation
from epipolar_jax.geometry import affine
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import fusion
from epipolar_jax.models.fusion import features, lines
from epipolar_jax.tasks import task
from epipolar_jax.tasks.multiview import evaluation, objective, reconstruction
from epipolar_jax.triangulation import consensus


def build(config: ml_collections.ConfigDict, axis_name: str | None) -> task.Task:
  """The task of a config with `task = "multiview"`; arguments as of `tasks.build`."""
  model = models.build(config.model, config.parity, axis_name=axis_name)
  place = fusion.of_model(config.model)
  if place.logits and config.train.loss != "cross_entropy":
    raise ValueError(
      f"model.fusion.merge {config.model.fusion.merge!r} adds logarithms of probabilities, which "
      f"only train.loss 'cross_entropy' makes; got {config.train.loss!r}"
    )
  size, sigma = config.data.image_size, config.heatmap.sigma
  heatmap_loss = objective.heatmap_loss(config)
  consistency_loss = objective.consistency_loss(config)
  decode = reconstruction.decoder(
    config.heatmap.decode, sigma, edge_aligned=config.parity.edge_aligned
  )
  reconstruct = reconstruction.reconstructor(config)

  def normalize(batch: task.Batch) -> jax.Array:
    """The images as the network wants them, [b v h w 3] float32."""
    return task.normalize_images(batch["image"], bgr=config.parity.bgr)

  def choose_sources(batch: task.Batch, rule: str, keys: jax.Array | None = None):
    """The views [b v m] that each view looks at; None without fusion."""
    if not place.layers:
      return None

    def choose(cameras, key, present):
      return lines.choose_sources(cameras, rule=rule, key=key, present=present)

    return jax.vmap(choose)(task.cameras(batch), keys, batch.get("present"))

  def look(variables: task.Variables, batch: task.Batch, source: jax.Array | None):
    return model.apply(
      variables,
      normalize(batch),
      task.crop_cameras(batch),
      source,
      batch.get("present"),
      train=False,
    )

  def apply(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    outputs = look(variables, batch, choose_sources(batch, config.model.fusion.sources))
    if not (place.layers and config.eval.multitest):
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
    variables = model.init(key, images, apart, train=False)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

  def loss(variables: task.Variables, batch: task.Batch, key: jax.Array):
    keys = task.frame_keys(key, len(batch["valid"]), axis_name=axis_name)
    outputs, updated = model.clone(consistency=consistency_loss is not None).apply(
      variables,
      normalize(batch),
      task.crop_cameras(batch),
      choose_sources(batch, config.model.fusion.sources, keys),
      batch.get("present"),
      train=True,
      mutable=["batch_stats"],
    )
    uv = _crop_joints(batch)
    known = batch["labelled"] & batch["valid"][:, None, None]
    # A place without a label may be anything: it must reach neither the loss nor its gradient.
    uv = jnp.where(known[..., None], uv, 0.0)
    seen = jnp.all((uv >= 0) & (uv <= size - 1), -1) & known
    if "label_weight" in batch:
      seen, known = (x * batch["label_weight"] for x in (seen, known))
    maps = jnp.moveaxis(outputs["heatmaps"], -1, 2)
    total, weight = heatmap_loss(maps, uv, seen, known)
    if consistency_loss is not None:
      # A mean over the pixels of all devices, in a sum that will be divided by all weights.
      extra, count = consistency_loss(outputs, batch["valid"])
      total += everywhere(weight) * extra / jnp.maximum(everywhere(count), 1.0)
    return total, weight, updated.get("batch_stats", {})

  def everywhere(value: jax.Array) -> jax.Array:
    """The sum over devices."""
    return value if axis_name is None else jax.lax.psum(value, axis_name)

  def predict(variables: task.Variables, batch: task.Batch) -> dict[str, Any]:
    outputs = apply(variables, batch)
    maps = jnp.moveaxis(outputs["heatmaps"], -1, 2)
    uv, score = reconstruction.map_joints(decode)(maps)
    if "present" in batch:
      score = jnp.where(batch["present"][..., None], score, 0.0)
    found = {"joints_2d": uv, "score": score, "peak": reconstruction.map_joints(_peak)(maps)}
    if "match" in outputs:
      found |= _matches(outputs, uv)
    views = triangulation.Views(
      uv, score, _present_cameras(batch), found.get("match"), found.get("neighbour")
    )
    return found | reconstruct(views, maps, batch)

  def inspect(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    maps = apply(variables, batch)["heatmaps"]
    if config.heatmap.decode == "softmax":
      maps = jax.nn.softmax(maps, axis=(2, 3))
    seen = predict(variables, batch) | {"heatmaps": maps}
    return seen | attention(variables, batch) if place.layers else seen

  def attention(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    # Any view may look at any other, unless fused features went into the layer that is looked at.
    source = choose_sources(batch, config.model.fusion.sources)
    shown = choose_sources(batch, "all") if place.pairwise else source
    _, left = model.apply(
      variables,
      normalize(batch),
      task.crop_cameras(batch),
      shown,
      batch.get("present"),
      train=False,
      mutable=["intermediates"],
    )
    # What the network or a layer in it has left: weights, or evidence and sharpness.
    left = flax.traverse_util.flatten_dict(left.get("intermediates", {}))
    left = {path[-1]: value for path, value in left.items()}
    return left and left | {"others": shown, "source": source}

  return task.Task(init, loss, predict, _describe(config), evaluation.build(config), inspect)


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
  group["sampling"] = features.sampling_of(parity)
  if group["sources"] != "all":
    # One source view at a time: which one does not matter to the weights.
    del group["sources"]
  # What came later is named only when it is in use.
  if model.get("backbone", "resnet") == "resnet":
    model.pop("backbone", None)
  else:
    for name in ("backbone_depth", "width", "deconv_channels"):
      del model[name]
  if model["share_weights"]:
    del model["share_weights"]
  if group["compare"] == "features":
    del group["compare"]
  used = {name: True for name in ("bgr", "lost_lines") if parity[name]}
  return {"task": config.task, "model": model} | ({"parity": used} if used else {})


def _present_cameras(batch: task.Batch) -> Cameras:
  """The cameras of the crops; the first that is there in place of those that are not.

  A view without a score has no part in a point, but triangulation centres the world on all cameras.
  """
  cameras = task.crop_cameras(batch)
  if "present" not in batch:
    return cameras
  present = batch["present"]
  taken = jnp.where(
    present, jnp.arange(present.shape[1])[None], jnp.argmax(present, axis=1)[:, None]
  )
  return jax.vmap(lambda frame, index: frame[index])(cameras, taken)


def _crop_joints(batch: task.Batch) -> jax.Array:
  """True joints in network px, [b v j 2]."""
  return jax.vmap(jax.vmap(affine.apply))(batch["crop"], batch["joints_2d"])


def _matches(outputs: dict[str, jax.Array], uv: jax.Array) -> dict[str, jax.Array]:
  """Epipolar matches in the nearest view of uv [b v j 2]: match [b v j 2] px, neighbour [b v]."""
  look_up = functools.partial(consensus.look_up_match, stride=models.STRIDE)
  each_view = jax.vmap(jax.vmap(jax.vmap(look_up, (None, 0))))
  return {"match": each_view(outputs["match"][:, :, 0], uv), "neighbour": outputs["source"][..., 0]}


def _most_confident(maps: jax.Array, decode: Callable[..., Any]) -> jax.Array:
  """Of maps [m b v h w j], by source view, those [b v h w j] that decode to the highest score."""
  _, score = jax.vmap(reconstruction.map_joints(decode))(jnp.moveaxis(maps, -1, 3))
  best = jnp.argmax(score, axis=0)[None, :, :, None, None, :]
  return jnp.take_along_axis(maps, best, axis=0)[0]


def _peak(heatmap: jax.Array) -> jax.Array:
  """(u, v) [2] of the maximum of [h w], whole map px."""
  row, column = jnp.unravel_index(jnp.argmax(heatmap), heatmap.shape)
  return jnp.stack([column, row])

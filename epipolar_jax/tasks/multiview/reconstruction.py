"""From heatmaps of all views to 3D: decoding, and the triangulation methods a config names."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from epipolar_jax import heatmaps, models, skeletons, triangulation
from epipolar_jax.models import fusion
from epipolar_jax.tasks import task
from epipolar_jax.triangulation import limb_priors


def map_joints(function: Callable[..., Any]) -> Callable[..., Any]:
  """Maps a function of one joint's arrays over [b v j ...]."""
  return jax.vmap(jax.vmap(jax.vmap(function)))


def decoder(
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


def methods(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """The names in `eval.triangulation`, the main one first."""
  return tuple(name.strip() for name in config.eval.triangulation.split(","))


def reconstructor(config: ml_collections.ConfigDict) -> Callable[..., dict[str, Any]]:
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
  if method and method.needs_match and not fusion.of_model(config.model).matches:
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

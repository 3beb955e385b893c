"""From 2D joints of every view to joints in 3D: the table of methods.

  locate = triangulation.make("robust")
  joints = locate(triangulation.Views(joints_2d, score, cameras))

Works on any detector's output. `robust` is the most accurate of those without heatmaps;
`rpsm` also uses heatmaps and limb lengths. The others are the original's, for comparison.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax import skeletons
from epipolar_jax.triangulation import consensus, frames, linear
from epipolar_jax.triangulation.pictorial import method as pictorial
from epipolar_jax.triangulation.views import Joints, Views, each_joint

# Views that score more than this count for the original's triangulation.
_LEAST_SCORE = 0.05


class Options(NamedTuple):
  """What methods may be told; each reads what it needs.

  Attributes:
    skeleton: of the joints, for `rpsm`.
    stride: image pixels per map pixel, for `rpsm`.
    limb_length: [l], mm, in the order of `skeleton.limbs`, for `rpsm`.
    tolerance_px: reprojection error at which a view counts half in `robust` at first; then it is
      five times the frame's own median error (weighted as in the fit), and at least half of this. A
      badly calibrated rig is off everywhere, an outlier alone.
    threshold_mm: largest distance from a ray for `naive`, `refine` and `epipolar`; 35 as in the
      released run of the original, whose own default is 3.
    confidence: score above which a view is trusted by `epipolar` and `epipolar_dlt`.
  """

  skeleton: skeletons.Skeleton = skeletons.H36M_17
  stride: int = 4
  limb_length: Sequence[float] | None = None
  tolerance_px: float = 16.0
  threshold_mm: float = 35.0
  confidence: float = 0.85


@dataclasses.dataclass(frozen=True)
class Method:
  """A way from `Views` to `Joints`.

  Attributes:
    build: from `Options` to the function; it raises ValueError when they lack what it needs.
    needs_match: it uses `match` and `neighbour`.
    needs_heatmaps: it uses `heatmaps`.
  """

  build: Callable[[Options], Callable[[Views], Joints]]
  needs_match: bool = False
  needs_heatmaps: bool = False


def make(name: str, **options) -> Callable[[Views], Joints]:
  """The method of a name in `METHODS`, jitted; for the same options the same function.

  Args:
    name: `dlt` weighted by the scores; `dlt_unweighted` all views that saw the joint alike;
      `robust` down-weights outliers and trusts scores only as far as they predict the frame's
      errors, and takes its joints to be one person's; and the original's: `pymvg` all views above a
      score of 0.05 alike (with fewer than two the threshold is lowered); `naive` the pair of views
      with the most inliers; `refine` those inliers together; `epipolar` and `epipolar_dlt` also
      fall back on the epipolar match of one view; `rpsm` the recursive pictorial structure model.
    **options: fields of `Options`.

  Returns:
    A function of `Views`, which raises ValueError when they lack what the method needs.

  Raises:
    ValueError: there is no such method, or limb lengths are missing or of another skeleton.
  """
  if name not in METHODS:
    raise ValueError(f"no method {name!r}; there are {', '.join(sorted(METHODS))}")
  chosen = Options(**options)
  if chosen.limb_length is not None:
    chosen = chosen._replace(limb_length=tuple(float(x) for x in chosen.limb_length))
  return _locate(name, chosen)


@functools.cache
def _locate(name: str, options: Options) -> Callable[[Views], Joints]:
  method = METHODS[name]
  function = method.build(options)

  @jax.jit
  def locate(views: Views) -> Joints:
    if method.needs_match and (views.match is None or views.neighbour is None):
      raise ValueError(f"{name} needs `match` and `neighbour`, which only epipolar fusion gives")
    if method.needs_heatmaps and views.heatmaps is None:
      raise ValueError(f"{name} needs `heatmaps`")
    return function(views)

  return locate


def _linear(weigh: Callable[[jax.Array], jax.Array], *, world_norm: bool = False):
  """DLT with weights [v] from scores [v]."""

  def one(points, score, match, frame):
    weight = weigh(score).astype(points.dtype)
    point, valid = linear.dlt(points, frame.cameras, weight=weight, world_norm=world_norm)
    used = (weight > 0) & jnp.all(jnp.isfinite(points), axis=-1) & valid
    return point, valid, used.astype(points.dtype)

  return each_joint(one)


def _chosen(score: jax.Array) -> jax.Array:
  """The original's choice of views, but never one that did not see the joint."""
  return linear.select_views(score, threshold=_LEAST_SCORE) & (score > 0)


def _consensus(function: Callable[..., consensus.Consensus], threshold_mm: float):
  def one(points, score, match, frame):
    options = {"usable": score > _LEAST_SCORE, "threshold_mm": threshold_mm, "world_norm": True}
    found = function(points, frame.cameras, **options)
    return found.point, found.valid, found.inlier.astype(points.dtype)

  return each_joint(one)


def _with_match(function: Callable[..., consensus.Consensus], **options):
  def one(points, score, match, frame):
    own = {"score": score, "match": match, "neighbour": frame.neighbour, "world_norm": True}
    found = function(points, frame.cameras, **own, **options)
    return found.point, found.valid, found.inlier.astype(points.dtype)

  return each_joint(one)


METHODS = {
  "dlt": Method(lambda options: _linear(lambda score: score)),
  "dlt_unweighted": Method(lambda options: _linear(lambda score: score > 0)),
  "robust": Method(lambda options: frames.make_robust(options.tolerance_px)),
  "pymvg": Method(lambda options: _linear(_chosen, world_norm=True)),
  "naive": Method(lambda options: _consensus(consensus.naive, options.threshold_mm)),
  "refine": Method(lambda options: _consensus(consensus.refine, options.threshold_mm)),
  "epipolar": Method(
    lambda options: _with_match(
      consensus.epipolar, confidence=options.confidence, threshold_mm=options.threshold_mm
    ),
    needs_match=True,
  ),
  "epipolar_dlt": Method(
    lambda options: _with_match(consensus.epipolar_dlt, confidence=options.confidence),
    needs_match=True,
  ),
  "rpsm": Method(
    lambda options: pictorial.make_pictorial(
      skeleton=options.skeleton,
      stride=options.stride,
      limb_length=options.limb_length,
      tolerance_px=options.tolerance_px,
    ),
    needs_heatmaps=True,
  ),
}

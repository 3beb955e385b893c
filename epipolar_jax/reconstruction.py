"""From what the network says of every view to joints in 3D: every method, by name.

  locate = reconstruction.make("robust")
  joints = locate(reconstruction.Views(joints_2d, score, intrinsics, rotation, translation))

Works on any detector's output. `robust` is the best of those that look at positions only; `rpsm`
also looks at the heatmaps and at limb lengths. The others are the original's, for comparison.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax import skeletons
from epipolar_jax.geometry import ransac, robust, triangulation
from epipolar_jax.pictorial import model as pictorial

# Views that score more than this count for the original's triangulation.
_LEAST_SCORE = 0.05
# The noise `robust` is told of; its point depends on the tolerance in pixels alone.
_SIGMA_PX = 2.0


class Views(NamedTuple):
  """What is known of b frames.

  Attributes:
    joints_2d: [b, v, j, 2], px; NaN is as good as a score of 0.
    score: [b, v, j]; weights a view in `dlt` and `robust`, chooses views in the original's methods;
      0 or less: the view says nothing of the joint.
    intrinsics: [b, v, 3, 3], K of those pixels.
    rotation: [b, v, 3, 3], R_cw.
    translation: [b, v, 3], t_cw, mm.
    match: [b, v, j, 2], px in the neighbour's image, where the epipolar attention saw the joint;
      needed by `epipolar` and `epipolar_dlt`.
    neighbour: [b, v], int, the view each view looked at; likewise.
    heatmaps: [b, v, j, h, w], at least 0; needed by `rpsm`.
    root: [b, 3], world, mm, middle of the grid of `rpsm`; None: triangulated.
  """

  joints_2d: jax.Array
  score: jax.Array
  intrinsics: jax.Array
  rotation: jax.Array
  translation: jax.Array
  match: jax.Array | None = None
  neighbour: jax.Array | None = None
  heatmaps: jax.Array | None = None
  root: jax.Array | None = None


class Joints(NamedTuple):
  """Joints of b frames.

  Attributes:
    points: [b, j, 3], world, mm; finite also when not valid.
    valid: [b, j], bool.
  """

  points: jax.Array
  valid: jax.Array


def make(
  name: str,
  *,
  skeleton: skeletons.Skeleton = skeletons.H36M_17,
  stride: int = 4,
  limb_length: jax.Array | None = None,
  tolerance_px: float = 16.0,
  threshold_mm: float = 35.0,
  confidence: float = 0.85,
) -> Callable[[Views], Joints]:
  """The method of a name, jitted.

  Args:
    name: `dlt` weighted by the scores; `dlt_unweighted` all views that score above 0; `robust`
      weighted, outliers lose their say; and the original's: `pymvg` all views above a score of 0.05
      alike (with fewer than two of them the threshold sinks, in the end below 0); `naive` the pair
      of views that most others agree with; `refine` those that agree together; `epipolar` and
      `epipolar_dlt` also fall back on the epipolar match of one view; `rpsm` the recursive
      pictorial structure model.
    skeleton: of the joints, for `rpsm`.
    stride: image pixels per map pixel, for `rpsm`.
    limb_length: [l], mm, in the order of `skeleton.limbs`, for `rpsm`.
    tolerance_px: reprojection error at which a view counts half in `robust`; a sixteenth of the
      side of a crop around a person bears calibrations that are a few pixels off.
    threshold_mm: largest distance from a ray for `naive`, `refine` and `epipolar`; 35 in the
      original's released run, 3 by default.
    confidence: score above which a view is trusted by `epipolar` and `epipolar_dlt`.

  Returns:
    A function of `Views`, which raises ValueError when they lack what the method needs.

  Raises:
    ValueError: there is no such method, or limb lengths are missing or of another skeleton.
  """
  methods = {
    "dlt": _each_joint(_dlt),
    "dlt_unweighted": _each_joint(_dlt_unweighted),
    "robust": _each_joint(_robust(tolerance_px)),
    "pymvg": _each_joint(_pymvg),
    "naive": _each_joint(_consensus(ransac.naive, threshold_mm)),
    "refine": _each_joint(_consensus(ransac.refine, threshold_mm)),
    "epipolar": _each_joint(
      _with_match(ransac.epipolar, confidence=confidence, threshold_mm=threshold_mm)
    ),
    "epipolar_dlt": _each_joint(_with_match(ransac.epipolar_dlt, confidence=confidence)),
  }
  if name not in (*methods, "rpsm"):
    raise ValueError(f"no method {name!r}; there are {', '.join(sorted([*methods, 'rpsm']))}")
  if name == "rpsm":
    number = None if limb_length is None else len(limb_length)
    if number != len(skeleton.limbs):
      raise ValueError(
        f"rpsm needs {len(skeleton.limbs)} limb lengths of {skeleton.name}, got {number}; "
        "learn them with python -m epipolar_jax.tools.limb_priors"
      )
    one_frame = _pictorial(skeleton, stride, jnp.asarray(limb_length, jnp.float32), tolerance_px)
  else:
    one_frame = methods[name]

  @jax.jit
  def locate(views: Views) -> Joints:
    if needs_match(name) and (views.match is None or views.neighbour is None):
      raise ValueError(f"{name} needs `match` and `neighbour`, which only epipolar fusion gives")
    if needs_heatmaps(name) and views.heatmaps is None:
      raise ValueError(f"{name} needs `heatmaps`")
    return jax.vmap(one_frame)(views)

  return locate


def needs_match(name: str) -> bool:
  """Whether a method looks at epipolar matches."""
  return name in ("epipolar", "epipolar_dlt")


def needs_heatmaps(name: str) -> bool:
  """Whether a method looks at heatmaps."""
  return name == "rpsm"


def _each_joint(one: Callable[..., tuple[jax.Array, jax.Array]]) -> Callable[[Views], Joints]:
  """A function of one joint (points [v, 2], score [v], match [v, 2], frame) for all of a frame."""

  def all_joints(frame: Views) -> Joints:
    # A peak may be below zero in the parity decoder; such a view does not count.
    score = jnp.maximum(frame.score, 0.0)
    match = jnp.zeros_like(frame.joints_2d) if frame.match is None else frame.match
    each = jax.vmap(lambda p, s, m: one(p, s, m, frame), in_axes=1)
    return Joints(*each(frame.joints_2d, score, match))

  return all_joints


def _cameras(frame: Views) -> tuple[jax.Array, jax.Array, jax.Array]:
  return frame.intrinsics, frame.rotation, frame.translation


def _dlt(points, score, match, frame):
  return triangulation.dlt(points, *_cameras(frame), weight=score)


def _dlt_unweighted(points, score, match, frame):
  weight = (score > 0).astype(points.dtype)
  return triangulation.dlt(points, *_cameras(frame), weight=weight, world_norm=True)


def _pymvg(points, score, match, frame):
  chosen = triangulation.select_views(score, threshold=_LEAST_SCORE)
  weight = chosen.astype(points.dtype)
  return triangulation.dlt(points, *_cameras(frame), weight=weight, world_norm=True)


def _robust(tolerance_px):
  def one(points, score, match, frame):
    found = robust.robust(
      points, *_cameras(frame), weight=score, sigma_px=_SIGMA_PX, tolerance=tolerance_px / _SIGMA_PX
    )
    return found.point, found.valid

  return one


def _consensus(function, threshold_mm):
  def one(points, score, match, frame):
    options = {"usable": score > _LEAST_SCORE, "threshold_mm": threshold_mm, "world_norm": True}
    found = function(points, *_cameras(frame), **options)
    return found.point, found.valid

  return one


def _with_match(function, **options):
  def one(points, score, match, frame):
    own = {"score": score, "match": match, "neighbour": frame.neighbour, "world_norm": True}
    found = function(points, *_cameras(frame), **own, **options)
    return found.point, found.valid

  return one


def _pictorial(
  skeleton: skeletons.Skeleton, stride: int, limb_length: jax.Array, tolerance_px: float
) -> Callable[[Views], Joints]:
  """The pictorial structure model; its grid stands around the root, or where the other joints are.

  Not valid when no joint at all can be triangulated.
  """
  triangulate = _each_joint(_robust(tolerance_px))

  def one_frame(frame: Views) -> Joints:
    found = triangulate(frame)
    number = jnp.maximum(jnp.sum(found.valid), 1)
    middle = jnp.sum(jnp.where(found.valid[:, None], found.points, 0.0), axis=0) / number
    root = jnp.where(found.valid[skeleton.root], found.points[skeleton.root], middle)
    placed = jnp.any(found.valid)
    if frame.root is not None:
      root, placed = frame.root, jnp.ones((), bool)
    pose = pictorial.rpsm(
      frame.heatmaps,
      *_cameras(frame),
      center=root,
      limb_length=limb_length,
      skeleton=skeleton,
      stride=stride,
    )
    valid = jnp.broadcast_to(pose.valid & placed, found.valid.shape)
    return Joints(jnp.where(valid[:, None], pose.joints, 0.0), valid)

  return one_frame

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
from epipolar_jax.geometry import cameras, linalg, ransac, robust, triangulation
from epipolar_jax.pictorial import model as pictorial

# Views that score more than this count for the original's triangulation.
_LEAST_SCORE = 0.05
# The noise `robust` is told of; its point depends on the tolerance in pixels alone.
_SIGMA_PX = 2.0
# The tolerance of a frame in medians of its own reprojection errors, and how often it is found.
_MEDIANS, _ROUNDS = 5.0, 2


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
    tolerance_px: reprojection error at which a view counts half in `robust` at first; then it is
      five times the frame's own median error (views weigh as in the fit), and at least half of
      this. A rig that is badly calibrated is off everywhere, an outlier alone.
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
    "robust": _robust(tolerance_px),
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
    method = _pictorial(skeleton, stride, jnp.asarray(limb_length, jnp.float32), tolerance_px)
  else:
    method = methods[name]

  @jax.jit
  def locate(views: Views) -> Joints:
    if needs_match(name) and (views.match is None or views.neighbour is None):
      raise ValueError(f"{name} needs `match` and `neighbour`, which only epipolar fusion gives")
    if needs_heatmaps(name) and views.heatmaps is None:
      raise ValueError(f"{name} needs `heatmaps`")
    return method(views)

  return locate


def needs_match(name: str) -> bool:
  """Whether a method looks at epipolar matches."""
  return name in ("epipolar", "epipolar_dlt")


def needs_heatmaps(name: str) -> bool:
  """Whether a method looks at heatmaps."""
  return name == "rpsm"


def _each_joint(one: Callable[..., tuple[jax.Array, jax.Array]]) -> Callable[..., Joints]:
  """A function of one joint (points [v, 2], score [v], match [v, 2], frame) for all of a batch.

  Further arguments [b, ...] belong to a frame.

  Joints outside and frames inside: so the frames, which are many, are the innermost loops, and what
  all joints of a frame share is made once.
  """

  def locate(views: Views, *more: jax.Array) -> Joints:
    # A peak may be below zero in the parity decoder; such a view does not count.
    score = jnp.maximum(views.score, 0.0)
    match = jnp.zeros_like(views.joints_2d) if views.match is None else views.match
    frame = views._replace(joints_2d=None, score=None, match=None, heatmaps=None, root=None)
    of_joint, of_frame = jax.tree.map(
      _frames_last, ((views.joints_2d, score, match), (frame, *more))
    )
    each_frame = jax.vmap(one, in_axes=-1, out_axes=-1)
    of_joint_axes, of_frame_axes = (1,) * len(of_joint), (None,) * len(of_frame)
    each_joint = jax.vmap(each_frame, in_axes=of_joint_axes + of_frame_axes)
    points, valid = each_joint(*of_joint, *of_frame)
    number = len(score)
    points, valid = points[..., :number], valid[..., :number]
    return Joints(jnp.moveaxis(points, -1, 0), jnp.moveaxis(valid, -1, 0))

  return locate


def _frames_last(x: jax.Array) -> jax.Array:
  """[b, ...] to [..., b], or a few more frames: the first ones again.

  CPUs keep numbers that lie a multiple of 4 KB apart in the same few places of their innermost
  cache. The loops over frames read dozens of arrays side by side, so that with a power of two of
  frames they would throw out each other's numbers: up to three times slower.
  """
  x = jnp.moveaxis(x, 0, -1)
  number = x.shape[-1]
  if number < 256:
    return x
  more = (16 - number) % 32
  return jnp.concatenate([x, x[..., :more]], axis=-1)


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


def _robust(tolerance_px: float) -> Callable[[Views], Joints]:
  """`geometry.robust` of all joints, its tolerance by what the frame's errors usually are."""

  def one(points, score, match, frame, tolerance):
    found = robust.robust(
      points, *_cameras(frame), weight=score, sigma_px=_SIGMA_PX, tolerance=tolerance / _SIGMA_PX
    )
    return found.point, found.valid

  fit = _each_joint(one)

  def locate(views: Views) -> Joints:
    def again(_, state):
      found = fit(views, state[1])
      usual = jax.vmap(_usual_error)(found, views)
      usual = jax.lax.stop_gradient(usual).astype(tolerance.dtype)
      return found, jnp.maximum(_MEDIANS * usual, 0.5 * tolerance_px)

    tolerance = jnp.full(len(views.joints_2d), tolerance_px, views.joints_2d.dtype)
    shape = views.joints_2d.shape
    nothing = Joints(
      jnp.zeros((shape[0], shape[2], 3), tolerance.dtype), jnp.zeros((shape[0], shape[2]), bool)
    )
    return jax.lax.fori_loop(0, _ROUNDS + 1, again, (nothing, tolerance))[0]

  return locate


def _usual_error(found: Joints, frame: Views) -> jax.Array:
  """Median reprojection error [] in px of a frame, over views and joints with their weights²."""
  project = jax.vmap(cameras.project, (None, 0, 0, 0))
  off = project(found.points, *_cameras(frame)) - frame.joints_2d
  score = jnp.maximum(frame.score, 0.0)
  weight = jnp.square(linalg.safe_divide(score, jnp.max(score, axis=0, keepdims=True), tiny=1e-30))
  known = found.valid[None] & jnp.all(jnp.isfinite(off), axis=-1)
  weight = jnp.where(known, weight, 0.0).reshape(-1)
  error = linalg.safe_norm(jnp.where(known[..., None], off, 0.0)).reshape(-1)
  order = jnp.argsort(error)
  share = jnp.cumsum(weight[order])
  return error[order][jnp.argmax(share >= 0.5 * share[-1])]


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
  triangulate = _robust(tolerance_px)

  def one_frame(frame: Views, found: Joints) -> Joints:
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

  return lambda views: jax.vmap(one_frame)(views, triangulate(views))

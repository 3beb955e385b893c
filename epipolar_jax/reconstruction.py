"""From what the network says of every view to joints in 3D: every method, by name.

  locate = reconstruction.make("robust")
  joints = locate(reconstruction.Views(joints_2d, score, intrinsics, rotation, translation))

Works on any detector's output. `robust` is the best of those that look at positions only; `rpsm`
also looks at the heatmaps and at limb lengths. The others are the original's, for comparison.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.geometry import cameras, linalg, ransac, robust, triangulation
from epipolar_jax.pictorial import model as pictorial

# Views that score more than this count for the original's triangulation.
_LEAST_SCORE = 0.05
# The noise `robust` is told of; its point depends on the tolerance in pixels alone.
_SIGMA_PX = 2.0
# How often `robust` fits, each time with what the last fit says of the frame, and its steps.
_FITS, _STEPS = 3, 4
# The tolerance of a frame in medians of its own reprojection errors.
_MEDIANS = 5.0
# What scores say before any fit, errors ~ score^-trust; how much log score² outweighs that; limit.
_TRUST, _FIRM, _MOST_TRUST = 0.5, 0.5, 4.0
# Distance from the middle of a frame's joints that is nothing special, in medians.
_REACH = 2.0
_FEWEST = 5  # joints that tell where a frame's joints are
# Frames that `rpsm` takes at a time.
_BLOCK_CPU, _BLOCK = 16, 128


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
      outliers lose their say, scores count as far as the frame's errors follow them, and its joints
      are taken for one person's; and the original's: `pymvg` all views above a score of 0.05
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
    method = _pictorial(skeleton, stride, np.asarray(limb_length, np.float32), tolerance_px)
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

  Further arguments are [b, ...], those of a frame, and [b, j, ...], those of a joint.

  Joints outside and frames inside: so the frames, which are many, are the innermost loops, and what
  all joints of a frame share is made once.
  """

  def locate(views: Views, of_frame: tuple = (), of_joint: tuple = ()) -> Joints:
    match = jnp.zeros_like(views.joints_2d) if views.match is None else views.match
    frame = views._replace(joints_2d=None, score=None, match=None, heatmaps=None, root=None)
    joints_2d, score, match = jax.tree.map(_frames_last, (views.joints_2d, views.score, match))
    # A peak may be below zero in the parity decoder; such a view does not count.
    here = joints_2d, jnp.maximum(score, 0.0), match
    shared = jax.tree.map(_frames_last, (frame, *of_frame))
    own = jax.tree.map(_frames_last, of_joint)
    axes = (*(1 for _ in here), *(None for _ in shared), *(0 for _ in own))
    each_frame = jax.vmap(one, in_axes=-1, out_axes=-1)
    points, valid = jax.vmap(each_frame, in_axes=axes)(*here, *shared, *own)
    number = views.score.shape[0]
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
  if not isinstance(number, int) or number < 256:  # any number, in an exported program
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


class _Known(NamedTuple):
  """What earlier fits told `robust` of one frame.

  Attributes:
    tolerance: [], px.
    trust: [], errors go as score^-trust, so a view weighs score^trust.
    place: middle and reach of the joints.
    points: [j, 3], world, mm, where they were found; NaN: nowhere.
  """

  tolerance: jax.Array
  trust: jax.Array
  place: robust.Place
  points: jax.Array


def _robust(tolerance_px: float) -> Callable[[Views], Joints]:
  """`geometry.robust` of all joints, every time with what the last fit told of the frame."""

  def one(points, weight, match, frame, known, start):
    found = robust.robust(
      points,
      *_cameras(frame),
      weight=weight,
      sigma_px=_SIGMA_PX,
      tolerance=known.tolerance / _SIGMA_PX,
      num_iterations=_STEPS,
      place=known.place,
      start=start,
    )
    return found.point, found.valid

  fit = _each_joint(one)

  def locate(views: Views) -> Joints:
    score = jnp.maximum(views.score, 0.0)
    share = linalg.safe_divide(score, jnp.max(score, axis=1, keepdims=True), tiny=1e-30)

    def again(_, state):
      known = state[1]
      says = share > 0
      weight = jnp.where(says, jnp.where(says, share, 1.0) ** known.trust[:, None, None], 0.0)
      of_frame = known._replace(points=None)
      found = fit(views._replace(score=weight), (of_frame,), (known.points,))
      learn = functools.partial(_learn, least_px=0.5 * tolerance_px)
      return found, jax.lax.stop_gradient(jax.vmap(learn)(found, views, share, weight))

    b, _, j = score.shape
    zero = jnp.zeros(b, views.joints_2d.dtype)
    points = jnp.zeros((b, j, 3), zero.dtype)
    anywhere = robust.Place(points[:, 0], zero + jnp.inf)
    known = _Known(zero + tolerance_px, zero + _TRUST, anywhere, points + jnp.nan)
    nothing = Joints(points, jnp.zeros((b, j), bool))
    return jax.lax.fori_loop(0, _FITS, again, (nothing, known))[0]

  return locate


def _learn(
  found: Joints, frame: Views, share: jax.Array, weight: jax.Array, *, least_px: float
) -> _Known:
  """What a fit tells of its frame; score over the joint's largest and weight: [v, j]."""
  project = jax.vmap(cameras.project, (None, 0, 0, 0))
  off = project(found.points, *_cameras(frame)) - frame.joints_2d
  counts = found.valid[None] & (share > 0) & jnp.all(jnp.isfinite(off), axis=-1)
  error = linalg.safe_norm(jnp.where(counts[..., None], off, 0.0))
  strength = jnp.where(counts, jnp.square(weight), 0.0)
  usual = _median(error.reshape(-1), strength.reshape(-1))
  tolerance = jnp.maximum(_MEDIANS * usual, least_px)
  return _Known(
    tolerance=tolerance,
    trust=_trust(error / tolerance, share, strength),
    place=_place(found),
    points=jnp.where(found.valid[:, None], found.points, jnp.nan),
  )


def _trust(error: jax.Array, share: jax.Array, strength: jax.Array) -> jax.Array:
  """Slope [] of -log error (in tolerances) over log share, drawn to `_TRUST`; all [v, j].

  Beyond the tolerance an error is an outlier's, whatever its size. The fit itself goes nearer to
  the views that weigh more: of two equations of a view, 3 unknowns take 3 times its share of the
  strength.
  """
  counts = strength > 0
  number = jnp.maximum(jnp.sum(counts), 1)

  def centred(x):
    return jnp.where(counts, x - jnp.sum(jnp.where(counts, x, 0.0)) / number, 0.0)

  own = linalg.safe_divide(strength, jnp.sum(strength, axis=0, keepdims=True), tiny=1e-30)
  left = jnp.maximum(1.0 - 1.5 * own, 0.25)
  x = centred(jnp.log(jnp.where(counts, share, 1.0)))
  y = centred(jnp.log(jnp.clip(error, 0.1, 1.0)) - 0.5 * jnp.log(left))
  slope = (_FIRM * _TRUST - jnp.sum(x * y)) / (_FIRM + jnp.sum(x * x))
  return jnp.clip(slope, 0.0, _MOST_TRUST)


def _place(found: Joints) -> robust.Place:
  """Middle and reach of the joints of a frame; anywhere when they are few."""
  weight = found.valid.astype(found.points.dtype)
  middle = jax.vmap(_median, (1, None))(found.points, weight)
  usual = _median(linalg.safe_norm(found.points - middle[None]), weight)
  told = (jnp.sum(weight) >= _FEWEST) & (usual > 0)
  return robust.Place(middle, jnp.where(told, _REACH * usual, jnp.inf))


def _median(values: jax.Array, weight: jax.Array) -> jax.Array:
  """The least of values [n] that half of their weight [n] does not exceed, [].

  By comparing all with all: for so few, a sort takes five times as long.
  """
  below = jnp.sum(jnp.where(values[None] <= values[:, None], weight[None], 0.0), axis=1)
  return jnp.min(jnp.where(below >= 0.5 * jnp.sum(weight), values, jnp.inf))


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
  skeleton: skeletons.Skeleton, stride: int, limb_length: np.ndarray, tolerance_px: float
) -> Callable[[Views], Joints]:
  """The pictorial structure model; its grid stands around the root, or where the other joints are.

  Not valid when no joint at all can be triangulated. Takes some frames at a time, a few megabytes
  each: enough for all cores, few enough for their caches or for the accelerator's memory.
  """
  triangulate = _robust(tolerance_px)

  def one_frame(frame_and_found: tuple[Views, Joints]) -> Joints:
    frame, found = frame_and_found
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

  def in_blocks(size):
    return lambda *frames: jax.lax.map(one_frame, frames, batch_size=size)

  def locate(views: Views) -> Joints:
    frames = views, triangulate(views)
    if not isinstance(views.joints_2d.shape[0], int):  # any number, in an exported program
      return jax.vmap(one_frame)(frames)
    return jax.lax.platform_dependent(*frames, cpu=in_blocks(_BLOCK_CPU), default=in_blocks(_BLOCK))

  return locate

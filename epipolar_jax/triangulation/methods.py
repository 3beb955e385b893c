"""From 2D joints of every view to joints in 3D: the table of methods.

  locate = triangulation.make("robust")
  joints = locate(triangulation.Views(joints_2d, score, cameras))

Works on any detector's output. `robust` is the most accurate of those that use positions alone;
`rpsm` also uses heatmaps and limb lengths. The others are the original's, for comparison.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.geometry import cameras as cameras_lib
from epipolar_jax.geometry import linalg
from epipolar_jax.triangulation import consensus, linear, robust
from epipolar_jax.triangulation.pictorial import model as pictorial

# Views that score more than this count for the original's triangulation.
_LEAST_SCORE = 0.05
# The noise given to `robust`; its point depends on the tolerance in pixels alone.
_SIGMA_PX = 2.0
# How often `robust` fits, each time with what the last fit estimated of the frame, and its steps.
_FITS, _STEPS = 3, 4
# The tolerance of a frame in medians of its own reprojection errors.
_MEDIANS = 5.0
# Prior of the score exponent (errors ~ score^-trust), its strength against log score², its limit.
_TRUST, _FIRM, _MOST_TRUST = 0.5, 0.5, 4.0
# Distance from the middle of a frame's joints below which it is not penalised, in medians.
_REACH = 2.0
_FEWEST = 5  # joints from which a frame's middle and reach are estimated
# Frames that `rpsm` takes at a time.
_BLOCK_CPU, _BLOCK = 16, 128


class Views(NamedTuple):
  """2D joints of b frames, and whatever else a method needs.

  Attributes:
    joints_2d: [b, v, j, 2], px; NaN is as good as a score of 0.
    score: [b, v, j]; weights a view in `dlt` and `robust`, chooses views in the original's methods;
      0 or less: the view did not see the joint.
    cameras: [b, v], of those pixels, t_cw in mm.
    match: [b, v, j, 2], px in the neighbour's image, the best match of the epipolar attention;
      needed by `epipolar` and `epipolar_dlt`.
    neighbour: [b, v], int, the view that each view attended to; likewise.
    heatmaps: [b, v, j, h, w], at least 0; needed by `rpsm`.
    root: [b, 3], world, mm, middle of the grid of `rpsm`; None: triangulated.
  """

  joints_2d: jax.Array
  score: jax.Array
  cameras: cameras_lib.Cameras
  match: jax.Array | None = None
  neighbour: jax.Array | None = None
  heatmaps: jax.Array | None = None
  root: jax.Array | None = None


class Joints(NamedTuple):
  """Joints of b frames.

  Attributes:
    points: [b, j, 3], world, mm; finite also when not valid.
    valid: [b, j], bool.
    inlier: [b, v, j], 0..1, how much each view agrees with the point; 0 for a view that did not see
      the joint or was not used, and where not valid.
  """

  points: jax.Array
  valid: jax.Array
  inlier: jax.Array


class Options(NamedTuple):
  """What methods may be told; each reads what it needs.

  Attributes:
    skeleton: of the joints, for `rpsm`.
    stride: image pixels per map pixel, for `rpsm`.
    limb_length: [l], mm, in the order of `skeleton.limbs`, for `rpsm`.
    tolerance_px: reprojection error at which a view counts half in `robust` at first; then it is
      five times the frame's own median error (weighted as in the fit), and at least half of this. A
      badly calibrated rig is off everywhere, an outlier alone.
    threshold_mm: largest distance from a ray for `naive`, `refine` and `epipolar`; 35 in the
      original's released run, 3 by default.
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


def _each_joint(one: Callable[..., tuple[jax.Array, ...]]) -> Callable[..., Joints]:
  """A function of one joint (points [v, 2], score [v], match [v, 2], frame) for all of a batch.

  Further arguments are [b, ...], those of a frame, and [b, j, ...], those of a joint. It returns
  the fields of `Joints` of the one joint: [3], [], [v].

  Joints outside and frames inside: so the frames, which are many, are the innermost loops, and what
  all joints of a frame share is computed once.
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
    found = Joints(*jax.vmap(each_frame, in_axes=axes)(*here, *shared, *own))
    number = views.score.shape[0]
    found = jax.tree.map(lambda x: jnp.moveaxis(x[..., :number], -1, 0), found)
    return found._replace(inlier=jnp.swapaxes(found.inlier, 1, 2))

  return locate


def _frames_last(x: jax.Array) -> jax.Array:
  """[b, ...] to [..., b], or a few more frames: the first ones again.

  Arrays whose rows lie a multiple of 4 KB apart compete for the same sets of a CPU's L1 cache. The
  loops over frames read dozens of arrays side by side, so power-of-two strides evict each other:
  up to three times slower.
  """
  x = jnp.moveaxis(x, 0, -1)
  number = x.shape[-1]
  if not isinstance(number, int) or number < 256:  # any number, in an exported program
    return x
  more = (16 - number) % 32
  return jnp.concatenate([x, x[..., :more]], axis=-1)


def _linear(weigh: Callable[[jax.Array], jax.Array], *, world_norm: bool = False):
  """DLT with weights [v] from scores [v]."""

  def one(points, score, match, frame):
    weight = weigh(score).astype(points.dtype)
    point, valid = linear.dlt(points, frame.cameras, weight=weight, world_norm=world_norm)
    used = (weight > 0) & jnp.all(jnp.isfinite(points), axis=-1) & valid
    return point, valid, used.astype(points.dtype)

  return _each_joint(one)


def _chosen(score: jax.Array) -> jax.Array:
  """The original's choice of views, but never one that did not see the joint."""
  return linear.select_views(score, threshold=_LEAST_SCORE) & (score > 0)


class _Known(NamedTuple):
  """What earlier fits of `robust` estimated of one frame.

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
  """`robust.robust` of all joints, each time with what the last fit estimated of the frame."""

  def one(points, weight, match, frame, known, start):
    found = robust.robust(
      points,
      frame.cameras,
      weight=weight,
      sigma_px=_SIGMA_PX,
      tolerance=known.tolerance / _SIGMA_PX,
      num_iterations=_STEPS,
      place=known.place,
      start=start,
    )
    return found.point, found.valid, found.inlier

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
    nothing = Joints(points, jnp.zeros((b, j), bool), jnp.zeros_like(share))
    return jax.lax.fori_loop(0, _FITS, again, (nothing, known))[0]

  return locate


def _learn(
  found: Joints, frame: Views, share: jax.Array, weight: jax.Array, *, least_px: float
) -> _Known:
  """What a fit tells of its frame; score over the joint's largest and weight: [v, j]."""
  off = frame.cameras.project(found.points) - frame.joints_2d
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


def _consensus(function: Callable[..., consensus.Consensus], threshold_mm: float):
  def one(points, score, match, frame):
    options = {"usable": score > _LEAST_SCORE, "threshold_mm": threshold_mm, "world_norm": True}
    found = function(points, frame.cameras, **options)
    return found.point, found.valid, found.inlier.astype(points.dtype)

  return _each_joint(one)


def _with_match(function: Callable[..., consensus.Consensus], **options):
  def one(points, score, match, frame):
    own = {"score": score, "match": match, "neighbour": frame.neighbour, "world_norm": True}
    found = function(points, frame.cameras, **own, **options)
    return found.point, found.valid, found.inlier.astype(points.dtype)

  return _each_joint(one)


def _pictorial(options: Options) -> Callable[[Views], Joints]:
  """The pictorial structure model; its grid is centred on the root, or on the other joints.

  Not valid when no joint at all can be triangulated. Takes some frames at a time, a few megabytes
  each: enough for all cores, few enough for their caches or for the accelerator's memory. A view is
  an inlier where its 2D joint lies near the projected one.
  """
  skeleton, lengths = options.skeleton, options.limb_length
  number = None if lengths is None else len(lengths)
  if number != len(skeleton.limbs):
    raise ValueError(
      f"rpsm needs {len(skeleton.limbs)} limb lengths of {skeleton.name}, got {number}; "
      "learn them with python -m epipolar_jax.tools.limb_priors"
    )
  lengths = np.asarray(lengths, np.float32)
  triangulate = _robust(options.tolerance_px)

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
      frame.cameras,
      center=root,
      limb_length=lengths,
      skeleton=skeleton,
      stride=options.stride,
      grid_size_mm=skeleton.size_mm,
      tolerance_mm=0.075 * skeleton.size_mm,
    )
    valid = jnp.broadcast_to(pose.valid & placed, found.valid.shape)
    off = linalg.safe_norm(frame.cameras.project(pose.joints) - frame.joints_2d)
    agreement = 1.0 / (1.0 + (off / options.tolerance_px) ** 4)
    seen = (frame.score > 0) & jnp.all(jnp.isfinite(frame.joints_2d), axis=-1) & valid[None]
    inlier = jnp.where(seen, agreement, 0.0)
    return Joints(jnp.where(valid[:, None], pose.joints, 0.0), valid, inlier)

  def in_blocks(size):
    return lambda *frames: jax.lax.map(one_frame, frames, batch_size=size)

  def locate(views: Views) -> Joints:
    frames = views, triangulate(views)
    if not isinstance(views.joints_2d.shape[0], int):  # any number, in an exported program
      return jax.vmap(one_frame)(frames)
    return jax.lax.platform_dependent(*frames, cpu=in_blocks(_BLOCK_CPU), default=in_blocks(_BLOCK))

  return locate


METHODS = {
  "dlt": Method(lambda options: _linear(lambda score: score)),
  "dlt_unweighted": Method(lambda options: _linear(lambda score: score > 0)),
  "robust": Method(lambda options: _robust(options.tolerance_px)),
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
  "rpsm": Method(_pictorial, needs_heatmaps=True),
}

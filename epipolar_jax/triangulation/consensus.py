"""Triangulation by consensus of view pairs: the modes of the original, by their names.

For comparison with published numbers; `robust` is faster and better. The original draws 100
random pairs per joint. Here all pairs are tried, unless its `draws` are given.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import cameras as cameras_lib
from epipolar_jax.geometry import linalg
from epipolar_jax.triangulation import linear


class _Seen(NamedTuple):
  """One joint in v views; fields as the arguments of `naive`."""

  points: jax.Array
  cameras: cameras_lib.Cameras


class Consensus(NamedTuple):
  """One point.

  Attributes:
    point: [3], world, mm; zeros when not valid (the original returns them as if found).
    inlier: [v], bool, the views whose rays pass near the best pair's point.
    valid: [], bool.
  """

  point: jax.Array
  inlier: jax.Array
  valid: jax.Array


def naive(
  points: jax.Array,
  cameras: cameras_lib.Cameras,
  *,
  usable: jax.Array,
  threshold_mm: float = 3.0,
  draws: jax.Array | None = None,
  world_norm: bool = False,
) -> Consensus:
  """The point of the pair of views with the most inliers, its own two views included.

  An inlier is a usable view whose ray passes the point at less than the threshold. Of equals, the
  first pair wins. Written for a single joint; vmap it.

  Args:
    points: [v, 2], px.
    cameras: [v], of those pixels, t_cw in mm.
    usable: [v], bool; the original: score above CONF_THRES, 0.05.
    threshold_mm: RANSAC_THRES; 3 in the original's defaults, 35 in its released runs.
    draws: [n, 2], the pairs to try, in this order, as numbers among the usable views; a pair of a
      view with itself or with a negative number is skipped. None: all pairs, in order.
    world_norm: as in `dlt`; True is the original.

  Returns:
    Not valid with fewer than two usable views or when no pair has a single inlier.
  """
  seen = _Seen(points, cameras)
  return _best_pair(seen, usable, threshold_mm, draws, world_norm)[0]


def refine(
  points: jax.Array,
  cameras: cameras_lib.Cameras,
  *,
  usable: jax.Array,
  threshold_mm: float = 3.0,
  draws: jax.Array | None = None,
  world_norm: bool = False,
  min_inliers: int = 2,
) -> Consensus:
  """As `naive`, then all inliers triangulated together if there are at least `min_inliers`.

  With two of them that is the pair itself, if they are the pair; `epipolar` asks for 3.
  """
  seen = _Seen(points, cameras)
  found, count = _best_pair(seen, usable, threshold_mm, draws, world_norm)
  weight = found.inlier.astype(points.dtype)
  together, met = linear.dlt(*seen, weight=weight, world_norm=world_norm)
  better = found.valid & met & (count >= min_inliers)
  return found._replace(point=jnp.where(better, together, found.point))


def epipolar(
  points: jax.Array,
  cameras: cameras_lib.Cameras,
  *,
  score: jax.Array,
  match: jax.Array,
  neighbour: jax.Array,
  confidence: float = 0.85,
  threshold_mm: float = 35.0,
  draws: jax.Array | None = None,
  world_norm: bool = False,
) -> Consensus:
  """Consensus of the confident views; with none or one of them, a view and its epipolar match.

  With fewer than two confident views the one with the highest score is triangulated with the place
  in its neighbour's image that the epipolar attention found. Otherwise `refine` with at least
  three inliers.

  Args:
    points, cameras, threshold_mm, draws, world_norm: as in `naive`.
    score: [v], at least 0; 0 for a view that must not be used.
    match: [v, 2], px in the neighbour's image; see `look_up_match`.
    neighbour: [v], int, the view each view was matched with.
    confidence: CONF_THRES; a view is confident above it.

  Returns:
    `inlier` holds the single view when there was one.
  """
  seen = _Seen(points, cameras)
  usable = score > confidence
  options = {"threshold_mm": threshold_mm, "draws": draws, "world_norm": world_norm}
  many = refine(*seen, usable=usable, min_inliers=3, **options)
  return _or_single(many, seen, score, match, neighbour, usable, world_norm)


def epipolar_dlt(
  points: jax.Array,
  cameras: cameras_lib.Cameras,
  *,
  score: jax.Array,
  match: jax.Array,
  neighbour: jax.Array,
  confidence: float = 0.85,
  world_norm: bool = False,
) -> Consensus:
  """As `epipolar`, with all confident views triangulated together instead of the consensus."""
  seen = _Seen(points, cameras)
  usable = score > confidence
  weight = usable.astype(points.dtype)
  point, valid = linear.dlt(*seen, weight=weight, world_norm=world_norm)
  many = Consensus(point, usable & valid, valid)
  return _or_single(many, seen, score, match, neighbour, usable, world_norm)


def look_up_match(
  correspondence: jax.Array, point: jax.Array, *, stride: int, original_rounding: bool = False
) -> jax.Array:
  """The epipolar match of a point in the neighbour view.

  Args:
    correspondence: [h, w, 2], for every map pixel the (u, v) of its best match, map px.
    point: [2], image px.
    stride: image pixels per map pixel.
    original_rounding: True reproduces the original: coordinates are cut to integers instead of
      rounded, and negative ones count from the far end. Ours is kept inside.

  Returns:
    [2], image px of the neighbour.
  """
  height, width = correspondence.shape[:2]
  uv = (point - (stride - 1) / 2) / stride
  uv = jnp.where(jnp.isfinite(uv), uv, 0.0)
  size = jnp.array([width, height])
  index = (jnp.trunc(uv) if original_rounding else jnp.round(uv)).astype(jnp.int32)
  index = jnp.clip(index, -size if original_rounding else 0, size - 1)
  return correspondence[index[1], index[0]] * stride + (stride - 1) / 2


def _best_pair(
  seen: _Seen,
  usable: jax.Array,
  threshold_mm: float,
  draws: jax.Array | None,
  world_norm: bool,
) -> tuple[Consensus, jax.Array]:
  """The pair with the most inliers, and their number []."""
  usable = usable & jnp.all(jnp.isfinite(seen.points), axis=1)
  seen = seen._replace(points=jnp.where(usable[:, None], seen.points, 0.0))
  pairs = np.array(list(itertools.combinations(range(len(usable)), 2)))

  def from_pair(pair):
    of_pair = jax.tree.map(lambda x: x[pair], seen)
    weight = usable[pair].astype(seen.points.dtype)
    return linear.dlt(*of_pair, weight=weight, world_norm=world_norm)

  proposals, met = jax.vmap(from_pair)(jnp.asarray(pairs))
  distance = _ray_distances(proposals, seen)
  near = (distance < threshold_mm) & (met[:, None] & usable[None, :])
  count = jnp.sum(near, axis=1)
  if draws is None:
    best = jnp.argmax(count)
    most = count[best]
  else:
    number = _pair_numbers(draws, pairs, usable)
    counts = jnp.where(number >= 0, count[number], 0)
    first = jnp.argmax(counts)
    best, most = number[first], counts[first]
  valid = most > 0
  point = jnp.where(valid, proposals[best], 0.0)
  return Consensus(point, near[best] & valid, valid), most


def _ray_distances(proposals: jax.Array, seen: _Seen) -> jax.Array:
  """Distance [n, v] in mm of proposals [n, 3] to the (endless) ray of every view."""
  direction = jax.vmap(cameras_lib.Cameras.ray)(seen.cameras, seen.points)
  offset = proposals[:, None, :] - seen.cameras.centre()[None, :, :]
  along = linalg.einsum("nvi,vi->nv", offset, direction)
  return linalg.safe_norm(offset - along[:, :, None] * direction[None, :, :])


def _pair_numbers(draws: jax.Array, pairs: np.ndarray, usable: jax.Array) -> jax.Array:
  """Which of the pairs each draw [n, 2] among the usable views is, [n]; -1: skipped."""
  num_views = usable.shape[0]
  table = np.full((num_views, num_views), -1)
  table[pairs[:, 0], pairs[:, 1]] = table[pairs[:, 1], pairs[:, 0]] = np.arange(len(pairs))
  views = jnp.argsort(~usable, stable=True)[jnp.maximum(draws, 0)]
  number = jnp.asarray(table)[views[:, 0], views[:, 1]]
  return jnp.where(jnp.all((draws >= 0) & (draws < jnp.sum(usable)), axis=1), number, -1)


def _or_single(
  many: Consensus,
  seen: _Seen,
  score: jax.Array,
  match: jax.Array,
  neighbour: jax.Array,
  usable: jax.Array,
  world_norm: bool,
) -> Consensus:
  """The best view and its match where fewer than two views are usable."""
  view = jnp.argmax(score)
  both = jnp.stack([view, neighbour[view]])
  point, met = linear.dlt(
    jnp.stack([seen.points[view], match[view]]),
    seen.cameras[both],
    weight=jnp.ones_like(seen.points[:2, 0]),
    world_norm=world_norm,
  )
  met = met & (score[view] > 0)
  single = Consensus(jnp.where(met, point, 0.0), (jnp.arange(len(score)) == view) & met, met)
  few = jnp.sum(usable) < 2
  return jax.tree.map(lambda a, b: jnp.where(few, a, b), single, many)

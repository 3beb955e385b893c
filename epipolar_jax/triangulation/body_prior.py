"""A learnt prior of human poses for two cameras, where nothing else contradicts a wrong view.

A small network sees both rays of every joint, their scores and how far they pass each other, in a
frame of the body's own, and returns three things for each joint: how much either ray is worth,
where the joint would be without them, and how much that is worth. The point is what these three
agree on by least squares, so that rays that are worth much are triangulated as ever. No camera and
no world is in any weight: the result turns and moves with the cameras. It is trained on simulated
poses and cameras with a detector's errors, by `data.synthetic.bake_prior`.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints import npz
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.triangulation.estimate import Estimate

SKELETON = skeletons.H36M_17
SHIPPED = pathlib.Path(__file__).parents[1] / "shipped" / "body_prior" / "weights.npz"

_FORM = 1
_TORSO = ("rhip", "lhip", "rsho", "lsho")
_FLIP = np.array(SKELETON.flip_order)
_ROWS = 256  # frames and people at a time, so that one program is compiled
_FROM_M = 1000.0
# Of the regularised triangulation that the network starts from, in metres: standard deviation of a
# ray whose score is 1, of a joint about the body's centre, and the distance at which a ray that
# passes the other counts half.
_RAY_M, _BODY_M, _PASSING_M = 0.015, 0.5, 0.06
_RAY_VALUE, _PRIOR_VALUE = 1000.0, 100.0  # 1/m², what the network's exponents are about
_UNIT_M, _FARTHEST = 0.5, 3.0  # of its inputs, and where they saturate, in units

Params = dict[str, tuple[jax.Array, ...]]
NUM_INPUTS = SKELETON.num_joints * 15 + 8


@dataclasses.dataclass(frozen=True, eq=False)
class BodyPrior:
  """The network and how large its errors are.

  Attributes:
    params: of `predict`.
    scale: by which its standard deviations are multiplied for 68 % of errors to lie within one;
      fitted on a validation split.
  """

  params: Params
  scale: float

  def apply(
    self, estimate: Estimate, observations: Observations, cameras: Cameras
  ) -> tuple[Estimate, np.ndarray]:
    """The estimate with points and covariances that the prior had a part in.

    Joints that are not valid stay so. Joints that the prior does not know, and people in frames
    without both hips and both shoulders, stay as they are.

    Args:
      estimate: of the observations.
      observations: of two views, undistorted px, as they were detected: each view by itself.
      cameras: [2], in the order of the views, mm.

    Returns:
      The estimate and where it was changed, bool [f, p, j].

    Raises:
      ValueError: as of `check`.
    """
    check(estimate.joints, estimate.views)
    known, order = _order(estimate.joints)
    frames, people = estimate.valid.shape[:2]
    rows = frames * people
    points = observations.points.reshape(rows, 2, -1, 2)[:, :, order]
    score = observations.score.reshape(rows, 2, -1)[:, :, order]
    valid = estimate.valid.reshape(rows, -1)[:, order] & known
    usable = valid[:, [SKELETON.index(name) for name in _TORSO]].all(axis=1)
    seen = np.isfinite(points).all(-1) & (score > 0) & (valid & usable[:, None])[:, None]
    to_plane = np.linalg.inv(np.asarray(cameras.intrinsics, np.float64))
    lifted = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    xy = np.einsum("vab,nvjb->nvja", to_plane, np.where(seen[..., None], lifted, 1.0))[..., :2]
    rotation = np.asarray(cameras.rotation, np.float64)
    centres = -np.einsum("vab,va->vb", rotation, np.asarray(cameras.translation, np.float64))
    origin = centres.mean(axis=0)
    found, covariance = _in_blocks(
      self.params, xy, np.clip(score, 0.0, 1.0), seen, rotation, (centres - origin) / _FROM_M
    )
    changed = valid & usable[:, None] & np.isfinite(found).all(-1)
    new_points = estimate.points.reshape(rows, -1, 3).copy()
    new_covariance = estimate.covariance.reshape(rows, -1, 3, 3).copy()
    row, joint = np.nonzero(changed)
    new_points[row, order[joint]] = found[row, joint] * _FROM_M + origin
    new_covariance[row, order[joint]] = covariance[row, joint] * (_FROM_M * self.scale) ** 2
    new_points = new_points.reshape(estimate.points.shape)
    touched = np.zeros((rows, len(estimate.joints)), bool)
    touched[row, order[joint]] = True
    touched = touched.reshape(estimate.valid.shape)
    return dataclasses.replace(
      estimate,
      points=new_points,
      covariance=new_covariance.reshape(estimate.covariance.shape),
      reprojection_px=_reprojection(estimate, new_points, touched, observations, cameras),
    ), touched

  def write(self, path: pathlib.Path) -> None:
    """Writes it as an npz of half precision."""
    arrays = {"form": np.int64(_FORM), "scale": np.float64(self.scale)}
    for name, layer in self.params.items():
      arrays |= {f"{name}/{i}": np.asarray(x, np.float16) for i, x in enumerate(layer)}
    np.savez_compressed(path, **arrays)


def check(joints: tuple[str, ...], views: tuple[str, ...]) -> None:
  """Raises ValueError unless there are two views, and hips and shoulders among the joints."""
  if len(views) != 2:
    raise ValueError(
      f"the body prior is for two cameras, and there are {len(views)} ({', '.join(views)}): leave "
      "it out, more cameras correct each other"
    )
  if missing := [name for name in _TORSO if name not in joints]:
    raise ValueError(
      f"the body prior is for people and needs hips and shoulders: there is no "
      f"{', '.join(missing)} among the joints {', '.join(joints)}"
    )


@functools.cache
def shipped() -> BodyPrior:
  """The prior that comes with the software."""
  return read(SHIPPED)


def read(path: pathlib.Path) -> BodyPrior:
  """What `BodyPrior.write` wrote.

  Raises:
    ValueError: it is no such file; names it.
  """
  names = npz.names(path)
  found = npz.read(path, names)
  try:
    if int(found.pop("form")) != _FORM:
      raise ValueError(f"it is not of form {_FORM}")
    scale = float(found.pop("scale"))
    layers: dict[str, dict[int, np.ndarray]] = {}
    for name, array in found.items():
      layer, _, index = name.partition("/")
      layers.setdefault(layer, {})[int(index)] = np.asarray(array, np.float32)
    params = {name: tuple(x[i] for i in range(len(x))) for name, x in layers.items()}
    width, blocks = params["in"][1].shape[0], len(params) - 2
    shapes = jax.eval_shape(lambda: init(jax.random.key(0), width=width, blocks=blocks))
    if jax.tree.map(np.shape, params) != jax.tree.map(lambda x: x.shape, shapes):
      raise ValueError("the layers have other shapes")
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(params)) or not 0 < scale < np.inf:
      raise ValueError("a number is not finite")
  except (ValueError, KeyError, TypeError, IndexError) as error:
    raise ValueError(
      f"{path} is no body prior ({error}): make it again with python -m data.synthetic.bake_prior"
    ) from error
  return BodyPrior(params, scale)


def init(key: jax.Array, *, width: int, blocks: int) -> Params:
  """Random parameters; the outputs start near zero, which is the prior at the triangulated point.

  Args:
    key: random.
    width: of the hidden layers.
    blocks: residual blocks of two layers.
  """
  keys = iter(jax.random.split(key, 2 + 2 * blocks))

  def weights(rows: int, columns: int, size: float = 1.0) -> jax.Array:
    return jax.random.normal(next(keys), (rows, columns)) * size * np.sqrt(2.0 / rows)

  outputs = SKELETON.num_joints * 6
  params: Params = {
    "in": (weights(NUM_INPUTS, width), jnp.zeros(width)),
    "out": (weights(width, outputs, 0.05), jnp.zeros(outputs)),
  }
  for block in range(blocks):
    first, second = weights(width, width), weights(width, width, 0.25)
    bias = jnp.zeros(width)
    params[f"b{block}"] = (jnp.ones(width), bias, first, bias, second, bias)
  return params


def predict(
  params: Params,
  xy: jax.Array,
  score: jax.Array,
  seen: jax.Array,
  rotation: jax.Array,
  centres: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Joints of n poses, each before two cameras of its own.

  Args:
    params: of `init`.
    xy: [n, 2, j, 2], coordinates on the plane at depth 1 of each camera; finite.
    score: [n, 2, j], 0..1.
    seen: [n, 2, j], bool.
    rotation: [n, 2, 3, 3], world to camera.
    centres: [n, 2, 3], m, in a world whose origin is within some metres.

  Returns:
    points [n, j, 3], m, and covariances [n, j, 3, 3], m²; finite where nothing is seen, too.
  """
  count, score = len(xy), jnp.where(seen, score, 0.0)
  ray = jnp.concatenate([xy, jnp.ones((*xy.shape[:-1], 1))], axis=-1)
  ray = _einsum("nvab,nvja->nvjb", rotation, ray)
  ray = ray / jnp.linalg.norm(ray, axis=-1, keepdims=True)
  outer = ray[..., :, None] * ray[..., None, :]
  across = _identity(outer) - outer
  value = jnp.where(seen, (score**2 + 0.01) / _RAY_M**2, 0.0)
  middle, start, passing = _start(across, centres, value)
  body = _body_frame(start)
  camera = centres - middle[:, None]
  # The point of each ray nearest to the body's centre, relative to it.
  along = jnp.maximum(-jnp.sum(camera[:, :, None] * ray, axis=-1), 0.1)
  near = camera[:, :, None] + along[..., None] * ray
  offset = start - middle[:, None]
  signs = _signs(near, offset, camera, score, passing, seen, body)
  out = _perceptron(params, signs).reshape(count, SKELETON.num_joints, 6)
  worth = jnp.exp(jnp.clip(jnp.moveaxis(out[..., :2], -1, 1), -8.0, 8.0)) * _RAY_VALUE
  worth = jnp.where(seen, worth, 0.0)
  prior_worth = jnp.exp(jnp.clip(out[..., 2], -8.0, 8.0)) * _PRIOR_VALUE
  # Where the triangulated point is, bounded; and what the network adds to it.
  own = 1.5 * jnp.tanh(_einsum("nab,njb->nja", body, offset) / 1.5)
  prior = _einsum("nba,njb->nja", body, own + _UNIT_M * out[..., 3:])
  normal = (worth[..., None, None] * across).sum(1)
  normal = normal + prior_worth[..., None, None] * _identity(normal)
  right = (worth[..., None] * _times(across, near)).sum(1) + prior_worth[..., None] * prior
  covariance, _ = inverse(normal)
  return _times(covariance, right) + middle[:, None], covariance


def _signs(near, offset, camera, score, passing, seen, body) -> jax.Array:
  """The network's inputs [n, NUM_INPUTS], in the body's frame."""
  count = len(near)

  def turned(x: jax.Array) -> jax.Array:
    return _einsum("nab,n...b->n...a", body, x)

  def bounded(x: jax.Array) -> jax.Array:
    return _FARTHEST * jnp.tanh(x / _UNIT_M / _FARTHEST)

  there = seen[..., None]
  view = [
    jnp.where(there, bounded(turned(near)), 0.0),
    there.astype(jnp.float32),
    score[..., None],
    jnp.where(there, jnp.minimum(passing, 0.5)[..., None] * 5.0, 0.0),
  ]
  views = jnp.moveaxis(jnp.concatenate(view, axis=-1), 1, 2).reshape(count, SKELETON.num_joints, -1)
  own = jnp.where(seen.any(axis=1)[..., None], bounded(turned(offset)), 0.0)
  joints = jnp.concatenate([views, own], axis=-1).reshape(count, -1)
  distance = jnp.linalg.norm(camera, axis=-1)
  towards = (turned(camera) / distance[..., None]).reshape(count, -1)
  return jnp.concatenate([joints, towards, 1.0 / distance], axis=-1)


def _start(across, centres, value) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The body's centre [n, 3], joints [n, j, 3] and how far rays pass them [n, 2, j], m.

  Least squares of all rays and of joints that lie about a common centre, which is solved for;
  thrice, with less weight on rays that pass the point.
  """
  through = _einsum("nvjab,nvb->nvja", across, centres)
  about = 1.0 / _BODY_M**2
  least, most = value.min(axis=1), value.max(axis=1)
  counts = jnp.where(least > 0, jnp.sqrt(least + 1e-9) / 100.0, 0.0) + 1e-3 * (most > 0)
  weight = value
  for _ in range(3):
    normal, right = (
      (weight[..., None, None] * across).sum(1),
      (weight[..., None] * through).sum(1),
    )
    spread, _ = inverse(normal + about * _identity(normal))
    joint = about * _identity(spread) - about**2 * spread
    whole = (counts[..., None, None] * joint).sum(1)
    whole = whole + 1e-4 * _identity(whole)
    pulled = (counts[..., None] * about * _times(spread, right)).sum(1)
    middle = _times(inverse(whole)[0], pulled + 1e-4 * centres.mean(axis=1))
    points = _times(spread, right + about * middle[:, None])
    off = _times(across, points[:, None] - centres[:, :, None])
    square = jnp.sum(off * off, axis=-1)
    weight = value / (1.0 + square / _PASSING_M**2)
  return middle, points, jnp.sqrt(square)


def _body_frame(points: jax.Array) -> jax.Array:
  """Rows to the left, back and up of the trunk of joints [n, j, 3]; [n, 3, 3]."""
  right_hip, left_hip, right, left = (points[:, SKELETON.index(name)] for name in _TORSO)

  def unit(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-4)

  side = unit(left_hip - right_hip + left - right)
  up = left + right - left_hip - right_hip
  up = unit(up - jnp.sum(up * side, axis=-1, keepdims=True) * side)
  return jnp.stack([side, jnp.cross(up, side), up], axis=1)


def _perceptron(params: Params, x: jax.Array) -> jax.Array:
  """Residual blocks of layer norm, layer, GELU, layer."""

  def layer(x: jax.Array, weights: jax.Array, bias: jax.Array) -> jax.Array:
    return x @ weights + bias[None]

  x = layer(x, *params["in"])
  for block in range(len(params) - 2):
    gain, shift, first, first_bias, second, second_bias = params[f"b{block}"]
    mean, square = x.mean(-1, keepdims=True), jnp.square(x).mean(-1, keepdims=True)
    y = (x - mean) * jax.lax.rsqrt(square - mean**2 + 1e-5) * gain[None] + shift[None]
    x = x + layer(jax.nn.gelu(layer(y, first, first_bias)), second, second_bias)
  return layer(x, *params["out"])


@jax.jit
def symmetric(params, xy, score, seen, rotation, centres) -> tuple[jax.Array, jax.Array]:
  """Means of `predict` over both orders of the views and over the scene and its mirror image."""
  scene = xy, score, seen, rotation, centres
  points, covariances = [], []
  for view_of in (scene, mirrored(*scene)):
    for step in (1, -1):
      found, covariance = predict(params, *(x[:, ::step] for x in view_of))
      points.append(found)
      covariances.append(covariance)
  back = np.array([1.0, -1.0, 1.0], np.float32)[None, None]
  points[2:] = [x[:, _FLIP] * back for x in points[2:]]
  covariances[2:] = [x[:, _FLIP] * back[..., None] * back[..., None, :] for x in covariances[2:]]
  return sum(points) / 4.0, sum(covariances) / 4.0


def mirrored(xy, score, seen, rotation, centres) -> tuple[jax.Array, ...]:
  """The arguments of `predict` of the scene in a mirror, the plane y = 0: left is right."""
  sides = np.array([-1.0, 1.0, 1.0], np.float32)
  mirror = np.array([1.0, -1.0, 1.0], np.float32)
  return (
    xy[:, :, _FLIP] * sides[None, None, None, :2],
    score[:, :, _FLIP],
    seen[:, :, _FLIP],
    rotation * (sides[:, None] * mirror)[None, None],
    centres * mirror[None, None],
  )


def _in_blocks(params, xy, score, seen, rotation, centres) -> tuple[np.ndarray, np.ndarray]:
  """`symmetric` of any number of rows before the same two cameras; float64."""
  total = len(xy)
  points = np.zeros((total, SKELETON.num_joints, 3))
  covariance = np.zeros((*points.shape, 3))
  cameras = [np.broadcast_to(np.float32(x), (_ROWS, *np.shape(x))) for x in (rotation, centres)]
  for start in range(0, total, _ROWS):
    rows: list[Any] = []
    for array in (np.float32(xy), np.float32(score), seen):
      part = array[start : start + _ROWS]
      rows.append(np.pad(part, [(0, _ROWS - len(part))] + [(0, 0)] * (part.ndim - 1)))
    found = symmetric(params, *rows, *cameras)
    stop = min(start + _ROWS, total)
    points[start:stop], covariance[start:stop] = (np.asarray(x)[: stop - start] for x in found)
  return points, covariance


def _order(joints: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
  """Which of the prior's joints are there, and their places (0 where not)."""
  known = np.array([name in joints for name in SKELETON.joints])
  places = [joints.index(name) if name in joints else 0 for name in SKELETON.joints]
  return known, np.array(places)


def _reprojection(estimate, points, changed, observations, cameras) -> np.ndarray:
  """Reprojection errors [f, p, v, j] px of the points that were changed, the others as before."""
  r, t = np.asarray(cameras.rotation, np.float64), np.asarray(cameras.translation, np.float64)
  x = np.einsum("vab,fpjb->fpvja", r, points) + t[:, None]
  in_front = np.where(np.abs(x[..., 2:]) > 1e-9, x, 1.0)
  k = np.asarray(cameras.intrinsics, np.float64)
  uv = np.einsum("vab,fpvjb->fpvja", k, in_front / in_front[..., 2:])[..., :2]
  off = np.linalg.norm(uv - observations.points, axis=-1)
  known = changed[:, :, None] & np.isfinite(estimate.reprojection_px)
  return np.where(known, off, estimate.reprojection_px)


def inverse(a: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Inverses of symmetric positive definite matrices [..., 3, 3], by cofactors; determinants."""
  xx, xy, xz = a[..., 0, 0], a[..., 0, 1], a[..., 0, 2]
  yy, yz, zz = a[..., 1, 1], a[..., 1, 2], a[..., 2, 2]
  c = (
    (yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy),
    (xz * yz - xy * zz, xx * zz - xz * xz, xy * xz - xx * yz),
    (xy * yz - xz * yy, xy * xz - xx * yz, xx * yy - xy * xy),
  )
  determinant = xx * c[0][0] + xy * c[0][1] + xz * c[0][2]
  rows = [jnp.stack(row, axis=-1) for row in c]
  return jnp.stack(rows, axis=-2) / determinant[..., None, None], determinant


def _identity(like: jax.Array) -> jax.Array:
  return jnp.broadcast_to(jnp.eye(3), like.shape)


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
  return _einsum("...ab,...b->...a", matrix, vector)


_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)

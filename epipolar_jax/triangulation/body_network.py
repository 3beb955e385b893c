"""The network of the body prior: two rays a joint to points and covariances, in the body's frame.

It sees both rays of every joint, their scores and how far they pass each other, and returns three
things for each joint: how much either ray is worth, where the joint would be without them, and how
much that is worth. The point is what these three agree on by least squares, so that rays that are
worth much are triangulated as ever. No camera and no world is in any weight.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons

SKELETON = skeletons.H36M_17
# What the body's frame is made of.
TORSO = ("rhip", "lhip", "rsho", "lsho")

_FLIP = np.array(SKELETON.flip_order)
# Of the regularised triangulation that the network starts from, in metres: standard deviation of a
# ray whose score is 1, of a joint about the body's centre, and the distance at which a ray that
# passes the other counts half.
_RAY_M, _BODY_M, _PASSING_M = 0.015, 0.5, 0.06
_RAY_VALUE, _PRIOR_VALUE = 1000.0, 100.0  # 1/m², what the network's exponents are about
_UNIT_M, _FARTHEST = 0.5, 3.0  # of its inputs, and where they saturate, in units
_NUM_INPUTS = SKELETON.num_joints * 15 + 8

Params = dict[str, tuple[jax.Array, ...]]


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
    "in": (weights(_NUM_INPUTS, width), jnp.zeros(width)),
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
  """The network's inputs [n, 15 j + 8], in the body's frame."""
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
  right_hip, left_hip, right, left = (points[:, SKELETON.index(name)] for name in TORSO)

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

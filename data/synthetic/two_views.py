"""People before two cameras with a detector's errors, by simulation: no image is rendered.

Poses are those of the training motions, cameras stand anywhere, and errors and scores are those
that a network made of a view in which a person was posed much alike.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data.synthetic import body as body_lib
from data.synthetic import motion
from data.synthetic import rig as rig_lib
from epipolar_jax import skeletons

_SKELETON = skeletons.H36M_17
_FLIP = np.array(_SKELETON.flip_order)
_BODIES, _TOGETHER = 600, 500
# Of views with a pose much alike, how many lend their errors; and how much a joint counts in that.
_NEAREST = 8
_FAR_JOINTS = {"kne": 1.2, "elb": 1.2, "ank": 1.5, "wri": 1.5}


class Pairs(NamedTuple):
  """n poses before two cameras each.

  Attributes:
    xy: [n, 2, j, 2], what was detected, on the plane at depth 1.
    score: [n, 2, j].
    rotation: [n, 2, 3, 3], world to camera.
    centres: [n, 2, 3], m.
    joints: [n, j, 3], m, where they are.
  """

  xy: Any
  score: Any
  rotation: Any
  centres: Any
  joints: Any


@dataclasses.dataclass(frozen=True)
class Errors:
  """What a network made of m views.

  Attributes:
    pose: [m, j, 2], where the joints are, m at the root's depth, relative to the root.
    off: [m, j, 2], how far what was detected is from it.
    score: [m, j].
  """

  pose: np.ndarray
  off: np.ndarray
  score: np.ndarray


def poses(count: int, split: str, rng: np.random.Generator) -> np.ndarray:
  """Joints [n, j, 3], m, of the motions of a split, roots in the origin, z up."""
  body = body_lib.load()
  # Two vertices are joints, and no other is needed.
  kept = [body.nose_vertex, body.crown_vertex]
  small = dataclasses.replace(
    body,
    rest_vertices=body.rest_vertices[kept],
    shape_vertices=body.shape_vertices[:, kept],
    skin_indices=body.skin_indices[kept],
    skin_weights=body.skin_weights[kept],
    skin_matrix=body.skin_matrix[kept],
    nose_vertex=0,
    crown_vertex=1,
  )
  clips = motion.load()

  @jax.jit
  @jax.vmap
  def joints_of(shape: jax.Array, rotations: jax.Array) -> jax.Array:
    return body_lib.pose_body(small, shape, rotations, jnp.zeros(3))[1]

  bodies = np.stack([body_lib.shape_sample(rng) for _ in range(_BODIES)])
  found = []
  for _ in range(0, count, _TOGETHER):
    drawn = [motion.sample_pose(clips, rng, split).bone_rotations for _ in range(_TOGETHER)]
    shape = bodies[rng.integers(_BODIES, size=_TOGETHER)]
    found.append(np.asarray(joints_of(shape, np.stack(drawn))) / 1000.0)
  joints = np.concatenate(found)[:count]
  return joints - joints[:, :1]


def cameras(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Two cameras about each of n people's roots, in the origin: rotations and centres, m.

  Two of the rigs that are rendered, of all places; or two that look at the person from anywhere.
  """
  rotation, centres = np.zeros((count, 2, 3, 3)), np.zeros((count, 2, 3))
  places = list(rig_lib.PLACES)
  for i in range(count):
    if rng.random() < 0.65:
      place = "around" if rng.random() < 0.75 else places[rng.integers(len(places))]
      rig = rig_lib.sample_rig(rng, num_views=4, jitter=1.0, place=place)
      two = rng.permutation(4)[:2]
      rotation[i], at = rig.rotation[two], rig.centers[two]
      root = np.array([*rng.uniform(-600, 600, 2), rng.uniform(700, 1000)])
    else:
      first, apart = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(15, 180))
      azimuth = np.array([first, first + apart * rng.choice([-1, 1])])
      distance = np.exp(rng.uniform(np.log(2200), np.log(9000), 2))
      height = rng.uniform(300, 3500, 2)
      at = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), height], axis=-1)
      target = np.array([0, 0, 900]) + rng.normal(0, 200, (2, 3))
      roll = np.radians(rng.normal(0, 3, 2))
      rotation[i] = [rig_lib.look_at(c, t, r) for c, t, r in zip(at, target, roll)]
      root = np.array([*rng.uniform(-400, 400, 2), rng.uniform(700, 1000)])
    centres[i] = (at - root) / 1000.0
  return rotation, centres


def pairs_of(predicted: dict[str, Any], labels: dict[str, np.ndarray]) -> Pairs:
  """All ordered pairs of a network's views of a split, with the truth.

  Args:
    predicted: joints_2d [n, v, j, 2], network px, and score [n, v, j].
    labels: crop, intrinsics, rotation, translation [n, v, ...] and joints_3d [n, j, 3], mm.
  """
  xy, rotation, centres = _seen(predicted, labels)
  middle = centres.mean(axis=1, keepdims=True)
  score = np.asarray(predicted["score"], np.float64)
  joints = np.asarray(labels["joints_3d"], np.float64) / 1000.0 - middle
  found = [
    Pairs(xy[:, two], score[:, two], rotation[:, two], (centres - middle)[:, two], joints)
    for two in map(list, itertools.permutations(range(xy.shape[1]), 2))
  ]
  return Pairs(*(np.float32(np.concatenate(x)) for x in zip(*found)))


def errors_of(predicted: dict[str, Any], labels: dict[str, np.ndarray]) -> Errors:
  """Errors of a network in all views of a split, and their mirror images; as of `pairs_of`."""
  xy, rotation, centres = _seen(predicted, labels)
  joints = np.asarray(labels["joints_3d"], np.float64) / 1000.0
  true, depth = _projected(joints, rotation, centres)
  pose = (true - true[:, :, :1]) * depth
  parts = pose, (xy - true) * depth, np.asarray(predicted["score"], np.float64)[..., None]
  pose, off, score = (np.float32(x.reshape(-1, *x.shape[2:])) for x in parts)
  sides = np.array([-1.0, 1.0], np.float32)
  both = ((pose, pose[:, _FLIP] * sides), (off, off[:, _FLIP] * sides), (score, score[:, _FLIP]))
  pose, off, score = (np.concatenate(x) for x in both)
  return Errors(pose, off, score[..., 0])


def simulator(
  joints: np.ndarray, rotation: np.ndarray, centres: np.ndarray, errors: Errors
) -> Callable[[jax.Array, int], Pairs]:
  """A function that draws pairs (key, number), to be jitted with the number static.

  Args:
    joints: [n, j, 3], of `poses`, turned to any heading.
    rotation, centres: [n, 2, ...], of `cameras`.
    errors: of `errors_of`.
  """
  true, depth = _projected(joints, rotation, centres)
  pose = np.float32((true - true[:, :, :1]) * depth)
  lenders = _alike(pose.reshape(-1, *pose.shape[2:]), errors.pose).reshape(len(joints), 2, -1)
  arrays = [jnp.asarray(np.float32(x)) for x in (joints, rotation, centres, true, depth)]
  off, score, lenders = jnp.asarray(errors.off), jnp.asarray(errors.score), jnp.asarray(lenders)

  def draw(key: jax.Array, number: int) -> Pairs:
    keys = jax.random.split(key, 7)
    row = jax.random.randint(keys[0], (number,), 0, len(joints))
    x, r, c, xy, z = (array[row] for array in arrays)
    which = jax.random.randint(keys[1], (number, 2, 1), 0, _NEAREST)
    lender = jnp.take_along_axis(lenders[row], which, axis=2)[..., 0]
    size = jnp.exp(0.35 * jax.random.normal(keys[2], (number, 1, 1, 1)))
    noise = size * off[lender] + 0.004 * jax.random.normal(keys[3], xy.shape)
    # A calibration that is a little off moves a view as a whole.
    moved = 0.006 * jax.random.normal(keys[4], (number, 2, 1, 2))
    noise += jnp.where(jax.random.uniform(keys[5], (number, 1, 1, 1)) < 0.5, moved, 0.0)
    return Pairs(xy + noise / z, score[lender], r, c, x)

  return draw


def _seen(predicted, labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Detections on the plane at depth 1 [n, v, j, 2], rotations, centres in m."""
  last = np.broadcast_to([0.0, 0.0, 1.0], (*labels["crop"].shape[:2], 1, 3))
  k = np.concatenate([labels["crop"], last], axis=2) @ labels["intrinsics"]
  uv = np.asarray(predicted["joints_2d"], np.float64)
  uv = np.concatenate([uv, np.ones((*uv.shape[:-1], 1))], axis=-1)
  xy = np.einsum("nvab,nvjb->nvja", np.linalg.inv(k), uv)[..., :2]
  rotation = np.asarray(labels["rotation"], np.float64)
  centres = -np.einsum("nvab,nva->nvb", rotation, np.asarray(labels["translation"], np.float64))
  return xy, rotation, centres / 1000.0


def _projected(joints, rotation, centres) -> tuple[np.ndarray, np.ndarray]:
  """Joints [n, v, j, 2] on the plane at depth 1, and the root's depth [n, v, 1, 1]."""
  x = np.einsum("nvab,nvjb->nvja", rotation, joints[:, None] - centres[:, :, None])
  return x[..., :2] / x[..., 2:], x[:, :, :1, 2:]


def _alike(pose: np.ndarray, others: np.ndarray) -> np.ndarray:
  """For each pose [n, j, 2] the views [n, 8] among others [m, j, 2] that are most alike."""
  weight = np.array([_FAR_JOINTS.get(name[1:], 1.0) for name in _SKELETON.joints], np.float32)
  flat, flat_others = ((x * weight[:, None]).reshape(len(x), -1) for x in (pose, others))
  square = (flat_others * flat_others).sum(axis=1)
  blocks = [
    np.argpartition(square - 2 * flat[i : i + _TOGETHER] @ flat_others.T, _NEAREST, axis=1)
    for i in range(0, len(flat), _TOGETHER)
  ]
  return np.concatenate([block[:, :_NEAREST] for block in blocks])

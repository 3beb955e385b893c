"""People seen by simulated rigs, as a detector would report them: what the tools try methods on."""

from typing import NamedTuple

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.geometry.cameras import Cameras

SIZE = 256  # side of the crops, px
STRIDE = 4  # crop px per heatmap px
# Limbs of Human3.6M's 17 joints in an average adult, mm, in the order of `H36M_17.limbs`.
LIMB_MM = (
  *(133.0, 443.0, 454.0, 133.0, 443.0, 454.0, 233.0, 257.0),
  *(121.0, 115.0, 151.0, 279.0, 252.0, 151.0, 279.0, 252.0),
)
_SKELETON = skeletons.H36M_17


class Scenes(NamedTuple):
  """Frames of n rigs, all float32.

  Attributes:
    joints: [n, j, 3], world, mm.
    cameras: [n, v], of the crops, t_cw in mm.
    uv: [n, v, j, 2], exact projections, px.
    neighbour: [n, v], the view with the nearest camera.
  """

  joints: np.ndarray
  cameras: Cameras
  uv: np.ndarray
  neighbour: np.ndarray


def make_scenes(rng: np.random.Generator, count: int, *, num_views: int = 4) -> Scenes:
  """People of 95 to 105 % of the average size in random poses, cameras 4.5-6 m away all around.

  The crops are 256 px and 2 m wide, as the crops of Human3.6M are.
  """
  made = [_scene(rng, num_views) for _ in range(count)]
  joints, k, r, t, uv = (np.stack(parts) for parts in zip(*made))
  cameras = Cameras(k, r, t)
  return Scenes(joints, cameras, uv, nearest_view(cameras))


def nearest_view(cameras: Cameras, present: np.ndarray | None = None) -> np.ndarray:
  """The other view with the nearest camera [n, v] int32, of those present [n, v]; None: of all.

  Where no other is present it is the nearest of the absent.
  """
  center = -np.einsum("nvba,nvb->nva", cameras.rotation, cameras.translation)
  gap = np.linalg.norm(center[:, :, None] - center[:, None], axis=-1)
  gap[:, np.eye(gap.shape[1], dtype=bool)] = np.inf
  if present is not None:
    gap = np.where(present[:, None], gap, gap + 1e9)
  return gap.argmin(axis=2).astype(np.int32)


def _scene(rng: np.random.Generator, num_views: int) -> tuple[np.ndarray, ...]:
  joints = rng.normal(1.0, 0.05) * _pose(rng) + np.array([*rng.normal(0, 500, 2), 950.0])
  person = joints.mean(axis=0)
  angles = rng.uniform(0, 2 * np.pi) + np.arange(num_views) * 2 * np.pi / num_views
  k, r, t = [], [], []
  for angle in angles + rng.normal(0, 0.2, num_views):
    distance = rng.uniform(4500, 6000)
    center = np.array([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(1300, 1700)])
    center[:2] += person[:2]
    rotation = _look_at(center, person + rng.normal(0, 50, 3))
    focal = SIZE * np.linalg.norm(center - person) / 2000.0
    middle = (SIZE - 1) / 2 + rng.normal(0, 5, 2)
    k.append([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1.0]])
    r.append(rotation)
    t.append(-rotation @ center)
  k, r, t = (np.array(x, np.float32) for x in (k, r, t))
  x_c = np.einsum("vab,jb->vja", r, joints) + t[:, None]
  uv = np.einsum("vab,vjb->vja", k, x_c)
  uv = (uv[..., :2] / uv[..., 2:]).astype(np.float32)
  return joints.astype(np.float32), k, r, t, uv


def _pose(rng: np.random.Generator) -> np.ndarray:
  """Joints [j, 3] around the root: a standing person whose every limb is turned at random."""
  at_rest = {"hip": (1, 0, 0), "sho": (1, 0, 0), "nose": (0, 0.7, 0.7)}
  joints = np.zeros((_SKELETON.num_joints, 3))
  for (parent, child), length in zip(_SKELETON.limbs, LIMB_MM):
    name = _SKELETON.joints[child]
    side = -1.0 if name[0] == "r" else 1.0
    upward = name in ("belly", "neck", "head")
    rest = at_rest.get(name if name == "nose" else name[1:], (0, 0, 1.0 if upward else -1.0))
    direction = np.array(rest) * [side, 1.0, 1.0]
    direction = direction + rng.normal(0, 0.15 if upward or name[1:] in at_rest else 0.6, 3)
    joints[child] = joints[parent] + length * direction / np.linalg.norm(direction)
  return joints


def _look_at(center: np.ndarray, target: np.ndarray) -> np.ndarray:
  """R_cw [3, 3] of a camera that looks from one point to another, upright; z is up in the world."""
  forward = (target - center) / np.linalg.norm(target - center)
  right = np.cross(forward, [0.0, 0.0, 1.0])
  right /= np.linalg.norm(right)
  return np.stack([right, np.cross(forward, right), forward])

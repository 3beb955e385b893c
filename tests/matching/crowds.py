"""People who walk about, seen by cameras around them: detections in slots of any order."""

import dataclasses

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from tests import scenes

VIEWS = ("left", "right", "front", "back")


@dataclasses.dataclass(frozen=True)
class Crowd:
  """People, their detections, and who is in which slot.

  Attributes:
    rig: four cameras with a bent lens.
    points: [f, p, j, 3] mm, where everybody is.
    observations: of shuffled slots.
    slots: [f, p, v], the slot of each person; -1 if nobody saw them there.
  """

  rig: Rig
  points: np.ndarray
  observations: Observations
  slots: np.ndarray


def make(
  count: int,
  *,
  frames: int = 40,
  seed: int = 0,
  sigma: float = 1.0,
  missing: float = 0.1,
  scale: float = 1.0,
) -> Crowd:
  """Persons of 1.7 m about 1 m apart who walk 1.2 m in small steps; at scale 0.001, mites."""
  rng = np.random.default_rng(seed)
  joints = 9
  bodies = rng.uniform([-250, -250, 0], [250, 250, 1700], (count, joints, 3))
  start = 1000 * np.array([[0, 0], [1, 0.1], [-0.1, 1], [1.1, 1.1]])[:count] - 500
  ways = rng.normal(0, 1, (count, 2))
  ways *= 1200 / np.linalg.norm(ways, axis=1, keepdims=True)
  along = np.linspace(-0.5, 0.5, frames)[:, None, None]
  ground = np.concatenate([start + along * ways, np.zeros((frames, count, 1))], axis=-1)
  points = bodies + ground[:, :, None] + rng.normal(0, 8, (frames, count, joints, 3))
  centres = 5000 * np.array([[1, 0.1, 0.3], [0.2, 1, 0.6], [-1, 0.3, 0.2], [0.5, -0.9, 0.4]])
  rotation = np.stack([scenes.look_at(c, np.array([0.0, 0, 900])) for c in centres])
  k = np.tile([[1200.0, 0, 640], [0, 1200, 512], [0, 0, 1]], (4, 1, 1))
  translation = -np.einsum("vij,vj->vi", rotation, centres) * scale
  lens = lenses.OpenCV((-0.1, 0.02, 1e-3, -1e-3, 0.0))
  rig = Rig(VIEWS, ((1280, 1024),) * 4, (lens,) * 4, Cameras(k, rotation, translation), 1.0)
  points = points * scale
  x = np.einsum("vij,fpnj->fpvni", rotation, points) + translation[:, None]
  uv = np.einsum("vij,fpvnj->fpvni", k, x / x[..., 2:])[..., :2]
  uv = rig.distort(uv) + rng.normal(0, sigma, uv.shape)
  seen = rng.uniform(size=uv.shape[:-1]) > 0.1
  present = rng.uniform(size=uv.shape[:3]) > missing
  uv[~(seen & present[..., None])] = np.nan
  slots = np.full(present.shape, -1)
  shuffled = np.full_like(uv, np.nan)
  for f, v in np.ndindex(frames, 4):
    order = rng.permutation(count)
    shuffled[f, order, v] = uv[f, :, v]
    slots[f, :, v] = np.where(np.isfinite(uv[f, :, v]).any((-1, -2)), order, -1)
  score = np.where(np.isfinite(shuffled).all(-1), 0.8, 0.0)
  names = tuple(f"joint {i}" for i in range(joints))
  return Crowd(rig, points, Observations(shuffled, score, names, VIEWS), slots)

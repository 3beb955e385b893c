"""Random rigs of cameras around a person, in float64 numpy: what the geometry tests look at."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scene:
  """A person seen by v cameras.

  Attributes:
    intrinsics: [v, 3, 3], K of square crops around the person, px.
    rotation: [v, 3, 3], R_cw.
    translation: [v, 3], t_cw, mm.
    joints: [j, 3], world, mm.
    uv: [v, j, 2], their exact projections, px.
  """

  intrinsics: np.ndarray
  rotation: np.ndarray
  translation: np.ndarray
  joints: np.ndarray
  uv: np.ndarray

  @property
  def cameras(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return self.intrinsics, self.rotation, self.translation


def look_at(center: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
  """R_cw [3, 3] of a camera that looks from one point to another; z is up in the world."""
  forward = (target - center) / np.linalg.norm(target - center)
  right = np.cross(forward, [0.0, 0.0, 1.0])
  right /= np.linalg.norm(right)
  down = np.cross(forward, right)
  cos, sin = np.cos(roll), np.sin(roll)
  return np.stack([cos * right + sin * down, cos * down - sin * right, forward])


def project(points: np.ndarray, k: np.ndarray, r: np.ndarray, t: np.ndarray) -> np.ndarray:
  """World points [n, 3] to pixels [n, 2]."""
  x = (points @ r.T + t) @ k.T
  return x[:, :2] / x[:, 2:]


def make_scene(
  seed: int, *, num_views: int = 4, num_joints: int = 17, size: int = 256, rotated: bool = True
) -> Scene:
  """Cameras 4-5.5 m around a person of about 2 m, each with its own crop.

  Args:
    seed: the same scene for the same seed.
    num_views, num_joints: v, j.
    size: side of the crops, px.
    rotated: crops turned and stretched as augmentation does, so that K is not upper triangular.
  """
  rng = np.random.default_rng(seed)
  person = rng.normal([0, 0, 900], [500, 500, 60])
  joints = person + rng.normal(0, [250, 250, 400], (num_joints, 3))
  angles = rng.uniform(0, 2 * np.pi) + np.arange(num_views) * 2 * np.pi / num_views
  angles += rng.normal(0, 0.2, num_views)
  k, r, t = [], [], []
  for angle in angles:
    radius = rng.uniform(4000, 5500)
    center = np.array([radius * np.cos(angle), radius * np.sin(angle), rng.uniform(1300, 1700)])
    rotation = look_at(center, person + rng.normal(0, 100, 3), rng.normal(0, 0.03))
    focal = size * rng.uniform(1.9, 2.2)
    crop = np.array([[focal, 0.0], [0.0, focal * 1.002]])
    if rotated:
      turn = rng.normal(0, 0.4)
      crop = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ crop
    middle = (size - 1) / 2 + rng.normal(0, 0.04 * size, 2)
    k.append(np.block([[crop, middle[:, None]], [np.array([[0.0, 0.0, 1.0]])]]))
    r.append(rotation)
    t.append(-rotation @ center)
  uv = np.stack([project(joints, *camera) for camera in zip(k, r, t)])
  return Scene(np.stack(k), np.stack(r), np.stack(t), joints, uv)

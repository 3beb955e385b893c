"""A recording whose joints are known: a walking cloud of joints seen by a ring of cameras."""

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from tests import scenes

SIZE_WH = (1280, 960)


def ring(views: int = 4, *, lens=None) -> Rig:
  """Cameras 4.5 m around the origin, 1280 x 960 px."""
  k = np.array([[1100.0, 0, 639.5], [0, 1100.0, 479.5], [0, 0, 1]])
  rotations, translations = [], []
  for view in range(views):
    angle = 2 * np.pi * view / views + 0.3
    centre = np.array([4500 * np.cos(angle), 4500 * np.sin(angle), 1400.0 + 100 * view])
    rotations.append(scenes.look_at(centre, np.array([0.0, 0.0, 900.0])))
    translations.append(-rotations[-1] @ centre)
  cameras = Cameras(np.stack([k] * views), np.stack(rotations), np.stack(translations))
  names = tuple(f"cam{view}" for view in range(views))
  return Rig(names, (SIZE_WH,) * views, (lens or lenses.Pinhole(),) * views, cameras, 1.0)


def walk(frames: int, joints: int = 17, *, seed: int = 0, times=None) -> np.ndarray:
  """Joints [f, j, 3], mm, of a body of 1.7 m that moves around the origin; at times [f], frames."""
  rng = np.random.default_rng(seed)
  body = rng.uniform([-250, -250, 50], [250, 250, 1750], (joints, 3))
  time = (np.arange(frames) if times is None else times)[:, None, None] / 20
  sway = 60 * np.sin(time * 3 + rng.uniform(0, 6, (1, joints, 3)))
  path = np.stack([400 * np.sin(time / 2), 400 * np.cos(time / 2), 0 * time], axis=-1)[:, 0]
  return body[None] + sway + path


def project(points: np.ndarray, cameras: Cameras) -> np.ndarray:
  """Joints [f, j, 3] in every view [f, v, j, 2], px."""
  k, r, t = cameras.intrinsics, cameras.rotation, cameras.translation
  each = [scenes.project(points.reshape(-1, 3), *camera) for camera in zip(k, r, t)]
  return np.stack(each).reshape(len(each), *points.shape[:2], 2).swapaxes(0, 1)


def observed(points: np.ndarray, rig: Rig, *, noise_px=0.0, outliers=0.0, seed=1) -> Observations:
  """What detectors see of the joints, with Gaussian noise and a share of gross errors."""
  rng = np.random.default_rng(seed)
  uv = project(points, rig.cameras)
  uv = uv + noise_px * rng.normal(size=uv.shape)
  wild = rng.random(uv.shape[:-1]) < outliers
  uv = np.where(wild[..., None], uv + rng.uniform(-150, 150, uv.shape), uv)
  names = tuple(f"joint{i}" for i in range(points.shape[1]))
  score = np.ones((len(points), 1, len(rig.names), points.shape[1]))
  return Observations(rig.distort(uv)[:, None], score, names, rig.names)

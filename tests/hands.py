"""Hands in memory, as the RHD builder stores them: half of them left, images of dots."""

import cv2
import numpy as np

_SIDE = 320
_HUES = np.random.default_rng(5).integers(60, 255, (21, 3))


def frames(count: int, *, seed: int = 0) -> list[dict]:
  """Examples of `data.rhd`: fingers of 80 mm at random angles, half a metre away."""
  return [_hand(np.random.default_rng((seed, i)), i) for i in range(count)]


def _hand(rng: np.random.Generator, index: int) -> dict:
  points = np.zeros((21, 3))
  for finger in range(5):
    base = np.array([20.0 * (finger - 2), -80.0, 0.0]) + rng.normal(0, 3, 3)
    bend = rng.uniform(0, 1.2)
    for i, joint in enumerate(range(4 * finger + 4, 4 * finger, -1)):
      angle = bend * i / 3
      points[joint] = base + 25.0 * i * np.array([0.0, -np.cos(angle), -np.sin(angle)])
  side = index % 2
  if side:
    points[:, 2] *= -1.0
  axis = rng.normal(size=3)
  rotation, _ = cv2.Rodrigues(axis / np.linalg.norm(axis) * rng.uniform(0, 0.8))
  points = points @ rotation.T + [*rng.uniform(-60, 60, 2), rng.uniform(450, 600)]
  intrinsics = np.array([[280.0, 0, 159.5], [0, 280.0, 159.5], [0, 0, 1]])
  uv = points @ intrinsics.T
  uv = uv[:, :2] / uv[:, 2:]
  canvas = np.zeros((_SIDE, _SIDE, 3), np.uint8)
  for joint, place in enumerate(uv):
    cv2.circle(canvas, tuple(np.rint(place).astype(int).tolist()), 4, _HUES[joint].tolist(), -1)
  return {
    "image": canvas,
    "joints_3d": points.astype(np.float32),
    "joints_2d": uv.astype(np.float32),
    "visible": rng.random(21) > 0.1,
    "intrinsics": intrinsics.astype(np.float32),
    "hand_side": np.int32(side),
    "hand_pixels": np.zeros(2, np.int32),
    "frame": np.int32(index),
  }

"""A data set in memory whose people are coloured dots: small and quick to learn, same format."""

import cv2
import ml_collections
import numpy as np

from configs import synthetic_full

SIZE = 80  # of the stored images, px
_HUES = np.random.default_rng(7).integers(60, 255, (17, 3))


def frames(count: int, *, views: int = 4, seed: int = 0) -> list[dict]:
  """Frames as a builder stores them: joints in a 1.6 m ball, cameras 5 m away all around."""
  return [_frame(np.random.default_rng((seed, i)), i, views) for i in range(count)]


def config(**model: object) -> ml_collections.ConfigDict:
  """A tiny run: ResNet-18 of an eighth of the width on 64 x 64 images."""
  c = synthetic_full.get_config()
  c.model.update({"width": 0.125, "deconv_channels": 16, **model})
  c.model.fusion.update({"merge": "late", "sources": "nearest", "num_samples": 8})
  c.data.image_size = 64
  c.data.flip_probability = 0.0  # a dot's colour says which joint it is: no mirrored world
  c.data.color_jitter = 0.05
  c.train.update({"batch_size": 4, "num_epochs": 1.5, "log_steps": 1, "eval_epochs": 0.0})
  c.eval.update({"batch_size": 4, "splits": ("test",), "num_images": 2})
  return c


def _frame(rng: np.random.Generator, index: int, views: int) -> dict:
  joints = rng.uniform(-800, 800, (17, 3)) * [0.5, 0.5, 1.0]
  image, intrinsics, rotation, translation, joints_2d = [], [], [], [], []
  for v in range(views):
    angle = 2 * np.pi * (v + rng.uniform(-0.2, 0.2)) / views
    forward = -np.array([np.cos(angle), np.sin(angle), 0.1])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    r = np.stack([right, np.cross(forward, right), forward])
    t = -r @ (-5000 * forward)
    k = np.array([[SIZE * 2.4, 0, SIZE / 2], [0, SIZE * 2.4, SIZE / 2], [0, 0, 1.0]])
    x = joints @ r.T + t
    uv = x[:, :2] / x[:, 2:] * [k[0, 0], k[1, 1]] + k[:2, 2]
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    for j, p in enumerate(uv):
      cv2.circle(canvas, tuple(np.rint(p).astype(int).tolist()), 3, _HUES[j].tolist(), -1)
    for store, x in zip(
      (image, intrinsics, rotation, translation, joints_2d), (canvas, k, r, t, uv)
    ):
      store.append(x)
  as_floats = lambda x: np.asarray(x, np.float32)  # noqa: E731
  return {
    "image": np.stack(image),
    "intrinsics": as_floats(intrinsics),
    "rotation": as_floats(rotation),
    "translation": as_floats(translation),
    "joints_2d": as_floats(joints_2d),
    "joints_3d": as_floats(joints),
    "visible": np.ones((views, 17), bool),
    "occluded": np.zeros(views, bool),
    "occluded_views": 0,
    "box_center": np.full((views, 2), SIZE / 2, np.float32),
    "box_size": np.full(views, SIZE * 0.9, np.float32),
    "subject": 0,
    "frame": index,
    "action": "dots",
  }

"""Refining a rig of 16 cameras on the keypoints of one person, as `epipolar calibrate` does it.

Half of the frames fitted, the other half judged with each camera left out, then all fitted. The
keypoints have 3 px of noise and 10 % gross errors, the cameras are a degree and 20 mm off. Rows
with programs compiled are what a second recording of the rig takes; compiling is by itself.
"""

import dataclasses
import time

import numpy as np
from scipy.spatial.transform import Rotation

from epipolar_jax.calibration import refining
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.lenses import Pinhole
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.tools.benchmark import timing

VIEWS, _JOINTS = 16, 17
_FRAMES = (20, 200, 2000)
_SIZE_WH, _FOCAL = (1280, 960), 1100.0
_NOISE_PX, _OUTLIERS, _GROSS_PX = 3.0, 0.1, 150.0
_DEGREES, _MM = 1.0, 20.0


def run(seconds: float, only: tuple[str, ...] = ()) -> list[timing.Row]:
  """Measures `refining.refine`.

  Args:
    seconds: for each number of frames, after the first call; one more call at least.
    only: numbers of frames; () is all.

  Raises:
    ValueError: no such number is measured.
  """
  if not set(only) <= set(map(str, _FRAMES)):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(map(str, _FRAMES))}")
  return [_measure(frames, seconds) for frames in _FRAMES if not only or str(frames) in only]


def _measure(frames: int, seconds: float) -> timing.Row:
  rng = np.random.default_rng(0)
  rig = ring()
  observations, wrong = observed(rng, frames, rig), disturbed(rng, rig)
  times: list[float] = []
  while len(times) < 2 or sum(times[1:]) < seconds:
    start = time.perf_counter()
    refined = refining.refine(observations, wrong)
    times.append(time.perf_counter() - start)
  if not np.nanmedian(refined.after) < 0.5 * np.nanmedian(refined.before):
    raise AssertionError("the rig was not refined: what was timed is not what it should be")
  median = float(np.median(times[1:]))
  return timing.Row(
    name="refine",
    size=f"{VIEWS} views x {frames} frames x {_JOINTS} joints",
    compile_s=max(times[0] - median, 0.0),
    median_s=median,
    low_s=min(times[1:]),
    high_s=max(times[1:]),
    calls=len(times) - 1,
    frames_per_s=frames / median,
  )


def ring() -> Rig:
  """Cameras 4.5 m around the origin, z up."""
  angle = 2 * np.pi * np.arange(VIEWS) / VIEWS
  height = 1400.0 + 100.0 * np.arange(VIEWS)
  centres = np.stack([4500 * np.cos(angle), 4500 * np.sin(angle), height], axis=-1)
  ahead = np.array([0.0, 0.0, 900.0]) - centres
  ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
  right = np.cross(ahead, [0.0, 0.0, 1.0])
  right /= np.linalg.norm(right, axis=-1, keepdims=True)
  rotation = np.stack([right, np.cross(ahead, right), ahead], axis=1)
  translation = -np.einsum("vij,vj->vi", rotation, centres)
  width, height_px = _SIZE_WH
  k = np.array([[_FOCAL, 0, (width - 1) / 2], [0, _FOCAL, (height_px - 1) / 2], [0, 0, 1]])
  names = tuple(f"camera_{view:02}" for view in range(VIEWS))
  cameras = Cameras(np.stack([k] * VIEWS), rotation, translation)
  return Rig(names, (_SIZE_WH,) * VIEWS, (Pinhole(),) * VIEWS, cameras, 1.0)


def observed(rng: np.random.Generator, frames: int, rig: Rig) -> Observations:
  """Detections of a body of 1.7 m on a walk around the origin."""
  time_s = np.arange(frames)[:, None, None] / 20
  body = rng.uniform([-250, -250, 50], [250, 250, 1750], (_JOINTS, 3))
  sway = 60 * np.sin(3 * time_s + rng.uniform(0, 6, (_JOINTS, 3)))
  path = 400 * np.concatenate([np.sin(time_s / 2), np.cos(time_s / 2), 0 * time_s], axis=-1)
  x = np.einsum("vij,fnj->fvni", rig.cameras.rotation, body + sway + path)
  x = x + rig.cameras.translation[:, None]
  uv = (x @ np.swapaxes(rig.cameras.intrinsics, -1, -2))[..., :2] / x[..., 2:]
  uv += _NOISE_PX * rng.normal(size=uv.shape)
  gross = rng.random(uv.shape[:-1]) < _OUTLIERS
  uv += gross[..., None] * rng.uniform(-_GROSS_PX, _GROSS_PX, uv.shape)
  joints = tuple(f"joint_{joint}" for joint in range(_JOINTS))
  return Observations(uv[:, None], np.ones(uv[:, None].shape[:-1]), joints, rig.names)


def disturbed(rng: np.random.Generator, rig: Rig) -> Rig:
  """The rig with each camera turned and moved in a direction of its own."""
  axis, shift = rng.normal(size=(2, VIEWS, 3))
  axis, shift = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (axis, shift))
  turn = Rotation.from_rotvec(np.radians(_DEGREES) * axis).as_matrix()
  rotation = turn @ rig.cameras.rotation
  centre = rig.cameras.centre() + _MM * shift
  translation = -np.einsum("vij,vj->vi", rotation, centre)
  cameras = Cameras(rig.cameras.intrinsics, rotation, translation)
  return dataclasses.replace(rig, cameras=cameras)

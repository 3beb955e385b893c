"""Recordings with one mistake in one camera, in all, or in two that are swapped."""

import dataclasses

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from tests import scenes, walkers

_FRAMES = 120
_POSES = {
  "rotation transposed": lambda r, t: (r.T, t),
  "t is the centre": lambda r, t: (r, -r.T @ t),
  "pose inverse": lambda r, t: (r.T, -r.T @ t),
  "translation x 1000": lambda r, t: (r, t * 1000),
  "translation x 0.001": lambda r, t: (r, t / 1000),
  "translation x 10": lambda r, t: (r, t * 10),
  "translation x 25.4": lambda r, t: (r, t * 25.4),
}
_W, _H = walkers.SIZE_WH
_IMAGES = {
  "mirrored": lambda u, v: (_W - 1 - u, v),
  "turned 180": lambda u, v: (_W - 1 - u, _H - 1 - v),
  "turned clockwise": lambda u, v: (_H - 1 - v, u),
  "turned anticlockwise": lambda u, v: (v, _W - 1 - u),
  "u and v swapped": lambda u, v: (v, u),
  "scaled x 2": lambda u, v: (2 * u + 0.5, 2 * v + 0.5),
  "scaled x 0.5": lambda u, v: (u / 2 - 0.25, v / 2 - 0.25),
  "shifted -0.5 -0.5": lambda u, v: (u - _W / 2, v - _H / 2),
}
_OTHERS = ("swapped", "sides", "time offset")
_ALL = ("all rotation transposed", "all t is the centre", "all pose inverse")
NAMES = (*_POSES, *_IMAGES, *_OTHERS, *_ALL)


def case(views: int, seed: int, *, noise_px=2.0, outliers=0.0) -> tuple[Observations, Rig]:
  """A good recording: a ring that is not even, in a world turned and moved at random."""
  rng = np.random.default_rng(seed)
  rig = _ring(views, rng)
  walk = walkers.walk(_FRAMES, seed=seed)
  turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
  turn *= np.sign(np.linalg.det(turn))
  shift = rng.uniform(-2000, 2000, 3)
  r = rig.cameras.rotation @ turn.T
  t = rig.cameras.translation - np.einsum("vij,j->vi", r, shift)
  moved = dataclasses.replace(rig, cameras=Cameras(rig.cameras.intrinsics, r, t))
  seen = walkers.observed(
    walk @ turn.T + shift, moved, noise_px=noise_px, outliers=outliers, seed=seed
  )
  names = tuple(f"{side}_{i}" for i in range(8) for side in ("left", "right"))
  return dataclasses.replace(seen, joints=(*names, "nose")), moved


def _ring(views: int, rng: np.random.Generator) -> Rig:
  """The ring with every camera elsewhere: an even one looks the same in a mirror."""
  rig = walkers.ring(views)
  angle = 2 * np.pi * (np.arange(views) + rng.uniform(-0.3, 0.3, views)) / views
  radius, height = rng.uniform(3500, 5500, views), rng.uniform(700, 2600, views)
  centres = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)
  target = np.array([0.0, 0.0, 900.0]) + rng.uniform(-150, 150, (views, 3))
  r = np.stack([scenes.look_at(c, x) for c, x in zip(centres, target)])
  t = -np.einsum("vij,vj->vi", r, centres)
  return dataclasses.replace(rig, cameras=Cameras(rig.cameras.intrinsics, r, t))


def inject(observations: Observations, rig: Rig, mistake: str, seed: int):
  """The recording with a mistake: ((observations, rig), the cameras that have it, its name)."""
  rng = np.random.default_rng(seed + 1000)
  count = len(rig.names)
  one = int(rng.integers(count))
  views = range(count) if mistake.startswith("all ") else [one]
  name = mistake.removeprefix("all ")
  points = observations.points.copy()
  r, t = rig.cameras.rotation.copy(), rig.cameras.translation.copy()
  if name in _POSES:
    for view in views:
      r[view], t[view] = _POSES[name](r[view], t[view])
  elif name in _IMAGES:
    moved = _IMAGES[name](points[:, :, one, :, 0], points[:, :, one, :, 1])
    points[:, :, one] = np.stack(moved, axis=-1)
  elif name == "sides":
    points[:, :, one, :16] = points[:, :, one, [i ^ 1 for i in range(16)]]
  elif name == "time offset":
    offset = int(rng.integers(4, 31)) * int(rng.choice([-1, 1]))
    points[:, :, one] = np.roll(points[:, :, one], offset, axis=0)
    lost = slice(0, offset) if offset > 0 else slice(offset, None)
    points[lost, :, one] = np.nan
  elif name == "swapped":
    other = (one + 1 + int(rng.integers(count - 1))) % count
    points[:, :, [one, other]] = points[:, :, [other, one]]
    views = [one, other]
  else:
    raise ValueError(f"no mistake {mistake}")
  score = np.where(np.isfinite(points).all(axis=-1), observations.score, 0.0)
  broken = dataclasses.replace(observations, points=points, score=score)
  cameras = Cameras(rig.cameras.intrinsics, r, t)
  wrong = dataclasses.replace(rig, cameras=cameras)
  return (broken, wrong), tuple(rig.names[i] for i in views), name

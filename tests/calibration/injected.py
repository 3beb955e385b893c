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
  "translation x 1e+03": lambda r, t: (r, t * 1000),
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
}
_OTHERS = ("K swapped", "swapped", "sides", "time offset", "scaled", "cropped")
_ALL = (
  "all rotation transposed",
  "all t is the centre",
  "all pose inverse",
  "all scaled",
  "all unit",
)
NAMES = (*_POSES, *_IMAGES, *_OTHERS, *_ALL)
# Units that are mixed up; and how many times larger than it is an image may be.
UNITS = (10.0, 25.4, 1000.0, 0.1, 1 / 25.4, 0.001)
_SCALES = (0.5, 2 / 3, 1.5, 2.0, 3.0)


def case(
  views: int, seed: int, *, noise_px=2.0, outliers=0.0, late=(0, 0.0)
) -> tuple[Observations, Rig]:
  """A good recording: a ring that is not even, in a world turned and moved at random.

  Args:
    views: number of cameras.
    seed: of the rig, the walk and the noise.
    noise_px, outliers: as `walkers.observed` has them.
    late: a camera, and by how many frames it is behind the others.
  """
  rng = np.random.default_rng(seed)
  rig = _ring(views, rng)
  turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
  turn *= np.sign(np.linalg.det(turn))
  shift = rng.uniform(-2000, 2000, 3)
  r = rig.cameras.rotation @ turn.T
  t = rig.cameras.translation - np.einsum("vij,j->vi", r, shift)
  moved = dataclasses.replace(rig, cameras=Cameras(rig.cameras.intrinsics, r, t))

  def observed(times: np.ndarray) -> Observations:
    walk = walkers.walk(_FRAMES, seed=seed, times=times)
    options = {"noise_px": noise_px, "outliers": outliers, "seed": seed}
    return walkers.observed(walk @ turn.T + shift, moved, **options)

  times, (view, behind) = np.arange(_FRAMES), late
  seen = observed(times)
  points = seen.points.copy()
  points[:, :, view] = observed(times - behind).points[:, :, view]
  names = tuple(f"{side}_{i}" for i in range(8) for side in ("left", "right"))
  return dataclasses.replace(seen, points=points, joints=(*names, "nose")), moved


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


def inject(views: int, mistake: str, seed: int, **options):
  """A recording with a mistake: ((observations, rig), the cameras that have it, its name).

  Args:
    views: number of cameras.
    mistake: one of `NAMES`.
    seed: of the recording and of the mistake.
    **options: of `case`.
  """
  rng = np.random.default_rng(seed + 1000)
  one = int(rng.integers(views))
  which = range(views) if mistake.startswith("all ") else [one]
  name = mistake.removeprefix("all ")
  if name == "time offset":
    behind = float(rng.uniform(1, 30) * rng.choice([-1, 1]))
    options = {**options, "late": (one, behind)}
  observations, rig = case(views, seed, **options)
  points = observations.points.copy()
  k, r, t = (
    x.copy() for x in (rig.cameras.intrinsics, rig.cameras.rotation, rig.cameras.translation)
  )
  if name in _POSES:
    for view in which:
      r[view], t[view] = _POSES[name](r[view], t[view])
  elif name in _IMAGES:
    moved = _IMAGES[name](points[:, :, one, :, 0], points[:, :, one, :, 1])
    points[:, :, one] = np.stack(moved, axis=-1)
  elif name == "K swapped":
    k[one] = k[one][[1, 0, 2]][:, [1, 0, 2]]
  elif name == "sides":
    points[:, :, one, :16] = points[:, :, one, [i ^ 1 for i in range(16)]]
  elif name == "swapped":
    other = (one + 1 + int(rng.integers(views - 1))) % views
    points[:, :, [one, other]] = points[:, :, [other, one]]
    which = [one, other]
  elif name == "scaled":
    scale = rng.choice(_SCALES) if len(which) > 1 else np.exp(rng.uniform(np.log(1.2), np.log(3)))
    scale = scale if rng.random() < 0.5 or len(which) > 1 else 1 / scale
    points[:, :, which] = scale * (points[:, :, which] + 0.5) - 0.5
  elif name == "cropped":
    # A tenth of the image at least, in one direction at least.
    share = rng.uniform(-0.4, 0.4, 2)
    share[rng.integers(2)] = rng.uniform(0.1, 0.4) * rng.choice([-1, 1])
    points[:, :, one] += np.round(share * (_W, _H))
  elif name == "half a pixel":
    points[:, :, one] += 0.5 * rng.choice([-1, 1])
  elif name == "unit":
    t *= rng.choice(UNITS)
  elif name != "time offset":
    raise ValueError(f"no mistake {mistake}")
  broken = dataclasses.replace(observations, points=points)
  wrong = dataclasses.replace(rig, cameras=Cameras(k, r, t))
  return (broken, wrong), tuple(rig.names[i] for i in which), name

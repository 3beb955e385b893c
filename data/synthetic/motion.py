"""Motion capture clips and random human poses drawn from them.

A pose is drawn from one clip at any moment between its frames, then varied: mirrored, its upper
body blended with another clip's, its joints disturbed within limits, fingers curled, turned to any
heading. Everything is numpy on the host and a function of the generator given. The clips come from
`bake_motion.py`, whose asset holds rotations on the rig of `body.py`.
"""

import dataclasses
import functools
import pathlib

import numpy as np
from scipy.spatial import transform

from data.synthetic import body as body_lib

ASSET = pathlib.Path(__file__).parent / "assets" / "motion.npz"
SPLITS = ("train", "validation", "test")

Rotation = transform.Rotation

# Standard deviation of the disturbance of a bone, in degrees; bones not named are left alone.
NOISE_DEG = {
  "spine04": 2.0, "spine02": 2.0, "neck02": 3.0, "head": 5.0,
  "clavicle": 2.0, "upperarm01": 6.0, "lowerarm01": 6.0, "wrist": 8.0,
  "upperleg01": 3.0, "lowerleg01": 4.0, "foot": 3.0,
}  # fmt: skip
# Elbow and knee flexion, in degrees from a straight limb.
HINGE_LIMITS_DEG = {"lowerarm01": (0.0, 145.0), "lowerleg01": (0.0, 150.0)}
# Flexion of a fully closed fist at the three joints of a finger; the thumb goes half as far.
FIST_DEG = (75.0, 90.0, 55.0)
UPPER_BODY = ("spine03", "clavicle", "upperarm", "lowerarm", "wrist")
# Blending adds one clip's arms to another's legs, which needs both trunks near upright.
UPRIGHT_COSINE = 0.85


@dataclasses.dataclass(frozen=True)
class Clip:
  """One continuous recording.

  Attributes:
    name: unique.
    action: walking, boxing and so on; several clips share one.
    split: train, validation or test.
    source: the file that it was baked from, see assets/LICENSES.md.
    fps: frames a second.
    rotations: [T, D, 4], unit quaternions (x, y, z, w) of the driven bones, local.
    clearance: [T], mm between the floor and the lowest point of the body; 0 when standing.
  """

  name: str
  action: str
  split: str
  source: str
  fps: float
  rotations: np.ndarray
  clearance: np.ndarray

  @property
  def frames(self) -> int:
    return len(self.clearance)


@dataclasses.dataclass(frozen=True)
class Motion:
  """All clips, and which bone of the body each of their D tracks drives."""

  clips: tuple[Clip, ...]
  bone_names: tuple[str, ...]

  def split(self, name: str) -> tuple[Clip, ...]:
    """The clips of one split. Raises ValueError for an unknown one."""
    if name not in SPLITS:
      raise ValueError(f"no split {name!r}; allowed: {', '.join(SPLITS)}")
    return tuple(clip for clip in self.clips if clip.split == name)


@dataclasses.dataclass(frozen=True)
class Pose:
  """One pose, ready for `body.pose_body`.

  Attributes:
    bone_rotations: [B, 3, 3] float32, local; the root's includes the heading.
    translation: [3] float32, mm: x = y = 0 and the height of the lowest vertex above the floor.
    clip: name of the clip it comes from (of the legs, when blended).
    action: the clip's action.
    frame: the clip's frame, at 0 to T - 1.
  """

  bone_rotations: np.ndarray
  translation: np.ndarray
  clip: str
  action: str
  frame: int


@functools.cache
def load() -> Motion:
  """Reads the motion asset once."""
  with np.load(ASSET, allow_pickle=False) as asset:
    quaternions = asset["quaternions"].astype(np.float64) / 32767
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    clips = tuple(
      Clip(name, action, split, source, float(fps), quaternions[start:stop], clearance)
      for name, action, split, source, fps, start, stop, clearance in zip(
        asset["names"].tolist(),
        asset["actions"].tolist(),
        asset["splits"].tolist(),
        asset["sources"].tolist(),
        asset["fps"],
        asset["starts"][:-1],
        asset["starts"][1:],
        np.split(asset["clearance"].astype(np.float32), asset["starts"][1:-1]),
      )
    )
    return Motion(clips, tuple(asset["bone_names"].tolist()))


def sample_pose(
  motion: Motion,
  rng: np.random.Generator,
  split: str,
  *,
  actions: tuple[str, ...] | None = None,
  blend_probability: float = 0.3,
  noise: float = 1.0,
) -> Pose:
  """Draws a random pose from the clips of a split.

  A clip is chosen with probability proportional to the square root of its length, which keeps the
  short clips from vanishing next to half a minute of boxing; within it, time is uniform.

  Args:
    motion: from `load`.
    rng: host generator; the same state gives the same pose.
    split: train, validation or test; no clip is in two.
    actions: only these; None for all.
    blend_probability: how often the upper body is blended with that of another clip of the split.
    noise: scale of the joint disturbance `NOISE_DEG`; 0 for none.

  Returns:
    The pose.

  Raises:
    ValueError: an unknown split, or no clip left.
  """
  clips = [c for c in motion.split(split) if actions is None or c.action in actions]
  if not clips:
    known = sorted({clip.action for clip in motion.split(split)})
    raise ValueError(f"no clip of {actions} in split {split!r}; it has {', '.join(known)}")
  clip, time = _moment(clips, rng)
  rotations = _tracks_at(clip, time)
  other, other_time = _moment(clips, rng)
  if rng.random() < blend_probability:
    rotations = _blend(motion, rotations, _tracks_at(other, other_time), rng.uniform(0.3, 1.0))
  local = np.tile(np.eye(3), (body_lib.load().num_bones, 1, 1))
  local[_driven_bones(motion)] = rotations.as_matrix()
  if rng.random() < 0.5:
    local = mirror(local)
  local = _disturb(local, noise, rng)
  local = _curl_fingers(local, rng)
  heading = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi)).as_matrix()
  local[0] = heading @ local[0]
  height = np.interp(time, np.arange(clip.frames), clip.clearance)
  return Pose(
    bone_rotations=local.astype(np.float32),
    translation=np.array([0, 0, height], np.float32),
    clip=clip.name,
    action=clip.action,
    frame=int(time),
  )


def mirror(bone_rotations: np.ndarray) -> np.ndarray:
  """The pose seen in a mirror: left and right swapped, rotations reflected in the plane x = 0.

  Args:
    bone_rotations: [B, 3, 3], local.

  Returns:
    [B, 3, 3]; mirroring twice gives the input back.
  """
  body = body_lib.load()
  swapped = [body.bone(_other_side(name)) for name in body.bone_names]
  signs = np.array([-1.0, 1.0, 1.0])
  return bone_rotations[swapped] * np.outer(signs, signs)


def _other_side(name: str) -> str:
  return name[:-1] + {"L": "R", "R": "L"}[name[-1]] if name.endswith((".L", ".R")) else name


def _moment(clips: list[Clip], rng: np.random.Generator) -> tuple[Clip, float]:
  """A clip and a time in it, in frames, not only whole ones."""
  weights = np.sqrt([clip.frames for clip in clips])
  clip = clips[rng.choice(len(clips), p=weights / weights.sum())]
  return clip, rng.uniform(0, clip.frames - 1)


def pose_at(motion: Motion, clip: Clip, seconds: float, *, heading: float) -> Pose:
  """The pose of a clip at a time, as it was recorded.

  Args:
    motion: from `load`.
    clip: of it.
    seconds: from its start; later than its end is its end.
    heading: turn about the vertical, rad.
  """
  time = min(seconds * clip.fps, clip.frames - 1.0)
  local = np.tile(np.eye(3), (body_lib.load().num_bones, 1, 1))
  local[_driven_bones(motion)] = _tracks_at(clip, time).as_matrix()
  local[0] = Rotation.from_euler("z", heading).as_matrix() @ local[0]
  height = np.interp(time, np.arange(clip.frames), clip.clearance)
  return Pose(
    local.astype(np.float32),
    np.array([0.0, 0.0, height], np.float32),
    clip.name,
    clip.action,
    round(time),
  )


def _tracks_at(clip: Clip, time: float) -> Rotation:
  """Rotations [D] between two frames."""
  before = min(int(time), clip.frames - 2)
  return _between(clip.rotations[before], clip.rotations[before + 1], time - before)


def _between(start: np.ndarray, stop: np.ndarray, share: float | np.ndarray) -> Rotation:
  """Normalised linear interpolation of quaternions [D, 4] along the shorter arc."""
  sign = np.where(np.sum(start * stop, -1, keepdims=True) < 0, -1.0, 1.0)
  # `Rotation` normalises.
  return Rotation.from_quat(start * (1 - share) + stop * sign * share)


def _driven_bones(motion: Motion) -> list[int]:
  return [body_lib.load().bone(name) for name in motion.bone_names]


def _blend(motion: Motion, legs: Rotation, arms: Rotation, share: float) -> Rotation:
  """Moves the upper body's joints toward another pose's, if both trunks are near upright."""
  tracks = motion.bone_names
  root = tracks.index("root")
  if min(pose[root].as_matrix()[2, 2] for pose in (legs, arms)) < UPRIGHT_COSINE:
    return legs
  shares = np.array([share if name.startswith(UPPER_BODY) else 0.0 for name in tracks])
  return _between(legs.as_quat(), arms.as_quat(), shares[:, None])


def _disturb(local: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
  """Turns joints a little, then keeps elbows and knees within `HINGE_LIMITS_DEG`."""
  body = body_lib.load()
  local = local.copy()
  for index, name in enumerate(body.bone_names):
    kind, _, side = name.partition(".")
    if kind in NOISE_DEG:
      turn = np.clip(rng.normal(size=3), -2, 2) * np.deg2rad(NOISE_DEG[kind] * scale)
      local[index] = Rotation.from_rotvec(turn).as_matrix() @ local[index]
    if kind in HINGE_LIMITS_DEG:
      local[index] = _limit_hinge(local[index], kind, side)
  return local


def _limit_hinge(rotation: np.ndarray, kind: str, side: str) -> np.ndarray:
  """Clamps the flexion part of an elbow's or knee's rotation vector."""
  axis, rest = _hinge(kind, side)
  low, high = np.deg2rad(HINGE_LIMITS_DEG[kind]) - rest
  vector = Rotation.from_matrix(rotation).as_rotvec()
  flexion = vector @ axis
  return Rotation.from_rotvec(vector + (np.clip(flexion, low, high) - flexion) * axis).as_matrix()


@functools.cache
def _hinge(kind: str, side: str) -> tuple[np.ndarray, float]:
  """Unit axis of flexion of an elbow or knee and the flexion at rest, from the mean body's bend."""
  body = body_lib.load()
  names = {
    "lowerarm01": ("upperarm01", "lowerarm01", "wrist"),
    "lowerleg01": ("upperleg01", "lowerleg01", "foot"),
  }[kind]
  start, middle, stop = (body.rest_heads[body.bone(f"{name}.{side}")] for name in names)
  return _bend(middle - start, stop - middle)


def _bend(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, float]:
  """Unit axis and angle of the turn from one direction to another."""
  axis = np.cross(first, second)
  sine = np.linalg.norm(axis)
  return axis / sine, float(np.arctan2(sine, first @ second))


def _curl_fingers(local: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Closes each hand by a random amount: mostly relaxed, at times flat or a fist."""
  body = body_lib.load()
  local = local.copy()
  for side in "LR":
    hand = rng.beta(1.2, 2.5)
    for digit in range(1, 6):
      curl = np.clip(hand + rng.normal(0, 0.08), 0, 1) * (0.5 if digit == 1 else 1.0)
      axis = _finger_axis(digit, side)
      for segment, full in enumerate(FIST_DEG, start=1):
        turn = Rotation.from_rotvec(axis * np.deg2rad(full * curl))
        local[body.bone(f"finger{digit}-{segment}.{side}")] = turn.as_matrix()
  return local


@functools.cache
def _finger_axis(digit: int, side: str) -> np.ndarray:
  """Unit axis of flexion of a finger: the one about which it is slightly bent at rest."""
  body = body_lib.load()
  first, last = (body.bone(f"finger{digit}-{segment}.{side}") for segment in (1, 3))
  bones = body.rest_tails - body.rest_heads
  return _bend(bones[first], bones[last])[0]

"""Joint names of detectors whose files hold numbers alone, in the order of their arrays.

One vocabulary for all: OpenPose's (RHip, LBigToe), which Pose2Sim and OpenSim's marker sets
use too.
"""

import os

from epipolar_jax import skeletons


def _both(*parts: str, first: str = "L") -> tuple[str, ...]:
  """Left and right of every part: LEye, REye, LEar, ..."""
  second = "R" if first == "L" else "L"
  return tuple(side + part for part in parts for side in (first, second))


def _one(side: str, *parts: str) -> tuple[str, ...]:
  return tuple(side + part for part in parts)


_ARM, _LEG = ("Shoulder", "Elbow", "Wrist"), ("Hip", "Knee", "Ankle")
_FOOT = ("BigToe", "SmallToe", "Heel")
_FINGERS = tuple(
  f"{f}{i}" for f in ("Thumb", "Index", "Middle", "Ring", "Pinky") for i in range(1, 5)
)
_COCO_17 = ("Nose", *_both("Eye", "Ear", *_ARM, *_LEG))
_FEET = (*_one("L", *_FOOT), *_one("R", *_FOOT))
_HAND_21 = ("Wrist", *_FINGERS)

JOINT_SETS = {
  "BODY_25": (
    *("Nose", "Neck", *_one("R", *_ARM), *_one("L", *_ARM)),
    *("MidHip", *_one("R", *_LEG), *_one("L", *_LEG)),
    *(*_both("Eye", "Ear", first="R"), *_FEET),
  ),
  "BODY_25B": (*_COCO_17, "Neck", "Head", *_FEET),
  "COCO_17": _COCO_17,
  "COCO_18": (
    *("Nose", "Neck", *_one("R", *_ARM), *_one("L", *_ARM)),
    *(*_one("R", *_LEG), *_one("L", *_LEG), *_both("Eye", "Ear", first="R")),
  ),
  "HALPE_26": (*_COCO_17, "Head", "Neck", "Hip", *_both(*_FOOT)),
  "COCO_133": (
    *(*_COCO_17, *_FEET, *(f"Face{i}" for i in range(68))),
    *(f"{side}Hand{joint}" for side in "LR" for joint in _HAND_21),
  ),
  "MPII_16": (
    *("RAnkle", "RKnee", "RHip", *_one("L", *_LEG), "Hip", "Thorax", "Neck", "Head"),
    *("RWrist", "RElbow", "RShoulder", *_one("L", *_ARM)),
  ),
  "MEDIAPIPE_33": (
    *("Nose", *_one("L", "EyeInner", "Eye", "EyeOuter"), *_one("R", "EyeInner", "Eye", "EyeOuter")),
    *_both("Ear", "Mouth", *_ARM, "Pinky", "Index", "Thumb", *_LEG, "Heel", "BigToe"),
  ),
  "HAND_21": _HAND_21,
}


def names(count: int, chosen: str | os.PathLike | None, where: str) -> tuple[str, ...]:
  """Names of a file's joints.

  Args:
    count: how many the file has.
    chosen: what the user says: a key of `JOINT_SETS`, a name in `skeletons.SKELETONS` or a
      skeleton's .toml file; None: the one set with that many joints, if there is but one.
    where: the file, for messages.

  Raises:
    ValueError: the set has another number of joints, or several or none have this one.
    FileNotFoundError: no such .toml file.
  """
  if chosen is not None:
    known = JOINT_SETS.get(str(chosen))
    if known is None:
      try:
        known = skeletons.read(chosen).joints
      except ValueError as error:
        raise ValueError(f"{error}; joint sets: {', '.join(JOINT_SETS)}") from error
    if len(known) != count:
      raise ValueError(f"{where}: has {count} joints, and the joint set {chosen} {len(known)}")
    return known
  fitting = [name for name, joints in JOINT_SETS.items() if len(joints) == count]
  if len(fitting) != 1:
    what = f"may be {' or '.join(fitting)}" if fitting else "are of no known set"
    raise ValueError(
      f"{where}: its {count} joints {what}: name the joint set (--joint_set), one of "
      f"{', '.join(JOINT_SETS)}, or a skeleton's .toml file"
    )
  return JOINT_SETS[fitting[0]]

"""Joints of our human skeletons by the names of OpenSim's and Pose2Sim's markers (LShoulder)."""

from epipolar_jax import skeletons

_SIDED = {
  "eye": "Eye",
  "ear": "Ear",
  "sho": "Shoulder",
  "elb": "Elbow",
  "wri": "Wrist",
  "hip": "Hip",
  "kne": "Knee",
  "ank": "Ankle",
}
# The middle of the hips is Hip in HALPE_26 and MPII. No marker set that we know has a belly.
_MIDDLE = {
  "root": "Hip",
  "belly": "Spine",
  "thorax": "Thorax",
  "neck": "Neck",
  "upper_neck": "UpperNeck",
  "nose": "Nose",
  "head": "Head",
  "head_top": "HeadTop",
}
_NAMES = _MIDDLE | {
  f"{side}{short}": f"{side.upper()}{long}" for short, long in _SIDED.items() for side in "lr"
}
_HUMAN = (skeletons.COCO_17, skeletons.H36M_17, skeletons.UNION_20)


def of(joints: tuple[str, ...]) -> tuple[str, ...]:
  """Names of markers; joints that are not those of one of our human skeletons keep theirs."""
  if any(joints == skeleton.joints for skeleton in _HUMAN):
    return tuple(_NAMES[joint] for joint in joints)
  return joints

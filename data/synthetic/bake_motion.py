"""Bakes motion capture clips into `assets/motion.npz`; run by hand, never at training time.

Sources (see assets/LICENSES.md), unpacked into one folder each:

  pip download pybullet==3.2.7 --no-deps --only-binary=:all:   # pybullet_data/data/motions/*.txt
  apt-get download assimp-testmodels                           # models/BVH/*.bvh
  python -m zipfile -e pybullet-*.whl pybullet && dpkg -x assimp-testmodels_*.deb assimp
  python -m data.synthetic.bake_motion --pybullet pybullet --assimp assimp

Each recording is read as local rotations about joints of its own skeleton, whose zero pose is an
upright figure (arms sideways or hanging). Retargeting keeps the orientation of every segment: a
constant rotation takes the segment from our rest pose to the recording's zero pose, with the least
twist along the limb. Rotations of the few source joints of trunk and neck are spread over ours, and
the twist of a limb over its two bones. How far the lowest vertex is off the floor (in jumps) is
found with the mean body. The body asset must have been baked before.
"""

import argparse
import dataclasses
import json
import pathlib

import jax
import numpy as np
from scipy.spatial import transform

from data.synthetic import body as body_lib

FPS = 30
MAX_CLEARANCE_MM = 400.0
# Below this height a foot counts as standing: it is noise of the recording and of retargeting.
STANDING_MM = 40.0

Rotation = transform.Rotation
# Both recordings' axes to ours (x to the subject's left, -y forward, z up).
FROM_Y_UP_FACING_Z = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
FROM_Y_UP_FACING_X = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float)


@dataclasses.dataclass(frozen=True)
class Skeleton:
  """Which source joint drives what; `{}` stands for the side, a missing limb joint is rigid."""

  sides: tuple[str, str]
  root: str
  trunk: tuple[tuple[str, tuple[str, ...]], ...]
  limbs: dict[str, str]


CMU = Skeleton(
  sides=("Left", "Right"),
  root="Hips",
  trunk=(
    ("LowerBack", ("spine05", "spine04")),
    ("Spine", ("spine03",)),
    ("Spine1", ("spine02", "spine01")),
    ("Neck", ("neck01", "neck02")),
    ("Neck1", ("neck03",)),
    ("Head", ("head",)),
  ),
  limbs={
    "clavicle": "{}Shoulder",
    "upperarm": "{}Arm",
    "lowerarm": "{}ForeArm",
    "wrist": "{}Hand",
    "upperleg": "{}UpLeg",
    "lowerleg": "{}Leg",
    "foot": "{}Foot",
    "toe": "{}ToeBase",
  },
)
BOXING = Skeleton(
  sides=("Left", "Right"),
  root="Hips",
  trunk=(
    ("Ab", ("spine05", "spine04", "spine03")),
    ("Chest", ("spine02", "spine01")),
    ("Neck", ("neck01", "neck02", "neck03")),
    ("Head", ("head",)),
  ),
  limbs={
    "clavicle": "{}Collar",
    "upperarm": "{}Shoulder",
    "lowerarm": "{}Elbow",
    "wrist": "{}Wrist",
    "upperleg": "{}Hip",
    "lowerleg": "{}Knee",
    "foot": "{}Ankle",
    "toe": "{}Toes",
  },
)
DEEPMIMIC = Skeleton(
  sides=("left", "right"),
  root="root",
  trunk=(
    ("chest", ("spine05", "spine04", "spine03", "spine02", "spine01")),
    ("neck", ("neck01", "neck02", "neck03", "head")),
  ),
  limbs={
    "upperarm": "{}_shoulder",
    "lowerarm": "{}_elbow",
    "upperleg": "{}_hip",
    "lowerleg": "{}_knee",
    "foot": "{}_ankle",
  },
)
# Layout of a DeepMimic frame after duration (1) and root position (3): quaternions are w x y z;
# knees and elbows are single angles about the lateral axis.
DEEPMIMIC_LAYOUT = (
  ("root", 4), ("chest", 4), ("neck", 4),
  ("right_hip", 4), ("right_knee", 1), ("right_ankle", 4), ("right_shoulder", 4),
  ("right_elbow", 1), ("left_hip", 4), ("left_knee", 1), ("left_ankle", 4),
  ("left_shoulder", 4), ("left_elbow", 1),
)  # fmt: skip
DEEPMIMIC_PARENTS = {
  "root": None, "chest": "root", "neck": "chest",
  **{f"{s}_hip": "root" for s in ("left", "right")},
  **{f"{s}_knee": f"{s}_hip" for s in ("left", "right")},
  **{f"{s}_ankle": f"{s}_knee" for s in ("left", "right")},
  **{f"{s}_shoulder": "chest" for s in ("left", "right")},
  **{f"{s}_elbow": f"{s}_shoulder" for s in ("left", "right")},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Clip:
  """One entry of the asset: a recording, or a stretch of it in seconds.

  Only an `airborne` clip leaves the floor. In the others the lowest point is on it in every frame:
  what was climbed is not in our rooms, and a hand that bears the body is not as long as ours.
  """

  name: str
  action: str
  split: str
  file: str
  start: float = 0.0
  stop: float = np.inf
  airborne: bool = False


CLIPS = (
  Clip("walk", "walking", "train", "humanoid3d_walk.txt"),
  Clip("walk_turn_left", "walking", "train", "walker/turn_left0.txt"),
  Clip("walk_turn_right", "walking", "train", "walker/turn_right0.txt"),
  Clip("walk_turn_left_2", "walking", "validation", "walker/turn_left1.txt"),
  Clip("walk_turn_right_2", "walking", "test", "walker/turn_right1.txt"),
  Clip("walk_forward", "walking", "test", "walker/0walk_forward.txt"),
  Clip("run", "running", "train", "humanoid3d_run.txt", airborne=True),
  Clip("dance_a", "dancing", "train", "humanoid3d_dance_a.txt"),
  Clip("dance_b", "dancing", "test", "humanoid3d_dance_b.txt"),
  Clip("spin", "acrobatics", "validation", "humanoid3d_spin.txt"),
  Clip("kick", "kicking", "train", "humanoid3d_kick.txt"),
  Clip("spin_kick", "kicking", "test", "humanoid3d_spinkick.txt", airborne=True),
  Clip("punch", "boxing", "test", "humanoid3d_punch.txt"),
  Clip("boxing", "boxing", "train", "Boxing_Toes.bvh", 0.3, 13.0),
  Clip("boxing_2", "boxing", "validation", "Boxing_Toes.bvh", 15.0, 21.0),
  Clip("knocked_down", "sitting", "train", "Boxing_Toes.bvh", 23.0),
  Clip("jump", "jumping", "test", "humanoid3d_jump.txt", airborne=True),
  Clip("forward_jumps", "jumping", "train", "01_01.bvh", 0.1, airborne=True),
  Clip("climbing", "climbing", "train", "01_03.bvh", 0.1, 24.0),
  Clip("climbing_2", "climbing", "validation", "01_03.bvh", 27.0),
  Clip("get_up_prone", "getting up", "train", "humanoid3d_getup_facedown.txt"),
  Clip("get_up_supine", "getting up", "test", "humanoid3d_getup_faceup.txt"),
  Clip("cartwheel", "acrobatics", "train", "humanoid3d_cartwheel.txt"),
  Clip("back_flip", "acrobatics", "train", "humanoid3d_backflip.txt", airborne=True),
  Clip("roll", "acrobatics", "test", "humanoid3d_roll.txt"),
  Clip("crawl", "crawling", "train", "humanoid3d_crawl.txt"),
)


@dataclasses.dataclass(frozen=True)
class Recording:
  """Local rotations [t] by joint and the skeleton's zero pose, in our axes.

  `offsets` are joint positions relative to the parent in the zero pose, in the source's unit of
  length; `leg_length` is hip to ankle in the same unit; `height` [t] is the root's.
  """

  skeleton: Skeleton
  fps: float
  rotations: dict[str, Rotation]
  parents: dict[str, str | None]
  offsets: dict[str, np.ndarray]
  leg_length: float
  height: np.ndarray

  def orientation(self, joint: str) -> Rotation:
    """Rotation [t] of a joint's segment from the zero pose to the world."""
    local, parent = self.rotations[joint], self.parents[joint]
    return local if parent is None else self.orientation(parent) * local

  def __getitem__(self, frames: slice) -> "Recording":
    rotations = {name: rotation[frames] for name, rotation in self.rotations.items()}
    return dataclasses.replace(self, rotations=rotations, height=self.height[frames])


def change_axes(rotation: Rotation, axes: np.ndarray) -> Rotation:
  """The same rotation in other axes, `axes` taking old coordinates to new."""
  return Rotation.from_matrix(axes @ rotation.as_matrix() @ axes.T)


def read_bvh(path: pathlib.Path, skeleton: Skeleton) -> Recording:
  """A BVH file that is y up and faces +z in its zero pose."""
  hierarchy, motion = path.read_text().split("MOTION")
  parents, offsets, channels, stack = {}, {}, {}, []
  for line in hierarchy.splitlines():
    words = line.split()
    if not words:
      continue
    if words[0] in ("ROOT", "JOINT"):
      parents[words[1]] = stack[-1] if stack else None
      name = words[1]
    elif words[0] == "End":
      name = None
    elif words[0] == "{":
      stack.append(name)
    elif words[0] == "}":
      stack.pop()
    elif words[0] == "OFFSET" and stack[-1] is not None:
      offsets[stack[-1]] = FROM_Y_UP_FACING_Z @ np.array(words[1:4], float)
    elif words[0] == "CHANNELS":
      channels[stack[-1]] = words[2:]
  lines = motion.strip().splitlines()
  fps = 1 / float(lines[1].split(":")[1])
  values = np.array([line.split() for line in lines[2:]], float)
  rotations, column, height = {}, 0, None
  for name, kinds in channels.items():
    block = dict(zip(kinds, values[:, column : column + len(kinds)].T))
    column += len(kinds)
    order = [kind[0] for kind in kinds if kind.endswith("rotation")]
    angles = np.stack([block[f"{axis}rotation"] for axis in order], 1)
    local = Rotation.from_euler("".join(order), angles, degrees=True)
    rotations[name] = change_axes(local, FROM_Y_UP_FACING_Z)
    if "Yposition" in block:
      height = block["Yposition"]
  side = skeleton.sides[0]
  legs = [offsets[skeleton.limbs[limb].format(side)] for limb in ("lowerleg", "foot")]
  leg_length = sum(np.linalg.norm(leg) for leg in legs)
  return Recording(skeleton, fps, rotations, parents, offsets, leg_length, height)


def read_deepmimic(path: pathlib.Path) -> Recording:
  """A DeepMimic humanoid3d motion: y up, facing +x, arms hanging in the zero pose; metres."""
  frames = np.array(json.loads(path.read_text())["Frames"])
  rotations, column = {}, 4
  for name, width in DEEPMIMIC_LAYOUT:
    block = frames[:, column : column + width]
    column += width
    if width == 1:
      local = Rotation.from_rotvec(block * np.array([0.0, 0.0, 1.0]))
    else:
      local = Rotation.from_quat(block[:, [1, 2, 3, 0]])
    rotations[name] = change_axes(local, FROM_Y_UP_FACING_X)
  down = np.array([0.0, 0.0, -1.0])
  offsets = {f"{s}_{j}": down for s in ("left", "right") for j in ("elbow", "knee", "ankle")}
  return Recording(
    DEEPMIMIC, 1 / frames[0, 0], rotations, DEEPMIMIC_PARENTS, offsets, 0.8314, frames[:, 2]
  )


def resample(recording: Recording) -> Recording:
  """The recording at about `FPS` frames a second: every n-th frame, nothing in between."""
  step = max(1, round(recording.fps / FPS))
  thinned = recording[::step]
  return dataclasses.replace(thinned, fps=recording.fps / step)


def least_rotation(source: np.ndarray, target: np.ndarray) -> Rotation:
  """The smallest rotation that takes the direction of one vector to another's."""
  source, target = source / np.linalg.norm(source), target / np.linalg.norm(target)
  axis = np.cross(source, target)
  sine, cosine = np.linalg.norm(axis), source @ target
  return Rotation.from_rotvec(axis * (np.arctan2(sine, cosine) / max(sine, 1e-12)))


def split_twist(rotation: Rotation, axis: np.ndarray) -> tuple[Rotation, Rotation]:
  """rotation = swing * twist, the twist about `axis`."""
  axis = axis / np.linalg.norm(axis)
  quaternion = rotation.as_quat(canonical=True)
  along = quaternion[:, :3] @ axis
  twist = Rotation.from_rotvec(2 * np.arctan2(along, quaternion[:, 3])[:, None] * axis)
  return rotation * twist.inv(), twist


def fraction(rotation: Rotation, share: float) -> Rotation:
  """The given share of a rotation along its own axis."""
  return Rotation.from_rotvec(rotation.as_rotvec() * share)


def retarget(recording: Recording, body: body_lib.Body) -> dict[str, Rotation]:
  """Local rotations [t] of our bones, for every bone that the recording drives."""
  skeleton = recording.skeleton
  bones = {"root": recording.orientation(skeleton.root)}
  for joint, shares in skeleton.trunk:
    for bone in shares:
      bones[bone] = fraction(recording.rotations[joint], 1 / len(shares))
  chest = bones["root"]
  for bone in ("spine05", "spine04", "spine03", "spine02", "spine01"):
    chest = chest * bones[bone]
  for letter, side in zip("LR", skeleton.sides):
    bones |= retarget_arm(recording, body, chest, letter, side)
    bones |= retarget_leg(recording, body, bones["root"], letter, side)
  return bones


def rest_direction(body: body_lib.Body, start: str, stop: str) -> np.ndarray:
  return body.rest_heads[body.bone(stop)] - body.rest_heads[body.bone(start)]


def retarget_arm(recording, body, chest: Rotation, letter: str, side: str) -> dict[str, Rotation]:
  """Bones of one arm, given the posed orientation of the chest."""
  joint = {limb: name.format(side) for limb, name in recording.skeleton.limbs.items()}
  upper = rest_direction(body, f"upperarm01.{letter}", f"lowerarm01.{letter}")
  lower = rest_direction(body, f"lowerarm01.{letter}", f"wrist.{letter}")
  hand = rest_direction(body, f"wrist.{letter}", f"finger3-1.{letter}")
  zero = recording.offsets[joint["lowerarm"]]
  to_upper = least_rotation(upper, zero)
  to_lower = least_rotation(to_upper.apply(lower), zero) * to_upper
  to_hand = least_rotation(to_lower.apply(hand), zero) * to_lower

  bones, shoulder = {}, chest
  if "clavicle" in joint:
    bones[f"clavicle.{letter}"] = recording.rotations[joint["clavicle"]]
    shoulder = chest * bones[f"clavicle.{letter}"]
  posed_upper = recording.orientation(joint["upperarm"]) * to_upper
  posed_lower = recording.orientation(joint["lowerarm"]) * to_lower
  posed_hand = recording.orientation(joint.get("wrist", joint["lowerarm"])) * to_hand
  swing, twist = split_twist(shoulder.inv() * posed_upper, upper)
  bones[f"upperarm01.{letter}"] = swing * fraction(twist, 0.5)
  bones[f"upperarm02.{letter}"] = fraction(twist, 0.5)
  swing, twist = split_twist(posed_upper.inv() * posed_lower, lower)
  # The hand's turn about the forearm happens along the forearm, so its lower half takes it.
  bend, turn = split_twist((posed_lower.inv() * posed_hand).inv(), lower)
  bones[f"lowerarm01.{letter}"] = swing * fraction(twist, 0.5)
  bones[f"lowerarm02.{letter}"] = fraction(twist, 0.5) * turn.inv()
  bones[f"wrist.{letter}"] = bend.inv()
  return bones


def retarget_leg(recording, body, root: Rotation, letter: str, side: str) -> dict[str, Rotation]:
  """Bones of one leg, given the posed orientation of the pelvis."""
  joint = {limb: name.format(side) for limb, name in recording.skeleton.limbs.items()}
  upper = rest_direction(body, f"upperleg01.{letter}", f"lowerleg01.{letter}")
  lower = rest_direction(body, f"lowerleg01.{letter}", f"foot.{letter}")
  foot = rest_direction(body, f"foot.{letter}", f"toe2-1.{letter}")
  ahead = np.array([0.0, -1.0, 0.0])
  if "toe" in joint:
    ahead = recording.offsets[joint["toe"]]
  level = np.array([1.0, 1.0, 0.0])
  to_upper = least_rotation(upper, recording.offsets[joint["lowerleg"]])
  to_lower = least_rotation(to_upper.apply(lower), recording.offsets[joint["foot"]]) * to_upper
  # Soles are flat in all zero poses, as in ours: the foot is only turned about the vertical.
  to_foot = least_rotation(foot * level, ahead * level)

  posed_upper = recording.orientation(joint["upperleg"]) * to_upper
  posed_lower = recording.orientation(joint["lowerleg"]) * to_lower
  posed_foot = recording.orientation(joint["foot"]) * to_foot
  bones = {}
  swing, twist = split_twist(root.inv() * posed_upper, upper)
  bones[f"upperleg01.{letter}"] = swing * fraction(twist, 0.5)
  bones[f"upperleg02.{letter}"] = fraction(twist, 0.5)
  swing, twist = split_twist(posed_upper.inv() * posed_lower, lower)
  bones[f"lowerleg01.{letter}"] = swing
  bones[f"lowerleg02.{letter}"] = twist
  bones[f"foot.{letter}"] = posed_lower.inv() * posed_foot
  if "toe" in joint:
    toes = to_foot.inv() * recording.rotations[joint["toe"]] * to_foot
    bones |= {f"toe{digit}-1.{letter}": toes for digit in range(1, 6)}
  return bones


def clearance(recording: Recording, rotations: np.ndarray, body: body_lib.Body) -> np.ndarray:
  """[t] mm between the floor and the lowest vertex of the mean body, 0 when standing.

  The floor is where the lowest vertex mostly is (a low quantile over the clip): recordings do not
  agree with our leg length and sole thickness to the centimetre.
  """
  shape = np.zeros(body.num_shapes, np.float32)

  @jax.jit
  def lowest_below_hips(pose: jax.Array) -> jax.Array:
    vertices, heads, _ = body_lib.skin(body, shape, pose)
    hips = (heads[body.bone("upperleg01.L"), 2] + heads[body.bone("upperleg01.R"), 2]) / 2
    return vertices[:, 2].min() - hips

  low = np.array([lowest_below_hips(pose) for pose in rotations])
  leg = rest_direction(body, "upperleg01.L", "lowerleg01.L")
  shin = rest_direction(body, "lowerleg01.L", "foot.L")
  scale = (np.linalg.norm(leg) + np.linalg.norm(shin)) / recording.leg_length
  height = recording.height * scale + low
  height -= np.quantile(height, 0.1)
  return np.where(height < STANDING_MM, 0.0, np.minimum(height, MAX_CLEARANCE_MM))


def read(clip: Clip, pybullet: pathlib.Path, assimp: pathlib.Path) -> Recording:
  if clip.file.endswith(".bvh"):
    path = assimp / "usr" / "share" / "assimp" / "models" / "BVH" / clip.file
    recording = read_bvh(path, BOXING if clip.file.startswith("Boxing") else CMU)
  else:
    recording = read_deepmimic(pybullet / "pybullet_data" / "data" / "motions" / clip.file)
  frames = slice(round(clip.start * recording.fps), round(min(clip.stop, 1e6) * recording.fps))
  return resample(recording[frames])


def bake(pybullet: pathlib.Path, assimp: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads and retargets all clips; frames of all clips are concatenated."""
  body = body_lib.load()
  recordings = [read(clip, pybullet, assimp) for clip in CLIPS]
  poses = [retarget(recording, body) for recording in recordings]
  bones = [bone for bone in body.bone_names if any(bone in pose for pose in poses)]
  columns = [body.bone(bone) for bone in bones]
  quaternions, heights = [], []
  for clip, recording, pose in zip(CLIPS, recordings, poses):
    still = Rotation.identity(len(recording.height))
    track = np.stack([pose.get(bone, still).as_quat(canonical=True) for bone in bones], 1)
    local = np.tile(np.eye(3, dtype=np.float32), (len(track), body.num_bones, 1, 1))
    matrices = Rotation.from_quat(track.reshape(-1, 4)).as_matrix()
    local[:, columns] = matrices.reshape(len(track), len(bones), 3, 3)
    heights.append(clearance(recording, local, body) * clip.airborne)
    quaternions.append(track)
  lengths = [len(track) for track in quaternions]
  return {
    "quaternions": np.rint(np.concatenate(quaternions) * 32767).astype(np.int16),
    "clearance": np.rint(np.concatenate(heights)).astype(np.int16),
    "starts": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
    "fps": np.array([recording.fps for recording in recordings], np.float32),
    "bone_names": np.array(bones),
    "names": np.array([clip.name for clip in CLIPS]),
    "actions": np.array([clip.action for clip in CLIPS]),
    "splits": np.array([clip.split for clip in CLIPS]),
    "sources": np.array([clip.file for clip in CLIPS]),
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--pybullet", type=pathlib.Path, required=True, help="the unpacked wheel")
  parser.add_argument("--assimp", type=pathlib.Path, required=True, help="the unpacked .deb")
  parser.add_argument(
    "--output", type=pathlib.Path, default=pathlib.Path(__file__).parent / "assets" / "motion.npz"
  )
  arguments = parser.parse_args()
  arrays = bake(arguments.pybullet, arguments.assimp)
  np.savez_compressed(arguments.output, **arrays)
  size = arguments.output.stat().st_size / 1e6
  frames, clips = len(arrays["clearance"]), len(arrays["names"])
  print(f"{arguments.output}: {size:.2f} MB, {clips} clips, {frames} frames")


if __name__ == "__main__":
  main()

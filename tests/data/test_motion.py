"""Motion clips and the poses drawn from them: splits, determinism, mirror, limits, floor."""

import jax
import numpy as np
import pytest

from data.synthetic import body as body_lib
from data.synthetic import motion as motion_lib

SKIN = jax.jit(body_lib.skin)
POSE = jax.jit(body_lib.pose_body)


@pytest.fixture(scope="module")
def motion() -> motion_lib.Motion:
  return motion_lib.load()


def clip_pose(motion: motion_lib.Motion, clip: motion_lib.Clip, frame: int) -> np.ndarray:
  """[B, 3, 3], one frame as recorded."""
  local = np.tile(np.eye(3), (body_lib.load().num_bones, 1, 1))
  bones = [body_lib.load().bone(name) for name in motion.bone_names]
  local[bones] = motion_lib.Rotation.from_quat(clip.rotations[frame]).as_matrix()
  return local.astype(np.float32)


def flexion_deg(pose: np.ndarray, kind: str, side: str) -> float:
  """Flexion of a hinge from straight, in degrees."""
  axis, rest = motion_lib._hinge(kind, side)
  bone = body_lib.load().bone(f"{kind}.{side}")
  vector = motion_lib.Rotation.from_matrix(pose[bone]).as_rotvec()
  return float(np.rad2deg(vector @ axis + rest))


def test_splits_share_no_clip_and_each_has_several_actions(motion):
  names = [{clip.name for clip in motion.split(split)} for split in motion_lib.SPLITS]
  assert sum(map(len, names)) == len(set.union(*names)) == len(motion.clips)
  for split in motion_lib.SPLITS:
    assert len({clip.action for clip in motion.split(split)}) >= 3
  with pytest.raises(ValueError, match="allowed: train, validation, test"):
    motion.split("dev")


def test_sampling_is_deterministic_and_stays_in_its_split(motion):
  for split in motion_lib.SPLITS:
    allowed = {clip.name for clip in motion.split(split)}
    first = [motion_lib.sample_pose(motion, np.random.default_rng(7), split) for _ in range(2)]
    np.testing.assert_array_equal(first[0].bone_rotations, first[1].bone_rotations)
    rng = np.random.default_rng(8)
    assert {motion_lib.sample_pose(motion, rng, split).clip for _ in range(50)} <= allowed
  with pytest.raises(ValueError, match="boxing"):
    motion_lib.sample_pose(motion, np.random.default_rng(0), "test", actions=("swimming",))


def test_sampled_poses_are_rotations_within_hinge_limits(motion):
  rng = np.random.default_rng(9)
  for _ in range(40):
    pose = motion_lib.sample_pose(motion, rng, "train")
    gram = np.einsum("bij,bkj->bik", pose.bone_rotations, pose.bone_rotations)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(pose.bone_rotations), 1, atol=1e-5)
    for kind, (low, high) in motion_lib.HINGE_LIMITS_DEG.items():
      for side in "LR":
        assert low - 0.1 <= flexion_deg(pose.bone_rotations, kind, side) <= high + 0.1


def test_recorded_limbs_bend_the_right_way(motion):
  """Retargeting gone wrong (twisted limbs, swapped sides) shows as knees or elbows bent backwards.

  Straight is 0; single frames of the recordings overstretch by up to 13 degrees.
  """
  for clip in motion.clips:
    for kind in motion_lib.HINGE_LIMITS_DEG:
      for side in "LR":
        frames = range(0, clip.frames, 7)
        angles = [flexion_deg(clip_pose(motion, clip, f), kind, side) for f in frames]
        assert np.median(angles) > 0 and min(angles) > -15, (clip.name, kind, side)


def test_mirror_is_an_involution_that_reflects_the_joints(motion):
  body = body_lib.load()
  shape = np.zeros(body.num_shapes, np.float32)
  clip = next(clip for clip in motion.clips if clip.name == "kick")
  pose = clip_pose(motion, clip, 20)
  mirrored = motion_lib.mirror(pose)
  np.testing.assert_array_equal(motion_lib.mirror(mirrored), pose)
  joints = np.asarray(POSE(body, shape, pose, np.zeros(3, np.float32))[1])
  reflected = np.asarray(POSE(body, shape, mirrored, np.zeros(3, np.float32))[1])
  swap = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
  # The face is not quite symmetric: 0.4 mm at the nose, 0 elsewhere.
  np.testing.assert_allclose(reflected, joints[swap] * [-1, 1, 1], atol=0.5)


def test_walkers_are_upright_and_face_where_their_feet_point(motion):
  body = body_lib.load()
  for clip in motion.clips:
    if clip.action != "walking":
      continue
    _, joints = POSE(
      body,
      np.zeros(body.num_shapes, np.float32),
      clip_pose(motion, clip, 0),
      np.zeros(3, np.float32),
    )
    _, heads, _ = SKIN(body, np.zeros(body.num_shapes, np.float32), clip_pose(motion, clip, 0))
    root, neck, nose, crown = (np.asarray(joints[i]) for i in (0, 8, 9, 10))
    assert (neck - root)[2] / np.linalg.norm(neck - root) > 0.95
    for side in "LR":
      toes = heads[body.bone(f"toe2-1.{side}")] - heads[body.bone(f"foot.{side}")]
      assert toes[:2] @ (nose - crown)[:2] > 0
    left = joints[11] - joints[14]
    assert np.cross([0, 0, 1], nose - crown) @ left > 0


def test_a_walker_steps_with_both_feet(motion):
  """Each sole comes down to the floor and is lifted in turn."""
  body = body_lib.load()
  shape = np.zeros(body.num_shapes, np.float32)
  clip = next(clip for clip in motion.clips if clip.name == "walk")
  feet = [body.region_mask("foot") & (sign * body.rest_vertices[:, 0] > 0) for sign in (1, -1)]
  heights = []
  for frame in range(0, clip.frames, 4):
    vertices, _ = POSE(body, shape, clip_pose(motion, clip, frame), np.zeros(3, np.float32))
    heights.append([np.asarray(vertices)[foot, 2].min() for foot in feet])
  heights = np.array(heights)
  assert np.abs(heights.min(1)).max() < 1e-2
  assert (heights.min(0) < 5).all() and (heights.max(0) > 30).all()


def test_only_jumps_leave_the_floor(motion):
  airborne = {clip.action for clip in motion.clips if clip.clearance.max() > 0}
  assert airborne == {"running", "jumping", "kicking", "acrobatics"}
  assert max(clip.clearance.max() for clip in motion.clips) <= 400


def test_a_pose_of_a_clip_is_what_was_recorded(motion):
  clip = motion.split("test")[0]
  frame = clip.frames // 2
  pose = motion_lib.pose_at(motion, clip, frame / clip.fps, heading=0.0)
  recorded = motion_lib.Rotation.from_quat(clip.rotations[frame]).as_matrix()
  bones = [body_lib.load().bone(name) for name in motion.bone_names]
  np.testing.assert_allclose(pose.bone_rotations[bones], recorded, atol=1e-5)
  assert pose.translation[2] == pytest.approx(clip.clearance[frame], abs=1e-3)
  late, end = (
    motion_lib.pose_at(motion, clip, seconds, heading=1.0).bone_rotations
    for seconds in (1e6, (clip.frames - 1) / clip.fps)
  )
  np.testing.assert_allclose(late, end, atol=1e-6)

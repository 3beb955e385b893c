"""Frames: cameras, joints, boxes, light and masks tell one story, and the same one every time."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from data.synthetic import furniture, rig, room, scene
from data.synthetic import options as options_lib
from epipolar_jax import skeletons

OPTIONS = options_lib.Options(
  image_size=64, supersampling=1, camera_noise=0.0, train_identities=6, train_rigs=6
)
LEVELS = ("test", "test_occluded_1", "test_occluded_2")


@pytest.fixture(scope="module")
def generator() -> scene.Generator:
  return scene.Generator(OPTIONS)


@pytest.fixture(scope="module")
def levels(generator) -> list[dict[str, scene.Frame]]:
  return [{split: generator.frame(split, index) for split in LEVELS} for index in range(3)]


def box(center, half, yaw=0.0) -> room.Boxes:
  return room.Boxes(
    np.array([center], float),
    np.array([half], float),
    np.array([yaw]),
    np.full((1, 3), 0.5),
    np.zeros((1, 2)),
  )


def depth_at(frame: scene.Frame, view: int, joint: int) -> float:
  u, v = np.round(frame.joints_2d[view, joint]).astype(int)
  return frame.rendering.depth[view, v, u]


def test_joints_lie_on_the_body_and_nothing_floats(levels):
  """Joints project onto the drawn body and lie a few cm behind its skin."""
  hits, behind = [], []
  for frame in (level["test"] for level in levels):
    _, depth = rig.project(frame.rig, frame.joints_3d)
    for view, joint in zip(*np.nonzero(frame.visible)):
      u, v = np.round(frame.joints_2d[view, joint]).astype(int)
      near = frame.rendering.person[view, max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
      hits.append(near.max() > 0)
      behind.append(depth[view, joint] - depth_at(frame, view, joint))
    # The lowest joint is an ankle at standing height or lower, never under the floor.
    assert 0 < frame.joints_3d[:, 2].min() < 1000
  assert np.mean(hits) > 0.97
  # Joints behind other limbs lie deeper; one whose pixel shows the wall would be far in front.
  assert -40 < np.median(behind) < 150
  assert np.mean(np.array(behind) < -150) < 0.1


def test_visible_agrees_with_the_rendered_depth(levels):
  """An occluder is nearer than the joints it hides, by more than a body is deep."""
  for level in levels:
    frame, clear = level["test_occluded_2"], level["test"]
    _, depth = rig.project(frame.rig, frame.joints_3d)
    hidden = clear.visible & ~frame.visible
    assert hidden.any(1).sum() == 2
    for view, joint in zip(*np.nonzero(clear.visible)):
      joint_depth, seen = depth[view, joint], depth_at(frame, view, joint)
      if hidden[view, joint]:
        assert seen < joint_depth - 100
      elif not frame.occluded[view]:
        # What stands before another view may be seen here, but behind the joint only.
        assert seen > min(depth_at(clear, view, joint), joint_depth) - 1


def test_occluded_splits_show_the_same_frames_behind_more(levels):
  for level in levels:
    for views, split in enumerate(LEVELS):
      frame, clear = level[split], level["test"]
      assert frame.occluded.sum() == views
      np.testing.assert_array_equal(frame.joints_3d, clear.joints_3d)
      np.testing.assert_array_equal(frame.rig.intrinsics, clear.rig.intrinsics)
      least, most = scene.HIDDEN_IN_TEST
      shown = frame.visible[frame.occluded].mean(1)
      assert (shown <= 1 - least + 1e-9).all() and (shown >= 1 - most - 0.15).all()
      np.testing.assert_array_equal(frame.visible[~frame.occluded], clear.visible[~frame.occluded])
    first, second = level[LEVELS[1]].occluded, level[LEVELS[2]].occluded
    assert (second >= first).all()


def test_frames_depend_on_seed_split_and_index_alone(generator, levels):
  again = generator.frame("test_occluded_1", 1)
  np.testing.assert_array_equal(again.images, levels[1]["test_occluded_1"].images)
  other = scene.Generator(dataclasses.replace(OPTIONS, seed=1)).frame("test", 1)
  assert not np.array_equal(other.joints_3d, levels[1]["test"].joints_3d)


def test_the_joints_that_are_stored_change_neither_image_nor_scene(levels):
  """And 13 joints that both skeletons have are equal to the digit."""
  generator = scene.Generator(dataclasses.replace(OPTIONS, skeleton="coco_17"))
  h36m, coco = skeletons.H36M_17, skeletons.COCO_17
  shared = [name for name in coco.joints if name in h36m.joints]
  of_h36m, of_coco = ([s.index(name) for name in shared] for s in (h36m, coco))
  for index, split in ((0, "test"), (1, "test_occluded_2")):
    frame, other = levels[index][split], generator.frame(split, index)
    np.testing.assert_array_equal(other.images, frame.images)
    for name in ("intrinsics", "rotation", "translation"):
      np.testing.assert_array_equal(getattr(other.rig, name), getattr(frame.rig, name))
    np.testing.assert_array_equal(other.occluded, frame.occluded)
    np.testing.assert_array_equal(other.joints_3d[of_coco], frame.joints_3d[of_h36m])
    for name in ("joints_2d", "visible"):
      found, expected = getattr(other, name), getattr(frame, name)
      np.testing.assert_array_equal(found[:, of_coco], expected[:, of_h36m])
    points, _ = rig.project(other.rig, other.joints_3d)
    np.testing.assert_allclose(points, other.joints_2d, atol=1e-6)


def test_splits_share_no_person_and_no_rig(generator):
  people, rigs = {}, {}
  for split in ("train", "validation", "test"):
    frames = [generator.frame(split, index) for index in range(4)]
    people[split] = {frame.subject for frame in frames}
    rigs[split] = {frame.rig.rotation[0, 0, 0] for frame in frames}
  for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
    assert not people[one] & people[other]
    assert not rigs[one] & rigs[other]


def test_crop_puts_the_person_box_in_the_middle():
  cameras = rig.sample_rig(np.random.default_rng(0), num_views=5, jitter=1.0)
  root = np.array([200.0, -300.0, 950.0])
  stored, box_size = rig.crop(cameras, root, image_size=100, margin=1.25)
  assert box_size == 80
  points, depth = rig.project(stored, root[None])
  np.testing.assert_allclose(points[:, 0], 49.5, atol=1e-9)
  # A corner of the 2 m square that faces the camera lands on the corner of the box.
  corner = root + np.einsum("vji,j->vi", stored.rotation, [rig.BOX_MM / 2, rig.BOX_MM / 2, 0])
  for view in range(5):
    uv, _ = rig.project(stored, corner[view][None])
    np.testing.assert_allclose(uv[view, 0], 49.5 + 40, atol=0.2)
  np.testing.assert_allclose(np.linalg.det(stored.rotation), 1)
  assert (np.abs(depth - 5000) < 2200).all()


def test_boxes_hide_what_lies_behind_them_only():
  camera = np.array([[5000.0, 0, 1500]])
  joints = np.array([[0.0, 0, 1500], [0, 900, 1500], [4000, 0, 1500]])
  screen = box([2500, 0, 1500], [20, 400, 400])
  np.testing.assert_array_equal(room.hides(screen, camera, joints)[0, 0], [True, False, False])
  edge_on = box([2500, 450, 1500], [20, 400, 400], yaw=np.pi / 2)
  np.testing.assert_array_equal(room.hides(edge_on, camera, joints)[0, 0], [False, True, False])
  assert not room.hides(room.Boxes.empty(3), camera, joints).any()


def test_ray_cast_box_and_wall_have_the_right_depth():
  """A ray straight ahead meets the front face of the box, one beside it the wall behind."""
  boxes = box([3000, 0, 1000], [100, 200, 1000])
  empty = room.Room(np.array([-4000.0, -4000, 0]), np.array([4000.0, 4000, 3000]), None)
  arrays = {"low": empty.low, "high": empty.high, "textures": np.zeros((6, 4, 4), np.uint32)}
  arrays |= {"shadow": np.full((4, 4), 255, np.uint8)}
  arrays |= {field.name: getattr(boxes, field.name) for field in dataclasses.fields(boxes)}
  arrays = {
    name: jnp.asarray(value, jnp.float32 if value.dtype == np.float64 else None)
    for name, value in arrays.items()
  }
  light = room.Light(jnp.array([0.0, 0, 1]), jnp.ones(3), jnp.ones(3))
  direction = tuple(jnp.float32([[a, b]]) for a, b in ((1, 1), (0, 0.5), (0, 0)))
  _, depth = room.cast(jnp.array([0.0, 0, 1000]), direction, arrays, light)
  np.testing.assert_allclose(depth, [[2900, 4000]], rtol=1e-5)


def test_an_occluder_before_cameras_side_by_side_hides_from_both():
  rng = np.random.default_rng(0)
  cameras = np.array([[5000.0, 0, 1500], [5000.0, 10, 1500], [0, 5000.0, 1500]])
  joints = rng.normal([0, 0, 1000], 300, (17, 3))
  box = furniture.sample_occluder(rng, joints, cameras, 0, (0.5, 0.8))
  shares = room.hides(box, cameras, joints)[0].mean(1)
  assert 0.5 <= shares[0] <= 0.8 and shares[1] > 0 and not shares[2]
  with pytest.raises(RuntimeError, match="no box hides"):
    furniture.sample_occluder(rng, joints, cameras, 0, (1.1, 1.2))


def test_eight_cameras_have_occluded_splits():
  """One box may stand before neighbours too: all of them count as occluded."""
  made = scene.Generator(dataclasses.replace(OPTIONS, num_views=8))
  for index in range(2):
    frame = made.frame("test_occluded_2", index)
    clear = made.frame("test", index)
    assert frame.images.shape[0] == 8 and not clear.occluded.any()
    hidden = (clear.visible & ~frame.visible).mean(1)
    assert (hidden >= 0.3).sum() >= 2 and not hidden[~frame.occluded].any()
    assert 2 <= frame.occluded.sum() < 8


@pytest.mark.parametrize("place", rig.PLACES)
def test_cameras_stand_where_they_are_asked_to_and_inside_the_room(place):
  rng = np.random.default_rng(3)
  cameras = rig.sample_rig(rng, num_views=4, jitter=1.0, place=place)
  usual = rig.sample_rig(np.random.default_rng(3), num_views=4, jitter=1.0)
  farther, longer, higher = rig.PLACES[place]
  np.testing.assert_allclose(cameras.centers[:, :2], farther * usual.centers[:, :2], atol=1e-6)
  np.testing.assert_allclose(cameras.centers[:, 2] - usual.centers[:, 2], higher, atol=1e-6)
  np.testing.assert_allclose(cameras.intrinsics[:, 0, 0], longer * usual.intrinsics[:, 0, 0])
  drawn = room.sample_room(rng, np.abs(cameras.centers).max(0))
  assert (cameras.centers > drawn.low).all() and (cameras.centers < drawn.high).all()
  _, depth = rig.project(cameras, np.array([[0.0, 0.0, 900.0]]))
  assert (depth > 0).all()


def test_data_of_other_cameras_have_another_name():
  usual = options_lib.Options()
  names = {
    options_lib.fingerprint(dataclasses.replace(usual, cameras=x), "test") for x in rig.PLACES
  }
  assert len(names) == len(rig.PLACES)
  with pytest.raises(ValueError, match=r"cameras is 'above'; it must be one of around"):
    options_lib.Options(cameras="above")

"""One's own recordings as a data set: what is drawn where, and what is masked."""

import json

import cv2
import numpy as np
import pytest

from configs import footage as config_file
from data import check
from data.footage import builder, sessions, splitting
from epipolar_jax import skeletons
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import batches, multiview
from epipolar_jax.keypoints import writing
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.motion import files as joints_files
from epipolar_jax.rigs import lenses
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.footage import dots

_JOINTS = skeletons.COCO_17.joints
_FRAMES = 10


def _record(folder, rig, points, *, views=None, frames=_FRAMES):
  """Images of all frames in a folder a camera, and the calibration."""
  images = dots.draw(points, rig)
  names = rig.names if views is None else views
  for v, name in enumerate(rig.names):
    if name in names:
      (folder / name).mkdir(parents=True)
      for f in range(frames):
        cv2.imwrite(str(folder / name / f"{f:03d}.png"), images[f][v][..., ::-1])
  rig.write(folder / "calibration.toml", "aniposelib")
  return [str(folder / name) for name in names]


def _label(folder, rig, points, *, joints=_JOINTS):
  """Keypoints of all frames: exact, but for joint 2 which view 1 does not label."""
  uv = rig.distort(walkers.project(points, rig.cameras))[:, None]
  score = np.ones(uv.shape[:-1])
  score[:, :, 1, 2] = 0.0
  score[3] = 0.0  # nobody labelled that frame
  writing.write(folder / "labels.npz", Observations(uv, score, joints, rig.names), "plain npz")
  return str(folder / "labels.npz")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """A session of four cameras with a lens, and one of the first three of them."""
  folder = tmp_path_factory.mktemp("footage")
  rig = walkers.ring(4, lens=lenses.OpenCV((-0.1, 0.02, 0.0, 0.0)))
  points = dots.spread(_FRAMES)
  arguments = ["--name", "dots", "--data_dir", str(folder / "cache"), "--skeleton", "coco_17"]
  arguments += ["--validation", "0.2", "--test", "second", "--gap_s", "0", "--image_size", "128"]
  for name, own in (("first", rig), ("second", rig.select(rig.names[:3]))):
    (folder / name).mkdir()
    arguments += ["--session", name, "--videos", *_record(folder / name, own, points)]
    arguments += ["--cameras", str(folder / name / "calibration.toml")]
    arguments += ["--labels", _label(folder / name, own, points)]
  builder.main(arguments)
  return folder, rig, points


def _config(folder):
  config = config_file.get_config("dots")
  config.data.dir, config.data.image_size = str(folder / "cache"), 64
  config.model.skeleton = str(folder / "cache/footage/dots/skeleton.toml")
  return config


def test_labels_lie_on_the_stored_images(built):
  folder, _, points = built
  source = batches.open_split(_config(folder), "train")
  assert [int(source[i]["frame"]) for i in range(len(source))] == [0, 1, 2, 4, 5, 6, 7]
  (batch,) = multiview.eval_batches(source, size=128, batch_size=8, num_threads=1)
  example = {k: x[0] for k, x in batch.items()}
  assert example["present"].all()
  np.testing.assert_allclose(example["joints_3d"], points[0], atol=0.5)
  assert not example["labelled"][1, 2] and example["labelled"].sum() == 4 * 17 - 1
  cameras = Cameras(example["intrinsics"], example["rotation"], example["translation"])
  uv = np.asarray(cameras.project(example["joints_3d"]))
  off = np.abs(uv - example["joints_2d"])[example["labelled"]]
  assert off.max() < 0.1
  # The middle of joint j's dot is red with its own green.
  image, crop = example["image"], example["crop"]
  where = np.einsum("vab,vjb->vja", crop[..., :2], example["joints_2d"]) + crop[:, None, :, 2]
  for view in range(4):
    for joint in range(17):
      u, v = np.round(where[view, joint]).astype(int)
      if example["labelled"][view, joint]:
        red, green, _ = image[view, v, u].astype(int)
        assert red > 60 and abs(green - 14 * (joint + 1)) < 60


def test_a_session_that_lacks_a_camera_is_masked(built):
  folder, _, _ = built
  source = batches.open_split(_config(folder), "test")
  example = source[0]
  np.testing.assert_array_equal(example["present"], [True, True, True, False])
  assert not example["labelled"][3].any() and np.isfinite(example["intrinsics"]).all()
  facts, problems = check.check(folder / "cache" / "footage" / "dots")
  assert any("test, 9 examples" in fact for fact in facts) and not problems


def test_the_skeleton_must_be_that_of_the_labels(built):
  folder, _, _ = built
  config = _config(folder)
  config.model.skeleton = "h36m_17"
  with pytest.raises(ValueError, match=r"Set model.skeleton=.*skeleton.toml"):
    batches.open_split(config, "train")


def test_pseudo_labels_count_by_their_covariance(tmp_path):
  rig, points = walkers.ring(3), dots.spread(_FRAMES)
  videos = _record(tmp_path, rig, points)
  seen = walkers.observed(points, rig)
  seen = Observations(seen.points, seen.score, _JOINTS, seen.views)
  found = estimate.triangulate(seen, rig)
  covariance = found.covariance.copy()
  covariance[:, :, 5] = np.eye(3) * 100.0**2
  valid = found.valid.copy()
  valid[:, :, 6] = False
  found = estimate.Estimate(
    found.points, valid, covariance, found.inlier, found.reprojection_px, _JOINTS, rig.names
  )
  joints_files.write(tmp_path / "joints.npz", found)
  session = sessions.read(
    "one", videos, tmp_path / "calibration.toml", joints=tmp_path / "joints.npz"
  )
  images = [np.zeros((960, 1280, 3), np.uint8)] * 3
  example = builder.make_example(session, 0, images, skeletons.COCO_17, size=96, views=3)
  weight = example["label_weight"]
  assert weight[:, [0, 1, 2]].min() > 0.9 and 0 < weight[:, 5].max() < 0.4
  assert not example["labelled"][:, 6].any() and not weight[:, 6].any()
  assert np.isnan(example["joints_3d"][6]).all()


def test_covariance_in_pixels_is_that_of_projected_points():
  rig = walkers.ring(2)
  rng = np.random.default_rng(0)
  spread = np.diag([20.0, 5.0, 30.0])
  point = np.array([100.0, -50.0, 900.0])
  many = point + rng.normal(size=(20000, 3)) @ spread
  _, sigma = sessions.projected(point[None, None], (spread @ spread)[None, None], rig)
  uv, _ = sessions.projected(many[None], np.zeros((1, 20000, 3, 3)), rig)
  for view in range(2):
    measured = np.sqrt(np.var(uv[0, view], axis=0).mean())
    np.testing.assert_allclose(sigma[0, view, 0], measured, rtol=0.03)


def test_a_skeleton_is_made_of_the_labels(tmp_path):
  rig, points = walkers.ring(3), dots.spread(_FRAMES)
  names = ("nose", "Ear_R", "Ear_L", "left_hip", "right_hip", *(f"p{i}" for i in range(12)))
  videos = _record(tmp_path, rig, points)
  labels = _label(tmp_path, rig, points, joints=names)
  session = sessions.read("one", videos, tmp_path / "calibration.toml", labels=[labels])
  skeleton = sessions.skeleton_of([session])
  assert skeleton.joints == names and skeleton.flip_pairs == ((1, 2), (4, 3))
  extent = np.linalg.norm(np.ptp(points, axis=1), axis=-1)
  assert 0.95 * extent.min() < skeleton.size_mm < 1.05 * extent.max()
  path = tmp_path / "skeleton.toml"
  path.write_text(skeletons.to_toml(skeleton))
  assert skeletons.read(path) == skeleton


def test_a_killed_preparation_leaves_no_data_without_a_skeleton(tmp_path, monkeypatch):
  rig, points = walkers.ring(2), dots.spread(_FRAMES)
  videos = _record(tmp_path, rig, points)
  session = sessions.read(
    "one", videos, tmp_path / "calibration.toml", labels=[_label(tmp_path, rig, points)]
  )

  def killed(made):
    raise KeyboardInterrupt

  for _ in range(2):  # and the next attempt is not refused
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(builder.storing, "prepare", killed)
      builder.prepare("killed", [session], tmp_path / "cache", gap_s=0.0)
    assert skeletons.read(tmp_path / "cache/footage/killed/skeleton.toml").joints == _JOINTS


def test_splits_are_blocks_of_time(tmp_path):
  rig, points = walkers.ring(2), dots.spread(_FRAMES)
  videos = _record(tmp_path, rig, points)
  labels = _label(tmp_path, rig, points)
  session = sessions.read("one", videos, tmp_path / "calibration.toml", labels=[labels])
  (found,) = splitting.split([session], "0.2", "0.2", gap_s=2 / 30)
  # Nine labelled frames: 0 1 2 4 5 6 7 8 9; two and two are held out, and two before them are near.
  frames = {name: session.labels.frames[index].tolist() for name, index in found.items()}
  assert frames == {"train": [0, 1, 2], "validation": [6, 7], "test": [8, 9]}
  with pytest.raises(ValueError, match=r"two is no session; there are one"):
    splitting.split([session], "two", "0.1")
  with pytest.raises(ValueError, match=r"leave nothing to train on"):
    splitting.split([session], "0.6", "0.4")
  with pytest.raises(ValueError, match=r"smaller shares .* or a smaller --gap_s"):
    splitting.split([session], "0.2", "0.2", gap_s=60.0)


def test_mistakes_are_named(tmp_path, built):
  folder, _, _ = built
  rig, points = walkers.ring(2), dots.spread(_FRAMES)
  videos = _record(tmp_path, rig, points, frames=4)
  labels = _label(tmp_path, rig, points)
  calibration = tmp_path / "calibration.toml"
  with pytest.raises(ValueError, match=r"labels frame 9, but the recordings have 4"):
    sessions.read("one", videos, calibration, labels=[labels])
  with pytest.raises(ValueError, match=r"either labels in 2D or one file of joints"):
    sessions.read("one", videos, calibration)
  with pytest.raises(ValueError, match=r"letters, digits"):
    builder.prepare("../x", [], tmp_path)
  again = [
    "--gap_s",
    "0",
    "--name",
    "dots",
    "--data_dir",
    str(folder / "cache"),
    "--skeleton",
    "coco_17",
  ]
  again += ["--videos", *[str(folder / "first" / f"cam{i}") for i in range(4)]]
  again += ["--cameras", str(folder / "first/calibration.toml")]
  with pytest.raises(SystemExit, match=r"is there already"):
    builder.main([*again, "--labels", str(folder / "first/labels.npz")])
  with pytest.raises(SystemExit, match=r"give --labels for every session, or --joints"):
    builder.main(again)
  metadata = json.loads((folder / "cache/footage/dots/1.0.0/metadata.json").read_text())
  assert [s["name"] for s in metadata["sessions"]] == ["first", "second"]

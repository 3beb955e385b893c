"""The builder and the reader together give what the original's loader gives, on its tiny set."""

import shutil

import numpy as np
import pytest

from data import faults
from data.h36m import annotations, builder
from data.h36m import options as options_lib
from epipolar_jax.inputs import crops, multiview, subsets
from tests.data import h36m_raw

# MultiViewH36M.__getitem__ (data/datasets/multiview_h36m.py), validation, 256 px.
_LOADER = np.load(h36m_raw.GOLDEN / "h36m_loader.npz")


def _prepare(folder, options):
  frames = h36m_raw.records(1, 11)
  raw = h36m_raw.write(folder / "raw", h36m_raw.records(1), frames, h36m_raw.images())
  builder.prepare(raw, folder, options)
  return builder.open_prepared(folder, options.image_size).as_data_source("validation")


@pytest.mark.parametrize(
  ("options", "grey_levels"),
  [
    # Resampled once more, a second JPEG: 0.8..1.1 mean with quality 95.
    (options_lib.Options(), 2.0),
    # The second JPEG: 0.4..0.7 with quality 95.
    (options_lib.Options(image_size=0), 1.5),
  ],
  ids=["cut", "whole"],
)
def test_agrees_with_the_original_loader(tmp_path, options, grey_levels):
  source = _prepare(tmp_path, options)
  (batch,) = multiview.eval_batches(source, size=256, batch_size=2, num_threads=1)
  assert batch["frame"].tolist() == [1, 11] and batch["subject"].tolist() == [9, 9]
  for i, name in enumerate(("frame1", "frame11")):
    crop = np.concatenate([batch["crop"][i], np.tile([[[0, 0, 1.0]]], (4, 1, 1))], 1)
    extrinsics = np.concatenate([batch["rotation"][i], batch["translation"][i, ..., None]], -1)
    # Float32: measured 2e-7.
    projection = crop @ batch["intrinsics"][i] @ extrinsics
    # By row, since one entry may be near 0; the last of a row is as large as 5 m make the others.
    expected = _LOADER[f"{name}.KRT"]
    size = np.linalg.norm(expected[..., :3], axis=-1, keepdims=True) * [1, 1, 1, 5000]
    error = np.abs(projection - expected) / size
    assert error.max() < 2e-6, error.max()
    joints = (
      np.einsum("vab,vjb->vja", crop[:, :2, :2], batch["joints_2d"][i]) + crop[:, None, :2, 2]
    )
    np.testing.assert_allclose(joints, _LOADER[f"{name}.points-2d"], atol=1e-3)
    np.testing.assert_allclose(batch["joints_3d"][i], _LOADER[f"{name}.points-3d"][0], atol=1e-3)
    inside = ((joints >= 0) & (joints < 256)).all(-1)
    np.testing.assert_array_equal(inside, _LOADER[f"{name}.visibility"][..., 0] > 0)
    # The original's channels are as OpenCV reads them: BGR.
    image = batch["image"][i, :, ::4, ::4, ::-1].astype(float)
    error = np.abs(image - _LOADER[f"{name}.images"]).mean((1, 2, 3))
    assert (error < grey_levels).all(), error


def test_undistorted_images_are_not_undistorted_again(tmp_path):
  # Two of the four images are there undistorted; the others are taken for them.
  names = [record["image"] for record in h36m_raw.records(1)]
  frames = h36m_raw.records(1)
  for record in frames[2:]:
    record["image"] = names[0]
  raw = h36m_raw.write(tmp_path / "raw", frames, frames, {})
  shutil.copyfile(h36m_raw.TINY / "undistoredimages.zip", raw / "undistoredimages.zip")
  builder.prepare(raw, tmp_path, options_lib.Options(), images="undistorted_zip")
  source = builder.open_prepared(tmp_path, 512).as_data_source("validation")
  (batch,) = multiview.eval_batches(source, size=256, batch_size=1, num_threads=1)
  image = batch["image"][0, :2, ::4, ::4, ::-1].astype(float)
  error = np.abs(image - _LOADER["undistorted.images"]).mean((1, 2, 3))
  assert (error < 2.0).all(), error


def test_augmented_camera_agrees():
  scale, _, rotation, *center = _LOADER["augmented.box"]
  # The original turns the crop's axes, this one its content.
  affine = crops.crop_affine(
    np.array(center), 200 * scale, rotation_deg=-rotation, size=256, mirror=False
  )
  matrix = np.concatenate([affine, [[0, 0, 1]]]) @ _LOADER["augmented.intrinsics"]
  np.testing.assert_allclose(matrix, _LOADER["augmented.K"], atol=2e-3)


def test_frames_and_damage_are_the_original_ones():
  """MultiViewH36M.get_group and JointsDataset.isdamaged."""
  read = annotations.read(h36m_raw.TINY / "h36m_validation.pkl")
  frames = annotations.frames(read, "h36m_validation.pkl", faults.Faults(), faults.Faults())
  groups = np.array([frame.indices for frame in frames])
  np.testing.assert_array_equal(groups, _LOADER["validation_damagefilter0.grouping"])
  damaged = np.flatnonzero([frame.damaged for frame in frames])
  ranges = [(damaged[0], damaged[-1] + 1)]
  for name, step, left_out in (("damagefilter1", 1, ranges), ("sample2", 2, ())):
    kept = groups[subsets.every(len(groups), step, left_out)]
    np.testing.assert_array_equal(kept, _LOADER[f"validation_{name}.grouping"])
  clips = _LOADER["isdamaged_subject_action_subaction"]
  expected = [tuple(clip) for clip, bad in zip(clips.tolist(), _LOADER["isdamaged"]) if bad]
  assert set(expected) == annotations.DAMAGED

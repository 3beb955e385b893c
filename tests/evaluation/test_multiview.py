"""Summaries against numbers worked out by hand; the table, the JSON and the picture."""

import json

import cv2
import numpy as np
import pytest

from configs import synthetic
from epipolar_jax.evaluation import driver, multiview
from epipolar_jax.visualize import predictions


def _labels(frames=4, views=2, joints=17):
  rng = np.random.default_rng(0)
  crop = np.tile(np.array([[2.0, 0.0, 3.0], [0.0, 2.0, 5.0]], np.float32), (frames, views, 1, 1))
  return {
    "joints_3d": rng.normal(0, 500, (frames, joints, 3)).astype(np.float32),
    "joints_2d": rng.uniform(5, 25, (frames, views, joints, 2)).astype(np.float32),
    "crop": crop,
    "occluded": np.array([[False, True]] * frames),
    "action": np.array([b"walking", b"walking", b"boxing", b"boxing"][:frames]),
  }


def _perfect(labels):
  return {
    "joints_3d": labels["joints_3d"].copy(),
    "joint_valid": np.ones(labels["joints_3d"].shape[:2], bool),
    "joints_2d": labels["joints_2d"] * 2 + np.array([3.0, 5.0], np.float32),
  }


def test_perfect_predictions_score_zero():
  labels = _labels()
  result = multiview.summarize(_perfect(labels), labels)
  assert result["frames"] == 4 and result["failed_joints"] == 0
  for name in ("mpjpe_mm", "mpjpe_relative_mm", "pa_mpjpe_mm", "error_2d_px"):
    assert result[name] == pytest.approx(0.0, abs=1e-3)


def test_every_number_by_hand():
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_3d"] += np.array([30.0, 0.0, 40.0], np.float32)  # 50 mm, all joints alike
  predicted["joints_3d"][2, 13] += np.array([0.0, 60.0, 0.0], np.float32)  # left wrist, boxing
  predicted["joints_2d"][:, 1] += np.array([3.0, 4.0], np.float32)  # 5 px in the hidden view
  result = multiview.summarize(predicted, labels)
  wrist = np.hypot(50.0, 60.0)
  assert result["mpjpe_mm"] == pytest.approx((67 * 50 + wrist) / 68, rel=1e-5)
  assert result["mpjpe_relative_mm"] == pytest.approx(60 / 68, rel=1e-3)
  assert result["mpjpe_per_joint_mm"]["lwri"] == pytest.approx((3 * 50 + wrist) / 4, rel=1e-5)
  assert result["mpjpe_per_joint_mm"]["rwri"] == pytest.approx(50.0, rel=1e-5)
  assert result["mpjpe_per_action_mm"]["walking"] == pytest.approx(50.0, rel=1e-5)
  assert set(result["mpjpe_per_action_mm"]) == {"walking", "boxing"}
  assert result["error_2d_px"] == pytest.approx(2.5, rel=1e-4)
  assert result["error_2d_occluded_views_px"] == pytest.approx(5.0, rel=1e-4)
  assert result["pa_mpjpe_mm"] < result["mpjpe_relative_mm"] + 1.0


def test_failed_joints_are_counted_and_left_out():
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_3d"][0, 3] = 0.0
  predicted["joint_valid"][0, 3] = False
  result = multiview.summarize(predicted, labels)
  assert result["failed_joints"] == 1
  assert result["mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
  predicted["joint_valid"][:] = False
  result = multiview.summarize(predicted, labels)
  assert result["mpjpe_mm"] is None and result["failed_joints"] == 68
  json.dumps(result)


def test_table_and_json(tmp_path):
  labels = _labels()
  results = {
    name: multiview.summarize(_perfect(labels), labels) for name in ("test", "test_occluded_1")
  }
  config = synthetic.get_config()
  lines = driver.table(results, driver.problem_of(config)).splitlines()
  assert len(lines) == 4 and "MPJPE mm" in lines[0] and lines[3].split()[0] == "test_occluded_1"
  assert len({len(line) for line in lines}) == 1
  driver.write_json(tmp_path / "a" / "eval.json", results, config, step=7)
  record = json.loads((tmp_path / "a" / "eval.json").read_text())
  assert record["step"] == 7 and record["seed"] == 0
  assert record["config"]["model"]["width"] == 0.25
  assert record["splits"]["test"]["mpjpe_mm"] == record["mpjpe_mm"]
  assert record["protocol"]["triangulation"] == "dlt"


def test_picture_shows_prediction_and_truth(tmp_path):
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_2d"] += 4.0
  picked = predictions.picked(4, 2)
  assert picked == [0, 3]
  images = np.zeros((2, 2, 64, 64, 3), np.uint8)
  picture = predictions.sheet(images, predicted, labels)
  assert picture.shape == (2 * 256, (2 + 2) * 256, 3)
  colors = {tuple(c) for c in picture[:, :512].reshape(-1, 3).tolist()}
  assert {(0, 114, 178), (213, 94, 0), (240, 228, 66), (255, 255, 255)} <= colors
  predictions.write_png(tmp_path / "p.png", picture)
  read = cv2.imread(str(tmp_path / "p.png"))[..., ::-1]
  np.testing.assert_array_equal(read, picture)

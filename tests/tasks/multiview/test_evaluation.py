"""Summaries against numbers worked out by hand; the table, the JSON and the figure."""

import json

import cv2
import numpy as np
import pytest

from configs import synthetic
from epipolar_jax import heatmaps, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.tasks.multiview import camera_sets, evaluation
from epipolar_jax.tasks.multiview import protocol as protocols
from epipolar_jax.visualize import predictions
from tests import dots, scenes

_CONFIG = dots.config()
_CONFIG.data.image_size = 256


def _labels(frames=4, views=2):
  """Scenes whose stored images are half as large as the network's input."""
  made = [scenes.make_scene(seed, num_views=views, rotated=False) for seed in range(frames)]
  shrink = np.array([[0.5, 0.0, -1.5], [0.0, 0.5, -2.5], [0.0, 0.0, 1.0]])
  labels = {
    "joints_3d": np.stack([s.joints for s in made]),
    "joints_2d": np.stack([(s.uv - [3.0, 5.0]) / 2 for s in made]),
    "crop": np.tile(np.array([[2.0, 0.0, 3.0], [0.0, 2.0, 5.0]]), (frames, views, 1, 1)),
    "intrinsics": np.stack([shrink @ s.intrinsics for s in made]),
    "rotation": np.stack([s.rotation for s in made]),
    "translation": np.stack([s.translation for s in made]),
  }
  return {name: x.astype(np.float32) for name, x in labels.items()} | {
    "occluded": np.tile(np.arange(views) == 1, (frames, 1)),
    "action": np.array([b"walking", b"walking", b"boxing", b"boxing"][:frames]),
  }


def _perfect(labels):
  joints_2d = labels["joints_2d"] * 2 + np.array([3.0, 5.0], np.float32)
  joints = {
    "joints_3d": labels["joints_3d"].copy(),
    "joint_valid": np.ones(labels["joints_3d"].shape[:2], bool),
  }
  return joints | {
    "joints_2d": joints_2d,
    "score": np.ones(joints_2d.shape[:3], np.float32),
    "peak": heatmaps.image_to_map(joints_2d, stride=4).round().astype(np.int32),
    "methods": {"dlt": joints},
    "others": {},
  }


def _summary(predicted, labels, config=_CONFIG):
  return evaluation.summarize(predicted, labels, config=config)


def test_perfect_predictions_score_zero():
  labels = _labels()
  result = _summary(_perfect(labels), labels)
  assert result["frames"] == 4 and result["failed_joints"] == 0
  assert result["jdr_percent"] == result["pck_2d_2px_percent"] == result["auc_3d_percent"] == 100
  for name in ("mpjpe_mm", "mpjpe_relative_mm", "mpjpe_scaled_mm", "error_2d_px"):
    assert result[name] == pytest.approx(0.0, abs=1e-3)
  assert result["pa_mpjpe_mm"] == pytest.approx(0.0, abs=0.01)
  # Triangulated from the perfect 2D joints, against a truth that is: two cameras, float32.
  original = result["protocols"]["epipolar_transformers"]
  assert original["mpjpe_mm"] == pytest.approx(0.0, abs=1e-3) and original["joints"] == 68


def test_every_number_by_hand():
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_3d"] += np.array([30.0, 0.0, 40.0], np.float32)  # 50 mm, all joints alike
  predicted["joints_3d"][2, 13] += np.array([0.0, 60.0, 0.0], np.float32)  # left wrist, boxing
  predicted["joints_2d"][:, 1] += np.array([3.0, 4.0], np.float32)  # 5 px in the hidden view
  result = _summary(predicted, labels)
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
  assert result["per_joint_mm"]["relative"]["lwri"] == pytest.approx(60 / 4, rel=1e-3)
  assert result["per_action_mm"]["relative"]["walking"] == pytest.approx(0.0, abs=1e-3)
  assert result["pck_3d_100mm_percent"] == 100
  # Thresholds 0, 5, ..., 150: 20 are above 50 mm, which rounding may put on either side of 50.
  assert result["auc_3d_percent"] == pytest.approx(100 * (67 * 20.5 + 15) / 68 / 31, abs=2)
  assert result["pck_2d_2px_percent"] == 50 and result["pck_2d_5px_percent"] >= 50


def test_failed_joints_are_counted_and_left_out():
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_3d"][0, 3] = 0.0
  predicted["joint_valid"][0, 3] = False
  result = _summary(predicted, labels)
  assert result["failed_joints"] == 1
  assert result["failed_frames"] == 1
  assert result["mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
  assert result["pck_3d_150mm_percent"] == pytest.approx(100 * 67 / 68)
  predicted["joint_valid"][:] = False
  result = _summary(predicted, labels)
  assert result["mpjpe_mm"] is None and result["failed_joints"] == 68
  json.dumps(result)


def test_joints_without_a_label_are_counted_and_in_no_number():
  """Two joints that the data set lacks: whatever is said of them, nothing else changes."""
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_3d"] += np.array([30.0, 0.0, 40.0], np.float32)
  predicted["joints_2d"] = predicted["joints_2d"] + np.array([3.0, 4.0], np.float32)
  labels["labelled"] = np.ones((4, 17), bool)
  labels["labelled"][:, [5, 9]] = False
  labels["joints_3d"][:, [5, 9]] = 0.0
  labels["joints_2d"][:, :, [5, 9]] = 0.0
  predicted["joint_valid"][:, 9] = False
  config = dots.config()
  config.data.image_size = 256
  config.eval.views = ""
  predicted["others"] = {"0,1": predicted["methods"]}
  result = _summary(predicted, labels, config)
  assert result["unlabelled_joints"] == 8 and result["failed_joints"] == 0
  assert result["mpjpe_mm"] == pytest.approx(50.0, rel=1e-4)
  assert result["mpjpe_relative_mm"] == pytest.approx(0.0, abs=1e-3)
  assert result["error_2d_px"] == pytest.approx(5.0, rel=1e-4)
  assert result["error_2d_occluded_views_px"] == pytest.approx(5.0, rel=1e-4)
  assert result["pck_3d_100mm_percent"] == result["pck_2d_10px_percent"] == 100
  assert result["jdr_percent"] == 100
  assert result["mpjpe_per_joint_mm"]["lkne"] is None
  assert result["error_2d_per_joint_px"]["nose"] is None
  assert result["views"]["2"]["methods"]["dlt"]["unlabelled_joints"] == 8
  original = result["protocols"]["epipolar_transformers"]
  assert original["failed_frames"] == 0 and original["joints"] == 4 * 15
  assert original["unlabelled_joints"] == 8 and original["mpjpe_mm"] < 100
  json.dumps(result)


def test_a_joint_without_a_label_in_one_view_is_in_no_number_of_that_view():
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_2d"] = predicted["joints_2d"] + np.array([3.0, 4.0], np.float32)
  labels["labelled"] = np.ones((4, 2, 17), bool)
  labels["labelled"][1, 0, 5] = False
  labels["joints_2d"][1, 0, 5] = np.nan
  labels["labelled"][2, :, 6] = False
  labels["joints_3d"][2, 6] = np.nan
  result = _summary(predicted, labels)
  assert result["unlabelled_joints"] == 1 and result["failed_joints"] == 0
  assert result["error_2d_px"] == pytest.approx(5.0, rel=1e-4)
  assert result["mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
  json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(("place", "counts"), [(0, 1), (63, 1), (-1, 0), (64, 0)])
def test_joints_at_the_border_of_the_map_can_be_detected_and_no_others(place, counts):
  """Of maps of 64 px; `jdr` itself leaves out the first two columns and rows."""
  labels = _labels()
  config = dots.config()
  config.data.image_size = 256
  stored = labels["joints_2d"].copy()
  labels["labelled"] = np.zeros(stored.shape[:3], bool)
  labels["labelled"][0, 0, 3] = True
  uv = np.array([4 * place + 1.5, 4 * 30 + 1.5])
  labels["joints_2d"][0, 0, 3] = (uv - [3.0, 5.0]) / 2
  predicted = _perfect(labels)
  predicted["peak"] = np.clip(predicted["peak"], 0, 63)
  shown = counts and place > 1
  assert _summary(predicted, labels, config)["jdr_percent"] == (100 if shown else None)


def test_predictions_that_are_not_finite_are_an_error():
  labels = _labels()
  for name in ("joints_2d", "score", "joints_3d"):
    predicted = _perfect(labels)
    predicted[name] = np.array(predicted[name])
    predicted[name][(2, ..., 3) if name == "score" else (2, ..., 3, 0)] = np.nan
    with pytest.raises(ValueError, match=f"{name} of joint"):
      _summary(predicted, labels)


def test_table_and_json(tmp_path):
  labels = _labels()
  results = {name: _summary(_perfect(labels), labels) for name in ("test", "test_occluded_1")}
  config = synthetic.get_config()
  lines = driver.table(results, tasks.build(config, axis_name=None).evaluation).splitlines()
  assert len(lines) == 6 and lines[0].split("  ")[0] == "split" and "MPJPE mm" in lines[0]
  assert lines[4].split()[:2] == ["test_occluded_1", "dlt"] and "failed" not in lines[0]
  assert "ET protocol" in lines[3]
  assert len({len(line) for line in lines}) == 1
  results["test"]["failed_joints"] = 3
  failing = driver.table(results, tasks.build(config, axis_name=None).evaluation).splitlines()
  assert failing[0].endswith("failed joints") and failing[2].split()[-1] == "3"
  assert max(map(len, failing)) <= 100
  # A row of its own for the chosen rules only if they are not those of every other row.
  config.eval.clamp_mm = 150.0
  clamped = {"test": _summary(_perfect(labels), labels, config)}
  lines = driver.table(clamped, tasks.build(config, axis_name=None).evaluation).splitlines()
  assert len(lines) == 5 and "chosen protocol" in lines[3] and "ET protocol" in lines[4]
  config = synthetic.get_config()
  driver.write_json(tmp_path / "a" / "eval.json", results, config, step=7, trained={"seed": 0})
  record = json.loads((tmp_path / "a" / "eval.json").read_text())
  assert record["step"] == 7 and record["seed"] == 0
  assert record["config"]["data"]["image_size"] == 192
  assert record["splits"]["test"]["mpjpe_mm"] == record["mpjpe_mm"]
  assert record["protocol"]["triangulation"] == "dlt"
  assert record["protocols"]["chosen"]["triangulation"] == "dlt"
  assert record["protocols"]["epipolar_transformers"]["clamp_mm"] == 150


def test_methods_come_as_asked():
  labels, config = _labels(), synthetic.get_config()
  config.eval.triangulation = "robust,dlt"
  predicted = _perfect(labels)
  predicted["methods"] = {"dlt": predicted["methods"]["dlt"], "robust": predicted["methods"]["dlt"]}
  results = {"test": _summary(predicted, labels, config)}
  lines = driver.table(results, tasks.build(config, axis_name=None).evaluation).splitlines()
  assert [line.split()[1] for line in lines[2:4]] == ["robust", "dlt"]


def test_each_rule_of_a_protocol_by_hand():
  """Two frames of 17 joints 100 mm off, one joint 400 mm; the truth from 2D lies 10 mm beside."""
  truth = np.random.default_rng(0).normal(0, 400, (3, 17, 3)).astype(np.float32)
  points = truth + np.array([100.0, 0.0, 0.0], np.float32)
  points[0, 5] = truth[0, 5] + np.array([400.0, 0.0, 0.0], np.float32)
  valid = np.ones((3, 17), bool)
  valid[1, 2] = False
  labels = {
    "joints_3d": truth,
    "retriangulated": truth + np.array([10.0, 0.0, 0.0], np.float32),
    "retriangulated_valid": np.ones((3, 17), bool),
    "damaged": np.array([False, False, True]),
  }
  rules = protocols.Protocol("dlt", "")

  def score(**changed):
    return protocols.score(rules._replace(**changed), points, valid, labels, root=0)

  plain = score()
  assert plain["mpjpe_mm"] == pytest.approx((49 * 100 + 400) / 50, rel=1e-5)
  assert (plain["frames"], plain["joints"], plain["failed_joints"]) == (3, 50, 1)
  assert score(clamp_mm=150.0)["mpjpe_mm"] == pytest.approx((49 * 100 + 150) / 50, rel=1e-5)
  assert score(alignment="relative")["mpjpe_mm"] == pytest.approx(300 / 50, rel=1e-3)
  beside = score(ground_truth="retriangulated")
  assert beside["mpjpe_mm"] == pytest.approx((49 * 90 + 390) / 50, rel=1e-5)
  dropped = score(damaged="drop")
  assert (dropped["frames"], dropped["damaged_frames_dropped"]) == (2, 1)
  assert dropped["mpjpe_mm"] == pytest.approx((32 * 100 + 400) / 33, rel=1e-5)
  whole = score(failed="frames", damaged="drop")
  assert (whole["frames"], whole["failed_frames"], whole["joints"]) == (2, 1, 17)
  assert whole["mpjpe_mm"] == pytest.approx((16 * 100 + 400) / 17, rel=1e-5)
  unknown = protocols.score(
    rules._replace(damaged="drop"), points, valid, {"joints_3d": labels["joints_3d"]}, root=0
  )
  assert unknown["damage_is_known"] is False and unknown["frames"] == 3
  nothing = protocols.score(rules, points, np.zeros_like(valid), labels, root=0)
  assert nothing["mpjpe_mm"] is None and nothing["failed_frames"] == 3


def test_camera_sets():
  parse = camera_sets.parse
  assert parse("", 4) == ((0, 1, 2, 3), ())
  assert parse("2,0", 4) == ((2, 0), ())
  assert parse("pairs", 3) == ((0, 1, 2), ((0, 1), (0, 2), (1, 2)))
  assert len(parse("triples", 4).others) == 4
  assert len(parse("every", 4).others) == 6 + 4
  assert parse("triples", 3).others == ()
  for text in ("0", "0,0", "0,4", "-1,0", "all", "0;1"):
    with pytest.raises(ValueError, match=r"eval\.views is "):
      parse(text, 4)


def test_the_network_sees_only_the_cameras_of_a_choice():
  """`run` gives it those alone, and their numbers are merged over the choices of a size."""
  labels = _labels(views=3)
  seen = []

  def predict(batch):
    seen.append(batch["crop"].shape[1])
    found = _perfect(labels)
    shifted = found["methods"]["dlt"]["joints_3d"] + np.float32(10.0 * len(seen))
    return found | {"methods": {"dlt": found["methods"]["dlt"] | {"joints_3d": shifted}}}

  config = dots.config()
  config.eval.views = "pairs"
  built = evaluation.build(config)
  predicted = built.run(predict, labels)
  assert seen == [3, 2, 2, 2]
  result = built.summarize(predicted, labels)
  pairs = result["views"]["2"]
  assert pairs["choices"] == 3 and set(pairs["each"]) == {"0,1", "0,2", "1,2"}
  # 20, 30 and 40 mm in every coordinate.
  assert pairs["methods"]["dlt"]["mpjpe_mm"] == pytest.approx(30 * np.sqrt(3), rel=1e-3)
  assert pairs["each"]["1,2"]["dlt"]["mpjpe_mm"] == pytest.approx(40 * np.sqrt(3), rel=1e-3)
  assert "3 choices of 2 cameras" in driver.table({"test": result}, built)


def test_figure_shows_prediction_and_truth(tmp_path):
  labels = _labels()
  predicted = _perfect(labels)
  predicted["joints_2d"] += 4.0
  picked = predictions.picked(4, 2)
  assert picked == [0, 3]
  images = np.zeros((2, 2, 256, 256, 3), np.uint8)
  figure = evaluation.build(_CONFIG).figure(images, predicted, labels)
  assert figure.shape == (2 * 256, (2 + 2) * 256, 3)
  colors = {tuple(c) for c in figure[:, :512].reshape(-1, 3).tolist()}
  assert {(86, 180, 233), (213, 94, 0), (240, 228, 66), (255, 255, 255)} <= colors
  predictions.write_png(tmp_path / "p.png", figure)
  read = cv2.imread(str(tmp_path / "p.png"))[..., ::-1]
  np.testing.assert_array_equal(read, figure)

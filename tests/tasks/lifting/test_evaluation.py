"""Lifting metrics against numbers worked out by hand, and the figure."""

import functools

import numpy as np
import pytest

from configs import lifting_direct_h36m, lifting_direct_rhd
from epipolar_jax import skeletons, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.tasks.lifting import evaluation as lifting
from epipolar_jax.visualize import predictions


def _results(frames=4, views=2, joints=17, *, direct=True):
  rng = np.random.default_rng(0)
  rotation = np.linalg.qr(rng.normal(size=(frames, views, 3, 3)))[0]
  world = rng.normal(0, 300, (frames, joints, 3))
  camera = np.einsum("nvab,njb->nvja", rotation, world)
  names = ("camera",) if direct else ("camera", "canonical")
  predicted = {name: camera.copy() for name in names}
  predicted |= {f"{name}_truth": camera.copy() for name in names}
  predicted |= {"world": np.repeat(world[:, None], views, 1), "world_truth": world}
  labels = {
    "action": np.array([b"walking", b"boxing"] * (frames // 2)),
    "joints_2d": rng.uniform(0, 60, (frames, views, joints, 2)),
    "crop": np.tile(np.array([[1.0, 0, 0], [0, 1.0, 0]]), (frames, views, 1, 1)),
  }
  return predicted, labels


_summarize = functools.partial(lifting.summarize, skeleton=skeletons.H36M_17)


def test_every_number_by_hand():
  predicted, labels = _results()
  predicted["camera"][..., 0] += 30.0
  predicted["camera"][0, 0, 13, 0] += 270.0  # 300 mm, one left wrist in one view
  predicted["world"][:, 0] += np.array([0.0, 40.0, 0.0])
  predicted["world"][:, 1] -= np.array([0.0, 60.0, 0.0])
  result = _summarize(predicted, labels)
  count = 4 * 2 * 17
  assert result["poses"] == 8 and result["frame_of_the_error"] == "camera"
  assert result["epe_mm"] == pytest.approx(30 + 270 / count)
  assert result["epe_clamped_mm"] == pytest.approx(30 + 120 / count)
  assert result["epe_median_mm"] == pytest.approx(30)
  assert result["epe_per_joint_mm"]["lwri"] == pytest.approx(30 + 270 / 8)
  assert result["epe_per_action_mm"]["boxing"] == pytest.approx(30)
  # All but one error pass the thresholds from 30 to 50 mm.
  assert result["auc_20_50_percent"] == pytest.approx((1 - 1 / count) * 200 / 3)
  curve = dict(zip(result["pck_curve"]["threshold_mm"], result["pck_curve"]["share"]))
  assert curve[25.0] == 0.0 and curve[35.0] == pytest.approx(1 - 1 / count)
  # The views' errors of +40 and -60 mm join to -10; the best view is 40 off.
  assert result["multiview_mean_epe_mm"] == pytest.approx(10)
  assert result["multiview_median_epe_mm"] == pytest.approx(10)
  assert result["multiview_best_epe_mm"] == pytest.approx(40)


def test_the_mean_pose_scores_as_the_mean_pose():
  predicted, labels = _results()
  truth = predicted["camera_truth"]
  predicted["camera"] = np.broadcast_to(truth.mean((0, 1)), truth.shape)
  result = _summarize(predicted, labels)
  assert result["epe_mm"] == pytest.approx(result["mean_pose_epe_mm"])
  assert result["mean_pose_epe_mm"] > 100


def test_area_under_the_curve_is_the_limit_of_many_thresholds():
  error = np.random.default_rng(1).uniform(0, 80, 500)
  many = lifting.pck(error, np.linspace(20, 50, 3001)).mean()
  assert lifting.auc(error) == pytest.approx(many, abs=1e-3)
  assert lifting.auc(np.zeros(3)) == 1.0 and lifting.auc(np.full(3, 60.0)) == 0.0


def test_table_has_a_row_a_split():
  config = lifting_direct_h36m.get_config()
  built = tasks.build(config, axis_name=None).evaluation
  one_view, labels = _results(views=1)
  results = {
    "validation": _summarize(*_results()),
    "single": _summarize(one_view, labels),
  }
  lines = driver.table(results, built).splitlines()
  assert len(lines) == 4 and "EPE mm" in lines[0] and lines[3].split()[-2] == "-"
  assert all(name in results["single"] for name in built.logged)


@pytest.mark.parametrize("joints", [17, 21])
def test_figure_shows_both_skeletons_from_two_sides(joints):
  predicted, labels = _results(joints=joints)
  predicted["camera"] = predicted["camera"] + 20.0
  config = (lifting_direct_h36m if joints == 17 else lifting_direct_rhd).get_config()
  images = np.zeros((2, 2, 64, 64, 3), np.uint8)
  figure = tasks.build(config, axis_name=None).evaluation.figure(images, predicted, labels)
  assert predictions.picked(4, 2) == [0, 3] and figure.shape == (512, 768, 3)
  for column in (256, 512):
    colors = {tuple(c) for c in figure[:, column : column + 256].reshape(-1, 3).tolist()}
    own = {(86, 180, 233), (213, 94, 0)} if joints == 17 else {(0, 158, 115), (86, 180, 233)}
    assert own | {(255, 255, 255)} <= colors

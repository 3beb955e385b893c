"""The viewer's data: weights within the stated error, reductions, refusals."""

import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.visualize import viewer
from tests import pages

_LOG = {"kind": "log", "low": 0.0, "high": 1.0, "per_decade": 50}


def _frame(size=32, views=2, samples=6, **changes):
  rng = np.random.default_rng(0)
  p = (size // 4) ** 2
  weights = rng.dirichlet(np.full(samples, 0.2), (views, views - 1, p)).astype(np.float32)
  frame = {
    "image": rng.integers(0, 256, (views, size, size, 3), dtype=np.uint8),
    "intrinsics": np.tile(np.eye(3), (views, 1, 1)),
    "rotation": np.tile(np.eye(3), (views, 1, 1)),
    "translation": np.arange(3.0 * views).reshape(views, 3),
    "joints_2d": rng.uniform(0, size, (views, 17, 2)),
    "true_2d": rng.uniform(0, size, (views, 17, 2)),
    "joints_3d": np.full((17, 3), 3.0),
    "true_3d": np.zeros((17, 3)),
    "joint_valid": np.arange(17) != 4,
    "occluded": np.zeros(views, bool),
    "heatmaps": rng.uniform(size=(views, size // 4, size // 4, 17)),
    "source": np.array([[1], [0]]),
    "others": np.array([[1], [0]]),
    "weights": weights,
    "label": "0: still",
  }
  return frame | changes


def _tree(frame, num_samples=6):
  html = viewer.render(
    [frame], skeleton=skeletons.H36M_17, stride=4, num_samples=num_samples, title="t", subtitle="s"
  )
  return pages.read(html)


def test_codes_are_right_to_what_the_page_says():
  weights = np.concatenate([np.geomspace(9e-6, 1.0, 999), [0.0, 1e-9]])
  back = pages.decode_weights(viewer.encode_weights(weights, _LOG), _LOG)
  np.testing.assert_allclose(back[:999], weights[:999], rtol=0.0233)  # half a code: 10^(1/100)
  assert np.all(back[999:] < 9e-6)


def test_weights_of_a_page_are_those_of_the_network():
  frame = _frame()
  tree = _tree(frame)
  assert tree["weight_code"]["kind"] == "log" and tree["num_samples"] == 6
  back = pages.decode_weights(tree["frames"][0]["weights"], tree["weight_code"])
  np.testing.assert_allclose(back, frame["weights"], rtol=0.0233, atol=9e-6)
  assert "2.3 %" in " ".join(tree["notes"])


def test_signed_weights_are_stored_linearly():
  frame = _frame()
  frame["weights"] = frame["weights"] * 40 - 3
  tree = _tree(frame)
  back = pages.decode_weights(tree["frames"][0]["weights"], tree["weight_code"])
  np.testing.assert_allclose(back, frame["weights"], atol=40 / 510 * 1.01)


def test_pooled_samples_share_their_weight():
  tree = _tree(_frame(), num_samples=12)
  codes = tree["frames"][0]["weights"]
  assert tree["num_samples"] == 12 and codes.shape[-1] == 12
  np.testing.assert_array_equal(codes[..., :6], codes[..., 6:])


def test_large_maps_keep_every_second_pixel():
  frame = _frame(size=256)
  tree = _tree(frame)
  assert tree["grid"] == 2 and tree["frames"][0]["weights"].shape == (2, 1, 32 * 32, 6)
  kept = frame["weights"].reshape(2, 1, 64, 64, 6)[:, :, ::2, ::2].reshape(2, 1, -1, 6)
  back = pages.decode_weights(tree["frames"][0]["weights"], tree["weight_code"])
  np.testing.assert_allclose(back, kept, rtol=0.0233, atol=9e-6)


def test_network_without_fusion_and_failed_joints():
  frame = _frame()
  for name in ("weights", "others", "source"):
    del frame[name]
  tree = _tree(frame)
  stored = tree["frames"][0]
  assert tree["weight_code"] is None and "weights" not in stored and "source" not in stored
  assert stored["joints_3d"][4] is None and stored["errors"][4] is None
  assert stored["mpjpe"] == pytest.approx(np.sqrt(27), abs=0.05)
  assert stored["heatmaps"].shape == (2, 17, 8, 8) and stored["heatmaps"].max() == 255
  assert tree["skeleton"]["joints"][-1] == "right wrist"
  assert tree["skeleton"]["sides"][-1] == "right" and tree["skeleton"]["sides"][0] == "middle"


def test_nothing_to_show_is_refused():
  with pytest.raises(ValueError, match="no frame"):
    viewer.render([], skeleton=skeletons.H36M_17, stride=4, num_samples=6, title="t", subtitle="s")
  with pytest.raises(ValueError, match="two views"):
    _tree(_frame(views=1))

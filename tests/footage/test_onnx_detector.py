"""A detector of one's own in ONNX: the same numbers as its formula, and files that are refused."""

import numpy as np
import pytest

from epipolar_jax.footage import onnx_detector
from epipolar_jax.geometry.cameras import Cameras
from tests import walkers

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

_JOINTS = 3
_CARD = """
skeleton = {name = "ant", size_mm = 5, joints = ["a", "b", "c"], parents = ["", "a", "b"]}
input_wh = [%d, %d]
channels = "%s"
layout = "nchw"
mean = [10.0, 20.0, 30.0]
std = [50.0, 60.0, 70.0]
output = "%s"
"""


def _weights():
  return np.random.default_rng(0).normal(size=(_JOINTS, 3, 4, 4)).astype(np.float32) / 8


def _model(nodes, outputs, *, wide, high, batch="n", tensors=()):
  image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [batch, 3, high, wide])
  found = [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, None) for x in outputs]
  kernel = numpy_helper.from_array(_weights(), "kernel")
  graph = helper.make_graph(nodes, "g", [image], found, initializer=[kernel, *tensors])
  opset = [helper.make_opsetid("", 17)]
  return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _heatmap_model(**options):
  convolution = helper.make_node("Conv", ["image", "kernel"], ["x"], strides=[4, 4])
  return _model([convolution, helper.make_node("Sigmoid", ["x"], ["map"])], ["map"], **options)


def _simcc_model(**options):
  convolution = helper.make_node("Conv", ["image", "kernel"], ["x"], strides=[4, 4])
  nodes = [convolution]
  for name, axis in (("u", 2), ("v", 3)):
    nodes += [
      helper.make_node("ReduceMean", ["x"], [f"{name}1"], axes=[axis], keepdims=0),
      helper.make_node("Unsqueeze", [f"{name}1", "last"], [f"{name}2"]),
      helper.make_node("Tile", [f"{name}2", "by"], [f"{name}3"]),
      helper.make_node("Reshape", [f"{name}3", "flat"], [name]),
    ]
  tensors = [
    numpy_helper.from_array(np.array([3]), "last"),
    numpy_helper.from_array(np.array([1, 1, 1, 4]), "by"),
    numpy_helper.from_array(np.array([0, 0, -1]), "flat"),
  ]
  return _model(nodes, ["u", "v"], tensors=tensors, **options)


def _write(folder, model, *, wide=32, high=32, channels="rgb", output="heatmap", more=""):
  path = folder / "net.onnx"
  path.write_bytes(model.SerializeToString())
  card = _CARD % (wide, high, channels, output) + more
  path.with_suffix(".toml").write_text(card, encoding="utf-8")
  return path


def _convolved(images, *, bgr):
  """[n, h / 4, w / 4, j] of uint8 images [n, h, w, 3]: the same network in NumPy."""
  x = images[..., ::-1] if bgr else images
  x = (x - np.array([10.0, 20.0, 30.0])) / np.array([50.0, 60.0, 70.0])
  n, h, w, _ = x.shape
  blocks = x.reshape(n, h // 4, 4, w // 4, 4, 3)
  return np.einsum("nacbdk,jkcd->nabj", blocks, _weights())


def _images(count, side):
  return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.mark.parametrize(("channels", "batch"), (("rgb", "n"), ("bgr", 4)))
def test_heatmaps_are_those_of_the_same_network_in_numpy(tmp_path, channels, batch):
  path = _write(tmp_path, _heatmap_model(wide=32, high=32, batch=batch), channels=channels)
  found = onnx_detector.OnnxDetector(path)
  images = _images(10, 32)
  maps = found.maps(iter(images))
  # Probabilities are sigmoids of what is convolved, so logits are that again.
  np.testing.assert_allclose(maps, _convolved(images, bgr=channels == "bgr"), atol=2e-3)
  assert found.skeleton.joints == ("a", "b", "c") and found.size == 32 and found.searches
  assert found.maps([]).shape == (0, 8, 8, 3)
  uv, score = found.decode(maps)
  assert uv.shape == (10, 3, 2) and ((score > 0) & (score < 1)).all()


def test_a_tall_network_reads_the_middle_of_the_window(tmp_path):
  path = _write(tmp_path, _heatmap_model(wide=16, high=32), wide=16)
  found = onnx_detector.OnnxDetector(path)
  images = _images(2, 32)
  maps = found.maps(images)
  assert maps.shape == (2, 8, 8, 3)
  np.testing.assert_allclose(maps[:, :, 2:6], _convolved(images[:, :, 8:24], bgr=False), atol=2e-3)
  assert maps[:, :, [0, 1, 6, 7]].max() < -13


def test_simcc_becomes_a_map_with_its_two_distributions(tmp_path):
  path = _write(tmp_path, _simcc_model(wide=32, high=32), output="simcc", more="simcc_factor = 3\n")
  found = onnx_detector.OnnxDetector(path)
  images = _images(3, 32)
  logits = found.maps(images)
  share = 1 / (1 + np.exp(-logits.astype(np.float64)))
  x = 3 * _convolved(images, bgr=False)
  for axis, kept in ((1, 2), (2, 1)):
    expected = np.exp(x.mean(axis=axis))  # over rows: of columns
    expected /= expected.sum(axis=1, keepdims=True)
    marginal = share.sum(axis=axis)
    marginal /= marginal.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(marginal, expected, atol=1e-4, err_msg=str(kept))
  assert share.max() <= 1 and (share.max(axis=(1, 2)) > 0.05).all()


def test_fusion_takes_its_maps(tmp_path):
  rig = walkers.ring(3)
  points = walkers.walk(1, 3)
  uv = walkers.project(points, rig.cameras)[0]
  path = _write(tmp_path, _heatmap_model(wide=64, high=64), wide=64, high=64)
  found = onnx_detector.OnnxDetector(path)
  scale = np.array([[0.05, 0, -0.475], [0, 0.05, 7.5], [0, 0, 1]])
  inside = uv * 0.05 + scale[:2, 2]
  v, u = np.mgrid[:16, :16] * 4 + 1.5
  square = (u[..., None] - inside[:, None, None, :, 0]) ** 2
  square = square + (v[..., None] - inside[:, None, None, :, 1]) ** 2
  maps = (13 * np.exp(-square / 72) - 8).astype(np.float32)
  maps[0] = -8.0
  cameras = Cameras(scale @ rig.cameras.intrinsics, rig.cameras.rotation, rig.cameras.translation)
  fused, _ = found.fuse(maps, np.ones(3, bool), cameras)
  # A pixel of the map is 4; measured 3.1 in the view that sees nothing, 0.3 in the others.
  off = np.linalg.norm(fused - inside, axis=-1)
  assert off[0].max() < 4.0 and off[1:].max() < 0.5


def test_weights_in_other_files_and_foreign_operators_are_refused(tmp_path):
  model = _heatmap_model(wide=32, high=32)
  outside = _heatmap_model(wide=32, high=32)
  onnx.external_data_helper.set_external_data(outside.graph.initializer[0], "../secret")
  outside.graph.initializer[0].ClearField("raw_data")
  with pytest.raises(ValueError, match="weights lie in another file"):
    onnx_detector.OnnxDetector(_write(tmp_path, outside))
  hidden = _heatmap_model(wide=32, high=32)
  tensor = outside.graph.initializer[0]
  hidden.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
  with pytest.raises(ValueError, match="weights lie in another file"):
    onnx_detector.OnnxDetector(_write(tmp_path, hidden))
  model.graph.node[1].domain = "their.library"
  with pytest.raises(ValueError, match=r"operators of 'their\.library'"):
    onnx_detector.OnnxDetector(_write(tmp_path, model))


def test_what_is_no_network_is_said(tmp_path):
  path = _write(tmp_path, _heatmap_model(wide=32, high=32))
  data = path.read_bytes()
  for damaged in (data[:-7], b"\xff" * 40, b"PK\x03\x04" + b"\0" * 40):
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"net\.onnx"):
      onnx_detector.OnnxDetector(path)
  with pytest.raises(FileNotFoundError, match="card"):
    onnx_detector.OnnxDetector(tmp_path / "other.onnx")


@pytest.mark.parametrize(
  ("old", "new", "said"),
  (
    ("[32, 32]", "[32, 64]", "the card says"),
    ("[32, 32]", "[1e9, 32]", "input_wh should be"),
    ("std = [50.0, 60.0, 70.0]", "std = [0.0, 1.0, 1.0]", "above 0"),
    ("std = [50.0, 60.0, 70.0]", "std = [inf, 1.0, 1.0]", "std should be 3 numbers"),
    ('"rgb"', '"gbr"', "channels should be rgb or bgr"),
    ('output = "heatmap"', 'output = "simcc"', "a network of simcc has 1 and 2"),
    ('output = "heatmap"', "", "missing: output"),
    ("[32, 32]", "[32, 32]\nstride = 4", "unknown: stride"),
    ('"b", "c"], parents = ["", "a", "b"]', '"b"], parents = ["", "a"]', "a heatmap of ant is"),
    ("skeleton = {", 'skeleton = "../ant.toml"\nx = {', "unknown: x"),
  ),
)
def test_cards_that_are_wrong_are_said(tmp_path, old, new, said):
  path = _write(tmp_path, _heatmap_model(wide=32, high=32))
  card = path.with_suffix(".toml")
  text = card.read_text(encoding="utf-8")
  assert old in text
  card.write_text(text.replace(old, new), encoding="utf-8")
  with pytest.raises(ValueError, match=said):
    onnx_detector.OnnxDetector(path)


def test_a_skeleton_file_stays_in_the_folder_of_the_card(tmp_path):
  path = _write(tmp_path, _heatmap_model(wide=32, high=32))
  card = path.with_suffix(".toml")
  lines = card.read_text(encoding="utf-8").splitlines()[2:]
  card.write_text("\n".join(['skeleton = "../ant.toml"', *lines]), encoding="utf-8")
  with pytest.raises(ValueError, match="own folder"):
    onnx_detector.OnnxDetector(path)

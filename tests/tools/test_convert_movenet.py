"""MoveNet's converter on a graph model that is written here from the shipped weights."""

import json

import numpy as np
import pytest

from epipolar_jax.models import movenet_weights
from epipolar_jax.tools import convert_movenet

_PREFIX = "StatefulPartitionedCall/"
_TRUNK = f"{_PREFIX}center_net_mobile_net_v2fpn_feature_extractor/model_1/"


def _model(folder, weights):
  """A TensorFlow.js model json and its .bin, of arrays by the graph's names."""
  entries = [
    {
      "name": name,
      "shape": list(x.shape),
      "dtype": "float32",
      "quantization": {"dtype": "float16", "original_dtype": "float32"},
    }
    for name, x in weights.items()
  ]
  manifest = [{"paths": ["model.bin"], "weights": entries}]
  (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
  raw = b"".join(np.float16(x).tobytes() for x in weights.values())
  (folder / "model.bin").write_bytes(raw)
  return folder / "model.json", raw


def test_names_of_the_graph_become_ours():
  names = {
    f"{_TRUNK}model/Conv1/Conv2D_weights": "stem_kernel",
    f"{_TRUNK}model/block_3_depthwise/depthwise_bn_offset": "block_3_depthwise_bias",
    f"{_TRUNK}model/expanded_conv_project/Conv2D_weights": "block_0_project_kernel",
    f"{_TRUNK}conv2d_2/BiasAdd/ReadVariableOp": "lateral_5_bias",
    f"{_TRUNK}separable_conv2d_1/separable_conv2d/ReadVariableOp": "pyramid_1_depthwise_kernel",
    f"{_PREFIX}kpt_offset_0/conv2d_7/Conv2D/ReadVariableOp": "offset_map_kernel",
    f"{_PREFIX}center_0/separable_conv2d_3/BiasAdd/ReadVariableOp": "center_pointwise_bias",
    f"{_PREFIX}add_5/y": None,
  }
  assert {name: convert_movenet._our_name(name) for name in names} == names


def test_what_is_missing_or_cut_off_is_named(tmp_path):
  _, variables, _ = movenet_weights.load("lightning")
  bias = np.asarray(variables["params"]["stem_bias"])
  path, raw = _model(tmp_path, {f"{_TRUNK}model/Conv1/Conv2D_bn_offset": bias})
  with pytest.raises(ValueError, match=r"model.json: \w+ is missing"):
    convert_movenet.convert(path)
  (tmp_path / "model.bin").write_bytes(raw[:-2])
  with pytest.raises(ValueError, match="bytes end inside"):
    convert_movenet.convert(path)
  path.write_text("{}")
  with pytest.raises(ValueError, match=r"no TensorFlow.js model"):
    convert_movenet.convert(path)

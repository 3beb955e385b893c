"""MoveNet's published weights (a TensorFlow.js graph model) to the file that this package ships.

python -m epipolar_jax.tools.convert_movenet movenet-thunder.json thunder.npz
"""

import argparse
import json
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from epipolar_jax.models import movenet_weights

_TYPES = {"float16": np.float16, "float32": np.float32, "int32": np.int32, "uint8": np.uint8}
_PREFIX = "StatefulPartitionedCall/"
_TRUNK = "center_net_mobile_net_v2fpn_feature_extractor/model_1/"
# (of the graph, ours), regular expressions, tried in this order after the prefixes are gone.
_RULES = (
  (r"model/Conv1/Conv2D_(.*)", r"stem_\1"),
  (r"model/Conv_1/Conv2D_(.*)", r"last_\1"),
  (r"model/expanded_conv_(depthwise)/depthwise_(.*)", r"block_0_\1_\2"),
  (r"model/expanded_conv_(project)/Conv2D_(.*)", r"block_0_\1_\2"),
  (r"model/block_(\d+)_(depthwise)/depthwise_(.*)", r"block_\1_\2_\3"),
  (r"model/block_(\d+)_(expand|project)/Conv2D_(.*)", r"block_\1_\2_\3"),
  (r"conv2d/(.*)", r"top_\1"),
  (r"conv2d_1/(.*)", r"lateral_9_\1"),
  (r"conv2d_2/(.*)", r"lateral_5_\1"),
  (r"conv2d_3/(.*)", r"lateral_2_\1"),
  (r"separable_conv2d/separable_conv2d/ReadVariableOp", r"pyramid_0_depthwise_kernel"),
  (r"separable_conv2d/separable_conv2d_(.*)", r"pyramid_0_pointwise_\1"),
  (r"separable_conv2d_(\d)/separable_conv2d/ReadVariableOp", r"pyramid_\1_depthwise_kernel"),
  (r"separable_conv2d_(\d)/separable_conv2d_(.*)", r"pyramid_\1_pointwise_\2"),
  (r"kpt_(\w+?)_0/sep[^/]*/separable_conv2d/ReadVariableOp_1", r"\1_pointwise_kernel"),
  (r"kpt_(\w+?)_0/sep[^/]*/separable_conv2d/ReadVariableOp", r"\1_depthwise_kernel"),
  (r"kpt_(\w+?)_0/sep[^/]*/BiasAdd/ReadVariableOp", r"\1_pointwise_bias"),
  (r"kpt_(\w+?)_0/conv2d_\d/(.*)", r"\1_map_\2"),
)
_ENDS = (
  (r"_weights$", "_kernel"),
  (r"_bn_offset$", "_bias"),
  (r"_Conv2D/ReadVariableOp$", "_kernel"),
  (r"_BiasAdd/ReadVariableOp$", "_bias"),
)


def convert(source: pathlib.Path) -> dict[str, np.ndarray]:
  """Our parameters by name, float16, of a TensorFlow.js model and the .bin file beside it.

  Raises:
    ValueError: not such a model, its numbers do not fit the file, or a parameter is missing, left
      over or of another shape.
  """
  found = {}
  for name, array in _read(source).items():
    ours = _our_name(name)
    if ours is not None:
      found[ours] = array[..., 0] if ours.endswith("depthwise_kernel") else array
  movenet_weights.check(found, source)
  return found


def _read(source: pathlib.Path) -> dict[str, np.ndarray]:
  """Every weight of the graph by its name there."""
  try:
    (group,) = json.loads(source.read_text(encoding="utf-8"))["weightsManifest"]
    weights, (path,) = group["weights"], group["paths"]
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f"{source} is no TensorFlow.js model with one file of weights") from error
  raw = (source.parent / pathlib.PurePath(path).name).read_bytes()
  found, start = {}, 0
  for weight in weights:
    kind = np.dtype(_TYPES[weight.get("quantization", weight)["dtype"]])
    count = int(np.prod(weight["shape"], dtype=np.int64))
    if count < 0 or start + count * kind.itemsize > len(raw):
      raise ValueError(f"{path}: {len(raw)} bytes end inside {weight['name']}")
    found[weight["name"]] = np.frombuffer(raw, kind, count, start).reshape(weight["shape"])
    start += count * kind.itemsize
  return found


def _our_name(name: str) -> str | None:
  """None for the constants of the graph's own decoder."""
  name = name.removeprefix(_PREFIX).removeprefix(_TRUNK)
  name = re.sub(r"^center_0/", "kpt_center_0/", name)
  for pattern, ours in _RULES:
    match = re.fullmatch(pattern, name)
    if match:
      ours = match.expand(ours)
      for end, short in _ENDS:
        ours = re.sub(end, short, ours)
      return ours
  return None


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("source", type=pathlib.Path, help="model json, its .bin beside it")
  parser.add_argument("target", type=pathlib.Path, help=".npz to write")
  options = parser.parse_args(arguments)
  found = convert(options.source)
  np.savez(options.target, **{k: np.float16(v) for k, v in sorted(found.items())})
  print(
    f"Wrote {options.target}: {len(found)} arrays, {sum(v.size for v in found.values()):,} numbers"
  )


if __name__ == "__main__":
  main()

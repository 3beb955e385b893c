"""Strict rules between the reference's state_dict keys and our variables.

Every torch key must find its place and every place must be filled, with equal shapes; anything
left over is an error, because a silently skipped layer still trains and looks almost right.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

Path = tuple[str, ...]

# torch leaf -> (collection, our leaf); `weight` is a kernel or, in a normalisation, a scale.
_LEAVES = {
  "weight": ("params", "kernel"),
  "bias": ("params", "bias"),
  "running_mean": ("batch_stats", "mean"),
  "running_var": ("batch_stats", "var"),
}
_WRAPPERS = re.compile(r"^(?:(?:reference|backbone|module)\.)+")


def to_flax(state_dict: Mapping[str, np.ndarray], like: Any) -> Any:
  """Arranges a torch state_dict as the variables of our network.

  Handles ResNet trunks, PoseResNet and the two-view model; wrapper prefixes (`module.`,
  `reference.module.`, ...) are cut, and of two wrapped copies equal ones are accepted.

  Args:
    state_dict: torch key -> array in torch layout. `num_batches_tracked` and the ImageNet
      classifier `fc.*` have no counterpart and are dropped.
    like: our variables {"params", "batch_stats"}: arrays or ShapeDtypeStructs.

  Returns:
    Variables of the structure of `like`, numpy float32.

  Raises:
    ValueError: a key or a variable without counterpart, another shape, or copies that differ.
  """
  targets = {
    (collection, *path): leaf
    for collection, tree in like.items()
    for path, leaf in traverse_util.flatten_dict(tree).items()
  }
  prefixes = _module_prefixes(targets)
  filled, problems = {}, []
  for key, value in _unwrap(state_dict).items():
    path = flax_path(key, prefixes)
    if path is None or path not in targets:
      problems.append(f"torch {key} {tuple(value.shape)}: no counterpart")
      continue
    value = to_flax_layout(key, np.asarray(value, np.float32))
    if value.shape != tuple(targets[path].shape):
      ours = tuple(targets[path].shape)
      problems.append(f"torch {key}: {value.shape} here, {ours} in {'/'.join(path)}")
      continue
    filled[path] = value
  problems += [
    f"ours {'/'.join(path)}: not in the file" for path in sorted(targets.keys() - filled)
  ]
  if problems:
    shown = "\n  ".join(problems[:20])
    raise ValueError(f"{len(problems)} names do not match:\n  {shown}")
  return traverse_util.unflatten_dict(filled)


def flax_path(key: str, prefixes: Mapping[str, Path]) -> Path | None:
  """Our path (collection first) of a torch key without wrappers; None when no rule applies.

  Args:
    key: such as "layer1.0.conv1.weight".
    prefixes: where "trunk", "pose" and each of the fusion layers live in our tree.
  """
  module, _, leaf = key.rpartition(".")
  if leaf not in _LEAVES:
    return None
  collection, name = _LEAVES[leaf]
  found = _module_path(module, prefixes)
  if found is None:
    return None
  if leaf == "weight" and "bn" in found[-1]:
    name = "scale"
  return (collection, *found, name)


def to_flax_layout(key: str, value: np.ndarray) -> np.ndarray:
  """Torch layout to ours: OIHW to HWIO, transposed convolutions IOHW to HWIO."""
  if value.ndim != 4:
    return value
  return value.transpose(2, 3, 0, 1) if key.startswith("deconv") else value.transpose(2, 3, 1, 0)


def _module_path(module: str, prefixes: Mapping[str, Path]) -> Path | None:
  """Path of a torch module in our tree."""
  if re.fullmatch(r"conv1|bn1", module):
    return _join(prefixes, "trunk", module)
  if match := re.fullmatch(r"layer([1-4])\.(\d+)\.(conv\d|bn\d|downsample\.[01])", module):
    stage, block, name = match.groups()
    name = {"downsample.0": "downsample_conv", "downsample.1": "downsample_bn"}.get(name, name)
    return _join(prefixes, "trunk", f"layer{stage}_{block}", name)
  if match := re.fullmatch(r"deconv_layers\.([0134679]|\d\d)", module):
    number, kind = divmod(int(match[1]), 3)
    return _join(prefixes, "pose", f"{('deconv', 'deconv_bn')[kind]}{number + 1}")
  if module == "final_layer":
    return _join(prefixes, "pose", "head")
  if match := re.fullmatch(r"(epipolar_sampler1?)\.(theta|phi|g|z|bn)", module):
    return _join(prefixes, match[1], match[2])
  return None


def _join(prefixes: Mapping[str, Path], owner: str, *names: str) -> Path | None:
  return (*prefixes[owner], *names) if owner in prefixes else None


def _module_prefixes(targets: Mapping[Path, Any]) -> dict[str, Path]:
  """Where the trunk, the pose network and the fusion layers live in a tree of variables."""
  paths = [path[1:] for path in targets if path[0] == "params"]
  prefixes = {}
  stems = [path[:-2] for path in paths if path[-2:] == ("conv1", "kernel")]
  if stems:
    prefixes["trunk"] = min(stems, key=len)
  heads = [path[:-2] for path in paths if path[-2:] == ("head", "kernel")]
  if heads:
    prefixes["pose"] = min(heads, key=len)
  # The reference calls its only sampler, or the early one of two, `epipolar_sampler`.
  tops = {path[0] for path in paths}
  fusions = [name for name in ("early_fusion", "late_fusion") if name in tops]
  return prefixes | dict(zip(("epipolar_sampler", "epipolar_sampler1"), [(f,) for f in fusions]))


def _unwrap(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Cuts wrapper prefixes and drops what we have no use for."""
  plain = {}
  for key, value in state_dict.items():
    short = _WRAPPERS.sub("", key)
    if short.endswith("num_batches_tracked") or short.startswith("fc."):
      continue
    if short in plain and not np.array_equal(plain[short], value):
      raise ValueError(f"{key} differs from the other copy of {short}: separate networks")
    plain[short] = value
  return plain

"""Strict rules between the original's state_dict keys and our variables, both ways.

Every torch key must find its place and every place must be filled, with equal shapes; anything
left over is an error, because a silently skipped layer still trains and looks almost right.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from flax import traverse_util

from epipolar_jax.original import lifting_names

Path = tuple[str, ...]

# torch leaf -> (collection, our leaf); `weight` is a kernel or, in a normalisation, a scale.
_LEAVES = {
  "weight": ("params", "kernel"),
  "bias": ("params", "bias"),
  "running_mean": ("batch_stats", "mean"),
  "running_var": ("batch_stats", "var"),
}
_TORCH_LEAVES = {ours: leaf for leaf, (_, ours) in _LEAVES.items()} | {"scale": "weight"}
_SHORTCUT = {"downsample.0": "downsample_conv", "downsample.1": "downsample_bn"}
_TORCH_SHORTCUT = {ours: name for name, ours in _SHORTCUT.items()}
# Of the original, of DataParallel, torch.compile, Lightning and mmpose.
_WRAPPERS = re.compile(
  r"^(?:(?:reference|backbone|liftingnet|module|_orig_mod|model|keypoint_head)\.)+"
)
_COUNTER = "num_batches_tracked"
# The original's names for the network of the view that is predicted and of the one looked at.
REFERENCE_WRAPPER, SOURCE_WRAPPER = "reference.module.", "backbone.module."
# Ours, at the top of the tree.
REFERENCE, SOURCE = "backbone", "source_backbone"
# float32 holds them exactly.
_DTYPES = (np.dtype("float32"), np.dtype("float16"), np.dtype(ml_dtypes.bfloat16))


class Row(NamedTuple):
  """What became of one torch key.

  Attributes:
    key: as in the file.
    shape: in torch's layout.
    ours: path in our variables, or why there is none.
  """

  key: str
  shape: tuple[int, ...]
  ours: str


class Matching(NamedTuple):
  """A state_dict compared with our variables.

  Attributes:
    filled: our path -> float32 array in our layout.
    rows: one for each key that found its place or is ignored on purpose.
    wrong: torch key -> what is the matter with it.
    refused: our path -> torch key, of those wrong that have a place, but do not fit.
    missing: our paths that the file has nothing for.
  """

  filled: dict[Path, np.ndarray]
  rows: list[Row]
  wrong: dict[str, str]
  refused: dict[Path, str]
  missing: list[Path]


def to_flax(state_dict: Mapping[str, np.ndarray], like: Any) -> Any:
  """Arranges a torch state_dict as the variables of our network.

  Handles ResNet trunks, PoseResNet and the two-view model; wrapper prefixes (`module.`,
  `reference.module.`, `_orig_mod.`, ...) are cut, and of two wrapped copies equal ones are
  accepted. Where ours has a network of its own for the views that are looked at, `reference.` and
  `backbone.` are two.

  Args:
    state_dict: torch key -> array in torch layout. `num_batches_tracked` has no counterpart.
    like: our variables {"params", "batch_stats"}: arrays or ShapeDtypeStructs.

  Returns:
    Variables of the structure of `like`, numpy float32.

  Raises:
    ValueError: a key or a variable without counterpart, another shape or type, values that are not
      finite, or copies that differ; lists all of them.
  """
  matching = match(state_dict, like)
  check(matching)
  return unflatten(matching.filled)


def match(state_dict: Mapping[str, np.ndarray], like: Any) -> Matching:
  """Compares a state_dict with our variables; `check` raises where they differ."""
  targets = flatten(like)
  prefixes, source = module_prefixes(targets), _source_prefixes(targets)
  found = Matching({}, [], {}, {}, [])
  # A file of one network calls it `backbone.` too.
  two = bool(source) and any(key.startswith("reference.") for key in state_dict)
  first: dict[tuple[bool, str], str] = {}
  for key, value in state_dict.items():
    short = _WRAPPERS.sub("", key)
    shape = tuple(value.shape)
    name = two and key.startswith("backbone."), short
    if short.endswith(_COUNTER):
      found.rows.append(Row(key, shape, "ignored: torch's count of batches"))
    elif name in first:
      if np.array_equal(state_dict[first[name]], value):
        found.rows.append(Row(key, shape, f"the same as {first[name]}"))
      else:
        found.wrong[key] = (
          f"differs from the other copy, {first[name]}: the file has two networks, for which "
          "model.share_weights must be False"
        )
    else:
      first[name] = key
      _place(found, key, flax_path(short, source if name[0] else prefixes), value, targets)
  found.missing.extend(sorted(targets.keys() - found.filled.keys() - found.refused.keys()))
  return found


def check(matching: Matching) -> None:
  """Raises ValueError, with everything that does not match, unless all does."""
  problems = [f"torch {key} {reason}" for key, reason in matching.wrong.items()]
  problems += [f"ours {'/'.join(path)}: not in the file" for path in matching.missing]
  if problems:
    listed = "\n  ".join(problems)
    first = {key.partition(".")[0] for key in matching.wrong if "." in key}
    if not matching.filled and len(first) == 1:
      listed += f"\nAll its names begin with '{first.pop()}.': save it again without, if it is this"
    raise ValueError(f"{len(problems)} names do not match:\n  {listed}")


def to_torch(variables: Any) -> dict[str, np.ndarray]:
  """Our variables as a torch state_dict, in torch's layout.

  Returns:
    Bare names (no wrapper prefixes); but if there are two networks, the names of both as the
    original saves them, under `reference.module.` and `backbone.module.`.

  Raises:
    ValueError: variables for which the original has no name; lists them.
  """
  flat = flatten(variables)
  prefixes, source = module_prefixes(flat), _source_prefixes(flat)
  state, unknown = {}, []
  for path, value in flat.items():
    of_source = _is_source(path)
    key = torch_key(path, source if of_source else prefixes)
    if key is None:
      unknown.append("/".join(path))
      continue
    if source:
      key = f"{SOURCE_WRAPPER if of_source else REFERENCE_WRAPPER}{key}"
    state[key] = to_torch_layout(key, np.asarray(value))
    if path[-1] == "var":
      state[key.replace("running_var", _COUNTER)] = np.zeros((), np.int64)
  if unknown:
    raise ValueError(f"the original has no name for {', '.join(unknown)}")
  return state


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


def torch_key(path: Path, prefixes: Mapping[str, Path]) -> str | None:
  """The torch key of one of our paths (collection first): `flax_path` backwards."""
  *module, leaf = path[1:]
  # The longest prefix first: the trunk lives inside the pose network.
  for owner, prefix in sorted(prefixes.items(), key=lambda item: -len(item[1])):
    if tuple(module[: len(prefix)]) == prefix:
      name = _torch_module(owner, module[len(prefix) :])
      return None if name is None or leaf not in _TORCH_LEAVES else f"{name}.{_TORCH_LEAVES[leaf]}"
  return None


def to_flax_layout(key: str, value: np.ndarray) -> np.ndarray:
  """Torch layout to ours: OIHW to HWIO, transposed convolutions IOHW to HWIO, OI to IO."""
  if value.ndim == 2:
    return value.T
  if value.ndim != 4:
    return value
  return value.transpose(2, 3, 0, 1) if _is_transposed(key) else value.transpose(2, 3, 1, 0)


def to_torch_layout(key: str, value: np.ndarray) -> np.ndarray:
  """Our layout to torch's: `to_flax_layout` backwards, contiguous."""
  if value.ndim == 2:
    return np.ascontiguousarray(value.T)
  if value.ndim != 4:
    return value
  axes = (2, 3, 0, 1) if _is_transposed(key) else (3, 2, 0, 1)
  return np.ascontiguousarray(value.transpose(axes))


def _is_transposed(key: str) -> bool:
  return _WRAPPERS.sub("", key).startswith("deconv")


def flatten(variables: Any) -> dict[Path, Any]:
  """Leaves of {"params", "batch_stats"} by path, collection first."""
  return {
    (collection, *path): leaf
    for collection, tree in variables.items()
    for path, leaf in traverse_util.flatten_dict(tree).items()
  }


def unflatten(flat: Mapping[Path, Any]) -> dict[str, Any]:
  """`flatten` backwards; both collections are there, empty or not."""
  return {"params": {}, "batch_stats": {}} | traverse_util.unflatten_dict(flat)


def module_prefixes(targets: Mapping[Path, Any]) -> dict[str, Path]:
  """Where trunk, pose network, lifter and fusion layers live in a tree of variables."""
  paths = [path[1:] for path in targets if path[0] == "params" and not _is_source(path)]
  prefixes = {}
  stems = [path[:-2] for path in paths if path[-2:] == ("conv1", "kernel")]
  if stems:
    prefixes["trunk"] = min(stems, key=len)
  heads = [path[:-2] for path in paths if path[-2:] == ("head", "kernel")]
  if heads:
    prefixes["pose"] = min(heads, key=len)
  # The original calls its only sampler, or the early one of two, `epipolar_sampler`.
  found = {
    name: path[: path.index(name) + 1]
    for path in paths
    for name in ("early_fusion", "late_fusion", "lifter")
    if name in path
  }
  fusions = [found[name] for name in ("early_fusion", "late_fusion") if name in found]
  if "lifter" in found:
    prefixes["lifter"] = found["lifter"]
  return prefixes | dict(zip(("epipolar_sampler", "epipolar_sampler1"), fusions))


def _is_source(path: Path) -> bool:
  """Whether a path of ours is of the second network, for the views that are looked at."""
  return path[1] == SOURCE


def _source_prefixes(targets: Mapping[Path, Any]) -> dict[str, Path]:
  """`module_prefixes` of the second network; empty when there is none."""
  if not any(_is_source(path) for path in targets):
    return {}
  return {"trunk": (SOURCE, "trunk"), "pose": (SOURCE,)}


def _place(
  found: Matching, key: str, path: Path | None, value: np.ndarray, targets: Mapping[Path, Any]
) -> None:
  """Puts one tensor in its place, or says why that cannot be."""
  shape = tuple(value.shape)
  if path is None or path not in targets:
    found.wrong[key] = f"{shape}: no counterpart"
    return
  ours = "/".join(path)
  arranged = to_flax_layout(key, value)
  if arranged.shape != tuple(targets[path].shape):
    found.wrong[key] = f"{arranged.shape} here, {tuple(targets[path].shape)} in {ours}"
    if path[-2] == "head":
      here, wanted = arranged.shape[-1], targets[path].shape[-1]
      found.wrong[key] += f": {here} joints in the file, model.skeleton has {wanted}"
  elif value.dtype not in _DTYPES:
    found.wrong[key] = f"is {value.dtype}; float32 (or 16 bit) belongs in {ours}"
  elif not np.isfinite(arranged.astype(np.float32)).all():
    found.wrong[key] = f"has values that are not finite; it belongs in {ours}"
  else:
    found.filled[path] = np.array(arranged, np.float32, order="C")
    found.rows.append(Row(key, shape, ours))
    return
  found.refused[path] = key


def _module_path(module: str, prefixes: Mapping[str, Path]) -> Path | None:
  """Path of a torch module in our tree."""
  if re.fullmatch(r"conv1|bn1", module):
    return _join(prefixes, "trunk", module)
  if match := re.fullmatch(r"layer([1-4])\.(\d+)\.(conv\d|bn\d|downsample\.[01])", module):
    stage, block, name = match.groups()
    return _join(prefixes, "trunk", f"layer{stage}_{block}", _SHORTCUT.get(name, name))
  if match := re.fullmatch(r"deconv_layers\.([013467])", module):
    number, kind = divmod(int(match[1]), 3)
    return _join(prefixes, "pose", f"{('deconv', 'deconv_bn')[kind]}{number + 1}")
  if module == "final_layer":
    return _join(prefixes, "pose", "head")
  if match := re.fullmatch(r"(epipolar_sampler1?)\.(theta|phi|g|z|bn)", module):
    return _join(prefixes, match[1], match[2])
  if names := lifting_names.to_ours(module):
    return _join(prefixes, "lifter", *names)
  return None


def _torch_module(owner: str, names: list[str]) -> str | None:
  """Torch module of a module of ours below the trunk, the pose network or a fusion layer."""
  name = "/".join(names)
  if owner == "trunk":
    if match := re.fullmatch(r"layer(\d)_(\d+)/(\w+)", name):
      stage, block, inner = match.groups()
      return f"layer{stage}.{block}.{_TORCH_SHORTCUT.get(inner, inner)}"
    return name if name in ("conv1", "bn1") else None
  if owner == "pose":
    if match := re.fullmatch(r"deconv(_bn)?(\d)", name):
      return f"deconv_layers.{3 * (int(match[2]) - 1) + bool(match[1])}"
    return "final_layer" if name == "head" else None
  if owner == "lifter":
    return lifting_names.to_torch(tuple(names))
  return f"{owner}.{name}" if name in ("theta", "phi", "g", "z", "bn") else None


def _join(prefixes: Mapping[str, Path], owner: str, *names: str) -> Path | None:
  return (*prefixes[owner], *names) if owner in prefixes else None

"""Starts a network from a weight file (the original's, a torchvision trunk) or our checkpoint."""

import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from epipolar_jax import checkpointing, skeletons
from epipolar_jax.models import pose_movenet
from epipolar_jax.original import pth, safetensors, torch_names

# Parts that a file of a single-view pose network has not, at the top of our tree or inside a
# lifting network.
_ADDED = {"early_fusion", "late_fusion", "heatmap_fusion", "lifter"}
# One number or row for each joint: they start afresh where the number of joints differs.
_OF_JOINTS = {"head", "heatmap_fusion", "lifter"}
_KEYS = ("model", "state_dict", "model_state_dict")
_MOST_LINES = 8  # of one message


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a state_dict: the file itself, or what it holds under one of `_KEYS`.

  Args:
    path: a .pth or .safetensors file.

  Raises:
    pth.CheckpointError: no such thing in the file, weights of float64, or the reader refuses it.
  """
  tree = safetensors.read(path) if safetensors.recognizes(path) else pth.read(path)
  if not isinstance(tree, dict):
    raise pth.CheckpointError(f"{path}: holds a {type(tree).__name__}, not a state_dict")
  for name in _KEYS:
    if isinstance(tree.get(name), dict):
      tree = tree[name]
      break
  bad = [str(k) for k, v in tree.items() if not (isinstance(k, str) and isinstance(v, np.ndarray))]
  if bad or not tree:
    raise pth.CheckpointError(
      f"{path}: not a state_dict (names of tensors), nor one under {', '.join(_KEYS)}: it has "
      f"{', '.join(bad[:10]) or 'nothing'}"
    )
  kinds = [x.dtype for x in tree.values() if x.dtype.kind == "f"]
  if kinds and set(kinds) == {np.dtype(np.float64)}:
    raise pth.CheckpointError(
      f"{path}: its weights ({len(kinds)} tensors) are float64, those of networks here float32: "
      "save it again after network.float()"
    )
  return tree


def is_classifier(state_dict: Mapping[str, np.ndarray]) -> bool:
  """Whether this is a torchvision classifier: a trunk with `fc`, no deconvolutions."""
  return "fc.weight" in state_dict and not any("deconv_layers" in key for key in state_dict)


def keep_union_joints(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Cuts a head of the 20 joints of Human3.6M and MPII together to the 17 of Human3.6M.

  The original trains its older configs with 20 heatmaps and evaluates these 17.

  Raises:
    ValueError: no head in the file, or one of another number of joints.
  """
  rows = np.array(skeletons.UNION_TO_H36M)
  heads = {key: x for key, x in state_dict.items() if re.search(r"(^|\.)final_layer\.\w+$", key)}
  joints = {x.shape[0] for x in heads.values() if x.ndim}
  if joints != {skeletons.UNION_20.num_joints}:
    raise ValueError(
      f"the head has {sorted(joints) or 'no'} joints; only one of the 20 of Human3.6M and MPII "
      "together can be cut to 17"
    )
  return {key: x[rows] if key in heads else x for key, x in state_dict.items()}


def load_trunk(
  state_dict: Mapping[str, np.ndarray], variables: Any
) -> tuple[Any, list[torch_names.Row]]:
  """Puts a torchvision classifier's trunk into our variables; everything else stays.

  Args:
    state_dict: of a torchvision ResNet; `fc.*` is ignored.
    variables: {"params", "batch_stats"} of our network, initialised.

  Returns:
    The variables, and the table's rows.

  Raises:
    ValueError: unless every layer of the trunk matches.
  """
  flat = torch_names.flatten(variables)
  prefix = torch_names.module_prefixes(flat)["trunk"]
  trunk = {path: x for path, x in flat.items() if path[1 : 1 + len(prefix)] == prefix}
  classifier = {key: x for key, x in state_dict.items() if key in ("fc.weight", "fc.bias")}
  rest = {key: x for key, x in state_dict.items() if key not in classifier}
  matching = torch_names.match(rest, torch_names.unflatten(trunk))
  torch_names.check(matching)
  rows = [
    torch_names.Row(key, tuple(x.shape), "ignored: the ImageNet classifier")
    for key, x in classifier.items()
  ]
  return torch_names.unflatten(flat | _for_both(matching.filled, flat)), matching.rows + rows


def load_pose(
  state_dict: Mapping[str, np.ndarray], variables: Any
) -> tuple[Any, list[torch_names.Row], list[str]]:
  """Puts a pose network of the original into our variables, to train on from there.

  Strict, with two exceptions: fusion layers and the lifter may be missing from the file (a
  single-view network starts a lifting or a multi-view one, and both networks of one with
  model.share_weights False), and the head keeps its own start where the number of joints differs.

  Args:
    state_dict: of the original, any wrapper.
    variables: {"params", "batch_stats"} of our network, initialised.

  Returns:
    The variables, the table's rows, and a line for each variable that keeps its own start.

  Raises:
    ValueError: anything else that does not match.
  """
  flat = torch_names.flatten(variables)
  matching = torch_names.match(state_dict, variables)
  kept, wrong = [], dict(matching.wrong)
  for path, key in matching.refused.items():
    # An axis before the last is the width of the features: that must fit.
    joints = tuple(state_dict[key].shape[1:2]) == tuple(flat[path].shape[-2:-1])
    if path[-2] == "head" and joints and state_dict[key].shape[0] != flat[path].shape[-1]:
      kept.append(f"{'/'.join(path)}: torch {key} {wrong.pop(key)}")
  filled, missing = _for_both(matching.filled, flat), []
  for path in matching.missing:
    if path in filled:
      continue
    if _ADDED.intersection(path) or (path[1] == torch_names.SOURCE and path[2] == "head"):
      kept.append(f"{'/'.join(path)}: not in the file")
    else:
      missing.append(path)
  torch_names.check(matching._replace(wrong=wrong, missing=missing))
  return torch_names.unflatten(flat | filled), matching.rows, kept


def load_own(stored: Any, variables: Any) -> tuple[Any, list[str], list[str]]:
  """Puts the variables of a checkpoint of this project into those of another network.

  The trunk must fit. What differs in kind may be missing, left over or of another number of joints:
  fusion layers, the lifter, the head.

  Args:
    stored: {"params", "batch_stats"} of the checkpoint.
    variables: of our network, initialised.

  Returns:
    The variables, and a line for each variable that keeps its own start and for each that is left.

  Raises:
    ValueError: the trunks differ, or nothing fits; lists what.
  """
  have, flat = torch_names.flatten(stored), torch_names.flatten(variables)
  have |= _for_both(have, flat)
  filled, fresh, wrong = {}, [], []
  for path, x in flat.items():
    name, found = "/".join(path), have.get(path)
    if found is not None and found.shape == x.shape:
      filled[path] = np.asarray(found, x.dtype)
      continue
    other = "not in the checkpoint" if found is None else f"{found.shape} there, {x.shape} here"
    free = _ADDED if found is None else _OF_JOINTS
    (fresh if free.intersection(path) else wrong).append(f"{name}: {other}")
  left = ["/".join(path) for path in have if path not in flat]
  wrong += [f"{x}: not in this network" for x in left if not _may_be_left(x)]
  if wrong or not any("trunk" in path for path in filled):
    more = f"\n  and {len(wrong) - _MOST_LINES} more" if wrong[_MOST_LINES:] else ""
    raise ValueError(
      "the checkpoint is of another network (model.backbone_depth, width and deconv_channels must "
      "be those it was trained with):\n  "
      + "\n  ".join(wrong[:_MOST_LINES] or ["nothing fits"])
      + more
    )
  return torch_names.unflatten(flat | filled), fresh, left


def _may_be_left(name: str) -> bool:
  return bool({*_ADDED, torch_names.SOURCE}.intersection(name.split("/")))


def _for_both(filled: dict[torch_names.Path, Any], flat: dict[torch_names.Path, Any]):
  """`filled`, and the same for the network of the views that are looked at, if it is another."""
  copies = {
    (collection, torch_names.SOURCE, *rest): x
    for (collection, owner, *rest), x in filled.items()
    if owner == torch_names.REFERENCE
  }
  return {path: x for path, x in copies.items() if path in flat} | filled


def initialize(
  variables: Any,
  init: str,
  *,
  joints: Sequence[str] = (),
  say: Callable[[str], None] = print,
) -> Any:
  """Replaces fresh variables as `config.model.init` asks.

  Args:
    variables: {"params", "batch_stats"} of our network, initialised.
    init: "" for none, "imagenet:PATH" or "pose:PATH" of a .pth or .safetensors file,
      "checkpoint:FOLDER" of a checkpoint or run of this project, "movenet:NAME" of a shipped
      network, for backbones of that kind.
    joints: of the network; MoveNet's heatmaps are taken over by name.
    say: told what was loaded and, loudly, what was not.

  Returns:
    Variables of the same structure.

  Raises:
    ValueError: another kind, or a file that does not fit.
  """
  if not init:
    return variables
  kind, _, path = init.partition(":")
  if kind not in ("imagenet", "pose", "checkpoint", "movenet") or not path:
    raise ValueError(
      f"model.init is {init!r}; allowed: '', imagenet:FILE, pose:FILE, checkpoint:FOLDER, "
      "movenet:lightning, movenet:thunder"
    )
  if kind == "movenet":
    variables, fresh = pose_movenet.load(variables, path, tuple(joints))
    say(f"Initialised with MoveNet {path}'s weights.")
    if fresh:
      say(f"Not among its joints, start afresh: {', '.join(fresh)}")
    return variables
  path = pathlib.Path(path).expanduser()
  if kind == "checkpoint" or (kind == "pose" and path.is_dir()):
    return _from_checkpoint(variables, path, say)
  state_dict = read_state_dict(path)
  if kind == "imagenet":
    variables, rows = load_trunk(state_dict, variables)
    say(f"Initialised the trunk from {path} ({len(rows)} tensors); all else starts at random.")
    return variables
  variables, rows, kept = load_pose(state_dict, variables)
  say(f"Initialised from {path} ({len(rows)} tensors).")
  for line in kept:
    say(f"WARNING: not from the file, starts afresh: {line}")
  return variables


def _from_checkpoint(variables: Any, folder: pathlib.Path, say: Callable[[str], None]) -> Any:
  if (folder / "checkpoints").is_dir():
    folder = checkpointing.chosen(folder)
  stored, step = checkpointing.read_weights(folder)
  try:
    variables, fresh, left = load_own(stored, variables)
  except ValueError as error:
    raise ValueError(f"model.init, {folder}: {error}") from error
  taken = len(torch_names.flatten(variables)) - len(fresh)
  say(f"Initialised from {folder}, step {step} ({taken} arrays); the optimizer starts afresh.")
  for line in fresh:
    say(f"WARNING: starts afresh: {line}")
  for line in left:
    say(f"WARNING: left in the checkpoint, this network has none: {line}")
  return variables


def table(rows: Iterable[torch_names.Row]) -> str:
  """What went where, as text: torch key, shape, ours."""
  cells = [(row.key, " ".join(map(str, row.shape)) or "-", row.ours) for row in rows]
  cells.insert(0, ("torch", "shape", "ours"))
  widths = [max(len(cell[i]) for cell in cells) for i in range(2)]
  return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in cells)

"""Orbax behind a few functions: open_manager, save, write_weights, restore and the like.

A checkpoint is a folder `checkpoints/<step>` with three items:
  weights    parameters and BN statistics, all that inference needs
  training   step and optimizer state, what resuming needs besides
  meta       JSON: format version, step, what the weights depend on (`Task.meta`), and a digest of
             every array; the first checkpoints have no digests
Without `training` it is still a checkpoint one can evaluate: this is what is shipped.
"""

import logging
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp

from epipolar_jax import digests, disk_space
from epipolar_jax.runtime import parallel, processes

_VERSION = 1
# Fields of `meta` that weights do not depend on; the first checkpoints name the last.
_BOOKKEEPING = ("version", "step", "source", "model.fusion.algorithm")
_DIGESTS = "digests"
_MOST_LINES = 5  # of one message
_SPARE_BYTES = 8 << 20  # for the log, and for what Orbax writes besides arrays

# Folder of the weights with the smallest validation error, in runs that stop early.
BEST = "best"
Say = Callable[[str], None]


class DamagedError(ValueError):
  """The files of a checkpoint are not what was written."""


def open_manager(workdir: pathlib.Path) -> ocp.CheckpointManager:
  """Opens (or creates) the checkpoints of a work folder; the newest two are kept.

  Removes what a killed training left half-written, so nobody else may be writing there.
  """
  if processes.leads():
    for half in (workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"):
      shutil.rmtree(half, ignore_errors=True)
  return ocp.CheckpointManager(
    (workdir / "checkpoints").absolute(),
    options=ocp.CheckpointManagerOptions(max_to_keep=2, create=True),
    item_names=("weights", "training", "meta"),
  )


def save(
  manager: ocp.CheckpointManager, step: int, *, weights: Any, training: Any, meta: dict[str, Any]
) -> None:
  """Writes a checkpoint in the background; `manager.wait_until_finished()` waits for it.

  All processes of a job call this, with the same values, and write one checkpoint together.

  Args:
    manager: from `open_manager`.
    step: names the folder.
    weights: what inference needs; no device axis, the same on all devices.
    training: what resuming needs besides.
    meta: JSON-like; what a restore must agree with.

  Raises:
    OSError: `check_space`.
  """
  check_space(pathlib.Path(manager.directory), (weights, training))
  found = {"weights": digests.of_tree(weights), "training": digests.of_tree(training)}
  manager.save(
    step,
    args=ocp.args.Composite(
      weights=ocp.args.StandardSave(_of_the_job(weights)),
      training=ocp.args.StandardSave(_of_the_job(training)),
      meta=ocp.args.JsonSave(meta | {"version": _VERSION, "step": step, _DIGESTS: found}),
    ),
  )


def check_space(folder: pathlib.Path, trees: Any) -> None:
  """Refuses to write trees that the disk has no room for, before a part of them fills it.

  Raises:
    OSError: says how much is needed, and how much is free.
  """
  needed = sum(x.nbytes for x in jax.tree.leaves(trees)) + _SPARE_BYTES
  advice = "make room and give the same command again, or choose another --workdir"
  disk_space.check(folder, needed, "a checkpoint", advice)


def restore(
  manager: ocp.CheckpointManager,
  *,
  weights: Any,
  training: Any,
  meta: dict[str, Any],
  say: Say = processes.tell,
) -> tuple[Any, Any] | None:
  """Restores the newest whole checkpoint, whatever the devices and processes that wrote it.

  Damaged ones that are newer are kept aside, in the folder `damaged_checkpoints` of the run.

  Args:
    manager: from `open_manager`.
    weights, training: trees of the same structure and shapes as were saved; values are not read.
    meta: what the run expects; must agree with the checkpoint's.
    say: told of damage, and of a checkpoint without digests.

  Returns:
    Weights and training state, replicated; None when there is no checkpoint yet.

  Raises:
    ValueError: if the checkpoint belongs to another model or optimizer.
    DamagedError: no checkpoint is whole; or, in a job of several processes, the newest is not.
  """
  folder, damaged = pathlib.Path(manager.directory), {}
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      restored = _restore_step(manager, step, weights, training, meta, say)
    except DamagedError as error:
      damaged[step] = error
      if jax.process_count() > 1:
        break
      continue
    for bad, error in damaged.items():
      aside = _put_aside(folder / str(bad))
      say(f"WARNING: {error}\nIt is kept in {aside}; going on from step {step} instead.")
    if damaged:
      manager.reload()
    return restored
  if damaged:
    raise DamagedError(
      "\n".join(str(error) for error in damaged.values())
      + f"\nMove the damaged folders out of {folder}: training goes on from what is left, or from "
      "the start."
    )
  return None


def _restore_step(manager, step: int, weights: Any, training: Any, meta: dict[str, Any], say: Say):
  path = pathlib.Path(manager.directory) / str(step)
  items = {"weights": weights, "training": training}
  found = _read_meta(path)
  _check_meta(path, found, meta)
  recorded = found[_DIGESTS]
  have = set(recorded.get("training", digests.paths(training)))
  if differ := sorted(have ^ set(digests.paths(training))):
    raise ValueError(
      f"{path} was written with another optimizer (its state differs in {', '.join(differ[:4])}"
      f"{' and more' if differ[4:] else ''}): repeat the options of the group optimizer that it "
      "was trained with, or choose another --workdir"
    )
  if not (path / "training").is_dir():
    raise DamagedError(
      f"{path} has no folder 'training': weights alone cannot be resumed. Start another run from "
      f"them with --workdir OTHER --config.model.init=checkpoint:{path}"
    )
  arguments = {name: ocp.args.StandardRestore(_abstract(tree)) for name, tree in items.items()}
  try:
    restored = manager.restore(step, args=ocp.args.Composite(**arguments))
  except Exception as error:
    if not recorded:
      raise  # of another optimizer or damaged: only digests tell which
    raise DamagedError(_damage(path, [_short(error)])) from error
  for name in items:
    _check_values(path, restored[name], recorded, name, say)
  return restored["weights"], restored["training"]


def _put_aside(path: pathlib.Path) -> pathlib.Path:
  """Moves a folder `checkpoints/STEP` to `damaged_checkpoints/STEP`, or STEP-2 and so on."""
  folder = path.parent.parent / "damaged_checkpoints"
  folder.mkdir(exist_ok=True)
  aside, count = folder / path.name, 1
  while aside.exists():
    count += 1
    aside = folder / f"{path.name}-{count}"
  shutil.move(path, aside)
  return aside


def _check_values(path: pathlib.Path, tree: Any, recorded: dict[str, Any], item: str, say: Say):
  if wrong := digests.faults(tree, recorded.get(item)):
    raise DamagedError(_damage(path / item, wrong))
  if item not in recorded:
    say(f"{path / item} has no digests, as first versions wrote it: damage may go unnoticed.")


def _damage(path: pathlib.Path, wrong: list[str]) -> str:
  more = f"\n  and {len(wrong) - _MOST_LINES} more" if wrong[_MOST_LINES:] else ""
  return f"{path} is damaged:\n" + "\n".join(f"  {line}" for line in wrong[:_MOST_LINES]) + more


def _short(error: Exception) -> str:
  lines = [line for line in str(error).splitlines() if line.strip()] or [""]
  return f"{type(error).__name__}: {lines[0][:200]}"


def _read_meta(path: pathlib.Path) -> dict[str, Any]:
  try:
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
      found = reader.restore(path / "meta")
    # Without a step, or with digests that are none, it is not what was written.
    return found | {"step": int(found["step"]), _DIGESTS: dict(found.get(_DIGESTS) or {})}
  except Exception as error:
    raise DamagedError(_damage(path / "meta", [_short(error)])) from error


def write_weights(path: pathlib.Path, *, weights: Any, meta: dict[str, Any], step: int = 0) -> None:
  """Writes a checkpoint for inference alone (no `training`), for `restore_variables` to read.

  Args:
    path: the folder to make.
    weights: variables of the model.
    meta: JSON-like; what a restore must agree with.
    step: of training; 0 for weights from elsewhere.

  Raises:
    FileExistsError: if the folder is there already.
  """
  path = path.absolute()
  if path.exists():
    raise FileExistsError(f"{path} is there already: name another folder, or remove it")
  # `meta` last: without it a half-written folder is no checkpoint.
  with ocp.StandardCheckpointer() as writer:
    writer.save(path / "weights", weights)
  with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as writer:
    found = {"weights": digests.of_tree(weights)}
    writer.save(path / "meta", meta | {"version": _VERSION, "step": step, _DIGESTS: found})


def check_local(path: pathlib.Path, flag: str) -> None:
  """Refuses addresses of object stores, which `pathlib` would turn into local folders.

  Raises:
    ValueError: names the flag and the address.
  """
  first = path.parts[0] if path.parts else ""
  if first.endswith(":") and len(first) > 2:
    raise ValueError(
      f"{flag} {path}: object stores ({first}//…) are not supported, only local paths; mount the "
      "bucket, or copy the run folder when it is done"
    )


def chosen(workdir: pathlib.Path) -> pathlib.Path:
  """The checkpoint that a run is used by: its best if it kept one, otherwise its newest.

  Raises:
    FileNotFoundError: if there is none.
  """
  steps = [int(path.name) for path in (workdir / BEST).glob("*") if path.name.isdigit()]
  return workdir / BEST / str(max(steps)) if steps else newest(workdir)


def newest(workdir: pathlib.Path) -> pathlib.Path:
  """The folder of the newest checkpoint of a run.

  Raises:
    FileNotFoundError: if there is none.
  """
  folder = workdir / "checkpoints"
  steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
  if not steps:
    raise FileNotFoundError(
      f"no checkpoint in {folder}: train first (python train.py --config ...), or give --checkpoint"
    )
  return folder / str(max(steps))


def restore_variables(
  path: pathlib.Path,
  template: dict[str, Any],
  meta: dict[str, Any],
  *,
  say: Say = processes.tell,
) -> tuple[dict[str, Any], int]:
  """Restores the weights of one checkpoint folder (`.../checkpoints/<step>`), for inference.

  Args:
    path: the folder that holds `weights` and `meta`.
    template: variables of the same model, or their shapes.
    meta: what the config expects; must agree with the checkpoint's.
    say: told of a checkpoint without digests.

  Returns:
    The variables, replicated, and the step at which they were saved.

  Raises:
    FileNotFoundError: if this is not a checkpoint folder.
    ValueError: if it belongs to another model.
    DamagedError: its files are not what was written, or its weights are not finite.
  """
  path = path.absolute()
  found = _open(path)
  _check_meta(path, found, meta)
  return _restore_weights(path, found, _abstract(template), say), found["step"]


def read_weights(path: pathlib.Path, *, say: Say = processes.tell) -> tuple[dict[str, Any], int]:
  """Reads the weights of one checkpoint folder whatever its model: numpy arrays, and their step.

  Raises:
    FileNotFoundError: if this is not a checkpoint folder.
    DamagedError: as `restore_variables`.
  """
  path = path.absolute()
  found = _open(path)
  # Orbax warns of a file of its own that shipped weights do not have.
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    with ocp.StandardCheckpointer() as reader:
      stored = reader.metadata(path / "weights").item_metadata.tree
    template = _abstract(stored)
  except Exception as error:
    raise DamagedError(_damage(path / "weights", [_short(error)])) from error
  finally:
    logger.setLevel(level)
  return jax.device_get(_restore_weights(path, found, template, say)), found["step"]


def _open(path: pathlib.Path) -> dict[str, Any]:
  """The `meta` of a checkpoint folder."""
  for item in ("weights", "meta"):
    if not (path / item).is_dir():
      raise FileNotFoundError(
        f"{path} is not a checkpoint: it has no folder {item!r}. Give the folder of one step, "
        "for example runs/synthetic/checkpoints/1000"
      )
  return _read_meta(path)


def _restore_weights(path: pathlib.Path, found: dict[str, Any], template: Any, say: Say) -> Any:
  others = [p.name for p in path.parent.iterdir() if p.name.isdigit() and p != path]
  hint = f"\nOther checkpoints of this run: {', '.join(sorted(others))}." if others else ""
  try:
    with ocp.StandardCheckpointer() as reader:
      weights = reader.restore(path / "weights", template)
    _check_values(path, weights, found[_DIGESTS], "weights", say)
  except DamagedError as error:
    raise DamagedError(f"{error}{hint}") from error
  except Exception as error:
    raise DamagedError(_damage(path / "weights", [_short(error)]) + hint) from error
  return weights


def _of_the_job(tree: Any) -> Any:
  """The same values as arrays of all processes, which is what Orbax writes once.

  The step returns arrays of this process's devices alone.
  """
  if jax.process_count() == 1:
    return tree
  convert = ocp.utils.fully_replicated_host_local_array_to_global_array
  return jax.tree.map(lambda x: convert(x) if x.is_fully_addressable else x, tree)


def _abstract(tree: Any) -> Any:
  """Shapes with shardings: restoring on another number of devices needs both."""
  sharding = parallel.replicated()
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def _check_meta(path: pathlib.Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
  """Compares every field that describes the model; lists all that differ.

  A field that only one side has is an option that the other leaves at its default.
  """
  have, want = flatten({k: x for k, x in found.items() if k != _DIGESTS}), flatten(expected)
  names = [name for name in sorted(have | want) if name not in _BOOKKEEPING]
  wrong = [
    f"  {name}: the checkpoint has {_say(have, name)}, the config asks for {_say(want, name)}"
    for name in names
    if have.get(name) != want.get(name)
  ]
  if wrong:
    raise ValueError(
      f"{path} was written by another model:\n"
      + "\n".join(wrong)
      + "\nUse the config it was trained with, or another --workdir or --checkpoint."
    )


def _say(fields: dict[str, Any], name: str) -> str:
  return repr(fields[name]) if name in fields else "the default"


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  """Leaves of nested dicts by dotted names; tuples as the lists that JSON makes of them."""
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      flat |= flatten(value, f"{prefix}{name}.")
    else:
      flat[prefix + name] = list(value) if isinstance(value, tuple) else value
  return flat

"""Orbax behind a few functions: open_manager, save, write_weights, restore and the like.

A checkpoint is a folder `checkpoints/<step>` with three items:
  weights    parameters and BN statistics, all that inference needs
  training   step and optimizer state, what resuming needs besides
  meta       JSON: format version, step, the config of the model and the heatmaps, joint names
Without `training` it is still a checkpoint one can evaluate: this is what is shipped.
"""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from epipolar_jax import parallel

_VERSION = 1
# Fields of `meta` that weights do not depend on; the first checkpoints name the last.
_BOOKKEEPING = ("version", "step", "source", "model.fusion.algorithm")


def open_manager(workdir: pathlib.Path) -> ocp.CheckpointManager:
  """Opens (or creates) the checkpoints of a work folder; the newest two are kept."""
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
  """
  manager.save(
    step,
    args=ocp.args.Composite(
      weights=ocp.args.StandardSave(_of_the_job(weights)),
      training=ocp.args.StandardSave(_of_the_job(training)),
      meta=ocp.args.JsonSave(meta | {"version": _VERSION, "step": step}),
    ),
  )


def restore(
  manager: ocp.CheckpointManager, *, weights: Any, training: Any, meta: dict[str, Any]
) -> tuple[Any, Any] | None:
  """Restores the newest checkpoint, whatever the number of devices and processes that wrote it.

  Args:
    manager: from `open_manager`.
    weights, training: trees of the same structure and shapes as were saved; values are not read.
    meta: what the run expects; must agree with the checkpoint's.

  Returns:
    Weights and training state, replicated; None when there is no checkpoint yet.

  Raises:
    ValueError: if the checkpoint belongs to another model.
  """
  step = manager.latest_step()
  if step is None:
    return None
  found = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
  _check_meta(pathlib.Path(manager.directory) / str(step), found.meta, meta)
  restored = manager.restore(
    step,
    args=ocp.args.Composite(
      weights=ocp.args.StandardRestore(_abstract(weights)),
      training=ocp.args.StandardRestore(_abstract(training)),
    ),
  )
  return restored.weights, restored.training


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
    writer.save(path / "meta", meta | {"version": _VERSION, "step": step})


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
  path: pathlib.Path, template: dict[str, Any], meta: dict[str, Any]
) -> tuple[dict[str, Any], int]:
  """Restores the weights of one checkpoint folder (`.../checkpoints/<step>`), for inference.

  Args:
    path: the folder that holds `weights` and `meta`.
    template: variables of the same model, or their shapes.
    meta: what the config expects; must agree with the checkpoint's.

  Returns:
    The variables, replicated, and the step at which they were saved.

  Raises:
    FileNotFoundError: if this is not a checkpoint folder.
    ValueError: if it belongs to another model.
  """
  path = path.absolute()
  for item in ("weights", "meta"):
    if not (path / item).is_dir():
      raise FileNotFoundError(
        f"{path} is not a checkpoint: it has no folder {item!r}. Give the folder of one step, "
        "for example runs/synthetic/checkpoints/1000"
      )
  with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
    found = reader.restore(path / "meta")
  _check_meta(path, found, meta)
  with ocp.StandardCheckpointer() as reader:
    return reader.restore(path / "weights", _abstract(template)), int(found["step"])


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
  have, want = flatten(found), flatten(expected)
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

"""Turns a checkpoint into a .pth file that the original PyTorch code loads.

python -m epipolar_jax.original.export_torch CHECKPOINT_DIR OUT.pth --config configs/h36m.py
    [--config.GROUP.FIELD=VALUE ...] [--file_format zip] [--bare]

CHECKPOINT_DIR is the folder of one step, as for eval.py. The default format is the legacy one: the
original runs on torch 1.2 and 1.3, which read no other.
"""

import pathlib

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import checkpointing, tasks
from epipolar_jax.models import fusion
from epipolar_jax.original import lifting_names, pth_writer, torch_names


def export(
  config, checkpoint: pathlib.Path, output: pathlib.Path, *, file_format: str, bare: bool
) -> str:
  """Writes one checkpoint as a .pth file.

  Args:
    config: the whole config of the network.
    checkpoint: folder with `weights` and `meta`.
    output: the file.
    file_format: "legacy" or "zip".
    bare: the names as they are in the network; otherwise {"model": ...} as the original's training
      saves it, under `backbone.module.` and, for two views, `reference.module.` (the same tensors,
      unless model.share_weights is False).

  Returns:
    A line about what was written.

  Raises:
    ValueError: the checkpoint belongs to another model, or the original has no such layer; bare
      names are wanted of two networks.
  """
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  variables, _ = checkpointing.restore_variables(checkpoint, template, task.meta)
  state_dict = torch_names.to_torch(jax.tree.map(np.asarray, variables))
  separate = any(key.startswith(torch_names.REFERENCE_WRAPPER) for key in state_dict)
  if separate and bare:
    raise ValueError(
      "two networks (model.share_weights False) have no bare names: leave --bare out"
    )
  if not (separate or bare):
    state_dict = _wrapped(state_dict, fuses=bool(fusion.of_model(config.model).layers))
  tree = state_dict if bare else {"model": state_dict}
  pth_writer.write(output, tree, file_format=file_format)
  count = sum(x.size for x in {id(x): x for x in state_dict.values()}.values())
  return f"Wrote {output}: {len(state_dict)} tensors, {count:,} numbers."


def _wrapped(state_dict: dict[str, np.ndarray], *, fuses: bool) -> dict[str, np.ndarray]:
  """The names of the original's model: one network, or the same one twice, and its lifter."""
  two = (torch_names.REFERENCE_WRAPPER, torch_names.SOURCE_WRAPPER)
  owners = two if fuses else two[1:]
  lifter = {k: x for k, x in state_dict.items() if lifting_names.to_ours(k.rpartition(".")[0])}
  rest = {key: x for key, x in state_dict.items() if key not in lifter}
  named = {f"liftingnet.module.{key}": x for key, x in lifter.items()}
  return named | {f"{owner}{key}": x for owner in owners for key, x in rest.items()}


def main(argv: list[str]) -> None:
  """Exports the checkpoint that the arguments name."""
  if len(argv) != 3:
    raise app.UsageError("expected CHECKPOINT_DIR OUT.pth")
  source, output = map(pathlib.Path, argv[1:])
  options = flags.FLAGS
  print(export(options.config, source, output, file_format=options.file_format, bare=options.bare))


if __name__ == "__main__":
  # Here, not above: two tools that a test imports would both define it.
  config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
  flags.DEFINE_enum("file_format", "legacy", pth_writer.FORMATS, "zip needs torch 1.6 or later.")
  flags.DEFINE_bool("bare", False, "A plain state_dict of the network, without prefixes.")
  flags.mark_flag_as_required("config")
  app.run(main)

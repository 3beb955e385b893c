"""Turns a .pth file of the original (or of torchvision) into a checkpoint that eval.py takes.

python -m epipolar_jax.original.convert_torch CHECKPOINT.pth OUT_DIR --config configs/h36m.py
    [--config.GROUP.FIELD=VALUE ...]
python eval.py --config configs/h36m.py --checkpoint OUT_DIR --config.parity.bgr=True

A network of the original with 20 heatmaps, for the joints of Human3.6M and MPII together, keeps the
17 of Human3.6M with --union_head.

Prints where every tensor went. Anything without a counterpart, on either side, is an error. A
torchvision classifier fills the trunk only; the rest is what training would start from.
The original shows its networks BGR images. The checkpoint says so, and eval.py refuses it without
parity.bgr; --channels rgb is for a file that export_torch wrote of a network trained here.
"""

import pathlib

import jax
from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import checkpointing, tasks
from epipolar_jax.original import pretrained, torch_names


def convert(
  config,
  source: pathlib.Path,
  output: pathlib.Path,
  *,
  union_head: bool = False,
  channels: str = "bgr",
) -> str:
  """Converts one file.

  Args:
    config: the whole config of the network.
    source: a .pth file.
    output: folder to make.
    union_head: keeps 17 of the file's 20 heatmaps (`pretrained.keep_union_joints`).
    channels: "bgr" or "rgb", the order of the images the networks were trained on; a torchvision
      classifier is always "rgb".

  Returns:
    A table of what went where.

  Raises:
    ValueError: the file is damaged or does not fit the config; lists everything that does not.
    FileExistsError: if `output` is there already.
  """
  task = tasks.build(config, axis_name=None)
  state_dict = pretrained.read_state_dict(source)
  if union_head:
    state_dict = pretrained.keep_union_joints(state_dict)
  meta = task.meta | {"source": source.name}
  key = jax.random.key(config.seed, impl="rbg")
  if pretrained.is_classifier(state_dict):
    weights, rows = pretrained.load_trunk(state_dict, task.init(key))
    rest = "; all other variables are freshly initialised: train before you evaluate"
  else:
    matching = torch_names.match(state_dict, jax.eval_shape(task.init, key))
    torch_names.check(matching)
    weights, rows, rest = torch_names.unflatten(matching.filled), matching.rows, ""
    if config.task == "multiview" and channels == "bgr":
      meta["parity"] = meta.get("parity", {}) | {"bgr": True}
      rest += "; trained on BGR images: evaluate with --config.parity.bgr=True"
  checkpointing.write_weights(output, weights=weights, meta=meta)
  ignored = sum(row.ours.startswith("ignored") for row in rows)
  return (
    f"{pretrained.table(rows)}\n{len(rows)} tensors read, {ignored} of them ignored{rest}.\n"
    f"Wrote {output}."
  )


def main(argv: list[str]) -> None:
  """Converts the file that the arguments name."""
  if len(argv) != 3:
    raise app.UsageError("expected CHECKPOINT.pth OUT_DIR")
  source, output = map(pathlib.Path, argv[1:])
  options = {"union_head": flags.FLAGS.union_head, "channels": flags.FLAGS.channels}
  print(convert(flags.FLAGS.config, source, output, **options))


if __name__ == "__main__":
  # Here, not above: two tools that a test imports would both define it.
  config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
  flags.DEFINE_bool("union_head", False, "Keep Human3.6M's 17 of the file's 20 heatmaps.")
  flags.DEFINE_enum("channels", "bgr", ("bgr", "rgb"), "Of the images it was trained on.")
  flags.mark_flag_as_required("config")
  app.run(main)

"""Writes a trained network as StableHLO: one file that runs without this package.

python -m epipolar_jax.tools.export --config configs/h36m.py --output model.stablehlo
    [--workdir DIR | --checkpoint STEP_DIR] [--platforms cpu,cuda,tpu] [--views 4]
    [--triangulation robust]
    [--config.GROUP.FIELD=VALUE ...]

The file holds the weights and everything from images to joints in 3D; the number of frames is
open, that of cameras is not. Beside it model.json describes inputs and outputs. To run it:

  exported = jax.export.deserialize(bytearray(pathlib.Path("model.stablehlo").read_bytes()))
  found = exported.call(image, intrinsics, rotation, translation)
"""

import json
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from absl import app, flags
from jax import export
from ml_collections import config_flags

from epipolar_jax import checkpointing, skeletons, tasks

PLATFORMS = ("cpu", "cuda", "tpu")
_FORMAT = 1
_FRAMES = "frames"  # name of the open dimension
_INPUTS = {
  "image": "crops of the person, RGB 0..255, resized to the network's input",
  "intrinsics": "K of each camera, in pixels of these crops; integers are pixel centres",
  "rotation": "R_cw: x_camera = R_cw x_world + t_cw",
  "translation": "t_cw, mm",
}
_OUTPUTS = {
  "joints_2d": "(u, v) in pixels of the crops",
  "score": "value of the view's heatmap at the joint; weights the view in 3D",
  "joints_3d": "world, mm; finite also when not valid",
  "valid": "False where a joint could not be triangulated",
}


def export_network(
  config: ml_collections.ConfigDict,
  variables: Any,
  *,
  platforms: Sequence[str] = PLATFORMS,
  views: int = 4,
) -> export.Exported:
  """Lowers a network, with its weights inside, for any number of frames.

  Args:
    config: the whole config of a multi-view network.
    variables: of the model.
    platforms: to lower for, of `PLATFORMS`.
    views: cameras of a frame.

  Returns:
    A function of image [b v h w 3] uint8, intrinsics [b v 3 3] px of the image, rotation [b v 3 3]
    and translation [b v 3] mm to a dict of joints_2d [b v j 2] px, score [b v j], joints_3d
    [b j 3] mm and valid [b j].

  Raises:
    ValueError: another task, an unknown platform, too few views, or a method that needs the truth.
  """
  if config.task != "multiview":
    raise ValueError(f"only task 'multiview' takes images to 3D joints, not {config.task!r}")
  if unknown := [name for name in platforms if name not in PLATFORMS]:
    raise ValueError(f"--platforms: no {unknown[0]!r}; there are {', '.join(PLATFORMS)}")
  if not platforms:
    raise ValueError(f"--platforms names none; there are {', '.join(PLATFORMS)}")
  if views < 2:
    raise ValueError(f"--views is {views}: joints are triangulated from at least 2")
  if config.eval.rpsm_root == "truth":
    raise ValueError("eval.rpsm_root 'truth' needs the true pose, which nobody has when serving")
  predict = tasks.build(config, axis_name=None).predict
  # From one device: weights that lie on several would ask for as many where it runs.
  variables = jax.tree.map(jnp.asarray, jax.device_get(variables))

  @jax.jit
  def serve(image, intrinsics, rotation, translation):
    crop = jnp.broadcast_to(jnp.eye(2, 3), (*image.shape[:2], 2, 3))
    cameras = {"intrinsics": intrinsics, "rotation": rotation, "translation": translation}
    found = predict(variables, {"image": image, "crop": crop} | cameras)
    named = {name: found[name] for name in ("joints_2d", "score", "joints_3d")}
    return named | {"valid": found["joint_valid"]}

  size = config.data.image_size
  shapes = (
    ((views, size, size, 3), jnp.uint8),
    ((views, 3, 3), jnp.float32),
    ((views, 3, 3), jnp.float32),
    ((views, 3), jnp.float32),
  )
  (frames,) = export.symbolic_shape(_FRAMES)
  arguments = [jax.ShapeDtypeStruct((frames, *shape), dtype) for shape, dtype in shapes]
  return export.export(serve, platforms=list(platforms))(*arguments)


def describe(config: ml_collections.ConfigDict, exported: export.Exported) -> dict[str, Any]:
  """What someone needs to know to use the file, JSON-ready."""

  def arrays(avals, meanings):
    return {
      name: {"shape": [_dimension(n) for n in x.shape], "dtype": x.dtype.name, "meaning": meaning}
      for (name, meaning), x in zip(meanings.items(), avals)
    }

  # Outputs are a dict: its leaves come in the order of their names.
  outputs = dict(sorted(_OUTPUTS.items()))
  return {
    "format": _FORMAT,
    "jax": jax.__version__,
    "calling_convention": exported.calling_convention_version,
    "platforms": list(exported.platforms),
    "inputs": arrays(exported.in_avals, _INPUTS),
    "outputs": arrays(exported.out_avals, outputs),
    "joints": list(skeletons.of_model(config.model).joints),
    "triangulation": config.eval.triangulation.split(",")[0].strip(),
    "commit": _commit(),
    "config": json.loads(config.to_json_best_effort()),
  }


def _dimension(n: Any) -> int | str:
  return str(n) if export.is_symbolic_dim(n) else int(n)


def _commit() -> str | None:
  """Of the checkout that this file is in, with "+" if files differ; None outside of one."""
  folder = pathlib.Path(__file__).parent

  def git(*arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

  try:
    return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def write(
  config: ml_collections.ConfigDict,
  checkpoint: pathlib.Path,
  output: pathlib.Path,
  *,
  platforms: Sequence[str],
  views: int,
) -> str:
  """Exports one checkpoint to `output` and its description to the same name with .json.

  Args:
    config: the whole config of the network.
    checkpoint: folder of one step.
    output: the file; replaced if it is there.
    platforms, views: of `export_network`.

  Returns:
    A line about what was written.

  Raises:
    ValueError: see `export_network`; the checkpoint belongs to another model; `output` is .json.
  """
  description = output.with_suffix(".json")
  if description == output:
    raise ValueError(f"--output {output}: .json is for the description, name it .stablehlo")
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  variables, step = checkpointing.restore_variables(checkpoint, template, task.meta)
  exported = export_network(config, variables, platforms=platforms, views=views)
  data = exported.serialize()
  output.parent.mkdir(parents=True, exist_ok=True)
  output.write_bytes(data)
  record = describe(config, exported) | {"checkpoint": str(checkpoint), "step": step}
  description.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
  names = ", ".join(exported.platforms)
  return f"Wrote {output} ({len(data) / 1e6:.1f} MB, for {names}) and {description}."


def main(argv: list[str]) -> None:
  """Exports the checkpoint that the flags name."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  options = flags.FLAGS
  name = pathlib.Path(config_flags.get_config_filename(options["config"])).stem
  workdir = pathlib.Path(options.workdir or f"runs/{name}")
  checkpoint = pathlib.Path(options.checkpoint or checkpointing.chosen(workdir))
  output = pathlib.Path(options.output)
  told = {"platforms": options.platforms, "views": options.views}
  config = options.config
  with config.unlocked():
    config.eval.triangulation = options.triangulation
  print(write(config, checkpoint, output, **told))


if __name__ == "__main__":
  # Here, not above: two tools that a test imports would both define it.
  config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
  flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<config name>.")
  flags.DEFINE_string(
    "checkpoint", None, "Folder of one checkpoint; default the newest of the run."
  )
  flags.DEFINE_string("output", None, "The file to write.")
  flags.DEFINE_list("platforms", list(PLATFORMS), "To lower for: any of cpu, cuda, tpu.")
  flags.DEFINE_integer("views", 4, "Cameras of a frame.")
  flags.DEFINE_string(
    "triangulation", "robust", "Method of triangulation in the file, whatever the config names."
  )
  flags.mark_flags_as_required(["config", "output"])
  # Warnings: Orbax tells much at the info level. Not set_default, which app.run overrules.
  flags.FLAGS.verbosity = -1
  app.run(main)

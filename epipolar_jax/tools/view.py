"""Pages to look at a run with: the epipolar viewer, and the inputs of the network.

python -m epipolar_jax.tools.view --workdir runs/synthetic_full --output viewer.html
python -m epipolar_jax.tools.view --workdir runs/synthetic_full --inputs --output inputs.html
python -m epipolar_jax.tools.view --config configs/h36m.py --inputs --raw FOLDER

Both are single HTML files that need nothing else. Without --workdir, name the network with
--config and --checkpoint.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import checkpointing, heatmaps, models, skeletons, tasks
from epipolar_jax.inputs import batches, multiview
from epipolar_jax.training import run_folder
from epipolar_jax.visualize import inputs, page, predictions, viewer

_DEFAULT_FRAMES = 4
_DRAWS = 2  # augmented versions of a frame on the inputs page
_LIMIT_MB = 5.0  # for a page of a few frames that one can send by mail


def run_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
  """The config that a run wrote into its folder.

  Raises:
    FileNotFoundError: the folder holds none.
    ValueError: it is not a config of this project.
  """
  path = workdir / "config.json"
  if not path.is_file():
    raise FileNotFoundError(
      f"{path} is missing: --workdir is the folder of a run of train.py; or name --config and "
      "--checkpoint instead"
    )
  tree = run_folder.read(workdir)
  if not {"task", "model", "data", "eval"} <= set(tree):
    raise ValueError(f"{path} is not a config: it lacks one of task, model, data, eval")
  return ml_collections.ConfigDict(_tuples(tree))


def pick(wanted: Sequence[str], count: int) -> list[int]:
  """Indices of the frames to show.

  Args:
    wanted: numbers as text; none: a few, spread over the split.
    count: frames of the split.

  Raises:
    ValueError: something that is no index of a frame.
  """
  if not wanted:
    return predictions.picked(count, _DEFAULT_FRAMES)
  for text in wanted:
    if not text.isdigit() or int(text) >= count:
      raise ValueError(f"--frames has {text!r}; the split has the frames 0 to {count - 1}")
  return [int(text) for text in wanted]


def load(
  config: ml_collections.ConfigDict, split: str, frames: Sequence[str]
) -> list[dict[str, Any]]:
  """The chosen frames of a split, as stored.

  Raises:
    ValueError: a task without images, no such split, or no such frame.
  """
  if tasks.build(config, axis_name=None).inspect is None:
    raise ValueError(f"there are no images to look at in a run of task {config.task!r}")
  source = batches.open_split(config, split)
  return [source[i] for i in pick(frames, len(source))]


def viewer_page(
  config: ml_collections.ConfigDict,
  variables: Any,
  examples: Sequence[dict[str, Any]],
  *,
  subtitle: str,
) -> str:
  """The epipolar viewer of stored frames, as HTML."""
  inspect = jax.jit(tasks.build(config, axis_name=None).inspect)
  frames = []
  for example in examples:
    batch = _unaugmented(config, example)
    seen = jax.device_get(inspect(variables, multiview.device_part(batch)))
    seen = jax.tree.map(lambda x: x[0], seen)
    true = _geometry(batch)
    frames.append(
      seen
      | true
      | {"true_2d": true["labels_2d"], "true_3d": true["labels_3d"]}
      | {"occluded": example["occluded"], "label": _label(example)}
    )
  return viewer.render(
    frames,
    skeleton=skeletons.of_model(config.model),
    stride=models.STRIDE,
    num_samples=config.model.fusion.num_samples,
    title="Epipolar viewer",
    subtitle=subtitle,
  )


def inputs_page(
  config: ml_collections.ConfigDict,
  examples: Sequence[dict[str, Any]],
  *,
  subtitle: str,
  before: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda _: [],
) -> str:
  """What the network gets of stored frames, stage by stage, as HTML.

  Args:
    config: of the run.
    examples: as stored.
    subtitle: which data.
    before: from an example to the stages before it was stored.
  """
  frames = [
    {
      "label": _label(example),
      "occluded": example["occluded"],
      "stages": [
        *before(example),
        _stored(example),
        _network_input(config, example),
        *_augmented(config, example),
      ],
    }
    for example in examples
  ]
  skeleton = skeletons.of_model(config.model)
  return inputs.render(frames, skeleton=skeleton, title="Inputs of the network", subtitle=subtitle)


def raw_stages(
  config: ml_collections.ConfigDict, split: str, raw: pathlib.Path
) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
  """From a stored example to its stages before it was stored: raw, undistorted.

  Raises:
    ValueError: a data set that stores its images as they are.
    FileNotFoundError: the raw data are not there.
  """
  if config.data.name != "h36m":
    raise ValueError(
      f"--raw is for Human3.6M, whose images are undistorted and cut before they are stored; "
      f"those of the data set {config.data.name!r} are stored as they are"
    )
  from data.h36m import raw_stages as h36m

  return h36m.RawFrames(raw, split).stages


def _stored(example: dict[str, Any]) -> dict[str, Any]:
  return {
    "name": "Stored",
    "note": "As the data set keeps it, free of lens distortion. Dashed: the person box that the "
    "crop is made from. Rings are the 2D labels, discs the 3D joints through the camera.",
    "image": np.stack([np.asarray(x) for x in example["image"]]),
    "boxes": list(zip(example["box_center"], example["box_size"])),
  } | {
    name: np.asarray(example[name])
    for name in ("intrinsics", "rotation", "translation", "joints_2d", "joints_3d")
  }


def _network_input(config: ml_collections.ConfigDict, example: dict[str, Any]) -> dict[str, Any]:
  true = _geometry(_unaugmented(config, example))
  stride, sigma, size = models.STRIDE, config.heatmap.sigma, config.data.image_size

  def target(uv):
    shape = (size // stride, size // stride)
    return heatmaps.gaussian_target(uv, size_hw=shape, stride=stride, sigma=sigma)

  maps = jax.vmap(jax.vmap(target))(true["labels_2d"].astype(np.float32))
  return _stage(
    "Network input",
    f"The crop of {size} x {size} px that is the network's input at evaluation, and its targets.",
    true,
  ) | {"heatmaps": np.asarray(maps)}


def _augmented(config: ml_collections.ConfigDict, example: dict[str, Any]) -> list[dict[str, Any]]:
  once = ml_collections.ConfigDict(config)
  once.train.batch_size = 1
  draws = batches.train_batches(once, [example], start_step=0, num_steps=_DRAWS)
  note = (
    "A crop as training draws it: turned, scaled, shifted, perhaps mirrored, its colours changed, "
    "as far as the data group of this config allows. The cameras follow, so the lines must still "
    "meet the joints."
  )
  return [
    _stage(f"Augmented {i}", note, _geometry(batch)) for i, batch in enumerate(draws, start=1)
  ]


def _stage(name: str, note: str, true: dict[str, Any]) -> dict[str, Any]:
  geometry = {k: true[k] for k in ("image", "intrinsics", "rotation", "translation")}
  labels = {"joints_2d": true["labels_2d"], "joints_3d": true["labels_3d"]}
  return {"name": name, "note": note} | geometry | labels


def _unaugmented(config: ml_collections.ConfigDict, example: dict[str, Any]) -> multiview.Batch:
  """A batch of one frame, as evaluation reads it."""
  return next(
    multiview.eval_batches([example], size=config.data.image_size, batch_size=1, num_threads=1)
  )


def _geometry(batch: multiview.Batch) -> dict[str, Any]:
  """Images, cameras and labels of a batch of one frame, in network pixels, float64."""
  crop = batch["crop"][0].astype(np.float64)
  bottom = np.broadcast_to(np.array([[[0.0, 0.0, 1.0]]]), (len(crop), 1, 3))
  labels = np.einsum("vab,vjb->vja", crop[..., :2], batch["joints_2d"][0])
  return {
    "image": batch["image"][0],
    "intrinsics": np.concatenate([crop, bottom], 1) @ batch["intrinsics"][0],
    "rotation": batch["rotation"][0],
    "translation": batch["translation"][0],
    "labels_2d": labels + crop[:, None, :, 2],
    "labels_3d": batch["joints_3d"][0],
  }


def _label(example: dict[str, Any]) -> str:
  action = example["action"]
  action = action.decode() if isinstance(action, bytes) else str(action)
  return f"{example['frame']}: {action}, subject {example['subject']}"


def _tuples(node: Any) -> Any:
  """JSON has no tuples; configs have nothing else."""
  if isinstance(node, dict):
    return {name: _tuples(child) for name, child in node.items()}
  return tuple(_tuples(child) for child in node) if isinstance(node, list) else node


def main(argv: list[str]) -> None:
  """Writes the page that the flags ask for."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  values = flags.FLAGS
  if values.workdir is None and values.config is None:
    raise app.UsageError("name --workdir, the folder of a run, or --config")
  if values.workdir is None and not (values.inputs or values.checkpoint):
    raise app.UsageError("without --workdir, name --checkpoint, the folder of a network's weights")
  if values.raw and not values.inputs:
    raise app.UsageError("--raw goes with --inputs")
  workdir = pathlib.Path(values.workdir) if values.workdir else None
  config = values.config if values.config is not None else run_config(workdir)
  split = values.split or config.eval.splits[0]
  examples = load(config, split, values.frames)
  if values.inputs:
    before = raw_stages(config, split, pathlib.Path(values.raw)) if values.raw else lambda _: []
    subtitle = f"data set {config.data.name}, split {split}"
    text = inputs_page(config, examples, subtitle=subtitle, before=before)
  else:
    checkpoint = pathlib.Path(values.checkpoint or checkpointing.newest(workdir))
    task = tasks.build(config, axis_name=None)
    template = jax.eval_shape(task.init, jax.random.key(0))
    variables, step = checkpointing.restore_variables(checkpoint, template, task.meta)
    text = viewer_page(
      config, variables, examples, subtitle=f"{checkpoint}, step {step}, split {split}"
    )
  output = pathlib.Path(values.output or ("inputs.html" if values.inputs else "viewer.html"))
  page.write(output, text)
  megabytes = len(text.encode()) / 1e6
  print(f"Wrote {output}: {len(examples)} frames, {megabytes:.1f} MB. Open it in a browser.")
  if megabytes > _LIMIT_MB:
    print("That is a large page: fewer --frames make it smaller.")


if __name__ == "__main__":
  # Here, not above: two tools that a test imports would both define them.
  config_flags.DEFINE_config_file("config", None, "A file of configs/; default the run's own.")
  flags.DEFINE_string("workdir", None, "Folder of the run.")
  flags.DEFINE_string("checkpoint", None, "Folder of one checkpoint; default the run's newest.")
  flags.DEFINE_string("split", None, "Split to show; default the first of eval.splits.")
  flags.DEFINE_list("frames", [], "Frames of the split to show; default four, spread over it.")
  flags.DEFINE_bool("inputs", False, "The page of the network's inputs instead of the viewer.")
  flags.DEFINE_string("raw", None, "With --inputs: folder of the raw Human3.6M, to show it too.")
  flags.DEFINE_string("output", None, "HTML file; default viewer.html or inputs.html.")
  # Warnings: Orbax tells much at the info level. Not set_default, which app.run overrules.
  flags.FLAGS.verbosity = -1
  app.run(main)

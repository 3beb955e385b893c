"""`load`: a trained network as a function from images and cameras to joints in 3D."""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from epipolar_jax import checkpointing, skeletons, tasks
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.training import run_folder
from epipolar_jax.triangulation import doubt

_SHIPPED = pathlib.Path(__file__).parent / "shipped"


class Prediction(NamedTuple):
  """Joints of b frames.

  Attributes:
    joints_2d: [b, v, j, 2], px of the images that were given.
    score: [b, v, j], 0..1.
    points: [b, j, 3], world, mm; zeros where not valid.
    valid: [b, j], bool.
  """

  joints_2d: np.ndarray
  score: np.ndarray
  points: np.ndarray
  valid: np.ndarray


class Model:
  """A trained multi-view network.

  Attributes:
    config: of the run, as recorded, with the method of triangulation that was asked for.
    skeleton: of its joints.
    variables: {"params", "batch_stats"}.
    doubt_path: where `tools.doubt` writes how large its errors are.
    image_size: side of the square images it takes, px: crops around the person, as in training.
  """

  def __init__(self, config: ml_collections.ConfigDict, variables, folder: pathlib.Path):
    self.config, self.doubt_path = config, folder / "doubt.json"
    self.skeleton = skeletons.of_model(config.model)
    self.image_size = config.data.image_size
    task = tasks.build(config, axis_name=None)
    self._predict = jax.jit(task.predict)
    self.variables = variables

  @property
  def doubt(self) -> doubt.Doubt | None:
    """How large its errors are; None where nobody has learnt it."""
    return doubt.read(self.doubt_path) if self.doubt_path.exists() else None

  def __call__(self, images: np.ndarray, cameras: Cameras) -> Prediction:
    """Predicts the joints of frames.

    Args:
      images: [b, v, s, s, 3] uint8 RGB, s = `image_size`: undistorted crops around the person.
      cameras: [b, v], or [v] for all frames, of these crops (`Cameras.crop`), t_cw in mm.

    Raises:
      ValueError: the shapes or the type are others; the message says which are wanted.
    """
    images, size = np.asarray(images), self.image_size
    if images.ndim != 5 or images.shape[2:] != (size, size, 3) or images.dtype != np.uint8:
      raise ValueError(
        f"images should be [frames, views, {size}, {size}, 3] uint8 RGB, got {list(images.shape)} "
        f"{images.dtype}: cut and resize them, and the cameras with Cameras.crop"
      )
    frames, views = images.shape[:2]
    if cameras.shape == (views,):
      cameras = jax.tree.map(lambda x: np.broadcast_to(x, (frames, *x.shape)), cameras)
    if cameras.shape != (frames, views):
      raise ValueError(
        f"cameras should be [{views}] or [{frames}, {views}] beside these images, got "
        f"{list(cameras.shape)}"
      )
    cameras = jax.tree.map(jnp.float32, cameras)
    batch = {
      "image": jnp.asarray(images),
      "crop": jnp.broadcast_to(jnp.eye(2, 3), (frames, views, 2, 3)),
      "intrinsics": cameras.intrinsics,
      "rotation": cameras.rotation,
      "translation": cameras.translation,
    }
    found = jax.device_get(self._predict(self.variables, batch))
    return Prediction(found["joints_2d"], found["score"], found["joints_3d"], found["joint_valid"])


def load(name_or_folder: str | pathlib.Path, *, method: str = "robust") -> Model:
  """A trained network of this project.

  Args:
    name_or_folder: a shipped network's name (clothed, for people in everyday clothes, and
      clothed_coco with the joints of COCO; synthetic_full, which knows people in two-coloured
      marker suits alone), a run folder (its newest checkpoint), or a checkpoint
      `RUN/checkpoints/STEP`.
    method: of triangulation, in place of the config's `eval.triangulation`.

  Raises:
    FileNotFoundError: there is none; the message lists what is shipped.
    ValueError: the network is none that predicts 3D joints from images, or there is no such method.
  """
  checkpoint, record = _find(name_or_folder)
  config = ml_collections.ConfigDict(_tuples(run_folder.read(record.parent)))
  if config.task != "multiview":
    raise ValueError(f"{name_or_folder}: a network of the task {config.task!r}, not multiview")
  config.eval.triangulation = method
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  variables, _ = checkpointing.restore_variables(checkpoint, template, task.meta)
  return Model(config, variables, record.parent)


def _tuples(tree: Any) -> Any:
  """JSON has lists where configs have tuples."""
  if isinstance(tree, dict):
    return {key: _tuples(value) for key, value in tree.items()}
  return tuple(_tuples(x) for x in tree) if isinstance(tree, list) else tree


def _find(name_or_folder) -> tuple[pathlib.Path, pathlib.Path]:
  """The checkpoint's folder and the config.json of its run."""
  name = str(name_or_folder)
  shipped = sorted(p.parent.name for p in _SHIPPED.glob("*/config.json"))
  if name in shipped:
    return _SHIPPED / name, _SHIPPED / name / "config.json"
  folder = pathlib.Path(name_or_folder)
  if (folder / "config.json").exists() and (folder / "checkpoints").is_dir():
    return checkpointing.chosen(folder), folder / "config.json"
  if (folder / "weights").is_dir():
    record = run_folder.record_of(folder)
    if record is None:
      raise FileNotFoundError(f"{folder} is a checkpoint without the config.json of its run")
    return folder, record
  raise FileNotFoundError(
    f"{name!r} is no run folder, no checkpoint and no shipped network; shipped: "
    f"{', '.join(shipped)}"
  )

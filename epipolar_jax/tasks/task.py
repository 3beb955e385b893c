"""`Task`: all that training and evaluation need to know of one kind of problem."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry.cameras import Cameras

Variables = dict[str, Any]
Batch = dict[str, jax.Array]
Arrays = dict[str, Any]
Summary = dict[str, Any]
Rows = dict[tuple[str, ...], Summary]

# Of torchvision's ImageNet models, for RGB in [0, 1]; [b v h w 3].
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 1, 1, 1, 3)
_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 1, 1, 1, 3)


class Evaluation(NamedTuple):
  """How predictions of a task become numbers and images; the options of a config are bound already.

  Attributes:
    run: (predict, batch) -> arrays (or dicts of them) with a leading frame axis, on the host;
      `predict` takes a host batch.
    labels: fields of a batch that `summarize` and `figure` need; those a data set has are kept.
    summarize: (predicted, labels) -> JSON-ready numbers of all frames of a split.
    columns: headings over numbers -> key of a row; columns of counts that are all 0 are left out.
    rows: (split, summary) -> rows of the table, by what names them.
    logged: keys of the summary that training logs as `eval/KEY`; the first is printed.
    protocol: a sentence on what the numbers mean.
    figure: (images, predicted, labels) -> RGB figure of some frames, or None if there is none.
    film: (images, predicted, labels, fps, hold_s) -> RGB images of a film, or None.
    legend: text below the printed table.
    names: headings of the printed table over what names a row.
    check: raises ValueError if the options do not fit an example of the split.
    boxes_off: how a second pass is evaluated, whose boxes are off by `eval.box_error`; None where
      there is none.
  """

  run: Callable[[Callable[[Arrays], Arrays], Arrays], Arrays]
  labels: tuple[str, ...]
  summarize: Callable[[Arrays, Arrays], Summary]
  columns: dict[str, str]
  rows: Callable[[str, Summary], Rows]
  logged: tuple[str, ...]
  protocol: dict[str, Any]
  figure: Callable[[np.ndarray, Arrays, Arrays], np.ndarray] | None
  film: Callable[..., Iterator[np.ndarray]] | None = None
  legend: str = ""
  names: tuple[str, ...] = ("split",)
  check: Callable[[Arrays], None] = lambda example: None
  boxes_off: "Evaluation | None" = None


class Task(NamedTuple):
  """One kind of problem: pure functions for training, and its evaluation.

  Attributes:
    init: key -> variables.
    loss: (variables, batch, key) -> (sum, weight, new batch_stats); the step divides, after summing
      both over devices. Uses the network in training mode. The key is that of the step, the same
      on every device: `frame_keys` makes one for each frame of it.
    predict: (variables, batch) -> arrays with a leading frame axis.
    meta: JSON-like description of what a checkpoint of this task must agree with.
    evaluation: of its predictions.
    inspect: like `predict`, with intermediate results: heatmaps [b v h w j] and, with
      fusion, source [b v m], the views each view looks at, others [b v n], the views it can be
      shown looking at, and weights [b v n p k] of the samples on their epipolar lines, or, where
      each joint has weights of its own, evidence [b v h w j] and sharpness [b j]: they are the
      softmax of sharpness * evidence over a line. None for tasks without images.
  """

  init: Callable[[jax.Array], Variables]
  loss: Callable[[Variables, Batch, jax.Array], tuple[jax.Array, jax.Array, Any]]
  predict: Callable[[Variables, Batch], dict[str, jax.Array]]
  meta: dict[str, Any]
  evaluation: Evaluation
  inspect: Callable[[Variables, Batch], dict[str, jax.Array]] | None = None


def cameras(batch: Batch) -> Cameras:
  """The cameras [b, v] of the stored images."""
  return Cameras(batch["intrinsics"], batch["rotation"], batch["translation"])


def crop_cameras(batch: Batch) -> Cameras:
  """The cameras [b, v] of the network's inputs."""
  return cameras(batch).crop(batch["crop"])


def normalize_images(image: jax.Array, *, bgr: bool) -> jax.Array:
  """Images as ImageNet's networks want them.

  Args:
    image: [b, v, h, w, 3], RGB in 0 .. 255.
    bgr: parity: exchanges red and blue and keeps RGB's mean and deviation, as the original does.

  Returns:
    [b, v, h, w, 3] float32.
  """
  image = image[..., ::-1] if bgr else image
  return (image.astype(jnp.float32) / 255.0 - _MEAN) / _STD


def frame_keys(key: jax.Array, count: int, *, axis_name: str | None) -> jax.Array:
  """Keys [count] of this device's frames, such that n devices draw what one would.

  Args:
    key: [], of the step, the same on every device.
    count: frames on each device.
    axis_name: of the device axis; None for one device.
  """
  first = 0 if axis_name is None else count * jax.lax.axis_index(axis_name)
  return jax.vmap(functools.partial(jax.random.fold_in, key))(first + jnp.arange(count))


def choose(options: dict[str, Any], name: str, field: str) -> Any:
  """`options[name]`.

  Raises:
    ValueError: names the config field and lists what it may be.
  """
  if name not in options:
    raise ValueError(f"{field} is {name!r}; allowed: {', '.join(sorted(options))}")
  return options[name]

"""`Task`: the pure functions that training and evaluation are made of, whatever is trained."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry.cameras import Cameras

Variables = dict[str, Any]
Batch = dict[str, jax.Array]

# Of torchvision's ImageNet models, for RGB in [0, 1]; [b v h w 3].
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 1, 1, 1, 3)
_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 1, 1, 1, 3)


class Task(NamedTuple):
  """Pure functions that training and evaluation are made of.

  Attributes:
    init: key -> variables.
    loss: (variables, batch, key) -> (sum, weight, new batch_stats); the step divides, after summing
      both over devices. Uses the network in training mode. The key is that of the step, the same
      on every device: `frame_keys` makes one for each frame of it.
    predict: (variables, batch) -> arrays with a leading frame axis.
    meta: JSON-like description of what a checkpoint of this task must agree with.
    inspect: like `predict`, and what the network saw on the way: heatmaps [b v h w j] and, with
      fusion, source [b v m], the views each view looks at, others [b v n], the views it can be
      shown looking at, and weights [b v n p k] of the samples on their epipolar lines, or, where
      each joint has weights of its own, evidence [b v h w j] and sharpness [b j]: they are the
      softmax of sharpness * evidence over a line. None for tasks without pictures.
  """

  init: Callable[[jax.Array], Variables]
  loss: Callable[[Variables, Batch, jax.Array], tuple[jax.Array, jax.Array, Any]]
  predict: Callable[[Variables, Batch], dict[str, jax.Array]]
  meta: dict[str, Any]
  inspect: Callable[[Variables, Batch], dict[str, jax.Array]] | None = None


def cameras(batch: Batch) -> Cameras:
  """The cameras [b, v] of the stored images."""
  return Cameras(batch["intrinsics"], batch["rotation"], batch["translation"])


def crop_cameras(batch: Batch) -> Cameras:
  """The cameras [b, v] of the network's inputs."""
  return cameras(batch).crop(batch["crop"])


def normalize_images(image: jax.Array, *, bgr: bool) -> jax.Array:
  """Pictures as ImageNet's networks want them.

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

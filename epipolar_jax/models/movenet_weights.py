"""The shipped weights of MoveNet, checked by name and shape."""

import functools
import os
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import movenet

_FOLDER = pathlib.Path(__file__).parent.parent / "shipped" / "movenet"


class Variant(NamedTuple):
  """A published MoveNet: width of its layers and side of its images, px."""

  width: float
  image_size: int


VARIANTS = {"thunder": Variant(1.75, 256), "lightning": Variant(1.0, 192)}


def load(name: str) -> tuple[movenet.MoveNet, dict, int]:
  """A shipped network.

  Args:
    name: thunder or lightning.

  Returns:
    module; variables for `module.apply`, float32; side of its images, px.

  Raises:
    ValueError: there is no such network.
  """
  if name not in VARIANTS:
    raise ValueError(f"no detector {name!r}; there are {', '.join(VARIANTS)}")
  variant = VARIANTS[name]
  path = _FOLDER / f"{name}.npz"
  with np.load(path, allow_pickle=False) as file:
    arrays = {key: file[key].astype(np.float32) for key in file.files}
  check(arrays, path)
  return movenet.MoveNet(variant.width), {"params": arrays}, variant.image_size


def check(arrays: dict[str, np.ndarray], source: str | os.PathLike) -> None:
  """Compares parameters with those of the variants.

  Raises:
    ValueError: of no variant all names and shapes agree, or a number is not finite; the message
      names the first that does not.
  """
  shapes = {key: array.shape for key, array in arrays.items()}
  widths = {_shapes(variant.width)["stem_bias"]: variant.width for variant in VARIANTS.values()}
  width = widths.get(shapes.get("stem_bias"))
  if width is None:
    raise ValueError(
      f"{source}: stem_bias is {shapes.get('stem_bias', 'missing')}; thunder has (56,), "
      "lightning (32,)"
    )
  wanted = _shapes(width)
  for key in sorted(wanted.keys() | shapes.keys()):
    if wanted.get(key) != shapes.get(key):
      raise ValueError(
        f"{source}: {key} is {shapes.get(key, 'missing')}, MoveNet of width {width} has "
        f"{wanted.get(key, 'no such parameter')}"
      )
    if not np.isfinite(arrays[key]).all():
      raise ValueError(f"{source}: {key} is not finite")


@functools.cache
def _shapes(width: float) -> dict[str, tuple[int, ...]]:
  module = movenet.MoveNet(width)
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  tree = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
  return {key: leaf.shape for key, leaf in tree.items()}

"""MoveNet, forward and with the gradient of all its weights, beside plain convolutions.

"plain" is the same network with `lax.conv_general_dilated` for every convolution, depthwise ones in
as many groups as channels; ratios are to it. Eight images, as `epipolar predict` takes them. The
error is of the outputs or the gradients, over the largest of the plain ones.
"""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import convolutions, movenet_weights
from epipolar_jax.tools.benchmark import timing

_BATCH = 8
_NETWORKS = ("lightning", "thunder")


def run(seconds: float, only: tuple[str, ...] = ()) -> list[timing.Row]:
  """Measures the networks.

  Args:
    seconds: for each measurement.
    only: names of networks; () is lightning and thunder.

  Raises:
    ValueError: there is no such network.
  """
  if not set(only) <= set(_NETWORKS):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(_NETWORKS)}")
  return [row for name in only or _NETWORKS for row in _measure(name, seconds)]


def _measure(name: str, seconds: float) -> list[timing.Row]:
  module, variables, size = movenet_weights.load(name)
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.integers(0, 256, (_BATCH, size, size, 3), np.uint8))
  variables = jax.device_put(variables)

  def forward(variables, images):
    return module.apply(variables, images).heatmap

  def loss(variables, images):
    return jnp.mean(jnp.square(forward(variables, images)))

  rows = []
  passes = {"forward": forward, "forward+backward": jax.grad(loss)}
  for title, function in passes.items():
    about = {
      "size": f"{title}, {_BATCH} x {size}²",
      "frames": _BATCH,
      "unit": "images",
      "seconds": seconds,
    }
    plain = compiled(function, variables, images, plain=True)
    ours = compiled(function, variables, images)
    error = _difference(ours(variables, images), plain(variables, images))
    base = timing.measure(f"{name}, plain", plain, variables, images, **about)
    rows += [
      base,
      timing.against(timing.measure(name, ours, variables, images, error=error, **about), base),
    ]
  return rows


def compiled(function, *arguments, plain: bool = False):
  """The function for these arguments; `plain`: with every convolution as XLA has it."""
  if not plain:
    return jax.jit(function).lower(*arguments).compile()
  ways = {"pointwise": _pointwise, "depthwise_3x3": _depthwise}
  with mock.patch.multiple(convolutions, **ways):
    # A function of its own: what was traced for the other one is not taken.
    return jax.jit(functools.partial(function)).lower(*arguments).compile()


def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
  return convolutions.same(x, kernel)


def _depthwise(x: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
  return jax.lax.conv_general_dilated(
    x,
    kernel[:, :, None],
    (stride, stride),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=x.shape[-1],
  )


def _difference(found, wanted) -> float:
  """The largest difference of all arrays, each over the largest value of its twin."""
  pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
  each = [
    float(jnp.max(jnp.abs(a - b)) / jnp.maximum(jnp.max(jnp.abs(b)), 1e-30)) for a, b in pairs
  ]
  return max(each)

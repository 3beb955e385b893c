"""Epipolar attention of one pair of views, 64×64 maps, 256 channels, 64 samples on each line.

Each algorithm forward, and forward with the gradients of both feature maps; before it is timed,
output and gradients are compared with those of `gather`, on the same device. Against PyTorch it is
the original's way (`torch_attention`) on the same features and samples; ratios are to it, else to
`gather`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import attention
from epipolar_jax.models.fusion import lines
from epipolar_jax.tools import simulation
from epipolar_jax.tools.benchmark import timing

_SIDE, _CHANNELS, _SAMPLES = 64, 256, 64
_ALGORITHMS = tuple(name for name in attention.ALGORITHMS if name != "auto")
_PASSES = ("forward", "forward+backward")
_PLAIN = "gather"


def run(seconds: float, only: tuple[str, ...] = (), against: str = "") -> list[timing.Row]:
  """Measures the algorithms.

  Args:
    seconds: for each measurement.
    only: names of algorithms; () is all, on a GPU with "kernel", which others only imitate.
    against: "torch" measures the original's way too.

  Raises:
    ValueError: there is no such algorithm.
  """
  if not set(only) <= set(_ALGORITHMS):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(_ALGORITHMS)}")
  on_gpu = jax.default_backend() == "gpu"
  names = only or tuple(name for name in _ALGORITHMS if name != "kernel" or on_gpu)
  inputs = problem()
  baseline = _PLAIN
  rows = []
  if against == "torch":
    from epipolar_jax.tools.benchmark import torch_attention

    baseline = "original (torch)"
    about = [_about(passes, seconds) for passes in _PASSES]
    rows += torch_attention.measure(*inputs[:3], *about)
  plain = {passes: _results(_PLAIN, passes, inputs) for passes in _PASSES}
  for name in names:
    for passes in _PASSES:
      about = _about(passes, seconds)
      if name != _PLAIN:
        about["error"] = _difference(_results(name, passes, inputs), plain[passes])
      rows.append(timing.measure(name, jax.jit(_function(name, passes)), *inputs, **about))
  bases = {row.size: row for row in rows if row.name == baseline}
  return [
    timing.against(row, bases[row.size]) if row.size in bases and row.name != baseline else row
    for row in rows
  ]


def problem() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Features [h, w, c] of two neighbouring views of a simulated rig; samples and valid lines."""
  rng = np.random.default_rng(0)
  scenes = simulation.make_scenes(rng, 1)
  stride = simulation.SIZE // _SIDE
  matrices = lines.fundamentals(
    scenes.cameras[0], jnp.asarray(scenes.neighbour[0])[:, None], stride=stride
  )
  samples, valid = jax.jit(
    lambda matrix: lines.sample_lines(matrix, size_hw=(_SIDE, _SIDE), num_samples=_SAMPLES)
  )(matrices[0, 0])
  features = 0.3 * rng.normal(size=(2, _SIDE, _SIDE, _CHANNELS))
  query, source = jnp.asarray(features, jnp.float32)
  return query, source, samples, valid


def _function(name: str, passes: str):
  """Output, or a sum over it and its gradients, of query, source, samples and valid."""

  def attend(query, source, samples, valid):
    return attention.epipolar_attention(query, source, None, samples, valid, algorithm=name).out

  if passes == "forward":
    return attend

  def loss(query, source, samples, valid):
    out = attend(query, source, samples, valid)
    return jnp.sum(out * jax.lax.stop_gradient(source))

  return jax.value_and_grad(loss, (0, 1))


def _results(name: str, passes: str, inputs: tuple[jax.Array, ...]) -> list[np.ndarray]:
  """The output, or both gradients, of products at the highest precision."""
  with jax.default_matmul_precision("highest"):
    found = jax.device_get(jax.jit(_function(name, passes))(*inputs))
  return [found] if passes == "forward" else list(found[1])


def _difference(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
  """The largest of all arrays; not a number if one is none."""
  return float(np.max([np.max(np.abs(a - b)) for a, b in zip(found, wanted)]))


def _about(passes: str, seconds: float) -> dict:
  """What all rows of one kind share: the operations by formula, the bytes by shape."""
  numbers = _SIDE**2 * _SAMPLES * _CHANNELS
  # A bilinear sample is 4 multiply-adds, comparing and averaging one each; backward, each of the
  # three has its transpose, and comparing and averaging one for the other factor.
  forward = 2 * (4 + 1 + 1) * numbers
  backward = 2 * (4 + 2 + 2) * numbers
  features = 4 * _SIDE**2 * _CHANNELS
  # Two maps and the samples in, one map out; backward the same, and two gradients.
  moved = 3 * features + 8 * _SIDE**2 * _SAMPLES
  both = passes != "forward"
  return {
    "size": f"{passes}, {_SIDE}x{_SIDE}, c {_CHANNELS}, k {_SAMPLES}",
    "frames": 1,
    "unit": "pairs",
    "seconds": seconds,
    "flops": float(forward + backward * both),
    "bytes_moved": float(moved + (moved + 2 * features) * both),
  }

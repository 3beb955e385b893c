"""Counts the parameters and multiply-adds of a config's network, without running it.

python -m epipolar_jax.tools.model_size --config configs/h36m.py [--views 4]
    [--config.GROUP.FIELD=VALUE ...]

The network is traced for its shapes only. Counted are convolutions, matrix products and the
epipolar attention; normalisations, activations and everything after the heatmaps are not.
"""

import collections
import dataclasses
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import models, tasks
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import layers
from epipolar_jax.models.fusion import features

ATTENTION = "attention"


@dataclasses.dataclass(frozen=True)
class Part:
  """What one part of a network takes.

  Attributes:
    parameters: trained numbers.
    statistics: running means and variances of its normalisations.
    normalisations: their number; torch stores a counter with each.
    macs: multiply-adds.
    macs_by_output: the same, transposed convolutions counted by their output pixels, biases too:
      as the tool counts that the original's numbers come from (thop).
    normalised: values that are normalised, those of a fusion layer left out: thop does not know
      the original's layer there.
  """

  parameters: int = 0
  statistics: int = 0
  normalisations: int = 0
  macs: int = 0
  macs_by_output: int = 0
  normalised: int = 0

  def __add__(self, other: "Part") -> "Part":
    return Part(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other))))


def measure(config: Any, *, views: int) -> dict[str, Part]:
  """Counts one example: a frame with all its views, or whatever the task's network takes.

  Args:
    config: the whole config.
    views: of a frame; ignored by tasks that know none.

  Returns:
    By part of the network: the first two names of its parameters; "attention".
  """
  found = collections.defaultdict(Part)

  def count(call, args, kwargs, context):
    out = call(*args, **kwargs)
    added = _count(context.module, args, out) if context.method_name == "__call__" else Part()
    if added.macs or added.normalised:
      attends = isinstance(context.module, features.EpipolarFusion)
      found[ATTENTION if attends else _part(context.module.path)] += added
    return out

  with nn.intercept_methods(count):
    variables = jax.eval_shape(_init(config, views), jax.random.key(0))
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    collection, *names, last = (key.key for key in path)
    trained = collection == "params"
    found[_part(names)] += Part(
      parameters=leaf.size if trained else 0,
      statistics=0 if trained else leaf.size,
      normalisations=int(last == "var"),
    )
  return dict(found)


def total(parts: dict[str, Part]) -> Part:
  """The sum of all parts."""
  return sum(parts.values(), Part())


def table(parts: dict[str, Part]) -> str:
  """Parameters and multiply-adds of each part and of all."""
  rows = [*sorted(parts.items()), ("total", total(parts))]
  lines = [f"{'part':<24}{'parameters':>14}{'GMAC':>10}"]
  lines += [f"{name:<24}{part.parameters:>14,}{part.macs / 1e9:>10.3f}" for name, part in rows]
  return "\n".join(lines)


def as_the_original_counts(parts: dict[str, Part]) -> str:
  """What the original's script would print for the same network (docs/parity.md)."""
  everything = total(parts)
  stored = everything.parameters + everything.statistics + everything.normalisations
  macs = everything.macs_by_output
  return (
    f"As the original counts: {stored:,} numbers in the state_dict; {macs / 1e9:.2f} GMAC, or "
    f"{(macs + 4 * everything.normalised) / 1e9:.2f} with 4 for each normalised value"
  )


def _init(config: Any, views: int):
  """A function of a key that runs the network once and returns its variables."""
  if config.task != "multiview":
    return tasks.build(config, axis_name=None).init
  size = config.data.image_size
  images = jnp.zeros((1, views, size, size, 3))
  eye = jnp.broadcast_to(jnp.eye(3), (1, views, 3, 3))
  cameras = Cameras(eye, eye, jnp.zeros((1, views, 3)))
  model = models.build(config.model, config.parity, axis_name=None)
  return lambda key: model.init(key, images, cameras, train=False)


def _count(module: nn.Module, args: tuple[Any, ...], out: Any) -> Part:
  """What one call of a module takes by itself, without the modules inside it."""
  if isinstance(module, features.EpipolarFusion):
    return Part(macs=_attention(module, *args[:3]))
  if isinstance(module, layers.BatchNorm):
    known = not isinstance(module.parent, features.EpipolarFusion)
    return Part(normalised=out.size if known else 0)
  if not isinstance(module, (layers.Conv, layers.ConvTranspose, nn.Dense)):
    return Part()
  kernel = module.get_variable("params", "kernel").size
  pixels = out.size // out.shape[-1]
  bias = out.size if module.has_variable("params", "bias") else 0
  by_output = kernel * pixels + bias
  if isinstance(module, layers.ConvTranspose):
    pixels = args[0].size // args[0].shape[-1]
  return Part(macs=kernel * pixels, macs_by_output=by_output)


def _attention(
  layer: features.EpipolarFusion, reference: jax.Array, source: jax.Array, samples: jax.Array
) -> int:
  """Reading samples (4 neighbours each), comparing and summing them."""
  n, p, k, _ = samples.shape
  embedded = set(layer.embeddings) & {"theta", "phi", "g"}
  width = source.shape[-1] // (layer.bottleneck if embedded else 1)
  reads = 2 if embedded & {"phi", "g"} else 1
  compared = k // 2 if layer.options.pooling else k
  return n * p * width * (4 * k * reads + 2 * compared)


def _part(names: Any) -> str:
  """First two names of a path; the deconvolutions and their normalisations are one part."""
  return "/".join(re.sub(r"deconv(_bn)?\d", "deconv", name) for name in names[:2])


def main(argv: list[str]) -> None:
  """Prints the table of the config that the flags name."""
  if len(argv) != 1:
    raise app.UsageError(f"expected flags only, got {argv[1:]}")
  options = flags.FLAGS
  # Only shapes are asked for: no device is looked for, nor missed aloud.
  jax.config.update("jax_platforms", "cpu")
  parts = measure(options.config, views=options.views)
  print(table(parts))
  if options.config.task == "multiview":
    print(as_the_original_counts(parts))


if __name__ == "__main__":
  # Here, not above: two tools that a test imports would both define it.
  config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
  flags.DEFINE_integer("views", 4, "Views of a frame.", lower_bound=2)
  flags.mark_flag_as_required("config")
  app.run(main)

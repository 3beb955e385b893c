"""How samples are compared and weighed: what all algorithms of the attention share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

ATTENTIONS = ("avg", "max")
SIMILARITIES = ("dot", "cos", "prior")
PRIORS = ("none", "add", "multiply")


class Options(NamedTuple):
  """How samples are compared and weighted (the original's EPIPOLAR.* switches).

  Attributes:
    attention: "avg" weights all samples, "max" takes the one of highest cosine similarity.
    similarity: "dot", "cos", or "prior" (the table alone; nothing is compared).
    softmax: False divides the similarity by k instead.
    scale: of the similarities before the softmax; the original's 1 / √64 follows neither k nor c.
    pooling: elementwise maximum of samples i and i + k / 2 before comparing.
    prior: how a given table enters: "none", "add" before or "multiply" after the softmax.
    zero_means_outside: parity: similarity exactly 0 is replaced by -1e10 and nothing else is
      masked, so a dead ReLU pixel counts as outside too. The right rule is the explicit mask.
  """

  attention: str = "avg"
  similarity: str = "dot"
  softmax: bool = True
  scale: float = 0.125
  pooling: bool = False
  prior: str = "none"
  zero_means_outside: bool = False

  def check(self):
    """Raises ValueError for an unknown choice."""
    for field, allowed in (
      ("attention", ATTENTIONS),
      ("similarity", SIMILARITIES),
      ("prior", PRIORS),
    ):
      if getattr(self, field) not in allowed:
        raise ValueError(f"{field} {getattr(self, field)!r} is not one of {allowed}")


DEFAULT_OPTIONS = Options()


def mask(samples: jax.Array, valid: jax.Array, size_hw: tuple[int, int]) -> jax.Array:
  """True for the samples [..., k, 2] of valid lines [...] that lie inside a pixel of the map."""
  h, w = size_hw
  upper = jnp.array([w - 0.5, h - 0.5], samples.dtype)
  upper = upper.reshape((1,) * (samples.ndim - 1) + (2,))
  inside = jnp.all((samples >= -0.5) & (samples <= upper), axis=-1)
  return inside & valid[..., None]


def weigh(
  scores: jax.Array, mask: jax.Array, prior: jax.Array | None, options: Options
) -> jax.Array:
  """Turns similarities [..., k] into weights [..., k]; masked ones weigh 0."""
  k = scores.shape[-1]
  if options.zero_means_outside:
    scores = jnp.where(scores == 0, -1e10, scores)
    mask = jnp.ones_like(mask)
  if options.attention == "max":
    best = jnp.argmax(jnp.where(mask, scores, -jnp.inf), axis=-1)
    return jax.nn.one_hot(best, k, dtype=scores.dtype) * mask
  if options.similarity == "prior":
    return jnp.where(mask, prior, 0.0)
  if options.prior == "add":
    scores = scores + prior
  if options.softmax:
    # The finite floor keeps a line without any valid sample free of inf - inf.
    scores = jnp.where(mask, scores * options.scale, -1e30)
    weights = jnp.where(mask, jax.nn.softmax(scores, axis=-1), 0.0)
  else:
    weights = jnp.where(mask, scores / k, 0.0)
  if options.prior == "multiply":
    weights = weights * prior
  return weights


def cosine(query: jax.Array, keys: jax.Array) -> jax.Array:
  """Cosine similarities [k] of query [c] and keys [k, c]; 0 for a zero vector."""
  square = jnp.sum(query * query) * jnp.sum(keys * keys, axis=-1)
  positive = square > 0
  norm = jnp.maximum(jnp.sqrt(jnp.where(positive, square, 1.0)), 1e-8)
  return jnp.where(positive, keys @ query / norm, 0.0)


def corners(points: jax.Array, size_hw: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
  """The four pixels around points [..., 2] and their bilinear weights, both [..., 4].

  Pixels are flat indices of the map, valid ones always; outside the map the weight is 0.
  """
  h, w = size_hw
  floor = jnp.floor(points)
  fraction = points - floor
  # Beyond one pixel outside nothing is read; clipping keeps the integers small.
  u = jnp.clip(floor[..., 0].astype(jnp.int32), -2, w)
  v = jnp.clip(floor[..., 1].astype(jnp.int32), -2, h)
  pixels, weights = [], []
  for dy in (0, 1):
    for dx in (0, 1):
      x, y = u + dx, v + dy
      inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
      weight = (fraction[..., 0] if dx else 1 - fraction[..., 0]) * (
        fraction[..., 1] if dy else 1 - fraction[..., 1]
      )
      pixels.append(jnp.where(inside, y * w + x, 0))
      weights.append(jnp.where(inside, weight, 0.0))
  return jnp.stack(pixels, axis=-1), jnp.stack(weights, axis=-1)


def sample(features: jax.Array, points: jax.Array) -> jax.Array:
  """Bilinear samples [k, c] of features [h, w, c] at points [k, 2], zeros outside."""
  h, w, c = features.shape
  rows = features.reshape(h * w, c)
  pixels, weights = corners(points, (h, w))
  return sum(weights[:, i, None] * rows[pixels[:, i]] for i in range(4))


def map_pixels(function: Callable[..., Any], arrays: Any, count: int) -> Any:
  """`function` of up to `count` pixels at a time, over arrays [p, ...]; its results [p, ...]."""
  total = jax.tree.leaves(arrays)[0].shape[0]
  blocks = -(-total // count)
  if blocks == 1:
    return function(arrays)
  count = -(-total // blocks)

  def split(x):
    x = jnp.pad(x, ((0, blocks * count - total),) + ((0, 0),) * (x.ndim - 1))
    return x.reshape(blocks, count, *x.shape[1:])

  outputs = jax.lax.map(function, jax.tree.map(split, arrays))
  return jax.tree.map(lambda x: x.reshape(blocks * count, *x.shape[2:])[:total], outputs)

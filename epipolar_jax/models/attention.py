"""Epipolar attention: every reference pixel looks at samples on its epipolar line in another view.

Three algorithms give the same numbers. `gather` reads k bilinear samples of every pixel at once
(p·k·c values: 1 GB for the paper's 64×64 map); `blocks` does the same for a few pixels at a time
and recomputes in the backward pass; `dense` compares every pixel with every pixel and interpolates
the *similarities*, with matrix products only.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

ATTENTIONS = ("avg", "max")
SIMILARITIES = ("dot", "cos", "prior")
PRIORS = ("none", "add", "multiply")
ALGORITHMS = ("auto", "gather", "blocks", "dense")

_BLOCK = 64  # Pixels: their samples fit a CPU's cache.


class Attended(NamedTuple):
  """What the attention saw.

  Attributes:
    out: [h, w, d], weighted sum of the samples' values; 0 where no sample is valid.
    weights: [p, k], of the samples (k / 2 with pooling); one-hot for `max`.
    best: [p] int, index of the sample with the largest weight (`match` looks it up).
  """

  out: jax.Array
  weights: jax.Array
  best: jax.Array


class Options(NamedTuple):
  """How samples are compared and weighted (the reference's EPIPOLAR.* switches).

  Attributes:
    attention: "avg" weights all samples, "max" takes the one of highest cosine similarity.
    similarity: "dot", "cos", or "prior" (the table alone; nothing is compared).
    softmax: False divides the similarity by k instead.
    scale: of the similarities before the softmax; the reference's 1 / √64 follows neither k nor c.
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


def attend_pairs(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array | None,
  samples: jax.Array,
  valid: jax.Array,
  *,
  prior: jax.Array | None = None,
  options: Options = DEFAULT_OPTIONS,
  algorithm: str = "auto",
) -> Attended:
  """`epipolar_attention` of n pairs of views: every argument and result with a leading axis n.

  One pair after the other on CPUs, where a pair at a time stays in the cache (5 times faster,
  measured), all at once elsewhere.
  """

  def attend(pair):
    query, key, value, samples, valid, prior = pair
    return epipolar_attention(
      query, key, value, samples, valid, prior=prior, options=options, algorithm=algorithm
    )

  pairs = (query, key, value, samples, valid, prior)
  if jax.default_backend() == "cpu":
    return jax.lax.map(attend, pairs)
  return jax.vmap(attend)(pairs)


def epipolar_attention(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array | None,
  samples: jax.Array,
  valid: jax.Array,
  *,
  prior: jax.Array | None = None,
  options: Options = DEFAULT_OPTIONS,
  algorithm: str = "auto",
) -> Attended:
  """Attends from each pixel of one reference view to its epipolar line in one source view.

  Args:
    query: [h, w, c], features of the reference view.
    key: [hs, ws, c], features of the source view that are compared.
    value: [hs, ws, d], features of the source view that are averaged; None: the keys.
    samples: [p, k, 2], (u, v) in source pixels, p = h·w in row order; not differentiated.
    valid: [p], False where the line misses the source map.
    prior: [p, k], table of the "prior" options.
    options: how to compare and weigh.
    algorithm: "gather", "blocks", "dense", or "auto" for what is fastest here.

  Returns:
    `Attended`; out is float32.

  Raises:
    ValueError: unknown option or algorithm, or one that the algorithm cannot do.

  References:
    He et al., Epipolar Transformers, CVPR 2020, section 3.
  """
  options.check()
  if algorithm not in ALGORITHMS:
    raise ValueError(f"algorithm {algorithm!r} is not one of {ALGORITHMS}")
  if options.similarity == "prior" or options.prior != "none":
    if prior is None:
      raise ValueError(f"similarity {options.similarity!r}, prior {options.prior!r} need a table")
  else:
    prior = None
  # `dense` interpolates similarities, which only works where they are linear in the sample.
  linear = options.attention == "avg" and options.similarity == "dot" and not options.pooling
  if algorithm == "auto":
    algorithm = "dense" if linear and jax.default_backend() != "cpu" else "blocks"
  if algorithm == "dense" and not linear:
    raise ValueError("algorithm 'dense' does attention 'avg', similarity 'dot', no pooling only")
  query, key, value, samples, valid, prior = jax.tree.map(
    jnp.asarray, (query, key, value, samples, valid, prior)
  )
  samples = jax.lax.stop_gradient(samples)
  attend = {"gather": _gather, "blocks": _blocks, "dense": _dense}[algorithm]
  h, w, c = query.shape
  rows = query.reshape(h * w, c)
  out, weights, best = attend(rows, key, value, samples, valid, prior, options)
  return Attended(out.reshape(h, w, -1), weights, best)


def warp(value: jax.Array, samples: jax.Array, weights: jax.Array) -> jax.Array:
  """Weighted sums of a map along lines, with weights from elsewhere: nothing is compared.

  Moves heatmaps or features to another view by what an attention saw.

  Args:
    value: [hs, ws, d], map of the source view; zero outside.
    samples: [p, k, 2], (u, v) in source pixels.
    weights: [p, k], such as `Attended.weights` (without pooling).

  Returns:
    [p, d] float32.
  """
  value = value.astype(jnp.float32)

  def at_pixel(pixel):
    samples, weights = pixel
    return weights @ _sample(value, samples)

  return jax.lax.map(at_pixel, (samples, weights), batch_size=_BLOCK)


def match(samples: jax.Array, best: jax.Array) -> jax.Array:
  """(u, v) [..., 2] of the best of the samples [..., k, 2], in source pixels."""
  return jnp.take_along_axis(samples, best[..., None, None], axis=-2)[..., 0, :]


def _mask(samples: jax.Array, valid: jax.Array, size_hw: tuple[int, int]) -> jax.Array:
  """True for the samples [..., k, 2] of valid lines [...] that lie inside a pixel of the map."""
  h, w = size_hw
  upper = jnp.array([w - 0.5, h - 0.5], samples.dtype)
  upper = upper.reshape((1,) * (samples.ndim - 1) + (2,))
  inside = jnp.all((samples >= -0.5) & (samples <= upper), axis=-1)
  return inside & valid[..., None]


def _weigh(
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


def _sample(features: jax.Array, points: jax.Array) -> jax.Array:
  """Bilinear samples [k, c] of features [h, w, c] at points [k, 2], zeros outside."""
  h, w, c = features.shape
  rows = features.reshape(h * w, c)
  floor = jnp.floor(points)
  fraction = points - floor
  # Beyond one pixel outside nothing is read; clipping keeps the integers small.
  upper = jnp.array([[w, h]], jnp.int32)
  corner = jnp.clip(floor.astype(jnp.int32), -2, upper)
  total = jnp.zeros((points.shape[0], c), jnp.float32)
  for dy in (0, 1):
    for dx in (0, 1):
      u, v = corner[:, 0] + dx, corner[:, 1] + dy
      inside = (u >= 0) & (u < w) & (v >= 0) & (v < h)
      weight = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (
        fraction[:, 1] if dy else 1 - fraction[:, 1]
      )
      index = jnp.where(inside, v * w + u, 0)
      total = total + jnp.where(inside, weight, 0.0)[:, None] * rows[index]
  return total


def _attend_pixel(query, samples, valid, prior, key, value, options):
  """One pixel: query [c], samples [k, 2], prior [k] or None -> out [d], weights, best index."""
  keys = _sample(key, samples)
  values = keys if value is None else _sample(value, samples)
  mask = _mask(samples, valid, key.shape[:2])
  by_angle = options.attention == "max" or options.similarity == "cos"
  compare = cosine if by_angle else (lambda q, x: x @ q)
  scores = compare(query, keys)
  halves = None
  if options.pooling:
    halves = jnp.where(mask, scores, -jnp.inf).reshape(2, -1)
    # Not `max(axis=0)`: its gradient asks which value *equals* the maximum, and a recomputed value
    # (`_blocks`) may differ in the last bit.
    keys = jnp.maximum(*jnp.split(keys, 2))
    values = jnp.maximum(*jnp.split(values, 2))
    mask = mask.reshape(2, -1).any(axis=0)
    scores = compare(query, keys)
  weights = _weigh(scores, mask, prior, options)
  best = jnp.argmax(weights)
  if halves is not None:
    best = best + jnp.argmax(halves[:, best]) * weights.shape[0]
  return weights @ values, weights, best


def _gather(query, key, value, samples, valid, prior, options):
  """All pixels at once, query [p, c]."""
  key = key.astype(jnp.float32)
  value = None if value is None else value.astype(jnp.float32)
  attend = functools.partial(_attend_pixel, key=key, value=value, options=options)
  return jax.vmap(attend)(query.astype(jnp.float32), samples, valid, prior)


def _blocks(query, key, value, samples, valid, prior, options):
  """`_BLOCK` pixels at a time; the backward pass recomputes the samples of a block."""

  @jax.checkpoint
  def attend(block):
    query, samples, valid, prior = block
    return _gather(query, key, value, samples, valid, prior, options)

  count = query.shape[0]
  blocks = -(-count // _BLOCK)
  fill = blocks * _BLOCK - count

  def split(x):
    x = jnp.pad(x, ((0, fill),) + ((0, 0),) * (x.ndim - 1))
    return x.reshape(blocks, _BLOCK, *x.shape[1:])

  outputs = jax.lax.map(attend, jax.tree.map(split, (query, samples, valid, prior)))
  return jax.tree.map(lambda x: x.reshape(blocks * _BLOCK, *x.shape[2:])[:count], outputs)


def _dense(query, key, value, samples, valid, prior, options):
  """Similarities of all pixel pairs, interpolated along the lines by two hat functions.

  Bilinear interpolation is separable: the weight of pixel (x, y) for a sample (u, v) is
  hat(u - x) hat(v - y) with hat(t) = max(0, 1 - |t|), and 0 outside the map by itself.
  """
  h, w, _ = key.shape
  p = query.shape[0]
  value = key if value is None else value
  hat_x = _hat(samples[..., 0], w)
  hat_y = _hat(samples[..., 1], h)
  similarity = jnp.einsum(
    "pc,yxc->pyx", query, key.astype(query.dtype), preferred_element_type=jnp.float32
  )
  scores = jnp.sum(jnp.einsum("pyx,pkx->pky", similarity, hat_x) * hat_y, axis=-1)
  weights = _weigh(scores, _mask(samples, valid, (h, w)), prior, options)
  spread = jnp.einsum("pky,pkx->pyx", weights[..., None] * hat_y, hat_x)
  out = spread.reshape(p, h * w) @ value.reshape(h * w, -1).astype(jnp.float32)
  return out, weights, jnp.argmax(weights, axis=-1)


def _hat(coordinate: jax.Array, size: int) -> jax.Array:
  """Interpolation weights [..., size] of the pixels 0..size-1 at a coordinate [...]."""
  pixels = jnp.arange(size, dtype=coordinate.dtype)
  pixels = pixels.reshape((1,) * coordinate.ndim + (size,))
  return jnp.maximum(0.0, 1.0 - jnp.abs(coordinate[..., None] - pixels))

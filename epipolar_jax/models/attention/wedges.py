"""Epipolar attention with a fast backward pass: pixels that look at the same place, together.

Forward, the samples of a few pixels at a time fit the cache (`gather.attend_in_blocks`). Backward,
adding the gradients of so many samples to the source map takes ten times as long. But sorted by
where their lines leave the source map, a row's worth of reference pixels shares a wedge of lines so
thin that all their samples touch some 200 of the map's 4096 pixels (64×64 map, 64 samples). So one
small matrix product gives the similarities of a block with these, samples only pick and interpolate
*numbers*, and the gradients of a wedge are a product, too. The sorting is a matter of speed alone:
samples may lie anywhere, and a block that touches more of the map takes more than one product.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.models.attention import gather, weighing

# Source pixels compared at once, in sides of the source map: enough for nearly every wedge, unless
# the epipole is in the map.
_ROOM = 4


class _Wedges(NamedTuple):
  """Which source pixels the samples of n blocks of b pixels touch.

  Attributes:
    order: [n·b], the reference pixel at each place of the blocks; the last one is repeated.
    corner: [n, b, 4k], flat source pixels around each sample.
    share: [n, b, 4k], their bilinear weights; 0 outside the map.
    rank: [n, hs·ws], for a touched source pixel: its number in the block.
    touched: [n, hs·ws] bool.
  """

  order: jax.Array
  corner: jax.Array
  share: jax.Array
  rank: jax.Array
  touched: jax.Array


class _Wedge(NamedTuple):
  """The part of the source map that one block looks at, in m pieces of u pixels.

  Attributes:
    pixels: [m·u], flat source pixels: those that are touched, then zeros.
    pieces: [] int, how many of the m hold any.
    place: [b, 4k], where in `pixels` the corners of each sample are.
    share: [b, 4k], their bilinear weights.
    room: u.
  """

  pixels: jax.Array
  pieces: jax.Array
  place: jax.Array
  share: jax.Array
  room: int


def attend(query, key, value, samples, valid, prior, options):
  """`gather.attend_in_blocks`, for options that are linear in the samples, backward by wedges."""
  query, key = query.astype(jnp.float32), key.astype(jnp.float32)
  value = None if value is None else value.astype(jnp.float32)
  out, weights = _attend(query, key, value, samples, valid, prior, options)
  return out, weights, jnp.argmax(weights, axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def _attend(query, key, value, samples, valid, prior, options):
  return gather.attend_in_blocks(query, key, value, samples, valid, prior, options)[:2]


def _forward(*inputs):
  return _attend(*inputs), inputs[:-1]


def _backward(options, inputs, cotangents):
  query, key, value, samples, valid, prior = inputs
  size_hw = key.shape[:2]
  plan = _plan(samples, size_hw)
  keys, values = _rows(key), _rows(key if value is None else value)

  def block(totals, x):
    (query, mask, prior, out_bar, weights_bar), lines, real = x
    wedge = _cut(lines, max(size_hw))
    out_bar, weights_bar = out_bar * real[:, None], weights_bar * real[:, None]
    scores = _compare(query, keys, wedge)
    weigh = functools.partial(weighing.weigh, options=options)
    weights, back = jax.vjp(lambda scores, prior: weigh(scores, mask, prior), scores, prior)
    scores_bar, prior_bar = back(weights_bar + _compare(out_bar, values, wedge))

    def add(piece, sums):
      query_bar, keys_bar, values_bar = sums
      pixels = _pixels(wedge, piece)
      spread = _spread(scores_bar, wedge, piece)
      query_bar = query_bar + spread @ keys[pixels]
      bar = _spread(weights, wedge, piece).T @ out_bar
      if value is None:
        bar = bar + spread.T @ query
        return query_bar, None, values_bar.at[pixels].add(bar)
      keys_bar = keys_bar.at[pixels].add(spread.T @ query)
      return query_bar, keys_bar, values_bar.at[pixels].add(bar)

    sums = jax.lax.fori_loop(0, wedge.pieces, add, (jnp.zeros_like(query), *totals))
    return sums[1:], (sums[0], prior_bar)

  mask = weighing.mask(samples, valid, size_hw)
  blocks = _in_blocks(plan, (query, mask, prior, *cotangents))
  # A pixel that only fills the last block must not count twice.
  real = jnp.arange(len(plan.order)) < len(query)
  real = real.reshape(plan.corner.shape[:2])
  start = None if value is None else jnp.zeros_like(keys), jnp.zeros_like(values)
  (keys_bar, values_bar), of_pixels = jax.lax.scan(block, start, (blocks, plan[1:], real))
  query_bar, prior_bar = _in_order(plan, len(query), of_pixels)
  if value is None:
    return query_bar, values_bar.reshape(key.shape), None, None, None, prior_bar
  bars = keys_bar.reshape(key.shape), values_bar.reshape(value.shape)
  return query_bar, *bars, None, None, prior_bar


_attend.defvjp(_forward, _backward)


def _plan(samples: jax.Array, size_hw: tuple[int, int]) -> _Wedges:
  """Sorts the pixels into blocks of about one line each, and finds what each block touches."""
  h, w = size_hw
  p, k, _ = samples.shape
  b = math.isqrt(p)
  n = -(-p // b)
  # Seen from the middle of the map, the ends of neighbouring lines are neighbours on its border.
  end = samples[:, -1]
  order = jnp.argsort(jnp.arctan2(end[:, 1] - (h - 1) / 2, end[:, 0] - (w - 1) / 2))
  order = jnp.pad(order, (0, n * b - p), mode="edge")
  corner, share = weighing.corners(samples[order], size_hw)
  corner, share = corner.reshape(n, b, 4 * k), share.reshape(n, b, 4 * k)
  block = jnp.broadcast_to(jnp.arange(n).reshape(n, 1, 1), corner.shape)
  # What lies outside has no share: it is not counted.
  seen = jnp.where(share != 0, corner, h * w)
  touched = jnp.zeros((n, h * w), bool).at[block, seen].set(True, mode="drop")
  rank = jnp.maximum(jnp.cumsum(touched, axis=-1, dtype=jnp.int32) - 1, 0)
  return _Wedges(order, corner, share, rank, touched)


def _cut(lines: tuple[jax.Array, ...], side: int) -> _Wedge:
  """The wedge of one block from its corner, share, rank and touched."""
  corner, share, rank, touched = lines
  room = min(_ROOM * side, len(rank))
  size = -(-len(rank) // room) * room
  place = jnp.where(touched, rank, size)
  pixels = jnp.zeros(size, jnp.int32).at[place].set(jnp.arange(len(rank)), mode="drop")
  return _Wedge(pixels, rank[-1] // room + 1, rank[corner], share, room)


def _pixels(wedge: _Wedge, piece: jax.Array) -> jax.Array:
  """Flat source pixels [u] of one piece."""
  return jax.lax.dynamic_slice(wedge.pixels, (piece * wedge.room,), (wedge.room,))


def _within(wedge: _Wedge, piece: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Places [b, 4k] in one piece and shares [b, 4k], 0 for corners that are in other pieces."""
  place = wedge.place - piece * wedge.room
  inside = (place >= 0) & (place < wedge.room)
  return jnp.where(inside, place, 0), jnp.where(inside, wedge.share, 0.0)


def _compare(query: jax.Array, keys: jax.Array, wedge: _Wedge) -> jax.Array:
  """Products [b, k] of each query [b, c] with the map's rows [hs·ws, c] at its samples."""
  b = len(query)

  def add(piece, total):
    products = query @ keys[_pixels(wedge, piece)].T
    place, share = _within(wedge, piece)
    near = jnp.take_along_axis(products, place, axis=1, mode="promise_in_bounds")
    return total + jnp.sum((near * share).reshape(b, -1, 4), axis=-1)

  return jax.lax.fori_loop(0, wedge.pieces, add, jnp.zeros((b, wedge.share.shape[1] // 4)))


def _spread(numbers: jax.Array, wedge: _Wedge, piece: jax.Array) -> jax.Array:
  """Numbers [b, k] of the samples, added up at the source pixels of one piece [b, u]."""
  place, share = _within(wedge, piece)
  row = jnp.broadcast_to(jnp.arange(len(numbers))[:, None], place.shape)
  each = jnp.repeat(numbers, 4, axis=1) * share
  return jnp.zeros((len(numbers), wedge.room)).at[row, place].add(each, mode="promise_in_bounds")


def _rows(feature: jax.Array) -> jax.Array:
  return feature.reshape(-1, feature.shape[-1])


def _in_blocks(plan: _Wedges, arrays):
  """Arrays [p, ...] of reference pixels -> [n, b, ...]."""
  shape = plan.corner.shape[:2]
  return jax.tree.map(lambda x: x[plan.order].reshape(*shape, *x.shape[1:]), arrays)


def _in_order(plan: _Wedges, count: int, arrays):
  """The inverse of `_in_blocks`."""

  def restore(x):
    x = x.reshape(-1, *x.shape[2:])[:count]
    return jnp.zeros_like(x).at[plan.order[:count]].set(x, unique_indices=True)

  return jax.tree.map(restore, arrays)

"""Epipolar attention for NVIDIA GPUs: kernels that read the samples' pixels straight from the map.

One program for each reference pixel; the source map stays in the L2 cache and no sampled feature is
ever written. Two Pallas kernels (Triton), each the gradient of the other; both run in interpret
mode on CPUs, for tests. Not measured on a GPU yet: nothing chooses them by itself. jax 0.12 warns
that Pallas will drop Triton one day; then they have to move to its Mosaic backend.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from epipolar_jax.models.attention import weighing

# Rows of the source map that a program holds at once: with 256 channels, 64 of 4 warps' registers.
_ROWS = 32
# Entries of the table through which gradients go back to the source map: 64 MB of float32.
_TABLE = 1 << 24


def attend(query, key, value, samples, valid, prior, options):
  """`gather.attend` for options that are linear in the samples."""
  size_hw = key.shape[:2]
  query, key, value = [x if x is None else x.astype(jnp.float32) for x in (query, key, value)]
  keys = key.reshape(-1, key.shape[-1])
  values = keys if value is None else value.reshape(-1, value.shape[-1])
  corner, share = weighing.corners(samples, size_hw)
  p, k, _ = corner.shape
  near = _dots(query, keys, corner.reshape(p, 4 * k)).reshape(p, k, 4)
  mask = weighing.mask(samples, valid, size_hw)
  weights = weighing.weigh(jnp.sum(near * share, axis=-1), mask, prior, options)
  factors = (weights[..., None] * share).reshape(p, 4 * k)
  out = _sums(factors, values, corner.reshape(p, 4 * k))
  return out, weights, jnp.argmax(weights, axis=-1)


@jax.custom_vjp
def _dots(query: jax.Array, keys: jax.Array, index: jax.Array) -> jax.Array:
  """Products [p, n] of each query [p, c] with rows `index` [p, n] of the keys [r, c]."""
  n = index.shape[1]
  index = _fill(index, _ROWS)
  query, keys = _fill(query, _power(query.shape[1])), _fill(keys, _power(keys.shape[1]))
  return _run(_dots_kernel, query, keys, index, width=index.shape[1])[:, :n]


def _dots_backward(inputs, bar):
  query, keys, index = inputs
  return _sums(bar, keys, index), _scatter(bar, query, index, len(keys)), None


_dots.defvjp(lambda *inputs: (_dots(*inputs), inputs), _dots_backward)


@jax.custom_vjp
def _sums(factors: jax.Array, values: jax.Array, index: jax.Array) -> jax.Array:
  """Sums [p, d] over rows `index` [p, n] of the values [r, d], each times its factor [p, n]."""
  d = values.shape[1]
  factors, index = _fill(factors, _ROWS), _fill(index, _ROWS)
  values = _fill(values, _power(d))
  return _run(_sums_kernel, factors, values, index, width=values.shape[1])[:, :d]


def _sums_backward(inputs, bar):
  factors, values, index = inputs
  return _dots(bar, values, index), _scatter(factors, bar, index, len(values)), None


_sums.defvjp(lambda *inputs: (_sums(*inputs), inputs), _sums_backward)


def _scatter(factors: jax.Array, rows: jax.Array, index: jax.Array, size: int) -> jax.Array:
  """Adds rows [p, c] times factors [p, n] to the rows `index` [p, n] of a zero array [size, c].

  Numbers are scattered, not rows; a matrix product does the rest.
  """

  def add(total, x):
    factors, rows, index = x
    row = jnp.broadcast_to(jnp.arange(len(index))[:, None], index.shape)
    table = jnp.zeros((len(index), size)).at[row, index].add(factors)
    return total + table.T @ rows, None

  p = len(rows)
  blocks = -(-p * size // _TABLE)
  count = -(-p // blocks)
  split = [
    jnp.pad(x, ((0, blocks * count - p), (0, 0))).reshape(blocks, count, -1)
    for x in (factors, rows, index)
  ]
  return jax.lax.scan(add, jnp.zeros((size, rows.shape[1])), tuple(split))[0]


def _dots_kernel(query_ref, keys_ref, index_ref, out_ref):
  query = query_ref[0, :][None, :]

  def some(i, _):
    at = pl.ds(i * _ROWS, _ROWS)
    rows = keys_ref[index_ref[0, at], :]
    out_ref[0, at] = jnp.sum(rows * query, axis=1)

  jax.lax.fori_loop(0, index_ref.shape[1] // _ROWS, some, None)


def _sums_kernel(factors_ref, values_ref, index_ref, out_ref):
  def some(i, total):
    at = pl.ds(i * _ROWS, _ROWS)
    rows = values_ref[index_ref[0, at], :]
    return total + jnp.sum(rows * factors_ref[0, at][:, None], axis=0)

  start = jnp.zeros(values_ref.shape[1], jnp.float32)
  out_ref[0, :] = jax.lax.fori_loop(0, index_ref.shape[1] // _ROWS, some, start)


def _run(kernel, own: jax.Array, rows: jax.Array, index: jax.Array, *, width: int) -> jax.Array:
  """Runs a kernel for each pixel: own [p, .], the map's rows [r, .], index [p, n] -> [p, width]."""

  def run(own, rows, index, *, interpret):
    def of_pixel(size):
      return pl.BlockSpec((1, size), lambda i: (i, 0))

    return pl.pallas_call(
      kernel,
      out_shape=jax.ShapeDtypeStruct((len(own), width), jnp.float32),
      grid=(len(own),),
      in_specs=[
        of_pixel(own.shape[1]),
        pl.BlockSpec(rows.shape, lambda i: (0, 0)),
        of_pixel(index.shape[1]),
      ],
      out_specs=of_pixel(width),
      compiler_params=triton.CompilerParams(num_warps=4),
      interpret=interpret,
    )(own, rows, index)

  return jax.lax.platform_dependent(
    *(own, rows, index),
    cpu=functools.partial(run, interpret=True),
    cuda=functools.partial(run, interpret=False),
  )


def _fill(x: jax.Array, multiple: int) -> jax.Array:
  """Zeros after the last column of x [r, n], up to a multiple."""
  return jnp.pad(x, ((0, 0), (0, -x.shape[1] % multiple)))


def _power(size: int) -> int:
  """The next power of two: Triton has no other shapes."""
  return 1 << (size - 1).bit_length()

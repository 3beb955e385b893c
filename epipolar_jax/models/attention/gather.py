"""The plain way: the features at every sample, for all pixels at once or block by block."""

import functools

import jax
import jax.numpy as jnp

from epipolar_jax.models.attention import formula, weighing

BLOCK = 64  # Pixels: their samples fit a CPU's cache.


def _attend_pixel(query, samples, valid, prior, key, value, options):
  """One pixel: query [c], samples [k, 2], prior [k] or None -> out [d], weights, best index."""
  keys = weighing.sample(key, samples)
  values = keys if value is None else weighing.sample(value, samples)
  mask = weighing.mask(samples, valid, key.shape[:2])
  if options == weighing.DEFAULT_OPTIONS._replace(scale=options.scale):
    out, weights = formula.attend(query, keys, values, mask, scale=options.scale)
    return out, weights, jnp.argmax(weights)
  by_angle = options.attention == "max" or options.similarity == "cos"
  compare = weighing.cosine if by_angle else (lambda q, x: x @ q)
  scores = compare(query, keys)
  halves = None
  if options.pooling:
    halves = jnp.where(mask, scores, -jnp.inf).reshape(2, -1)
    keys, values = (_larger(*jnp.split(x, 2)) for x in (keys, values))
    mask = mask.reshape(2, -1).any(axis=0)
    scores = compare(query, keys)
  weights = weighing.weigh(scores, mask, prior, options)
  best = jnp.argmax(weights)
  if halves is not None:
    best = best + jnp.argmax(halves[:, best]) * weights.shape[0]
  return weights @ values, weights, best


def _larger(a, b):
  """The maximum. The gradients of `max` and `jnp.maximum` ask which value *equals* it, and a value
  that is computed again (`attend_in_blocks`) may differ in the last bit."""
  return jnp.where(a >= b, a, b)


def attend(query, key, value, samples, valid, prior, options):
  """All pixels at once, query [p, c]."""
  key = key.astype(jnp.float32)
  value = None if value is None else value.astype(jnp.float32)
  attend = functools.partial(_attend_pixel, key=key, value=value, options=options)
  return jax.vmap(attend)(query.astype(jnp.float32), samples, valid, prior)


def attend_in_blocks(query, key, value, samples, valid, prior, options):
  """`BLOCK` pixels at a time; the backward pass recomputes the samples of a block."""

  @jax.checkpoint
  def block(pixels):
    query, samples, valid, prior = pixels
    return attend(query, key, value, samples, valid, prior, options)

  return weighing.map_pixels(block, (query, samples, valid, prior), BLOCK)

"""Epipolar attention with matrix products only: every pixel with every pixel of the source.

What TPUs like: no gather, no scatter, forward and backward. Some hundred reference pixels at a
time, so the table of similarities stays small.
"""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import sampling
from epipolar_jax.models.attention import weighing

# Similarities held at once: 8 MB of float32; 512 pixels with a 64×64 map.
_TABLE = 1 << 21
# Interpolation is geometry; products of features are as exact as the platform's default.
_EXACT = jax.lax.Precision.HIGHEST


def attend(query, key, value, samples, valid, prior, options):
  """`gather.attend` for options that are linear in the samples.

  Bilinear interpolation is separable: the weight of pixel (x, y) for a sample (u, v) is
  hat(u - x) hat(v - y) with hat(t) = max(0, 1 - |t|), and 0 outside the map by itself.
  """
  h, w, _ = key.shape
  value = key if value is None else value

  @jax.checkpoint
  def some(pixels):
    query, samples, valid, prior = pixels
    hat_x = sampling.hat(samples[..., 0], size=w)
    hat_y = sampling.hat(samples[..., 1], size=h)
    similarity = jnp.einsum(
      "pc,yxc->pyx", query, key.astype(query.dtype), preferred_element_type=jnp.float32
    )
    across = jnp.einsum("pyx,pkx->pky", similarity, hat_x, precision=_EXACT)
    scores = jnp.sum(across * hat_y, axis=-1)
    weights = weighing.weigh(scores, weighing.mask(samples, valid, (h, w)), prior, options)
    spread = jnp.einsum("pky,pkx->pyx", weights[..., None] * hat_y, hat_x, precision=_EXACT)
    out = spread.reshape(-1, h * w) @ value.reshape(h * w, -1).astype(jnp.float32)
    return out, weights, jnp.argmax(weights, axis=-1)

  return weighing.map_pixels(some, (query, samples, valid, prior), max(1, _TABLE // (h * w)))

"""The paper's attention: one reference pixel and the samples on its epipolar line."""

import jax
import jax.numpy as jnp


def attend(
  query: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array, *, scale: float
) -> tuple[jax.Array, jax.Array]:
  """What one pixel takes from its line: sum_i softmax_i(scale * query · key_i) value_i.

  Args:
    query: [c], the reference view's feature.
    keys: [k, c], the source view's features at the samples.
    values: [k, d], what is averaged there; the paper's values are the keys.
    mask: [k], False for samples outside the source map or of a line that misses it.
    scale: of the similarities.

  Returns:
    out: [d], 0 where no sample counts.
    weights: [k], sum 1, or 0 where no sample counts.

  References:
    He et al., Epipolar Transformers, CVPR 2020, section 3.2.
  """
  # A finite floor keeps a line without any sample free of inf - inf.
  scores = jnp.where(mask, scale * (keys @ query), -1e30)
  weights = jnp.where(mask, jax.nn.softmax(scores), 0.0)
  return weights @ values, weights

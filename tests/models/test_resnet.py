import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import resnet


def test_rectified_sum_is_relu_of_the_sum():
  a = np.float32([1, -3, 2, -2, np.inf, -np.inf, np.nan, 1])
  b = np.float32([2, 1, -2, 0.5, 1, 1, 1, np.nan])
  want, pull_want = jax.vjp(lambda a, b: jax.nn.relu(a + b), a, b)
  got, pull_got = jax.vjp(resnet._rectified_sum, a, b)
  np.testing.assert_array_equal(got, want)  # a NaN stays one
  finite = slice(0, 6)
  for ours, theirs in zip(pull_got(jnp.ones(8)), pull_want(jnp.ones(8)), strict=True):
    np.testing.assert_array_equal(ours[finite], theirs[finite])
    assert ours[2] == 0  # where the sum is 0, as PyTorch has it

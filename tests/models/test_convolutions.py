import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.models import convolutions


def _conv(x, kernel, stride, padding, dilation=1):
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    (padding, padding),
    lhs_dilation=(dilation, dilation),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _pool(x):
  return jax.lax.reduce_window(
    x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
  )


_CASES = {
  # name: (function, plain form, input shape, kernel shape)
  "pointwise": (
    convolutions.pointwise,
    lambda x, k: _conv(x, k, 1, (0, 0)),
    (6, 4, 5),
    (1, 1, 5, 3),
  ),
  "pointwise_widening": (
    convolutions.pointwise,
    lambda x, k: _conv(x, k, 1, (0, 0)),
    (6, 4, 3),
    (1, 1, 3, 5),
  ),
  "pointwise_strided": (
    lambda x, k: convolutions.pointwise(x, k, stride=2),
    lambda x, k: _conv(x, k, 2, (0, 0)),
    (6, 4, 5),
    (1, 1, 5, 3),
  ),
  "stem": (convolutions.stem_7x7, lambda x, k: _conv(x, k, 2, (3, 3)), (8, 12, 3), (7, 7, 3, 4)),
  "transposed": (
    convolutions.transposed_4x4,
    lambda x, k: _conv(x, k[::-1, ::-1], 1, (2, 2), dilation=2),
    (3, 5, 4),
    (4, 4, 4, 6),
  ),
  "pool": (lambda x, k: convolutions.max_pool_3x3(x), lambda x, k: _pool(x), (6, 8, 3), (1,)),
}


@pytest.mark.parametrize("name", _CASES)
def test_fast_forms_equal_plain_ones_and_their_gradients(name):
  fast, plain, shape, kernel_shape = _CASES[name]
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, *shape)).astype(np.float32)
  kernel = rng.normal(size=kernel_shape).astype(np.float32)
  want, pull_plain = jax.vjp(plain, x, kernel)
  got, pull_fast = jax.vjp(fast, x, kernel)
  np.testing.assert_allclose(got, want, atol=2e-5)
  cotangent = rng.normal(size=want.shape).astype(np.float32)
  for ours, theirs in zip(pull_fast(cotangent), pull_plain(cotangent)):
    np.testing.assert_allclose(ours, theirs, atol=5e-5)


def test_of_equal_maxima_the_first_gets_the_gradient():
  x = np.zeros((1, 4, 4, 1), np.float32)
  gradient = jax.grad(lambda x: jnp.sum(convolutions.max_pool_3x3(x)))(x)[0, :, :, 0]
  want = np.zeros((4, 4))
  want[0, 0] = want[0, 1] = want[1, 0] = want[1, 1] = 1
  np.testing.assert_array_equal(gradient, want)
  x[0, 3, 3] = np.nan
  assert np.isnan(convolutions.max_pool_3x3(x)[0, 1, 1, 0])


def test_both_ways_to_the_gradients_of_the_deconvolution_agree():
  """CPUs take the products; what everything else takes would not run here."""
  rng = np.random.default_rng(0)
  x, kernel, gradient = (
    rng.normal(size=shape).astype(np.float32)
    for shape in ((2, 3, 5, 4), (4, 4, 4, 6), (2, 6, 10, 6))
  )
  by_products = convolutions._gradients_by_products(x, kernel, gradient)
  by_parities = convolutions._gradients_by_parities(x, kernel, gradient)
  for products, parities in zip(by_products, by_parities, strict=True):
    np.testing.assert_allclose(products, parities, atol=5e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [6, 7])
def test_same_padding_is_that_of_lax(size, stride):
  rng = np.random.default_rng(size)
  x = jnp.asarray(rng.normal(size=(2, size, size + 1, 4)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(3, 3, 4, 5)), jnp.float32)
  plain = jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  np.testing.assert_allclose(convolutions.same(x, kernel, stride=stride), plain, atol=1e-5)
  grouped = jax.lax.conv_general_dilated(
    x,
    kernel[:, :, :1, :4],
    (stride, stride),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=4,
  )
  ours = convolutions.depthwise_3x3(x, kernel[:, :, 0, :4], stride=stride)
  np.testing.assert_allclose(ours, grouped, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_depthwise_gradient_is_that_of_lax(stride):
  rng = np.random.default_rng(stride)
  x = jnp.asarray(rng.normal(size=(3, 6, 7, 4)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(3, 3, 4)), jnp.float32)
  gradient = jnp.asarray(rng.normal(size=(3, -(-6 // stride), -(-7 // stride), 4)), jnp.float32)

  def grouped(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel[:, :, None],
      (stride, stride),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=4,
    )

  def ours(x, kernel):
    return convolutions.depthwise_3x3(x, kernel, stride=stride)

  of_x, of_kernel = jax.vjp(grouped, x, kernel)[1](gradient)
  our_x, our_kernel = jax.vjp(ours, x, kernel)[1](gradient)
  np.testing.assert_allclose(our_x, of_x, atol=1e-5)
  np.testing.assert_allclose(our_kernel, of_kernel, atol=1e-4)
  # What other devices than CPUs run.
  elsewhere = convolutions._kernel_gradient(x, gradient, stride=stride).reshape(3, 3, 4)
  np.testing.assert_allclose(elsewhere, of_kernel, atol=1e-4)

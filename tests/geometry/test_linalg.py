"""Small linear algebra: laws and float64 numpy, what is degenerate, gradients, batches, types."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.geometry import linalg


def _random(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


_FUNCTIONS = {
  "safe_divide": (linalg.safe_divide, ((3,), (3,))),
  "safe_sqrt": (lambda x: linalg.safe_sqrt(x * x + 0.1), ((4,),)),
  "safe_norm": (linalg.safe_norm, ((3,),)),
  "cross_matrix": (linalg.cross_matrix, ((3,),)),
  "matmul": (linalg.matmul, ((2, 3), (3, 4))),
  "einsum": (functools.partial(linalg.einsum, "ij,kj->ik"), ((2, 3), (4, 3))),
  "smallest_eigenvector": (
    # Its sign is arbitrary.
    lambda x: jnp.square(linalg.smallest_eigenvector(x @ x.T)),
    ((4, 4),),
  ),
}


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_menu(name):
  """Float32 stays float32; jit and vmap change nothing; gradients are finite differences."""
  function, shapes = _FUNCTIONS[name]
  many = [_random(3, *shape, seed=i) for i, shape in enumerate(shapes)]
  each = [np.asarray(function(*(x[i] for x in many))) for i in range(3)]
  assert each[0].dtype == np.float32
  np.testing.assert_allclose(jax.jit(jax.vmap(function))(*many), each, rtol=1e-4, atol=1e-5)

  one = [x[0] for x in many]
  weight = _random(*each[0].shape, seed=9)

  @jax.jit
  @jax.value_and_grad
  def total(arguments):
    return jnp.sum(weight * function(*arguments))

  _, gradient = total(one)
  for n, x in enumerate(one):
    direction = _random(*x.shape, seed=20 + n)
    ends = [total([*one[:n], x + s * 1e-2 * direction, *one[n + 1 :]])[0] for s in (1, -1)]
    slope = float(jnp.sum(gradient[n] * direction))
    assert slope == pytest.approx(float(ends[0] - ends[1]) / 2e-2, rel=0.02, abs=2e-3)


def test_products_are_those_of_float64():
  a, b = _random(7, 5), _random(5, 6, seed=1)
  exact = np.asarray(a, np.float64) @ np.asarray(b, np.float64)
  np.testing.assert_allclose(linalg.matmul(a, b), exact, atol=1e-5)
  np.testing.assert_allclose(linalg.einsum("ij,jk->ik", a, b), exact, atol=1e-5)
  for product in (linalg.matmul, functools.partial(linalg.einsum, "ij,jk->ik")):
    assert "HIGHEST" in str(jax.make_jaxpr(product)(a, b)), "TF32 or bf16 would be allowed"


def test_cross_matrix_is_the_cross_product():
  x, y = _random(3), _random(3, seed=1)
  np.testing.assert_allclose(linalg.cross_matrix(x) @ y, np.cross(x, y), atol=1e-6)


@pytest.mark.parametrize(
  ("function", "value", "at_zero"),
  [
    (lambda x: linalg.safe_divide(jnp.float32(2.0), x), 0.0, 0.0),
    (lambda x: linalg.safe_divide(jnp.float32(2.0), x, fallback=7.0), 7.0, 0.0),
    (linalg.safe_sqrt, 0.0, 0.0),
    (lambda x: linalg.safe_norm(jnp.stack([x, x])), 0.0, 0.0),
  ],
)
def test_at_zero_there_is_a_value_and_no_gradient(function, value, at_zero):
  found, gradient = jax.jit(jax.value_and_grad(function))(jnp.float32(0.0))
  assert found == value and gradient == at_zero
  below = linalg.safe_sqrt(jnp.float32(-1.0))
  assert below == 0.0


@pytest.mark.parametrize("equal", ["none", "the largest", "the smallest", "all"])
def test_smallest_eigenvector_and_its_gradient_where_eigenvalues_are_equal(equal):
  values = np.array(
    {"none": [1, 2, 3, 4], "the largest": [1, 2, 4, 4], "the smallest": [1, 1, 3, 4]}.get(
      equal, [2, 2, 2, 2]
    ),
    np.float32,
  )
  basis = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype(np.float32)
  matrix = jnp.asarray(basis * values @ basis.T)
  vector = linalg.smallest_eigenvector(matrix)
  np.testing.assert_allclose(matrix @ vector, values[0] * vector, atol=1e-5)
  np.testing.assert_allclose(linalg.safe_norm(vector), 1.0, atol=1e-6)
  gradient = jax.grad(lambda m: linalg.smallest_eigenvector(m)[0])(matrix)
  assert np.isfinite(gradient).all()

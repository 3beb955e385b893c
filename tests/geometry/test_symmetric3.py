"""Symmetric 3 x 3 matrices in scalars, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import symmetric3 as s3

_UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _matrices():
  """Gram matrices of random rows, some nearly flat; zero, multiples of one, equal eigenvalues."""
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(200, 5, 3)) * 10.0 ** rng.uniform(-2, 0, (200, 1, 3))
  special = [np.zeros((3, 3)), 4.0 * np.eye(3), np.diag([2.0, 2.0, 5.0]), np.ones((3, 3))]
  turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
  special += [turn @ np.diag(d) @ turn.T for d in ([1.0, 1.0, 3.0], [1e-9, 1.0, 1.0])]
  return np.concatenate([np.einsum("nki,nkj->nij", rows, rows), special])


def _split(matrices, dtype):
  return s3.Symmetric(*(jnp.asarray(matrices[:, i, j], dtype) for i, j in _UPPER))


def test_eigen_equals_numpy():
  """Values to rounding of the largest; the vectors are orthonormal and make the matrix again."""
  matrices = _matrices()
  with jax.enable_x64(True):
    for dtype, digits in ((jnp.float32, 2e-6), (jnp.float64, 1e-13)):
      values, vectors = jax.jit(s3.eigen)(_split(matrices, dtype))
      values = np.stack(values, axis=1)
      vectors = np.stack([np.stack(v, axis=1) for v in vectors], axis=2)
      expected = np.linalg.eigvalsh(matrices)
      size = np.maximum(expected[:, 2:], 1.0)
      np.testing.assert_allclose(np.sort(values, axis=1) / size, expected / size, atol=digits)
      again = np.einsum("nik,nk,njk->nij", vectors, values, vectors)
      np.testing.assert_allclose(again / size[:, None], matrices / size[:, None], atol=digits)
      square = np.einsum("nki,nkj->nij", vectors, vectors)
      np.testing.assert_allclose(square, np.tile(np.eye(3), (len(matrices), 1, 1)), atol=digits)


def test_adjugate_gram_and_products_equal_numpy():
  rng = np.random.default_rng(1)
  rows, weights = rng.normal(size=(4, 3, 50)), rng.uniform(0, 1, (4, 50))
  vector = rng.normal(size=(3, 50))
  with jax.enable_x64(True):
    matrix = s3.gram(
      [tuple(map(jnp.asarray, row)) for row in rows], list(map(jnp.asarray, weights))
    )
    adjugate, determinant = s3.adjugate(matrix)
    solved = [x / determinant for x in s3.times(adjugate, tuple(map(jnp.asarray, vector)))]
  full = np.einsum("kin,kjn,kn->nij", rows, rows, weights)
  np.testing.assert_allclose(np.stack(matrix), [full[:, i, j] for i, j in _UPPER], atol=1e-12)
  np.testing.assert_allclose(determinant, np.linalg.det(full), rtol=1e-9)
  expected = np.linalg.solve(full, vector.T[..., None])[..., 0]
  np.testing.assert_allclose(np.stack(solved, axis=1), expected, rtol=1e-6)

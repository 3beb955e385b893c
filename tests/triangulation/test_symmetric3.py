"""Symmetric 3 x 3 matrices in scalars, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.triangulation import symmetric3 as s3

_UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


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

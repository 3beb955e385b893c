"""Small linear algebra at full float32 precision, with finite values and gradients everywhere."""

import jax
import jax.numpy as jnp

_HIGHEST = jax.lax.Precision.HIGHEST


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
  """Matrix product at highest precision: TF32 or bf16 would move a projection by 0.2-1.5 px."""
  return jnp.matmul(a, b, precision=_HIGHEST)


def einsum(spec: str, *operands: jax.Array) -> jax.Array:
  """Einsum at highest precision."""
  return jnp.einsum(spec, *operands, precision=_HIGHEST)


def safe_divide(
  numerator: jax.Array, denominator: jax.Array, *, fallback: float = 0.0, tiny: float = 1e-12
) -> jax.Array:
  """numerator / denominator, and `fallback` with zero gradient where |denominator| <= tiny.

  Args:
    numerator: [...], broadcasts with the denominator (same rank or scalar).
    denominator: [...], any sign.
    fallback: value where the quotient is not defined.
    tiny: largest magnitude that counts as zero.

  Returns:
    [...], finite for finite input.
  """
  defined = jnp.abs(denominator) > tiny
  quotient = numerator / jnp.where(defined, denominator, 1.0)
  return jnp.where(defined, quotient, fallback)


def safe_sqrt(x: jax.Array) -> jax.Array:
  """Square root [...]; at and below zero it is zero with zero gradient."""
  positive = x > 0.0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def safe_norm(x: jax.Array) -> jax.Array:
  """Euclidean norm over the last axis; its gradient at zero is zero instead of NaN."""
  return safe_sqrt(jnp.sum(x * x, axis=-1))


def cross_matrix(x: jax.Array) -> jax.Array:
  """The skew matrix of a vector: cross_matrix(x) @ y = x × y, both [3]."""
  zero = jnp.zeros_like(x[0])
  return jnp.array([[zero, -x[2], x[1]], [x[2], zero, -x[0]], [-x[1], x[0], zero]])


@jax.custom_jvp
def smallest_eigenvector(matrix: jax.Array) -> jax.Array:
  """The unit eigenvector of a symmetric matrix's smallest eigenvalue.

  `jnp.linalg.eigh` differentiates every eigenvector, so one pair of equal eigenvalues anywhere
  makes the gradient NaN. Here only the gaps to the smallest count, and a closed gap passes no
  gradient.

  Args:
    matrix: [n, n], symmetric.

  Returns:
    [n], sign arbitrary; any vector of the eigenspace when it is not unique.
  """
  return jnp.linalg.eigh(matrix)[1][:, 0]


@smallest_eigenvector.defjvp
def _smallest_eigenvector_jvp(primals, tangents):
  (matrix,), (tangent,) = primals, tangents
  values, vectors = jnp.linalg.eigh(matrix)
  vector = vectors[:, 0]
  change = matmul(0.5 * (tangent + tangent.T), vector)
  return vector, -_solve_gaps(values, vectors, change)


def _solve_gaps(values: jax.Array, vectors: jax.Array, right: jax.Array) -> jax.Array:
  """(M - λ₀)⁺ right, for M = vectors · diag(values) · vectorsᵀ; closed gaps count as infinite."""
  gaps = values - values[0]
  rounding = 8.0 * jnp.finfo(values.dtype).eps * jnp.maximum(jnp.max(jnp.abs(values)), 1e-30)
  share = jnp.where(gaps > rounding, matmul(vectors.T, right), 0.0)
  return matmul(vectors, share / jnp.where(gaps > rounding, gaps, 1.0))

"""Symmetric 3 x 3 matrices as six scalars: a batch of them is plain vector arithmetic.

A library call for every tiny matrix (eigh, inv, solve, batched dots) costs a hundred times what the
arithmetic does. Written out in scalars and vmapped, every line works on a whole batch at once. Keep
the batch the last axis of what XLA sees: vmap over frames inside, over joints outside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

Vector = tuple[jax.Array, jax.Array, jax.Array]
# Rotations of pairs of axes; every round squares what is left beside the diagonal.
_PAIRS = ((0, 1), (0, 2), (1, 2))
_ROUNDS = 4
_ENTRIES = {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 1): 3, (1, 2): 4, (2, 2): 5}


class Symmetric(NamedTuple):
  """The six different entries, each []."""

  xx: jax.Array
  xy: jax.Array
  xz: jax.Array
  yy: jax.Array
  yz: jax.Array
  zz: jax.Array


class Eigen(NamedTuple):
  """matrix = Σ values[i] vectors[i] vectors[i]ᵀ.

  Attributes:
    values: 3 scalars, in no order.
    vectors: 3 unit vectors of 3 scalars.
  """

  values: Vector
  vectors: tuple[Vector, Vector, Vector]


def dot(a: Sequence[jax.Array], b: Sequence[jax.Array]) -> jax.Array:
  """Σ a_i b_i of two sequences of scalars (or of arrays of one shape)."""
  return sum(x * y for x, y in zip(a, b, strict=True))


def scaled_sum(start: Vector, factor: jax.Array, direction: Vector) -> Vector:
  """start + factor · direction."""
  return tuple(x + factor * d for x, d in zip(start, direction))


def gram(rows: Sequence[Vector], weights: Sequence[jax.Array] | None = None) -> Symmetric:
  """Σ row rowᵀ, each row with its weight if there are any."""
  left = rows if weights is None else [[w * x for x in row] for w, row in zip(weights, rows)]
  return Symmetric(*(sum(a[i] * b[j] for a, b in zip(left, rows)) for i, j in _ENTRIES))


def times(matrix: Symmetric, vector: Vector) -> Vector:
  """matrix · vector."""
  m = matrix
  rows = (m.xx, m.xy, m.xz), (m.xy, m.yy, m.yz), (m.xz, m.yz, m.zz)
  return tuple(dot(row, vector) for row in rows)


def adjugate(m: Symmetric) -> tuple[Symmetric, jax.Array]:
  """The inverse times the determinant, and the determinant []."""
  adjugate = Symmetric(
    m.yy * m.zz - m.yz * m.yz,
    m.xz * m.yz - m.xy * m.zz,
    m.xy * m.yz - m.xz * m.yy,
    m.xx * m.zz - m.xz * m.xz,
    m.xy * m.xz - m.xx * m.yz,
    m.xx * m.yy - m.xy * m.xy,
  )
  return adjugate, m.xx * adjugate.xx + m.xy * adjugate.xy + m.xz * adjugate.xz


def eigen(matrix: Symmetric) -> Eigen:
  """Eigenvalues and eigenvectors, by Jacobi's rotations: no branches, any matrix.

  Accurate to rounding, relative to the largest eigenvalue. Not meant to be differentiated: the
  rotations' derivatives are not those of the eigenvectors' limits where eigenvalues are equal.

  References:
    Golub and Van Loan, Matrix Computations, 4th ed., section 8.5.
  """
  one, zero = jnp.ones_like(matrix.xx), jnp.zeros_like(matrix.xx)
  a, vectors = list(matrix), [(one, zero, zero), (zero, one, zero), (zero, zero, one)]
  for _ in range(_ROUNDS):
    for p, q in _PAIRS:
      a, vectors = _without(a, vectors, p, q)
  found = Symmetric(*a)
  return Eigen((found.xx, found.yy, found.zz), tuple(vectors))


def _without(a: list, vectors: list, p: int, q: int) -> tuple[list, list]:
  """The matrix and its axes, turned so that entry (p, q) is zero."""
  r = 3 - p - q
  pp, qq, pq, pr, qr = (
    _ENTRIES[tuple(sorted(e))] for e in ((p, p), (q, q), (p, q), (p, r), (q, r))
  )
  cos, sin, tan = _rotation(a[pp], a[qq], a[pq])
  a, vectors = list(a), list(vectors)
  a[pp], a[qq], a[pq] = a[pp] - tan * a[pq], a[qq] + tan * a[pq], jnp.zeros_like(tan)
  a[pr], a[qr] = cos * a[pr] - sin * a[qr], sin * a[pr] + cos * a[qr]
  first, second = vectors[p], vectors[q]
  vectors[p] = tuple(cos * x - sin * y for x, y in zip(first, second))
  vectors[q] = tuple(sin * x + cos * y for x, y in zip(first, second))
  return a, vectors


def _rotation(first: jax.Array, second: jax.Array, beside: jax.Array) -> tuple[jax.Array, ...]:
  """cos, sin and tan of the smaller angle that brings `beside` the diagonal to zero."""
  gap, twice = second - first, 2.0 * beside
  length = jnp.sqrt(gap * gap + twice * twice)
  divisor = gap + jnp.where(gap >= 0.0, length, -length)
  tan = jnp.where(divisor == 0.0, 0.0, twice / jnp.where(divisor == 0.0, 1.0, divisor))
  cos = 1.0 / jnp.sqrt(1.0 + tan * tan)
  return cos, tan * cos, tan

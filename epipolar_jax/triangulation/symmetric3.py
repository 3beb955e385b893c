"""Symmetric 3 x 3 matrices as six scalars: a batch of them is plain vector arithmetic.

A library call for every tiny matrix (eigh, inv, solve, batched dots) costs a hundred times what the
arithmetic does. Written out in scalars and vmapped, every line works on a whole batch at once. Keep
the batch the last axis of what XLA sees: vmap over frames inside, over joints outside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax

Vector = tuple[jax.Array, jax.Array, jax.Array]
_ENTRIES = {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 1): 3, (1, 2): 4, (2, 2): 5}


class Symmetric(NamedTuple):
  """The six different entries, each []."""

  xx: jax.Array
  xy: jax.Array
  xz: jax.Array
  yy: jax.Array
  yz: jax.Array
  zz: jax.Array


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

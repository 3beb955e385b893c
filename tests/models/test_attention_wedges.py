"""The backward pass by wedges, on true pencils of lines, against that of the plain gather."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.models import attention
from epipolar_jax.models.attention import wedges
from epipolar_jax.models.fusion import lines

_SIDE, _SAMPLES, _ROWS = 16, 16, 10
_OPTIONS = attention.Options(prior="multiply")


def _pencil(pole, other):
  """Lines of equal direction through an epipole in each view, for the first rows of pixels."""
  cross = np.array([[0, -1, other[1]], [1, 0, -other[0]], [-other[1], other[0], 0]])
  matrix = cross @ np.array([[1, 0, -pole[0]], [0, 1, -pole[1]], [0, 0, 0.0]])
  matrix = jnp.asarray(matrix / np.linalg.norm(matrix), jnp.float32)
  size = {"size_hw": (_SIDE, _SIDE), "num_samples": _SAMPLES}
  samples, valid = lines.sample_lines(matrix, **size)
  return samples[: _ROWS * _SIDE], valid[: _ROWS * _SIDE]


def _scattered():
  """No lines at all."""
  rng = np.random.default_rng(1)
  samples = rng.uniform(-2, _SIDE + 1, (_ROWS * _SIDE, _SAMPLES, 2))
  return jnp.asarray(samples, jnp.float32), jnp.ones(_ROWS * _SIDE, bool)


_CASES = {
  "parallel": _pencil((-500.0, 3.0), (-400.0, 9.0)),
  "outside": _pencil((-3.0, 20.0), (17.0, 6.0)),
  "inside": _pencil((7.3, 5.1), (8.2, 9.4)),
  "scattered": _scattered(),
}


@functools.partial(jax.jit, static_argnames="algorithm")
def _gradients(inputs, samples, valid, algorithm):
  def loss(inputs):
    query, key, value, prior = inputs
    seen = attention.epipolar_attention(
      query, key, value, samples, valid, prior=prior, options=_OPTIONS, algorithm=algorithm
    )
    # The weights have gradients of their own, as in `EpipolarFusion._look_back`.
    return jnp.sum(jnp.sin(seen.out)) + jnp.sum(jnp.square(seen.weights))

  return jax.grad(loss)(inputs)


@pytest.mark.parametrize("case", _CASES)
def test_gradients_equal_those_of_the_gather(case):
  rng = np.random.default_rng(0)
  shapes = ((_ROWS, _SIDE, 8), (_SIDE, _SIDE, 8), (_SIDE, _SIDE, 3), (_ROWS * _SIDE, _SAMPLES))
  inputs = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
  ours = _gradients(inputs, *_CASES[case], algorithm="blocks")
  plain = _gradients(inputs, *_CASES[case], algorithm="gather")
  for one, other in zip(ours, plain):
    np.testing.assert_allclose(one, other, atol=1e-5)
  assert all(np.any(one != 0) for one in ours)


@pytest.mark.parametrize("case", _CASES)
def test_a_wedge_is_thin_and_holds_every_sample(case):
  """One piece is enough for a pencil seen from outside; whatever is touched is in the pieces."""
  samples, _ = _CASES[case]
  plan = wedges._plan(samples, (_SIDE, _SIDE))
  assert sorted(set(plan.order.tolist())) == list(range(_ROWS * _SIDE))
  most = 1
  for number in range(len(plan.rank)):
    wedge = wedges._cut([x[number] for x in plan[1:]], _SIDE)
    most = max(most, int(wedge.pieces))
    assert most * wedge.room <= _SIDE**2
    found = wedge.pixels[wedge.place]
    wrong = (found != plan.corner[number]) & (plan.share[number] != 0)
    assert not wrong.any()
    assert int(jnp.max(wedge.place)) < wedge.pieces * wedge.room
  assert most == {"parallel": 1, "outside": 1, "inside": 2, "scattered": 4}[case]

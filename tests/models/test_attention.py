import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.models import attention


def _problem(seed=0, hs=5, ws=9):
  """Query 4×6, another map size behind the lines, some samples and one line outside."""
  rng = np.random.default_rng(seed)
  query = rng.normal(size=(4, 6, 8)).astype(np.float32)
  key = rng.normal(size=(hs, ws, 8)).astype(np.float32)
  value = rng.normal(size=(hs, ws, 3)).astype(np.float32)
  samples = rng.uniform([-2, -2], [ws + 1, hs + 1], (24, 10, 2)).astype(np.float32)
  valid = np.arange(24) != 7
  prior = rng.uniform(size=(24, 10)).astype(np.float32)
  return query, key, value, samples, valid, prior


_OPTIONS = {
  "default": attention.Options(),
  "no_softmax_prior": attention.Options(softmax=False, prior="multiply"),
  "prior_only": attention.Options(similarity="prior"),
  "cos": attention.Options(similarity="cos"),
  "pooling": attention.Options(pooling=True),
}


@pytest.mark.parametrize("name", _OPTIONS)
def test_algorithms_agree_forward_and_backward(name):
  options = _OPTIONS[name]
  query, key, value, samples, valid, prior = _problem()
  prior = prior[:, :5] if options.pooling else prior
  linear = options.attention == "avg" and options.similarity != "cos" and not options.pooling

  def run(algorithm):
    def loss(query, key, value):
      seen = attention.epipolar_attention(
        query, key, value, samples, valid, prior=prior, options=options, algorithm=algorithm
      )
      return jnp.sum(jnp.sin(seen.out)), seen

    run = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)
    (_, seen), gradients = jax.jit(run)(query, key, value)
    return seen, gradients

  seen, gradients = run("gather")
  assert all(np.isfinite(x).all() for x in jax.tree.leaves((seen, gradients)))
  assert not seen.out.reshape(24, 3)[7].any(), "an invalid line contributes nothing"
  for algorithm in ("blocks", "dense", "kernel") if linear else ("blocks",):
    other, others = run(algorithm)
    for ours, theirs in zip(jax.tree.leaves((other, others)), jax.tree.leaves((seen, gradients))):
      np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_matches_a_loop_in_float64():
  query, key, value, samples, valid, _ = _problem()
  samples = np.clip(samples, 0, [8, 4])
  seen = attention.epipolar_attention(query, key, value, samples, valid, algorithm="gather")

  def read(feature, u, v):
    left, top = int(min(u, 7.0)), int(min(v, 3.0))
    a, b = u - left, v - top
    rows = (1 - b) * feature[top] + b * feature[top + 1]
    return (1 - a) * rows[left] + a * rows[left + 1]

  for pixel in (0, 13, 23):
    points = samples[pixel].astype(np.float64)
    keys = np.array([read(key.astype(np.float64), *point) for point in points])
    values = np.array([read(value.astype(np.float64), *point) for point in points])
    weights = np.exp(keys @ query.reshape(24, 8)[pixel] / 8)
    weights /= weights.sum()
    np.testing.assert_allclose(seen.weights[pixel], weights, atol=1e-5)
    np.testing.assert_allclose(seen.out.reshape(24, 3)[pixel], weights @ values, atol=1e-5)
    match = attention.match(samples[pixel], seen.best[pixel])
    np.testing.assert_array_equal(match, samples[pixel, np.argmax(weights)])


def test_samples_outside_are_masked_and_dead_pixels_are_not():
  query = np.ones((1, 1, 2), np.float32)
  key = np.zeros((3, 3, 2), np.float32)
  samples = np.array([[[1.0, 1.0], [2.0, 0.0], [9.0, 9.0]]], np.float32)
  valid = np.array([True])
  attend = attention.epipolar_attention
  right = attend(query, key, None, samples, valid)
  np.testing.assert_allclose(right.weights, [[0.5, 0.5, 0.0]])
  parity = attention.Options(zero_means_outside=True)
  original = attend(query, key, None, samples, valid, options=parity)
  np.testing.assert_allclose(original.weights, np.full((1, 3), 1 / 3), rtol=1e-6)


def _gradients_at_full_size(algorithm):
  """Both gradients at the paper's shape, 64×64×256 and 64 samples, with shapes for its inputs."""
  side, c, k = 64, 256, 64

  def loss(query, key, samples, valid):
    seen = attention.epipolar_attention(query, key, None, samples, valid, algorithm=algorithm)
    return jnp.sum(jnp.sin(seen.out))

  shapes = ((side, side, c), (side, side, c), (side**2, k, 2))
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  inputs.append(jax.ShapeDtypeStruct((side**2,), bool))
  return jax.value_and_grad(loss, (0, 1)), inputs, k * c * side**2


def _sizes(jaxpr):
  """Of every array that a program makes, in loops and functions too, but not inside a kernel."""
  for equation in jaxpr.eqns:
    yield from (math.prod(x.aval.shape) for x in equation.outvars)
    if equation.primitive.name != "pallas_call":
      for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
        if _is_jaxpr(inner):
          yield from _sizes(getattr(inner, "jaxpr", inner))


def _is_jaxpr(x):
  return hasattr(x, "eqns") or hasattr(x, "jaxpr")


@pytest.mark.parametrize("algorithm, part", [("blocks", 16), ("dense", 16), ("kernel", 4)])
def test_sampled_features_are_never_held(algorithm, part):
  """The original makes s·c·h·w numbers: no array is larger than this part of them."""
  function, inputs, sampled = _gradients_at_full_size(algorithm)
  largest = max(_sizes(jax.make_jaxpr(function)(*inputs).jaxpr))
  assert 64 * 64 * 256 <= largest <= sampled / part
  plain, _, _ = _gradients_at_full_size("gather")
  assert max(_sizes(jax.make_jaxpr(plain)(*inputs).jaxpr)) >= sampled


@pytest.mark.parametrize("algorithm", ["blocks", "dense"])
def test_memory_that_is_planned(algorithm):
  """What XLA sets aside for both passes: less than a quarter of the sampled features."""
  function, inputs, sampled = _gradients_at_full_size(algorithm)
  plan = jax.jit(function).lower(*inputs).compile().memory_analysis()
  assert 0 < plan.temp_size_in_bytes < 4 * sampled / 4


@pytest.mark.parametrize("platform, gathers", [("cpu", True), ("tpu", False), ("cuda", False)])
def test_what_is_taken_by_itself(platform, gathers):
  """Matrix products alone, forward and backward, where gathers are slow; no kernel unasked."""
  function, inputs, _ = _gradients_at_full_size("auto")
  text = jax.jit(function).trace(*inputs).lower(lowering_platforms=(platform,)).as_text()
  assert ("stablehlo.gather" in text or "stablehlo.scatter" in text) == gathers
  assert "custom_call" not in text and "dot_general" in text


def test_unknown_choices_are_named():
  query, key, value, samples, valid, _ = _problem()
  with pytest.raises(ValueError, match="'cubic' is not one of"):
    attention.epipolar_attention(query, key, value, samples, valid, algorithm="cubic")
  with pytest.raises(ValueError, match="'kernel' does attention 'avg'"):
    attention.epipolar_attention(
      query, key, value, samples, valid, options=_OPTIONS["cos"], algorithm="kernel"
    )
  with pytest.raises(ValueError, match="'median' is not one of"):
    attention.epipolar_attention(
      query, key, value, samples, valid, options=attention.Options(attention="median")
    )
  with pytest.raises(ValueError, match="need a table"):
    attention.epipolar_attention(
      query, key, value, samples, valid, options=attention.Options(prior="add")
    )

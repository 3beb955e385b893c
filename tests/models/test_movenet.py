"""MoveNet beside TensorFlow.js running the published graph, and its weights' checks."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.models import movenet, movenet_weights

_GOLDEN = pathlib.Path(__file__).parent.parent / "golden"


def _image(size: int) -> np.ndarray:
  """The image of golden/movenet.js."""
  v, u, c = np.indices((size, size, 3))
  return ((u * u * (c + 3) + 5 * v * (u >> 2) + 31 * c * v) % 256).astype(np.uint8)


@pytest.mark.parametrize("name", movenet_weights.VARIANTS)
def test_maps_are_those_of_tensorflow_js(name):
  module, variables, size = movenet_weights.load(name)
  maps = jax.jit(module.apply)(variables, _image(size)[None])
  ours = [np.asarray(x[0, ::7, ::7]) for x in maps[:4]]
  golden = np.fromfile(_GOLDEN / f"movenet_{name}.f32", np.float32)
  assert golden.size == sum(x.size for x in ours)
  start = 0
  for head, found in zip(movenet.Maps._fields, ours):
    wanted = golden[start : start + found.size].reshape(found.shape)
    start += found.size
    assert np.ptp(wanted) > 1.0
    # Measured: up to 8e-4, of values up to 120.
    np.testing.assert_allclose(found, wanted, atol=2e-3, rtol=1e-5, err_msg=head)


def test_a_small_network_trains(monkeypatch):
  # Without the blocks after stride 16 that only repeat: a smaller program.
  monkeypatch.setattr(movenet, "_BLOCKS", (*movenet._BLOCKS[:10], movenet._BLOCKS[13]))
  module = movenet.MoveNet(width=0.25)
  images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
  variables = jax.jit(module.init)(jax.random.key(0, impl="rbg"), images)

  def loss(variables):
    maps = module.apply(variables, images)
    return sum(jnp.mean(jnp.square(x)) for x in maps)

  gradient = jax.jit(jax.grad(loss))(variables)
  assert all(np.isfinite(x).all() and np.abs(x).max() > 0 for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 60, 64, 3), (1, 64, 64, 4)])
def test_other_shapes_are_named(shape):
  with pytest.raises(ValueError, match=r"images should be \[n, s, s, 3\]"):
    jax.eval_shape(movenet.MoveNet(0.25).init, jax.random.key(0), jnp.zeros(shape))


def test_weights_are_checked_by_name_shape_and_value():
  _, variables, _ = movenet_weights.load("lightning")
  good = variables["params"]
  movenet_weights.check(good, "file")
  missing = {k: v for k, v in good.items() if k != "top_bias"}
  with pytest.raises(ValueError, match="file: top_bias is missing"):
    movenet_weights.check(missing, "file")
  with pytest.raises(ValueError, match="left_over"):
    movenet_weights.check(good | {"left_over": np.zeros(1)}, "file")
  with pytest.raises(ValueError, match="offset_map_bias is not finite"):
    movenet_weights.check(good | {"offset_map_bias": np.full(34, np.nan)}, "file")
  with pytest.raises(ValueError, match="stem_bias is"):
    movenet_weights.check(good | {"stem_bias": np.zeros(5)}, "file")
  with pytest.raises(ValueError, match="thunder, lightning"):
    movenet_weights.load("thor")

"""Targets and decoders."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from epipolar_jax import heatmaps
from tests import golden_files


@pytest.mark.parametrize("case", ["h64s8", "h48x64s10", "h56s5p6"])
def test_target_golden_heatmapcreator(case):
  """Float32 of an exponent that is a difference of squares: 2e-6."""
  g = golden_files.load("targets_heatmapcreator")
  height, width, sigma, stride = g[case + ".args_h_w_sigma_downsample"].tolist()
  options = {"size_hw": (int(height), int(width)), "stride": int(stride), "sigma": sigma}
  joints = jnp.asarray(g[case + ".joints"], jnp.float32)
  make = functools.partial(heatmaps.gaussian_target, **options)
  floored = jax.jit(jax.vmap(functools.partial(make, floor=True)))(joints)
  np.testing.assert_allclose(floored, g[case + ".target"], atol=5e-6)
  plain = jax.jit(jax.vmap(make))(joints)
  inside = g[case + ".target"] > 0.0101
  np.testing.assert_allclose(plain[inside], floored[inside], atol=1e-6)
  assert plain[~inside].max() <= 0.0102
  assert plain.min() < 1e-6


@pytest.mark.parametrize("align_corners", [True, False])
def test_peak_golden_find_tensor_peak_batch(align_corners):
  """Ties, spikes at the border, constants, other strides and radii: all within 4e-5 px."""
  g = golden_files.load("decode_find_tensor_peak_batch")
  cases = sorted(key.removesuffix(".score") for key in g if key.endswith(".score"))
  assert len(cases) == 12
  decode = jax.jit(heatmaps.decode_peak, static_argnames=("radius", "stride", "align_corners"))
  for case in cases:
    radius, stride = g[case + ".radius_downsample"].tolist()
    expected = zip(
      g[case + ".heatmap"], g[f"{case}.loc_align{int(align_corners)}"], g[f"{case}.score"]
    )
    for heatmap, location, maximum in expected:
      uv, score = decode(heatmap, radius=radius, stride=int(stride), align_corners=align_corners)
      np.testing.assert_allclose(uv, location, atol=1e-3, err_msg=case)
      assert score == maximum, case


def test_softmax_decodes_gaussians_between_pixels_without_bias():
  """Below 0.002 map px; a window on whole pixels is 0.05 off with this radius."""
  joints = np.random.default_rng(0).uniform(60, 190, (64, 2))

  def decode(uv):
    target = heatmaps.gaussian_target(uv, size_hw=(64, 64), stride=4, sigma=8.0)
    return heatmaps.decode_softmax(jnp.log(target + 1e-9), stride=4, radius=5.0)

  uv, score = jax.jit(jax.vmap(decode))(jnp.asarray(joints, jnp.float32))
  np.testing.assert_allclose(uv / 4, joints / 4, atol=0.002)
  assert np.all((score > 0.9) & (score <= 1))


def test_softmax_score_tells_how_much_the_peak_can_be_trusted():
  decode = jax.jit(functools.partial(heatmaps.decode_softmax, stride=4))

  def score(logits):
    return float(decode(logits)[1])

  points = jnp.array([[70.0, 80.0], [180.0, 150.0]])
  one, two = (heatmaps.gaussian_target(p, size_hw=(64, 64), stride=4, sigma=8.0) for p in points)
  sharp = score(jnp.log(one + 1e-6))
  double = score(jnp.log(one + 0.9 * two + 1e-6))
  flat = score(jnp.zeros((64, 64)))
  assert sharp > 0.9 > 0.6 > double > 0.4 > flat
  assert flat < 0.05
  # The smaller peak does not pull on the position.
  uv, _ = decode(jnp.log(one + 0.9 * two + 1e-6))
  np.testing.assert_allclose(uv, points[0], atol=0.05)


@pytest.mark.parametrize("sigma", [2, 8])
def test_target_golden_generate_heatmap(sigma):
  """JointsDataset.generate_heatmap: around the rounded pixel, in map px, within 3 sigma of it."""
  g = golden_files.load("targets_generate_target")
  pixel = np.floor(heatmaps.image_to_map(g["joints"], stride=4) + 0.5).astype(np.float32)
  centers = heatmaps.map_to_image(jnp.asarray(pixel), stride=4)
  target = jax.vmap(
    lambda uv: heatmaps.gaussian_target(uv, size_hw=(64, 64), stride=4, sigma=4.0 * sigma)
  )(centers)
  golden = g[f"target_sigma{sigma}"]
  drawn = g[f"weight_sigma{sigma}"][:, 0] > 0
  assert drawn.sum() > 10
  v, u = np.mgrid[:64, :64]
  offset = np.maximum(np.abs(u - pixel[:, :1, None]), np.abs(v - pixel[:, 1:, None]))
  window = (offset <= 3 * sigma) & drawn[:, None, None]
  np.testing.assert_allclose(np.where(window, target, 0.0), golden, atol=1e-6)


def test_map_and_image_pixels_golden_pix2coord():
  g = golden_files.load("geometry")
  pixels = jnp.asarray(g["pix_in"], jnp.float32)
  np.testing.assert_allclose(heatmaps.map_to_image(pixels, stride=4), g["pix2coord_4"], rtol=1e-6)
  back = heatmaps.image_to_map(pixels, stride=4)
  np.testing.assert_allclose(back, g["coord2pix_4"], rtol=1e-5, atol=1e-5)


def test_extreme_maps_give_finite_values_and_gradients():
  rng = np.random.default_rng(1)
  maps = {
    "zeros": jnp.zeros((8, 8)),
    "negative": -jnp.ones((8, 8)),
    "huge": 1e4 * jnp.asarray(rng.normal(size=(8, 8)), jnp.float32),
    "corner": jnp.zeros((8, 8)).at[7, 7].set(100.0),
  }

  @jax.jit
  @jax.value_and_grad
  def soft(heatmap):
    uv, score = heatmaps.decode_softmax(heatmap, stride=4)
    return jnp.sum(uv) + score

  @jax.jit
  @jax.value_and_grad
  def peak(heatmap):
    return jnp.sum(heatmaps.decode_peak(heatmap, radius=2.0, stride=4)[0])

  for name, heatmap in maps.items():
    for decode in (soft, peak):
      value, gradient = decode(heatmap)
      assert np.isfinite(value), name
      assert np.isfinite(gradient).all(), name
  target = heatmaps.gaussian_target(jnp.array([1e6, -1e6]), size_hw=(4, 4), stride=4, sigma=8.0)
  np.testing.assert_array_equal(target, 0)


def test_softmax_gradient_equals_finite_differences():
  with jax.enable_x64(True):
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(9, 11)))
    logits = logits + 6 * heatmaps.gaussian_target(
      jnp.array([21.0, 17.0]), size_hw=(9, 11), stride=4, sigma=6.0
    )
    decode = jax.jit(lambda x: heatmaps.decode_softmax(x, stride=4, radius=2.25))
    jax.test_util.check_grads(decode, (logits,), order=1, modes=["rev"], eps=1e-5, rtol=1e-3)

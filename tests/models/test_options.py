"""Options of the fusion beside the main ones: golden files of the original, and laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import losses
from epipolar_jax.geometry import epipolar
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import attention
from epipolar_jax.models.fusion import features as feature_fusion
from epipolar_jax.models.fusion import lines as epipolar_lines
from tests import golden_files, scenes


@pytest.fixture(scope="module")
def golden():
  return golden_files.load("attention_inputs") | golden_files.load("attention_options")


def _nhwc(x):
  return jnp.asarray(np.asarray(x).transpose(0, 2, 3, 1))


def _samples(golden, pairs):
  """[n, p, k, 2] in map px, as stored."""
  steps = golden["start"][:, :, None] + golden["vec"][:, :, None] * golden["steps"][:, None]
  return jnp.asarray(((steps - 1.5) / 4)[pairs], jnp.float32)


def _plain(**fields):
  options = attention.Options(zero_means_outside=True)
  return feature_fusion.EpipolarFusion(
    num_samples=32, options=options, embeddings=(), z_residual=False, **fields
  )


def test_rgb_correspondence_equals_golden_epipolar_forward(golden):
  """Epipolar.forward with FIND_CORR rgb: images are compared, features averaged."""
  colors = _nhwc(golden["rgb/ref1"]), _nhwc(golden["rgb/ref2"])
  samples = _samples(golden, slice(1, 2))

  def run(reference, source, colors):
    out, seen, _ = _plain(compare="rgb").apply(
      {},
      reference,
      source,
      samples,
      jnp.ones(samples.shape[:2], bool),
      feature_fusion.Extra(colors=colors),
      train=False,
    )
    return out, attention.match(samples, seen.best)

  features = _nhwc(golden["feat1"][1:2]), _nhwc(golden["feat2"][1:2])
  out, match = jax.jit(run)(*features, colors)
  got = np.asarray(out).transpose(0, 3, 1, 2)[:, :, ::2, ::2]
  np.testing.assert_allclose(got, golden["rgb/out"], atol=2e-5)
  match = np.asarray(match).reshape(1, 32, 32, 2)[:, ::2, ::2]
  np.testing.assert_allclose(match, golden["rgb/match"], atol=1e-3)


def test_colours_and_embedded_features_exclude_each_other():
  layer = _plain(compare="rgb").clone(embeddings=("theta",))
  with pytest.raises(ValueError, match="theta and phi"):
    layer._check()
  with pytest.raises(ValueError, match="'edges' is not one of"):
    _plain(compare="edges")._check()


def test_warp_equals_golden_epipolar_forward_with_given_depth(golden):
  """Epipolar.forward with `depth`: weights from elsewhere, nothing compared, z skipped."""
  weights = golden["usedepth/depth"].reshape(32, -1).T
  samples = _samples(golden, slice(1, 2))[0].reshape(32, 32, 32, 2)[::4, ::4].reshape(64, 32, 2)
  out = attention.warp(_nhwc(golden["feat2"][1:2])[0], samples, jnp.asarray(weights))
  want = golden["usedepth/out"].reshape(16, -1).T
  np.testing.assert_allclose(out, want, atol=2e-5)
  match = attention.match(samples, jnp.argmax(weights, axis=-1))
  np.testing.assert_allclose(match, golden["usedepth/match"].reshape(-1, 2), atol=1e-3)


@pytest.mark.parametrize("name, branches", [("none", ()), ("other2", ("value",))])
def test_other_grad_equals_golden_gradients(golden, name, branches):
  """Epipolar.forward with OTHER_GRAD: which branches of the other view carry gradient."""
  case = f"othergrad_{name}/"
  stored = {key.removeprefix(case): x for key, x in golden.items() if key.startswith(case)}
  z = {
    "kernel": stored["param.z.weight"].transpose(2, 3, 1, 0),
    "bias": stored["param.z.bias"],
  }
  bn = {"scale": stored["param.bn.weight"], "bias": stored["param.bn.bias"]}
  stats = {"mean": stored["param.bn.running_mean"], "var": stored["param.bn.running_var"]}
  variables = {"params": {"z": z, "bn": bn}, "batch_stats": {"bn": stats}}
  layer = _plain(other_grad=branches).clone(embeddings=("z",), z_residual=True)
  samples = _samples(golden, slice(1, 2))

  def loss(reference, source):
    valid = jnp.ones(samples.shape[:2], bool)
    out, _, _ = layer.apply(variables, reference, source, samples, valid, train=False)
    return jnp.sum(out * _nhwc(golden["w"][1:2]))

  features = _nhwc(golden["feat1"][1:2]), _nhwc(golden["feat2"][1:2])
  for gradient, key in zip(
    jax.jit(jax.grad(loss, (0, 1)))(*features), ("grad_feat1", "grad_feat2"), strict=True
  ):
    got = np.asarray(gradient).transpose(0, 3, 1, 2)[:, :, ::2, ::2]
    np.testing.assert_allclose(got, stored[key], atol=3e-5)


def _map_fundamental(first, second, inverse):
  """F from the first to the second of two 32 px maps, of projections [3, 4] in image px.

  With the original's float32 pseudo-inverse [4, 3] of the first, whose error is that of its lines.
  """
  center = np.append(-np.linalg.solve(first[:, :3], first[:, 3]), 1)
  e = second @ center
  cross = np.array([[0, -e[2], e[1]], [e[2], 0, -e[0]], [-e[1], e[0], 0]])
  to_image = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]])
  f = to_image.T @ cross @ second @ inverse.astype(np.float64) @ to_image
  return np.asarray(f / np.linalg.norm(f), np.float32)


def test_reprojection_equals_golden_epipolar_reproject(golden):
  """Epipolar.reproject: the match of every pixel's expected match."""
  samples = _samples(golden, slice(0, 2))
  # Looking back: from view 2 to view 1.
  back = zip(golden["P2"], golden["P1"], golden["P2_pinverse"])
  fundamental = np.stack([_map_fundamental(*pair).T for pair in back])
  valid = jnp.all(samples > -100, axis=(2, 3))

  def run(reference, source):
    _, _, consistency = _plain().apply(
      {},
      reference,
      source,
      samples,
      valid,
      feature_fusion.Extra(fundamental=jnp.asarray(fundamental)),
      train=False,
    )
    return consistency

  features = _nhwc(golden["feat1"]), _nhwc(golden["feat2"])
  seen = jax.jit(run)(*features)
  want = (golden["reproject/locs"].reshape(2, -1, 2) + 1) * 31 / 2
  np.testing.assert_array_equal(seen.valid, golden["reproject/mask"].reshape(2, -1))
  # In the outermost rows the line back may run along the border, whose corners the two cut
  # differently (0.16 px).
  inner = np.zeros((32, 32), bool)
  inner[1:-1, 1:-1] = True
  mask = np.asarray(seen.valid) & inner.reshape(-1)
  error = np.abs(np.asarray(seen.returned) - want).max(-1)[mask]
  assert mask.mean() > 0.5 and error.max() < 0.0155  # px: the 1e-3 of half a map in the file

  def loss(reference, source):
    seen = run(reference, source)
    values = jax.vmap(functools.partial(losses.reprojection, size_hw=(32, 32)))(seen.returned)
    values += 1.0 - seen.similarity
    return jnp.sum(jnp.where(seen.valid, values, 0.0))

  gradients = jax.jit(jax.grad(loss, (0, 1)))(*features)
  for gradient in gradients:
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_pixel_that_finds_itself_costs_nothing():
  """Identical views of distinct features, side by side: every match's match is the pixel."""
  h, w = 4, 8
  rng = np.random.default_rng(0)
  features = jnp.asarray(40 * rng.normal(size=(1, h, w, 16)), jnp.float32)
  # Pure translation along x: the epipolar line of a pixel is its own row.
  f = jnp.array([[[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]])
  sample = functools.partial(epipolar_lines.sample_lines, size_hw=(h, w), num_samples=w)
  samples, valid = jax.vmap(sample)(f)
  layer = _plain().clone(num_samples=w, options=attention.Options())
  _, _, seen = layer.apply(
    {}, features, features, samples, valid, feature_fusion.Extra(fundamental=f), train=False
  )
  assert seen.valid.all()
  np.testing.assert_allclose(seen.similarity, 1, atol=1e-5)
  np.testing.assert_allclose(losses.reprojection(seen.returned[0], size_hw=(h, w)), 0, atol=1e-6)
  pooled = layer.clone(options=attention.Options(pooling=True))
  with pytest.raises(ValueError, match="no pooling"):
    pooled.apply(
      {}, features, features, samples, valid, feature_fusion.Extra(fundamental=f), train=False
    )


def test_sources_are_ranked_by_distance_and_drawn_by_key():
  scene = scenes.make_scene(3, num_views=5, size=64)
  cameras = Cameras(*(jnp.asarray(x, jnp.float32) for x in scene.cameras))
  choose = functools.partial(epipolar_lines.choose_sources, cameras)
  every = np.asarray(choose(rule="all"))
  centers = -np.einsum("vij,vi->vj", cameras.rotation, cameras.translation)
  distance = np.linalg.norm(centers[:, None] - centers, axis=-1)
  np.testing.assert_array_equal(every, np.argsort(distance, -1)[:, 1:])
  keys = jax.random.split(jax.random.key(0), 200)
  for rule, count in (("nearest", 1), ("two_nearest", 2), ("any", 4)):
    np.testing.assert_array_equal(choose(rule=rule), every[:, :1])
    draw = jax.jit(jax.vmap(lambda key, rule=rule: choose(rule=rule, key=key)))
    drawn = np.asarray(draw(keys))
    np.testing.assert_array_equal(drawn, draw(keys))
    for view in range(5):
      found, often = np.unique(drawn[:, view], return_counts=True)
      assert set(found) == set(every[view, :count])
      assert often.min() > 200 / count / 2
  with pytest.raises(ValueError, match="'farthest' is not one of"):
    choose(rule="farthest")


def test_parity_lines_lose_corners_and_parallel_cameras():
  """What parity.lost_lines changes: a line through two corners, and all between parallel views."""
  point = jnp.array([3.0, 3.0])
  # The line u = v through (0, 0) and (7, 7), for every point.
  diagonal = jnp.array([[0.3, 0.1, -1.0], [-0.3, -0.1, 1.0], [0.0, 0.0, 0.0]])
  diagonal = diagonal.at[:2, 2].set(jnp.array([1.0, -1.0]))
  parallel = jnp.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
  ordinary = jnp.array([[0.0, 0, 0.2], [0.1, 0, -1], [-0.3, 1, 0]])
  for f, found in ((diagonal, False), (parallel, False), (ordinary, True)):
    f = f / jnp.linalg.norm(f)
    sizes = {"size_wh": (8, 8), "num_samples": 8}
    assert epipolar.sample_line(point, f, **sizes)[1]
    samples, valid = epipolar.sample_line_original(point, f, **sizes)
    assert valid == found
    assert found or np.all(samples < -100), "a miss lies far outside"


@pytest.mark.parametrize("count", [94, 100, 106, 118, 124])
def test_every_number_of_samples_reaches_both_ends(count):
  """torch.range gives the original one step too few for these, and it stops with an error."""
  f = jnp.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
  samples, valid = epipolar.sample_line(jnp.array([3.0, 2.0]), f, size_wh=(8, 8), num_samples=count)
  assert valid and samples.shape == (count, 2)
  np.testing.assert_allclose(np.sort(samples[:, 0])[[0, -1]], [0, 7], atol=1e-5)

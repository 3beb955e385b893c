"""The original's two-view checkpoint on the original's own crops: heatmaps, 2D and 3D joints."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import h36m
from epipolar_jax import heatmaps, models
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import epipolar_pose
from epipolar_jax.original import torch_names
from epipolar_jax.triangulation import linear
from tests import golden_files, oracles
from tests.models import weights

_SOURCES = (2, 3, 0, 1)  # the nearest camera of each


@pytest.fixture(scope="module")
def golden():
  return golden_files.load("two_view")


@pytest.fixture(scope="module")
def network(golden):
  """Our network with the weights of checkpoint/epipolarposeR18_model_000.pth.xz, and its inputs.

  They are drawn again from their names (the file has 62 MB); the head's bias is 4 higher, as in the
  original's run. The crops are BGR and normalised in the order RGB: the original's way.
  """
  state = weights.state_dict(golden_files.load("models_inputs")["keys/R18_late"])
  state["final_layer.bias"] = state["final_layer.bias"] + np.float32(4)
  config = h36m.get_config()
  config.model.backbone_depth = 18
  model = models.build(config.model, config.parity)
  images = golden["img_u8"].astype(np.float32) / 255
  images = (images - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
  extrinsics = golden["RT"]
  inputs = [images, Cameras(golden["K"], extrinsics[:, :, :3], extrinsics[:, :, 3])]
  inputs = jax.tree.map(lambda x: np.asarray(x, np.float32)[None], inputs)
  init = functools.partial(model.init, train=False)
  like = jax.eval_shape(init, jax.random.key(0), *inputs)
  return model, torch_names.to_flax(state, like), inputs


def _run(network):
  model, variables, inputs = network
  found = jax.jit(functools.partial(model.apply, train=False))(variables, *inputs)
  return jax.tree.map(lambda x: np.asarray(x)[0], found)


@pytest.fixture(scope="module")
def outputs(network):
  """What our network gives."""
  return _run(network)


@pytest.fixture(scope="module")
def outputs_on_golden_lines(network, golden):
  """What it gives on the original's lines, which float32 puts beside the exact ones."""
  found = []
  for view in range(4):
    first, second = (
      (golden["K"][i] @ golden["RT"][i]).astype(np.float32) for i in (view, _SOURCES[view])
    )
    inverse = golden["KRT_pinverse"][view]
    found.append(oracles.sample_lines(first, second, inverse, 64, 64, np.float32)[0])
  samples = jnp.asarray(np.stack(found), jnp.float32)[None, :, None]

  def lines(self, cameras, source, size_hw, num_samples):
    # The original reads misses too, far outside: no line is skipped.
    every = jnp.ones(samples.shape[:4], bool)
    return epipolar_pose._Lines(source, jnp.zeros((*source.shape, 3, 3)), samples, every)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(epipolar_pose.EpipolarPose, "_lines", lines)
    return _run(network)


def _line_distances(golden, view, points):
  """Distance in map px of points [h, w, 2] from the exact (float64) epipolar lines."""
  to_map = np.array([[0.25, 0, -0.375], [0, 0.25, -0.375], [0, 0, 1]])
  first, second = (to_map @ golden["K"][i] @ golden["RT"][i] for i in (view, _SOURCES[view]))
  v, u = np.mgrid[0:64:2, 0:64:2].astype(np.float64)
  center = -np.linalg.solve(first[:, :3], first[:, 3])
  epipole = second @ np.append(center, 1)
  seen = np.stack([u, v, np.ones_like(u)], -1) @ (second @ np.linalg.pinv(first)).T
  line = np.cross(epipole, seen)
  line /= np.linalg.norm(line[..., :2], axis=-1, keepdims=True)
  return np.abs(np.sum(line[..., :2] * points, axis=-1) + line[..., 2])


def test_our_samples_lie_on_the_lines_as_closely_as_the_originals(golden, outputs):
  """Why heatmaps differ: the original's, by a pseudo-inverse in float32, lie 8e-4 px beside."""
  for view in range(4):
    theirs = golden["corr_pos"][view]
    hit = np.all((theirs > -0.6) & (theirs < 63.6), axis=-1)
    assert hit.mean() > 0.97
    ours = _line_distances(golden, view, outputs["match"][view, 0, ::2, ::2])[hit]
    assert np.quantile(ours, 0.99) < 5e-5 and ours.max() < 5e-4  # measured 1.4e-5, 1.1e-4
    assert np.median(ours) <= np.median(_line_distances(golden, view, theirs)[hit])


def test_golden_heatmaps(golden, outputs):
  """1e-4 where the original samples where the line is, and more the further off it samples."""
  ours = outputs["heatmaps"][0].transpose(2, 0, 1)[:, ::2, ::2]
  error = np.abs(ours - golden["heatmaps"])  # values up to 9.3
  gap = np.abs(outputs["match"][0, 0, ::2, ::2] - golden["corr_pos"][0]).max(-1)
  near = gap < 1e-4
  assert near.sum() > 20
  assert np.median(error[:, near]) < 1e-4  # measured 1e-5
  assert error[:, near].max() < 3e-4  # measured 1.8e-4; 7e-4 within 3e-4 px, 1.3e-3 within 6e-4 px
  assert np.median(error) < 3e-4  # measured 1.2e-4
  assert np.quantile(error, 0.99) < 4e-3  # measured 1.7e-3
  assert error.max() < 0.1  # measured 0.05: a line that clips a corner of the map


def test_golden_heatmaps_and_joints_on_its_lines(golden, outputs_on_golden_lines):
  """With the original's float32 pseudo-inverse all that is left is the order of summation."""
  ours = outputs_on_golden_lines["heatmaps"][0].transpose(2, 0, 1)[:, ::2, ::2]
  error = np.abs(ours - golden["heatmaps"])  # values up to 9.3
  assert np.quantile(error, 0.999) < 4e-5  # measured 9e-6, median 1e-6
  assert error.max() < 1e-4  # measured 3.3e-5
  uv, score, off = _joints(golden, outputs_on_golden_lines)
  np.testing.assert_allclose(uv, golden["batch_locs"], atol=1e-4)  # measured 1.6e-5
  np.testing.assert_allclose(score, golden["score_pred"], atol=1e-4)  # measured 1.3e-5
  assert off.max() < 0.01  # measured 0.0014


def test_golden_joints(golden, outputs):
  """A network of random weights: its joints are noise, and rays that miss each other amplify."""
  uv, score, off = _joints(golden, outputs)
  np.testing.assert_allclose(uv, golden["batch_locs"], atol=0.01)  # measured 0.0035
  np.testing.assert_allclose(score, golden["score_pred"], atol=0.01)  # measured 0.0063
  assert np.median(off) < 0.05 and off.max() < 0.1  # measured 0.052 at most


def _joints(golden, outputs):
  """(u, v) [v, j, 2], scores [v, j], and distance in mm [j] from the original's 3D joints."""
  maps = jnp.asarray(outputs["heatmaps"].transpose(0, 3, 1, 2))
  decode = functools.partial(heatmaps.decode_peak, radius=8.0, stride=4)
  uv, score = jax.jit(jax.vmap(jax.vmap(decode)))(maps)
  extrinsics = golden["RT"]
  cameras = [
    jnp.asarray(x, jnp.float32) for x in (golden["K"], extrinsics[:, :, :3], extrinsics[:, :, 3])
  ]

  @jax.jit
  @functools.partial(jax.vmap, in_axes=(1, 1))
  def pymvg(uv, score):
    weight = linear.select_views(score, threshold=0.05).astype(jnp.float32)
    return linear.dlt(uv, Cameras(*cameras), weight=weight, world_norm=True)[0]

  points = pymvg(uv, score)
  expected = pymvg(*(jnp.asarray(golden[name]) for name in ("batch_locs", "score_pred")))
  return uv, score, np.linalg.norm(points - expected, axis=-1)

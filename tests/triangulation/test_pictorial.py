"""The recursive pictorial structure model."""

import functools
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import heatmaps, skeletons
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import crops
from epipolar_jax.triangulation.pictorial import model, tree, unary
from tests import golden_files

_H36M = skeletons.H36M_17


@functools.cache
def _golden():
  """The golden file, with cameras of the 256 px crops and limb lengths in our order."""
  g = golden_files.load("rpsm")
  intrinsics, rotation, translation = [], [], []
  for projection, center, scale in zip(g["cams"], g["box_center"], g["box_scale"]):
    k, r, c = cv2.decomposeProjectionMatrix(projection.astype(np.float64))[:3]
    crop = crops.crop_affine(center, 200.0 * scale[0], rotation_deg=0.0, size=256, mirror=False)
    whole = Cameras(jnp.asarray(k / k[2, 2], jnp.float32), np.eye(3), np.zeros(3))
    intrinsics.append(whole.crop(crop).intrinsics)
    rotation.append(r)
    translation.append(-r @ (c[:3, 0] / c[3]))
  parts = (intrinsics, rotation, translation)
  g["cameras"] = Cameras(*(jnp.asarray(np.stack(x), jnp.float32) for x in parts))
  place = {tuple(edge): n for n, edge in enumerate(g["edges"].tolist())}
  for name in ("limb_length", "limb_length_avg"):
    ours = [g[name][place[limb]] for limb in _H36M.limbs]
    g[name] = jnp.asarray(ours, jnp.float32)
  g["maps"] = jnp.asarray(g["heatmaps_q"] / 256, jnp.float32)
  g["center"] = jnp.asarray(g["center"], jnp.float32)
  return g


_STATIC = ("skeleton", "stride", "first_bins", "bins", "depth", "floor", "original")
_rpsm = jax.jit(model.rpsm, static_argnames=(*_STATIC, "align_corners"))


def _run(maps, g, **options):
  options = {"limb_length": g["limb_length"], "center": g["center"]} | options
  return _rpsm(maps, g["cameras"], skeleton=_H36M, stride=4, **options)


@pytest.mark.parametrize("align_corners", [True, False])
def test_unary_golden_compute_unary_term(align_corners):
  g = _golden()
  axes = unary.grid_axes(jnp.tile(g["center"][None], (17, 1)), jnp.float32(2000), 12)
  values = jax.jit(unary.unary, static_argnames=("stride", "original", "align_corners"))(
    g["maps"],
    g["cameras"],
    jnp.ones(4),
    axes,
    stride=4,
    original=True,
    align_corners=align_corners,
  )
  expected = g[f"n12.align{int(align_corners)}.unary0_every7"]
  np.testing.assert_allclose(values.reshape(17, -1)[:, ::7], expected, atol=1e-4)


@pytest.mark.parametrize(
  "bins, case, options",
  [
    (8, "align1.rpsm_depth0", {"depth": 0}),
    (8, "align1.rpsm_depth10", {"depth": 10}),
    (12, "align1.rpsm_depth0", {"depth": 0}),
    (12, "align1.rpsm_depth10", {"depth": 10}),
    (12, "align0.rpsm_depth10", {"depth": 10, "align_corners": False}),
    (12, "align1.rpsm_recnbins4_depth4", {"depth": 4, "bins": 4}),
  ],
)
def test_golden_rpsm(bins, case, options):
  """True root and limb lengths, its place in the heatmaps; measured 0.0001 mm."""
  g = _golden()
  options = {"bins": 2, **options, "first_bins": bins}
  options["first_limb_length"] = g["limb_length_avg"]
  pose = _run(g["maps"], g, original=True, floor=0.0, **options)
  np.testing.assert_allclose(pose.joints, g[f"n{bins}.{case}"], atol=0.05)
  assert pose.valid
  if options["depth"] == 0:
    np.testing.assert_allclose(jnp.exp(pose.energy), g[f"n{bins}.align1.energy0_max"][0], rtol=1e-3)


@pytest.mark.parametrize("smooth", [False, True])
def test_look_ups_are_sums_over_the_map_continued_by_zeros(smooth):
  """Against hats and Keys' polynomials at every pixel; also outside images, behind cameras."""
  rng = np.random.default_rng(3)
  maps = rng.uniform(size=(2, 3, 9, 12)).astype(np.float32)
  k = np.array([[40.0, 1.0, 24.0], [0.0, 38.0, 18.0], [0.0, 0.0, 1.0]])
  turned = np.diag([-1.0, 1.0, -1.0])
  rotation = np.stack([np.eye(3), turned])
  translation = np.array([[0.0, 0.0, 400.0], [30.0, 0.0, 900.0]])
  weight = np.array([1.0, 0.7])
  centers = rng.normal(0, 60, (3, 3))
  views = Cameras(*map(jnp.float32, (np.stack([k, k]), rotation, translation)))
  axes = unary.grid_axes(jnp.asarray(centers, jnp.float32), jnp.float32(1400), 4)
  found = jax.jit(unary.unary, static_argnames=("stride", "smooth"))(
    maps, views, jnp.float32(weight), axes, stride=4, smooth=smooth
  )

  def near(d):
    d = np.abs(d)
    if not smooth:
      return np.maximum(0.0, 1.0 - d)
    far = -0.5 * d**3 + 2.5 * d**2 - 4.0 * d + 2.0
    return np.where(d < 1, 1.5 * d**3 - 2.5 * d**2 + 1.0, np.where(d < 2, far, 0.0))

  expected = np.zeros((3, 4, 4, 4))
  axes = np.asarray(axes, np.float64)
  for joint, x, y, z in np.ndindex(expected.shape):
    point = axes[joint, 0, x], axes[joint, 1, y], axes[joint, 2, z]
    for view in range(2):
      p = k @ (rotation[view] @ point + translation[view])
      if p[2] > 0:
        u, v = (p[:2] / p[2] - 1.5) / 4
        weights = near(v - np.arange(9))[:, None] * near(u - np.arange(12))
        expected[joint, x, y, z] += weight[view] * np.sum(weights * maps[view, joint])
  assert 0.2 < np.mean(expected != 0) < 0.9
  np.testing.assert_allclose(found, expected, atol=1e-4)


def _exact_maps(g):
  """Heatmaps [4, 17, 64, 64] of the golden pose without noise."""
  joints = jnp.asarray(g["X"], jnp.float32)
  uv = g["cameras"].project(joints)
  make = functools.partial(heatmaps.gaussian_target, size_hw=(64, 64), stride=4, sigma=8.0)
  return jax.jit(jax.vmap(jax.vmap(make)))(uv)


def test_exact_heatmaps_give_the_pose_from_any_center():
  """The default grid, whose middle a triangulated root gives; the last grid has a millimetre."""
  g = _golden()
  maps, rng = _exact_maps(g), np.random.default_rng(0)
  for shift in rng.uniform(-60, 60, (8, 3)):
    pose = _run(maps, g, center=g["center"] + jnp.asarray(shift, jnp.float32))
    error = np.linalg.norm(pose.joints - g["X"], axis=1)
    assert pose.valid
    assert error.mean() < 2.5 and error.max() < 5.0, (shift, error)


def test_same_grid_is_all_pairs():
  """Energies and places are those of the search over all pairs, for lengths from 0 to the grid."""
  rng = np.random.default_rng(5)
  joints = ("a", "b", "c", "d", "e")
  chain = skeletons.Skeleton("chain", joints, (-1, 0, 1, 2, 0))
  solve = jax.jit(
    functools.partial(tree.max_product, skeleton=chain, tolerance=90.0), static_argnames="same_grid"
  )
  scores = jnp.asarray(rng.normal(size=(5, 6, 6, 6)), jnp.float32)
  axes = unary.grid_axes(jnp.tile(jnp.array([[90.0, -40.0, 900.0]]), (5, 1)), jnp.float32(1000), 6)
  for lengths in ([50.0, 310.0, 620.0, 0.0], [900.0, 250.0, 1300.0, 455.0], [5e3, 1.0, 1.0, 1.0]):
    plain = solve(scores, axes, jnp.asarray(lengths))
    # Known only to the running program, and when it is made.
    same = solve(scores, axes, jnp.asarray(lengths), same_grid=True)
    known = jax.jit(
      functools.partial(
        tree.max_product,
        limb_length=np.array(lengths),
        skeleton=chain,
        tolerance=90.0,
        same_grid=True,
        spacing=200.0,
      )
    )(scores, axes)
    for found in (same, known):
      np.testing.assert_allclose(found[1], plain[1], rtol=1e-6)
      np.testing.assert_array_equal(found[0], plain[0])


def test_a_missing_view_and_an_unseen_joint():
  """A view of NaN with weight 0 has no say; a joint no view sees is where its limbs allow."""
  g = _golden()
  maps = _exact_maps(g).at[1].set(jnp.nan).at[:, _H36M.index("lelb")].set(0.0)
  frames = jnp.stack([maps, maps[::-1]])
  both = jax.tree.map(lambda c: jnp.stack([c, c[::-1]]), g["cameras"])
  weight = jnp.array([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]])
  find = functools.partial(
    model.rpsm,
    center=g["center"],
    limb_length=g["limb_length"],
    skeleton=_H36M,
    stride=4,
    first_bins=12,
  )
  pose = jax.jit(jax.vmap(lambda *a, weight: find(*a, weight=weight)))(frames, both, weight=weight)
  assert pose.valid.all()
  np.testing.assert_allclose(pose.joints[0], pose.joints[1], atol=0.1)
  error = np.linalg.norm(pose.joints[0] - g["X"], axis=1)
  seen = np.arange(17) != _H36M.index("lelb")
  assert error[seen].mean() < 4.0
  lengths = [np.linalg.norm(pose.joints[0, a] - pose.joints[0, b]) for a, b in _H36M.limbs]
  assert np.abs(np.array(lengths) - g["limb_length"]).max() < 150.1


def test_nothing_possible_is_flagged():
  """Limbs longer than the grid."""
  g = _golden()
  pose = _run(_exact_maps(g), g, limb_length=jnp.full(16, 9000.0), first_bins=4, depth=1)
  assert not pose.valid
  assert np.isfinite(pose.joints).all()


def test_max_product_is_the_best_of_all_poses():
  """Against every one of 8⁴ poses; a tree whose second joint comes before its parent."""
  small = skeletons.Skeleton("small", ("a", "b", "c", "d"), (2, 0, -1, 0))
  rng = np.random.default_rng(0)
  solve = jax.jit(functools.partial(tree.max_product, skeleton=small, tolerance=30.0))
  for _ in range(5):
    scores = rng.normal(size=(4, 2, 2, 2)).astype(np.float32)
    centers = jnp.asarray(rng.normal(0, 60, (4, 3)), jnp.float32)
    axes = unary.grid_axes(centers, jnp.float32(80), 2)
    lengths = rng.uniform(60, 140, 3).astype(np.float32)
    joints, energy = solve(jnp.asarray(scores), axes, jnp.asarray(lengths))
    grids = [np.array([*itertools.product(*axis)]) for axis in np.asarray(axes)]
    states = np.array([*itertools.product(range(8), repeat=4)])
    points = np.stack([grid[states[:, j]] for j, grid in enumerate(grids)], axis=1)
    actual = np.stack([np.linalg.norm(points[:, p] - points[:, c], axis=1) for p, c in small.limbs])
    totals = sum(score.ravel()[states[:, j]] for j, score in enumerate(scores))
    totals = np.where(np.all(np.abs(actual.T - lengths) <= 30, axis=1), totals, -np.inf)
    np.testing.assert_allclose(energy, totals.max(), rtol=1e-5)
    if np.isfinite(energy):
      np.testing.assert_allclose(joints, points[np.argmax(totals)], atol=1e-3)


@pytest.mark.parametrize("same_grid", [False, True])
@pytest.mark.parametrize("original", [False, True])
def test_the_look_up_knows_width_from_height(original, same_grid):
  """One bright pixel (u, v) = (12, 3) of a map 16 wide and 8 high, seen by a unit camera."""
  maps = jnp.zeros((1, 1, 8, 16)).at[0, 0, 3, 12].set(1.0)
  eye = jnp.eye(3)[None]
  camera = Cameras(eye, eye, jnp.zeros((1, 3)))
  # The original divides u by the height and v by the width before it multiplies by its own.
  uv = (4 * 12 * 7 / 15, 4 * 3 * 15 / 7) if original else (4 * 12 + 1.5, 4 * 3 + 1.5)
  place = jnp.array([[[uv[0]], [uv[1]], [1.0]]])
  value = unary.unary(
    maps, camera, jnp.ones(1), place, stride=4, same_grid=same_grid, original=original
  )
  np.testing.assert_allclose(value, np.ones((1, 1, 1, 1)), atol=0.05)

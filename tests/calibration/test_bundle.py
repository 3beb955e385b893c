"""Bundle adjustment: exact points stay, blocks add up, eliminating points changes nothing."""

import jax
import numpy as np

from epipolar_jax.calibration import bundle, schur
from tests import walkers


def test_exact_points_cost_nothing_and_sigmas_cover_noise():
  rig = walkers.ring(3)
  points = walkers.walk(6).reshape(-1, 3)
  uv = walkers.project(points[None], rig.cameras)[0].swapaxes(0, 1)[:, None]
  seen = np.ones(uv.shape[:3], bool)
  points = bundle.Placed.of_points(points)
  sigmas = bundle.Sigmas(0.02, 50.0)
  exact = bundle.adjust(uv, seen, rig.cameras, points, sigmas, noise_px=1.0)
  assert exact.cost[-1] < 1e-9 and exact.weight.min() > 0.999
  np.testing.assert_allclose(exact.cameras.rotation, rig.cameras.rotation, atol=1e-7)
  assert (exact.sigma[:, :6] > 0).all() and (exact.sigma[:, 6:] == 0).all()
  seen[..., 0] = False
  unseen = bundle.adjust(
    uv + 1e4 * ~seen[..., None], seen, rig.cameras, points, sigmas, noise_px=1.0
  )
  assert unseen.cost[-1] < 1e-9 and (unseen.weight[..., 0] == 0).all()


def test_blocks_of_points_add_up_to_one(monkeypatch):
  rig = walkers.ring(3)
  uv = walkers.project(walkers.walk(6), rig.cameras).swapaxes(1, 2).reshape(-1, 1, 3, 2)
  uv = uv + np.random.default_rng(0).normal(size=uv.shape)
  points = bundle.Placed.of_points(walkers.walk(6).reshape(-1, 3) + 20.0)
  given = uv, np.ones(uv.shape[:3], bool), rig.cameras, points, bundle.Sigmas(0.02, 50.0)
  one = bundle.adjust(*given, noise_px=1.0)
  # 102 points in blocks of 32, the last of which has 6.
  monkeypatch.setattr(bundle, "_POINTS", 32)
  several = bundle.adjust(*given, noise_px=1.0)
  assert len(one.placed.origin) == len(several.placed.origin) == 102
  np.testing.assert_allclose(several.cost, one.cost, rtol=1e-9)
  np.testing.assert_allclose(several.change, one.change, atol=1e-7)
  np.testing.assert_allclose(several.sigma, one.sigma, rtol=1e-6)
  np.testing.assert_allclose(several.weight, one.weight, atol=1e-7)


def test_eliminating_points_solves_the_whole_system():
  """Oracle: the damped normal equations of cameras and points together, by NumPy."""
  rng = np.random.default_rng(0)
  n, v, a = 5, 2, 6
  rows = rng.normal(size=(n, v, 2, a + 3))
  off = rng.normal(size=(n, v, 2))
  whole, right = np.zeros((v * a + 3 * n,) * 2), np.zeros(v * a + 3 * n)
  for i, view in np.ndindex(n, v):
    at = [*range(view * a, view * a + a), *range(v * a + 3 * i, v * a + 3 * i + 3)]
    whole[np.ix_(at, at)] += rows[i, view].T @ rows[i, view]
    right[at] += rows[i, view].T @ off[i, view]
  by_camera, by_point = rows[..., :a], rows[..., a:]
  block = schur.Normal(
    np.ones((n, 1, v)),
    np.einsum("nvia,nvib->vab", by_camera, by_camera),
    np.einsum("nvia,nvib->nvab", by_camera, by_point),
    np.einsum("nvia,nvib->nab", by_point, by_point),
    np.einsum("nvia,nvi->va", by_camera, off),
    np.einsum("nvia,nvi->na", by_point, off),
  )
  damping = 0.1
  step = -np.linalg.solve(whole + damping * np.diag(np.diag(whole)), right)
  with jax.enable_x64(True):
    inverse, taken, from_right = schur.eliminated(block, damping)
    cameras = np.zeros((v * a, v * a))
    for view in range(v):
      part = block.cc[view] + damping * np.diag(np.diag(block.cc[view]))
      cameras[view * a : view * a + a, view * a : view * a + a] = part
    ours = -np.linalg.solve(cameras - taken, block.c.reshape(-1) - from_right)
    still = schur.Block(np.stack([np.eye(3)] * n), np.zeros((n, 3)), None, None)
    _, moved = schur.stepped(ours.reshape(v, a), still, block, inverse)
  np.testing.assert_allclose(ours, step[: v * a], rtol=1e-9)
  np.testing.assert_allclose(moved, step[v * a :].reshape(n, 3), rtol=1e-9)

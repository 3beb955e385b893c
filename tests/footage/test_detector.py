"""The detector's fusion on heatmaps drawn here."""

import numpy as np
import pytest

from epipolar_jax.footage import detector, windows
from epipolar_jax.geometry.cameras import Cameras
from tests import walkers


@pytest.fixture(scope="module")
def lightning():
  return detector.Detector("lightning")


def _maps(uv: np.ndarray, side: int) -> np.ndarray:
  """Logits [v, h, w, j] with a peak of 5 over -8 at joints [v, j, 2], px of the windows."""
  v, u = np.mgrid[:side, :side] * 4 + 1.5
  square = (u[None, ..., None] - uv[:, None, None, :, 0]) ** 2
  square = square + (v[None, ..., None] - uv[:, None, None, :, 1]) ** 2
  return (13 * np.exp(-square / (2 * 8.0**2)) - 8).astype(np.float32)


def test_fusion_finds_a_joint_in_a_view_that_hides_it(lightning):
  rig = walkers.ring(4)
  points = walkers.walk(1)
  uv = walkers.project(points, rig.cameras)[0]
  boxes = [windows.around(x, np.ones(17, bool), margin=1.35) for x in uv]
  matrices = np.stack([windows.affine(c, np.array(s), size=lightning.size) for c, s in boxes])
  inside = np.einsum("vab,vjb->vja", matrices[..., :2], uv) + matrices[:, None, :, 2]
  maps = _maps(inside, lightning.size // 4)
  single, score = lightning.decode(maps)
  np.testing.assert_allclose(single, inside, atol=0.6)
  assert score.min() > 0.8
  maps[0] = -8.0  # nothing is seen there
  maps[0, 3, 3] = -7.5
  whole = np.concatenate([matrices, np.tile([[[0.0, 0.0, 1.0]]], (4, 1, 1))], axis=1)
  cameras = Cameras(whole @ rig.cameras.intrinsics, rig.cameras.rotation, rig.cameras.translation)
  lost, _ = lightning.decode(maps)
  fused, weight = lightning.fuse(maps, np.ones(4, bool), cameras)
  off = np.linalg.norm(fused - inside, axis=-1)
  assert np.median(np.linalg.norm(lost - inside, axis=-1)[0]) > 40
  assert np.median(off[0]) < 2.0 and np.percentile(off[0], 90) < 5.0
  assert off[1:].max() < 2.0
  assert ((weight >= 0) & (weight <= 1.001)).all()
  # A view that is not there gives the others nothing.
  absent, _ = lightning.fuse(maps, np.array([True, False, False, False]), cameras)
  assert np.median(np.linalg.norm(absent - inside, axis=-1)[0]) > 40


def test_batches_of_any_size_give_the_same(lightning):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (9, 192, 192, 3), np.uint8)
  together = lightning.maps(images)
  alone = lightning.maps(images[8:])
  np.testing.assert_allclose(together[8:], alone, atol=1e-4)
  assert lightning.maps(images[:0]).shape == (0, 48, 48, 17)


def test_any_number_of_windows_is_decoded_by_one_program(lightning):
  rng = np.random.default_rng(0)
  maps = rng.normal(size=(20, 48, 48, 17)).astype(np.float32)
  uv, score = lightning.decode(maps)
  programs = detector._decode._cache_size()
  for count in (0, 1, 8, 13):
    some = lightning.decode(maps[:count])
    np.testing.assert_array_equal(some[0], uv[:count])
    np.testing.assert_array_equal(some[1], score[:count])
  assert detector._decode._cache_size() == programs

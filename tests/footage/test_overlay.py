"""Skeletons drawn over images: the sheet of one frame, and the film of all."""

import dataclasses

import cv2
import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.footage import overlay
from epipolar_jax.rigs import lenses
from epipolar_jax.triangulation import estimate
from epipolar_jax.visualize import palette
from tests import walkers
from tests.footage import dots

_SKELETON = skeletons.SKELETONS["coco_17"]
_FRAMES = 6


def _drawn(points, rig, *, ends=_FRAMES):
  """A recording whose last view ends before the others."""
  frames = dots.draw(points, rig)
  for frame in frames[ends:]:
    frame[-1] = None
  return dots.Drawn(frames, rig.sizes_wh)


def _case(**options):
  rig = walkers.ring(4, **options)
  points = dots.spread(_FRAMES)
  seen = dataclasses.replace(walkers.observed(points, rig), joints=_SKELETON.joints)
  return rig, points, estimate.triangulate(seen, rig)


def _colored(image: np.ndarray, color) -> int:
  return int((np.abs(image.astype(int) - color).sum(axis=-1) < 60).sum())


def test_the_sheet_has_every_view_with_the_skeleton(tmp_path):
  rig, points, estimated = _case()
  path = tmp_path / "overlay.png"
  assert overlay.write_sheet(path, _drawn(points, rig), rig, _SKELETON, estimated) == 3
  sheet = cv2.imread(str(path))[..., ::-1]
  assert sheet.shape == (300, 1200, 3)
  for view in range(4):
    tile = sheet[:, 300 * view : 300 * (view + 1)]
    for color in (palette.LEFT, palette.RIGHT):
      assert _colored(tile, color) > 30, view


def test_several_people_have_a_colour_each_and_share_the_crop(tmp_path):
  rig, points, estimated = _case()
  both = {
    name: np.concatenate([getattr(estimated, name)] * 2, axis=1)
    for name in ("points", "valid", "covariance", "inlier", "reprojection_px")
  }
  both["points"][:, 1] += [1200.0, 600.0, 0.0]
  both["valid"][3:, 1] = False
  both = dataclasses.replace(estimated, **both)
  path = tmp_path / "overlay.png"
  # Frame 1 is the middle one of the frames with both.
  assert overlay.write_sheet(path, _drawn(points, rig), rig, _SKELETON, both) == 1
  sheet = cv2.imread(str(path))[..., ::-1]
  for person in range(2):
    for side in ("left", "right"):
      color = palette.limb(side, person)
      assert all(_colored(sheet[:, 300 * v : 300 * (v + 1)], color) > 15 for v in range(4))
  image = next(_drawn(points, rig).frames())[0]
  near = overlay.crop(image, rig, 0, _SKELETON, both, 0, person=0)
  wide = overlay.crop(image, rig, 0, _SKELETON, both, 0)
  own = [_colored(x, palette.limb("left", 0)) for x in (near, wide)]
  assert own[0] > 1.5 * own[1]


def test_nobody_makes_no_sheet(tmp_path):
  rig, points, estimated = _case()
  nobody = dataclasses.replace(estimated, valid=np.zeros_like(estimated.valid))
  path = tmp_path / "none.png"
  assert overlay.write_sheet(path, _drawn(points, rig), rig, _SKELETON, nobody) is None
  assert not path.exists()


def test_the_film_shows_every_frame_and_the_skeleton_where_the_joints_are(tmp_path):
  rig, points, estimated = _case(lens=lenses.OpenCV((-0.2, 0.05, 0.0, 0.0, 0.0)))
  path = tmp_path / "overlay.mp4"
  bent = dataclasses.replace(rig, lenses=(lenses.Pinhole(),) * 4)
  footage = _drawn(points, bent, ends=4)
  count = overlay.write_film(path, footage, rig, _SKELETON, estimated, fps=59.94)
  assert count == _FRAMES and [x.name for x in tmp_path.iterdir()] == ["overlay.mp4"]
  video = cv2.VideoCapture(str(path))
  assert abs(video.get(cv2.CAP_PROP_FPS) - 59.94) < 0.01
  frames = [video.read()[1][..., ::-1] for _ in range(_FRAMES)]
  assert not video.read()[0]
  # Two by two of 1280 x 960 fill the height of 1080.
  assert {f.shape for f in frames} == {(1080, 1440, 3)}
  assert frames[5][540:, 720:].max() < 30 and frames[3][540:, 720:].max() > 100
  (uv,), (valid,) = overlay.places(rig, 1, estimated, 2)
  assert valid.all()
  hip, knee = (uv[_SKELETON.index(name)] for name in ("lhip", "lkne"))
  u, v = np.round((hip + knee) / 2 * 0.5625).astype(int)
  tile = frames[2][:540, 720:]
  assert _colored(tile[v - 4 : v + 5, u - 4 : u + 5], palette.LEFT) > 3


@pytest.mark.parametrize(
  ("sizes", "columns", "scale"),
  (
    (((1088, 1920),) * 4, 4, 1920 / (4 * 1088)),
    (((1280, 720),) * 4, 2, 960 / 1280),
    (((640, 480),) * 2, 2, 1.0),
    (((1920, 1080),), 1, 1.0),
  ),
)
def test_views_are_as_large_as_fits(sizes, columns, scale):
  found, scales = overlay.layout(sizes)
  assert found == columns
  np.testing.assert_allclose(scales, scale, rtol=1e-6)

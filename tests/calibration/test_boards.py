"""Boards in images: corners where they are drawn, cameras as they were, and errors that say why."""

import contextlib
import functools
import subprocess

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.calibration import board_poses, boards, corners, single
from epipolar_jax.footage import board_videos
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.calibration import alignment, rendered

_GRID = boards.parse("6x5x60")
_MARKER = 45.0
_FRAMES = 16


@functools.cache
def _folders(root) -> dict:
  """Images of a ChArUco board in three cameras, by camera."""
  rig, paper = rendered.rig(), rendered.charuco(_GRID, cv2.aruco.DICT_4X4_50, _MARKER)
  folders = {}
  for view, name in enumerate(rig.names):
    folders[name] = root / name
    folders[name].mkdir()
    for frame, pose in enumerate(rendered.poses(_FRAMES, _GRID)):
      shown = rendered.image(view, paper, _GRID, *pose)
      cv2.imwrite(str(folders[name] / f"{frame:03}.png"), shown)
  return folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  return _folders(tmp_path_factory.mktemp("boards"))


def _layout(grid=_GRID):
  return boards.corners(grid.text, tuple(map(str, range(grid.inner))))


@pytest.mark.parametrize("legacy", [False, True])
def test_charuco_corners_are_where_they_are_drawn(legacy):
  grid = boards.parse("5x6x60")
  paper = rendered.charuco(grid, cv2.aruco.DICT_5X5_50, _MARKER, legacy=legacy)
  detect = corners.charuco(grid, "DICT_5X5_50", _MARKER)
  for pose in rendered.poses(3, grid):
    found = detect(rendered.image(0, paper, grid, *pose))
    off = np.linalg.norm(found - rendered.corners(0, _layout(grid), *pose), axis=-1)
    assert np.isfinite(off).sum() > 15 and np.nanmax(off) < 0.5 and np.nanmedian(off) < 0.15


@pytest.mark.parametrize("text", ["6x5x60", "5x6x60"])
def test_chessboard_corners_are_numbered_alike_however_it_is_turned(text):
  grid = boards.parse(text)
  detect = corners.chessboard(grid)
  middle = _layout(grid).mean(axis=0)
  for degrees in (0, 80, 170, 260):
    turn = cv2.Rodrigues(np.array([0.2, 0.1, np.radians(degrees)]))[0]
    pose = turn, -turn @ middle
    found = detect(rendered.image(0, rendered.chessboard(grid), grid, *pose))
    off = np.linalg.norm(found - rendered.corners(0, _layout(grid), *pose), axis=-1)
    # The detector is up to 0.33 px off at the rim; another numbering would be 20 px and more.
    assert off.max() < 0.5 and np.median(off) < 0.15, degrees
  hidden = rendered.image(0, rendered.chessboard(grid), grid, *pose)
  hidden[:, 320:] = 120
  assert np.isnan(detect(hidden)).all()


def test_a_rig_comes_from_nothing_but_a_boards_images(folders, tmp_path, capsys):
  out = tmp_path / "rig.toml"
  arguments = ["calibrate", "--board", _GRID.text, "--charuco", f"DICT_4X4_50,{_MARKER}"]
  # A pattern in quotes, as the shell hands it on.
  arguments += ["--videos", str(next(iter(folders.values())).parent / "cam?")]
  assert command.main([*arguments, "--out", str(out)]) in (0, None)
  said = capsys.readouterr().out
  assert f"{_FRAMES} of {_FRAMES} frames show the board, 20 of 20 corners" in said
  assert "camera cam0: focal length" in said and "the world is that of cam0" in said
  focal, off = _accuracy(Rig.read(out))
  # A principal point and a turn of the camera nearly make up for each other.
  assert np.abs(focal - 1).max() < 0.006
  turned, moved = alignment.errors(Rig.read(out).cameras, rendered.rig().cameras)
  assert turned.max() < 1.0 and moved.max() < 10.0
  assert off.max() < 0.5 and np.median(off) < 0.1


def _accuracy(found: Rig):
  """Focal lengths [v] in true ones, and errors [n], mm, of lengths between points in sight."""
  truth = rendered.rig()
  focal = found.cameras.intrinsics[:, 0, 0] / truth.cameras.intrinsics[:, 0, 0]
  points = np.random.default_rng(0).uniform(-150, 150, (40, 1, 3))
  seen = walkers.observed(points, truth)
  given = estimate.triangulate(seen, found).points[:, 0, 0]
  first, second = np.triu_indices(40, 1)
  apart = np.linalg.norm(given[first] - given[second], axis=-1)
  return focal, np.abs(apart - np.linalg.norm(points[first, 0] - points[second, 0], axis=-1))


@contextlib.contextmanager
def _h264(path):
  """Takes images [h, w] uint8, and writes them as H.264 at its usual quality."""
  size = f"{rendered.SIZE_WH[0]}x{rendered.SIZE_WH[1]}"
  raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", size, "-r", "30", "-i", "-"]
  encoded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)]
  command_line = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *raw, *encoded]
  with subprocess.Popen(command_line, stdin=subprocess.PIPE) as process:
    yield lambda image: process.stdin.write(image.tobytes())
    process.stdin.close()
  assert process.returncode == 0


def test_a_rig_comes_from_encoded_videos_of_a_board(tmp_path, capsys):
  """H.264 as cameras and editors write it, in 150 times fewer bytes than the images have."""
  rig, paper = rendered.rig(), rendered.charuco(_GRID, cv2.aruco.DICT_4X4_50, _MARKER)
  videos = []
  for view, name in enumerate(rig.names):
    videos.append(tmp_path / f"{name}.mp4")
    with _h264(videos[-1]) as write:
      for pose in rendered.poses(_FRAMES, _GRID):
        shown = rendered.image(view, paper, _GRID, *pose)
        # Each pose for three frames: a codec predicts them from each other.
        for _ in range(3):
          write(shown)
  out = tmp_path / "rig.toml"
  arguments = ["calibrate", "--board", _GRID.text, "--charuco", f"DICT_4X4_50,{_MARKER}"]
  arguments += ["--every", "3", "--videos", *map(str, videos), "--out", str(out)]
  assert command.main(arguments) in (0, None)
  assert f"{_FRAMES} of {_FRAMES} frames show the board" in capsys.readouterr().out
  focal, off = _accuracy(Rig.read(out))
  assert np.abs(focal - 1).max() < 0.006
  assert off.max() < 0.6 and np.median(off) < 0.12


def test_what_a_video_shows_instead_is_said(folders):
  sources = {"cam0": folders["cam0"]}
  read = functools.partial(board_videos.read, tell=lambda text: None)
  with pytest.raises(
    ValueError,
    match=r"cam0.*none of 16 frames.*markers of DICT_5X5_50; frame \d+ "
    "shows 15 markers of DICT_4X4_",
  ):
    read(sources, _GRID, charuco=("DICT_5X5_50", _MARKER))
  with pytest.raises(ValueError, match=r"none of 16 frames shows a whole chessboard of 8 x 7"):
    read(sources, boards.parse("8x7x60"))
  with pytest.raises(ValueError, match="no dictionary 'DICT_9X9'; OpenCV has DICT_4X4_100"):
    read(sources, _GRID, charuco=("DICT_9X9", _MARKER))
  with pytest.raises(ValueError, match="a marker of 70 mm does not fit into a square of 60 mm"):
    read(sources, _GRID, charuco=("DICT_4X4_50", 70.0))
  with pytest.raises(ValueError, match=r"DICT_4X4_50 has 50 markers; .* 12 x 12 squares has 72"):
    read(sources, boards.parse("12x12x60"), charuco=("DICT_4X4_50", 45.0))
  with pytest.raises(ValueError, match="looks the same when it is turned by 180°"):
    read(sources, boards.parse("6x6x60"))


def test_what_one_camera_does_not_show_is_said():
  layout = _layout()
  seen = np.stack([rendered.corners(0, layout, *pose) for pose in rendered.poses(12, _GRID)])
  good = single.calibrate("cam0", seen, layout, rendered.SIZE_WH)
  assert abs(good.intrinsics[0, 0] / 600 - 1) < 1e-3 and good.error_px < 0.01
  np.testing.assert_allclose(good.lens.coefficients[:2], (-0.18, 0.05), atol=0.01)
  with pytest.raises(ValueError, match="camera cam0: 5 frames show 6 corners"):
    single.calibrate("cam0", seen[:5], layout, rendered.SIZE_WH)
  wrong = layout[:, [1, 0, 2]]
  with pytest.raises(ValueError, match=r"camera cam0: .* px are left, .* in frame \d+"):
    single.calibrate("cam0", seen, np.roll(wrong, 3, axis=0), rendered.SIZE_WH)
  flat = np.stack(
    [rendered.corners(0, layout, np.eye(3), np.array([x, 0.0, 0.0])) for x in range(0, 120, 10)]
  )
  noise = np.random.default_rng(0).normal(size=flat.shape)
  with pytest.raises(ValueError, match="is not certain enough: show the board tilted"):
    single.calibrate("cam0", flat + 0.3 * noise, layout, rendered.SIZE_WH)


def test_cameras_that_never_see_the_board_together_are_named():
  rig, layout = rendered.rig(), _layout()
  views = [
    [rendered.corners(view, layout, *pose) for pose in rendered.poses(8, _GRID)]
    for view in range(3)
  ]
  points = np.moveaxis(np.array(views), 0, 1)[:, None]
  score = np.ones(points.shape[:-1])
  score[:6, :, 2] = 0
  joints = tuple(map(str, range(_GRID.inner)))
  with pytest.raises(ValueError, match="camera cam2 shares 2 frames that show the board"):
    board_poses.pose(Observations(points, score, joints, rig.names), rig, layout)

"""Images of boards as cameras with lens distortion show them, exact to the pixel."""

import functools

import cv2
import numpy as np

from epipolar_jax.calibration import boards
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.rigs.lenses import OpenCV
from epipolar_jax.rigs.rig import Rig
from tests import scenes

SIZE_WH = (640, 480)
# Pixels of a square in the board's own image, and samples along a pixel's side.
_SQUARE, _FINE = 48, 2


def rig(views: int = 3) -> Rig:
  """Cameras in an arc 1.2 m before the origin, each with a lens of its own."""
  k, r, t, lenses = [], [], [], []
  for view in range(views):
    angle = np.radians(24.0 * (view - (views - 1) / 2))
    centre = 1200 * np.array([np.sin(angle), 0.15 * view, -np.cos(angle)])
    k.append([[600.0 + 15 * view, 0, 322.0], [0, 600.0 + 15 * view, 236.0 + view], [0, 0, 1]])
    r.append(scenes.look_at(centre, np.zeros(3)))
    t.append(-r[-1] @ centre)
    lenses.append(OpenCV((-0.18 + 0.02 * view, 0.05, 0.0, 0.0)))
  cameras = Cameras(np.array(k), np.stack(r), np.stack(t))
  names = tuple(f"cam{view}" for view in range(views))
  return Rig(names, (SIZE_WH,) * views, tuple(lenses), cameras, 1.0)


def poses(frames: int, grid: boards.Grid, seed: int = 0):
  """Poses (R, t) of a board, its first inner corner's frame to the world, that all cameras see."""
  rng = np.random.default_rng(seed)
  middle = grid.square * (np.array([grid.columns, grid.rows, 0]) / 2 - [1, 1, 0])
  found = []
  for _ in range(frames):
    r = cv2.Rodrigues(rng.uniform([-0.5, -0.5, -0.6], [0.5, 0.5, 0.6]))[0]
    found.append((r, rng.uniform([-110, -80, -150], [110, 80, 200]) - r @ middle))
  return found


def charuco(grid: boards.Grid, dictionary: int, marker: float, *, legacy: bool = False):
  """The board's own image, `_SQUARE` px a square."""
  markers = cv2.aruco.getPredefinedDictionary(dictionary)
  board = cv2.aruco.CharucoBoard((grid.columns, grid.rows), grid.square, marker, markers)
  board.setLegacyPattern(legacy)
  return board.generateImage((grid.columns * _SQUARE, grid.rows * _SQUARE), marginSize=0)


def chessboard(grid: boards.Grid) -> np.ndarray:
  """The same of a chessboard whose first square is black."""
  white = np.add.outer(np.arange(grid.rows), np.arange(grid.columns)) % 2
  return np.kron(white, np.full((_SQUARE, _SQUARE), 255)).astype(np.uint8)


@functools.cache
def _rays(view: int, views: int) -> np.ndarray:
  """Rays [n, 3] of all samples of a camera's image, by OpenCV, alike for all poses of a board."""
  camera = rig(views).select((f"cam{view}",))
  u, v = ((np.arange(_FINE * n) + 0.5) / _FINE - 0.5 for n in SIZE_WH)
  pixels = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
  k, _, _ = _pose(camera)
  xy = cv2.undistortPoints(pixels[:, None], k, np.array(camera.lenses[0].coefficients))[:, 0]
  return np.concatenate([xy, np.ones((len(xy), 1))], axis=-1)


def image(view: int, paper: np.ndarray, grid: boards.Grid, turn, shift, *, views: int = 3):
  """What a camera of `rig` shows of a board [h, w] uint8, with a white border, on gray."""
  _, r, t = _pose(rig(views).select((f"cam{view}",)))
  # x_c = R (turn b + shift) + t; with b_z = 0 a plane's homography.
  to_camera = np.column_stack([(r @ turn)[:, :2], r @ shift + t])
  board = _rays(view, views) @ np.linalg.inv(to_camera).T
  xy = board[:, :2] / board[:, 2:]
  at = ((xy / grid.square + 1) * _SQUARE - 0.5 + _SQUARE // 2).astype(np.float32)
  at = at.reshape(_FINE * SIZE_WH[1], _FINE * SIZE_WH[0], 2)
  border = cv2.copyMakeBorder(paper, *[_SQUARE // 2] * 4, cv2.BORDER_CONSTANT, value=255)
  edge = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": 120}
  return cv2.resize(
    cv2.remap(border, at, None, cv2.INTER_LINEAR, **edge), SIZE_WH, interpolation=cv2.INTER_AREA
  )


def corners(view: int, layout: np.ndarray, turn, shift, *, views: int = 3) -> np.ndarray:
  """Where a camera of `rig` sees corners [j, 3]: [j, 2], px."""
  camera = rig(views).select((f"cam{view}",))
  k, r, t = _pose(camera)
  x = (layout @ turn.T + shift) @ r.T + t
  return camera.lenses[0].distort((x @ k.T)[:, :2] / x[:, 2:], k)


def _pose(camera: Rig):
  cameras = camera.cameras
  arrays = cameras.intrinsics, cameras.rotation, cameras.translation
  return tuple(np.asarray(x[0], np.float64) for x in arrays)

"""Predictions as a film: all views with skeletons, and the 3D skeletons of each method turning."""

import contextlib
import itertools
import pathlib
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.visualize import limbs, palette, predictions

_TILE = 256  # side of a view, px
_PANEL = 400  # width of a 3D panel, px
_BAR = 40  # height of the titles, px
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_REACH = 0.625  # what a panel shows to each side of the body, of its size
_TURN_S = 8.0  # of one turn of the skeletons


def scenes(
  images: np.ndarray,
  predicted: dict[str, Any],
  labels: dict[str, np.ndarray],
  *,
  skeleton: skeletons.Skeleton,
  fps: int,
  hold_s: float,
) -> Iterator[np.ndarray]:
  """The images of a film, frame after frame of a split.

  Args:
    images: [m v h w 3] uint8 RGB network inputs of the frames `predictions.picked(n, m)`.
    predicted: of all n frames: joints_2d [n v j 2] network px, and joints_3d [n j 3] mm and
      joint_valid [n j], or `methods`, dicts of these two by name.
    labels: of all n frames, as `predictions.sheet` needs them.
    skeleton: of the joints.
    fps: images a second.
    hold_s: how long each frame of the split is shown.

  Yields:
    [height, width, 3] uint8 RGB; both even, as H.264 wants.
  """
  chosen = predictions.picked(len(labels["joints_3d"]), len(images))
  methods = predicted.get("methods") or {"": predicted}
  titles = {name: _title(name, found, labels["joints_3d"]) for name, found in methods.items()}
  hold = max(round(hold_s * fps), 1)
  for number, (views, i) in enumerate(zip(images, chosen)):
    truth = {k: x[i] for k, x in labels.items()}
    grid = _grid(views, predicted["joints_2d"][i], truth, skeleton)
    for tick in range(number * hold, (number + 1) * hold):
      angle = 2 * np.pi * tick / (fps * _TURN_S)
      panels = [
        _panel(
          found["joints_3d"][i],
          found["joint_valid"][i],
          labels["joints_3d"][i],
          angle,
          titles[name],
          len(grid),
          skeleton,
        )
        for name, found in methods.items()
      ]
      yield np.hstack([grid, *panels])


def write_mp4(path: pathlib.Path, images: Iterable[np.ndarray], *, fps: float) -> int:
  """Writes H.264 that browsers play.

  Args:
    path: file to write; its folder is made.
    images: [h, w, 3] uint8 RGB, all of one even size.
    fps: images a second.

  Returns:
    How many images were written.

  Raises:
    ValueError: there are none.
    OSError: the encoder failed; with its words.
  """
  images = iter(images)
  first = next(images, None)
  if first is None:
    raise ValueError(f"no images for {path}: set eval.num_images above 0")
  path.parent.mkdir(parents=True, exist_ok=True)
  size = f"{first.shape[1]}x{first.shape[0]}"
  source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
  # The index first (faststart), so that it plays while it loads.
  codec = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "21", "-preset", "veryfast"]
  command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *source, *codec]
  command += ["-movflags", "+faststart", str(path)]
  with tempfile.TemporaryFile() as complaints:
    encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=complaints)
    count = 0
    with contextlib.suppress(BrokenPipeError), encoder.stdin as pipe:
      for image in itertools.chain([first], images):
        pipe.write(np.ascontiguousarray(image).tobytes())
        count += 1
    if encoder.wait():
      complaints.seek(0)
      raise OSError(f"could not write {path}: {complaints.read().decode(errors='replace').strip()}")
  return count


def _title(name: str, found: dict[str, np.ndarray], truth: np.ndarray) -> str:
  """The method and its error over the whole split, not only over what is shown."""
  error = np.linalg.norm(found["joints_3d"] - truth, axis=-1)[found["joint_valid"]]
  score = f"MPJPE {error.mean():.1f} mm" if error.size else "nothing triangulated"
  return f"{name}   {score}" if name else score


def _grid(
  views: np.ndarray, uv: np.ndarray, truth: dict[str, Any], skeleton: skeletons.Skeleton
) -> np.ndarray:
  """The views in two rows (one, if there are only two), under an empty title bar."""
  tiles = [predictions.view(x, v, {"joints_2d": uv}, truth, skeleton) for v, x in enumerate(views)]
  columns = -(-len(tiles) // 2) if len(tiles) > 2 else len(tiles)
  tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
  rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
  bar = np.full((_BAR, columns * _TILE, 3), palette.STAGE, np.uint8)
  _legend(bar)
  return np.vstack([bar, *rows])


def _legend(bar: np.ndarray) -> None:
  left = 12
  for text, color in (
    ("left", palette.LEFT),
    ("right", palette.RIGHT),
    ("middle", palette.MIDDLE),
    ("truth", palette.TRUTH),
  ):
    cv2.line(bar, (left, 20), (left + 22, 20), color, 1 if text == "truth" else 3, cv2.LINE_AA)
    _write(bar, text, (left + 30, 25), 0.5)
    left += 46 + 11 * len(text)


def _panel(
  joints: np.ndarray,
  valid: np.ndarray,
  truth: np.ndarray,
  angle: float,
  title: str,
  height: int,
  skeleton: skeletons.Skeleton,
) -> np.ndarray:
  """One method's skeleton over the truth, seen from a point that goes around the person."""
  canvas = np.full((height, _PANEL, 3), palette.STAGE, np.uint8)
  middle = 0.5 * (truth.min(0) + truth.max(0))
  project = _turntable(middle, angle, height, _REACH * skeleton.size_mm)
  ground = np.array([middle[0], middle[1], truth[:, 2].min()])
  _floor(canvas, project, ground, 0.5 * skeleton.size_mm)
  own, strokes = limbs.colors(skeleton), []
  for parent, child in skeleton.limbs:
    strokes.append((truth[[parent, child]], palette.TRUTH, 1))
    if valid[parent] and valid[child]:
      strokes.append((joints[[parent, child]], own[child], 4))
  # Far limbs first, so that near ones cover them.
  flat = [(project(ends), color, width) for ends, color, width in strokes]
  for ends, color, width in sorted(flat, key=lambda s: -s[0][:, 2].mean()):
    _stroke(canvas, ends[:, :2], color, width)
  error = np.linalg.norm(joints - truth, axis=-1)[valid]
  _write(canvas, title, (14, 26), 0.6)
  if error.size:
    _write(canvas, f"this frame {error.mean():.0f} mm", (14, height - 16), 0.5)
  return canvas


def _turntable(middle: np.ndarray, angle: float, height: int, reach_mm: float):
  """World points [n, 3] mm to (u, v, depth) [n, 3] of a camera that circles slightly above."""
  c, s = np.cos(angle), np.sin(angle)
  tilt = np.deg2rad(14)
  forward = np.array([-c * np.cos(tilt), -s * np.cos(tilt), -np.sin(tilt)])
  right = np.array([-s, c, 0.0])
  down = np.cross(forward, right)
  distance = 4.2 * reach_mm
  focal = 0.5 * min(_PANEL, height - 2 * _BAR) * distance / reach_mm

  def project(points):
    x = (points - middle) @ np.stack([right, down, forward]).T
    depth = x[:, 2] + distance
    uv = focal * x[:, :2] / depth[:, None] + [_PANEL / 2, height / 2]
    return np.concatenate([uv, depth[:, None]], 1)

  return project


def _floor(canvas: np.ndarray, project: Any, center: np.ndarray, reach_mm: float) -> None:
  for offset in np.linspace(-reach_mm, reach_mm, 5):
    for axis in (0, 1):
      ends = np.tile(center, (2, 1))
      ends[:, axis] += offset
      ends[:, 1 - axis] += [-reach_mm, reach_mm]
      _stroke(canvas, project(ends)[:, :2], (62, 72, 84), 1)


def _stroke(canvas: np.ndarray, uv: np.ndarray, color: palette.RGB, width: int) -> None:
  # Clipped because OpenCV overflows on far points.
  points = np.clip(np.rint(uv * 2**_SHIFT), -(10**6), 10**6).astype(int).tolist()
  cv2.line(canvas, *map(tuple, points), color, width, cv2.LINE_AA, shift=_SHIFT)


def _write(canvas: np.ndarray, text: str, at: tuple[int, int], size: float) -> None:
  cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (233, 237, 241), 1, cv2.LINE_AA)

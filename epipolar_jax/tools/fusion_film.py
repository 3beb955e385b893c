"""An animated image of what fusion does in one camera: its joints alone, and with the others'.

python -m epipolar_jax.tools.fusion_film --videos 'cam*.mp4' --cameras calibration.toml --out DIR
    --view CAMERA --output fusion.webp

DIR is a prediction of these videos (it is made if it is not there). The left half shows what the
network finds in this view by itself, the right half what it finds with the evidence that the other
views have along their epipolar lines; nothing is triangulated or smoothed. A third of the speed.
"""

import argparse
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

from epipolar_jax.cli import detectors
from epipolar_jax.footage import prediction
from epipolar_jax.skeletons import Skeleton
from epipolar_jax.tools import hidden_view
from epipolar_jax.visualize import limbs

_SIDE = 400  # of a half, px
_QUALITY = 60
_FPS = 25  # of folders of images
_SLOWER = 3  # than in life


def main(arguments: Sequence[str] | None = None) -> None:
  """Writes the film that the arguments describe."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--videos", nargs="+", required=True)
  parser.add_argument("--cameras", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True, help="of the prediction")
  parser.add_argument("--detector", default="thunder")
  parser.add_argument("--view", required=True, help="camera that is shown")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="a .webp file")
  options = parser.parse_args(arguments)
  if options.output.suffix != ".webp":
    parser.error(f"--output {options.output} is no .webp file")
  footage, rig = hidden_view.opened(options.videos, options.cameras)
  if options.view not in rig.names:
    parser.error(f"--view {options.view} is none of the cameras {', '.join(rig.names)}")
  network = detectors.detector_of(options.detector, None)
  part = prediction.predict(footage, rig, network, options.out)
  frames = np.flatnonzero(part.found & np.isfinite(part.windows).all(axis=(1, 2)))
  # One window for all frames, so that only the person moves.
  view = rig.names.index(options.view)
  boxes = part.windows.copy()
  boxes[:, view] = _steady(boxes[frames, view])
  looks = hidden_view.look(footage, rig, network, boxes, set(frames.tolist()))
  write(
    options.output,
    [drawn(seen, view, network.skeleton) for seen in looks],
    (footage.fps or _FPS) / _SLOWER,
  )
  print(f"Wrote {options.output}: {len(frames)} frames of {options.view}.")


def _steady(boxes: np.ndarray) -> np.ndarray:
  """The square that holds all of [f, 3], centre and side."""
  low = (boxes[:, :2] - boxes[:, 2:] / 2).min(axis=0)
  high = (boxes[:, :2] + boxes[:, 2:] / 2).max(axis=0)
  return np.array([*(low + high) / 2, (high - low).max()])


def drawn(seen: hidden_view.Seen, view: int, skeleton: Skeleton) -> np.ndarray:
  """One frame: the joints of the view alone on the left, with fusion on the right, uint8 RGB."""
  factor = _SIDE / seen.windows.shape[1]
  tiles = []
  for name, uv in (("this camera alone", seen.alone), ("with the other cameras", seen.fused)):
    tile = cv2.resize(seen.windows[view], (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    limbs.draw(tile, (uv[view] + 0.5) * factor - 0.5, skeleton, thickness=3, cased=True)
    limbs.label(tile, name)
    tiles.append(tile)
  return np.concatenate(tiles, axis=1)


def write(path: pathlib.Path, frames: Sequence[np.ndarray], fps: float) -> None:
  """Writes [h, w, 3] uint8 RGB frames as an animated WebP that plays forever.

  Raises:
    OSError: it cannot be written.
    ValueError: there are no frames.
  """
  if not len(frames):
    raise ValueError("nobody was found in any frame, so there is nothing to show")
  animation = cv2.Animation()
  animation.frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
  animation.durations = np.full(len(frames), round(1000 / fps), np.int32)
  path.parent.mkdir(parents=True, exist_ok=True)
  if not cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]):
    raise OSError(f"{path} cannot be written")


if __name__ == "__main__":
  main()

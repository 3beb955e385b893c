"""A contact sheet: `python -m data.synthetic.preview --output sheet.png --frames 6`.

One frame per row, one view per column; each view once as stored and once with the joints drawn on
it in the colours of every sheet (`visualize.palette`), hollow when not visible.
"""

import argparse
import dataclasses
import pathlib

import cv2
import numpy as np

from data.synthetic import options as options_lib
from data.synthetic import scene
from epipolar_jax.visualize import palette, predictions

_RIGHT = (1, 2, 3, 14, 15, 16)
_LEFT = (4, 5, 6, 11, 12, 13)
# Human3.6M-17: the parent of each joint but the root.
_PARENTS = (0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)


def draw_joints(image: np.ndarray, points: np.ndarray, visible: np.ndarray) -> np.ndarray:
  """A copy of an image [h, w, 3] RGB with the limbs and joints [17, 2] px drawn on it."""
  image = np.array(image, order="C")
  pixels = [tuple(int(x) for x in np.round(p * 16)) for p in points]
  for joint, parent in enumerate(_PARENTS):
    color = _color(joint)
    cv2.line(image, pixels[joint], pixels[parent], color, 1, cv2.LINE_AA, shift=4)
  for joint, pixel in enumerate(pixels):
    radius = max(2, image.shape[0] // 96) * 16
    cv2.circle(image, pixel, radius, _color(joint), -1 if visible[joint] else 1, 16, shift=4)
  return image


def contact_sheet(frames: list[scene.Frame], *, tile: int) -> np.ndarray:
  """Rows of frames: the views as stored, then the same with joints; [h, w, 3] RGB."""
  rows = []
  for frame in frames:
    scale = tile / frame.images.shape[1]
    plain = [
      cv2.resize(image, (tile, tile), interpolation=cv2.INTER_NEAREST) for image in frame.images
    ]
    # Pixel centres: a point u of the stored image lies at (u + 1/2) · scale - 1/2 of the tile.
    points = (frame.joints_2d + 0.5) * scale - 0.5
    drawn = [draw_joints(*view) for view in zip(plain, points, frame.visible)]
    rows.append(np.concatenate(plain + drawn, 1))
  return np.concatenate(rows)


def _color(joint: int) -> palette.RGB:
  side = "right" if joint in _RIGHT else "left" if joint in _LEFT else "middle"
  return palette.limb(side)


def main() -> None:
  """Writes the sheet."""
  parser = argparse.ArgumentParser(description="Writes a contact sheet of synthetic frames.")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="PNG to write")
  parser.add_argument("--frames", type=int, default=6, help="rows")
  parser.add_argument("--first", type=int, default=0, help="index of the first frame")
  parser.add_argument("--occlusion", type=int, choices=(0, 1, 2), help="views with an occluder")
  parser.add_argument("--split", default="train", choices=("train", "validation", "test"))
  parser.add_argument("--tile", type=int, default=192, help="side of one view on the sheet, px")
  parser.add_argument("--image_size", type=int, default=128, help="side of the stored image, px")
  parser.add_argument("--seed", type=int, default=0)
  arguments = parser.parse_args()
  options = dataclasses.replace(
    options_lib.Options(), image_size=arguments.image_size, seed=arguments.seed
  )
  split = arguments.split
  if arguments.occlusion is not None:
    # Only test frames come at a chosen level of occlusion.
    split = f"test_occluded_{arguments.occlusion}" if arguments.occlusion else "test"
  generator = scene.Generator(options)
  first = arguments.first
  frames = [generator.frame(split, i) for i in range(first, first + arguments.frames)]
  sheet = contact_sheet(frames, tile=arguments.tile)
  predictions.write_png(arguments.output, sheet)
  print(f"{arguments.output}: {len(frames)} frames of {split}")


if __name__ == "__main__":
  main()

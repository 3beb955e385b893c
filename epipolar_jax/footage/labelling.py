"""Frames worth labelling next: those where views contradict each other most, as images and guesses.

In DeepLabCut's layout, which Lightning Pose shares: a folder a camera in `labeled-data`, with the
images and a csv of guesses to correct; and beside the folders the same guesses as COCO's
annotations. `data.footage.builder --labels` reads either.
"""

import csv
import pathlib
import warnings

import cv2
import numpy as np

from epipolar_jax.footage.videos import Footage
from epipolar_jax.keypoints import coco_labels, writing
from epipolar_jax.keypoints.observations import Observations

_SCORER = "epipolar_jax"


def choose(left_out: np.ndarray, count: int) -> np.ndarray:
  """The frames [n] with the largest errors, spread over time, ascending.

  A frame counts by the mean over joints and views of its errors; one in which nothing could be
  compared counts as the worst. Chosen frames are at least half of their even spacing apart.

  Args:
    left_out: [f, v, j], px; NaN: not known.
    count: frames to choose; fewer if there are no more.
  """
  frames = len(left_out)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # of frames without any error
    error = np.nanmean(left_out.reshape(frames, -1), axis=1)
  error = np.where(np.isnan(error), np.inf, error)
  apart = max(1, frames // (2 * max(count, 1)))
  chosen: list[int] = []
  for frame in np.argsort(-error, kind="stable"):
    if len(chosen) < count and all(abs(frame - other) >= apart for other in chosen):
      chosen.append(int(frame))
  return np.array(sorted(chosen), int)


def write(folder: pathlib.Path, footage: Footage, guesses: Observations, frames: np.ndarray) -> int:
  """Writes images and guesses of some frames.

  Args:
    folder: gets `labeled-data/CAMERA/imgNNNNN.png`, `CollectedData_epipolar_jax.csv` beside them,
      and `labeled-data/annotations.json`; files of the same names are replaced.
    footage: v recordings.
    guesses: [f, 1, v, j, 2] px of the videos; what is not seen is left empty.
    frames: numbers of the frames, ascending.

  Returns:
    How many images were written.
  """
  digits = max(5, len(str(int(frames.max())))) if len(frames) else 5
  folders = [folder / "labeled-data" / writing.file_name(name) for name in footage.names]
  rows: list[list[list[str]]] = [[] for _ in folders]
  listed: list[coco_labels.Labelled] = []
  for number, images in zip(frames.tolist(), footage.at(frames.tolist())):
    for view, image in enumerate(images):
      if image is None:
        continue
      path = folders[view] / f"img{number:0{digits}d}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      done, data = cv2.imencode(".png", image[..., ::-1])
      if not done:
        raise ValueError(f"{path}: OpenCV could not encode the image")
      path.write_bytes(data.tobytes())
      points = guesses.points[number, 0, view]
      named = f"{path.parent.name}/{path.name}"
      cells = ("" if x != x else f"{x:.2f}" for x in points.ravel().tolist())
      rows[view].append([f"labeled-data/{named}", *cells])
      listed.append(coco_labels.Labelled(named, image.shape[1::-1], points))
  for view, own in enumerate(rows):
    if own:
      _write_table(folders[view] / f"CollectedData_{_SCORER}.csv", guesses.joints, own)
  if listed:
    path = folder / "labeled-data" / "annotations.json"
    coco_labels.write(path, guesses.joints, sorted(listed, key=lambda one: one.file_name))
  return len(listed)


def _write_table(path: pathlib.Path, joints: tuple[str, ...], rows: list[list[str]]) -> None:
  with path.open("w", encoding="utf-8", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["scorer", *[_SCORER] * (2 * len(joints))])
    out.writerow(["bodyparts", *(joint for joint in joints for _ in "xy")])
    out.writerow(["coords", *["x", "y"] * len(joints)])
    out.writerows(rows)

"""What a stored frame was before the builder: its raw images, and the undistorted ones."""

import pathlib
from typing import Any

import numpy as np

from data import faults
from data.h36m import annotations, raw_images

# Whole images are shown smaller, px.
_SHOWN = 500


class RawFrames:
  """The frames of one split of the raw data set, found by what the builder stored of them.

  Args:
    root: folder with `annot` and the images, or the folder above it.
    split: "train" or "validation".

  Raises:
    FileNotFoundError: there is no such data set.
    ValueError: its annotation file cannot be read.
  """

  def __init__(self, root: pathlib.Path, split: str):
    root = annotations.find_root(root)
    path = annotations.path_of(root, split)
    self._name = path.name
    self._store = raw_images.find_store(root)
    # A frame that the builder left out is never asked for.
    ignored = faults.Faults(stop=False)
    found = annotations.frames(annotations.read(path), path.name, ignored, ignored)
    self._frames = {_key(frame.records[0], "image_id"): frame for frame in found}

  def stages(self, example: dict[str, Any]) -> list[dict[str, Any]]:
    """Two stages for `epipolar_jax.visualize.inputs`: raw (unless undistorted before), undistorted.

    Args:
      example: as stored; its subject, action, subaction and frame count.

    Raises:
      ValueError: the raw data have no such frame, or it cannot be read (`data.faults.BadRecord`).
    """
    action = example["action"]
    action = action.decode() if isinstance(action, bytes) else str(action)
    numbers = {name: number for number, name in annotations.ACTIONS.items()}
    key = _key(dict(example) | {"action": numbers[action]}, "frame")
    if key not in self._frames:
      raise ValueError(
        f"{self._name} has no frame {key[3]} of subject {key[0]}, action {key[1]}, subaction "
        f"{key[2]}: the prepared data were made from another raw data set"
      )
    views = annotations.views(self._frames[key], self._name)
    read = [raw_images.decode(self._store.read(v.image, v.where), v.where, v.image) for v in views]
    straight = [raw_images.undistort_points(v.joints_2d, v.intrinsics, v.distortion) for v in views]
    centers = [
      raw_images.undistort_points(v.box_center[None], v.intrinsics, v.distortion)[0] for v in views
    ]
    undistorted = _stage(
      "Undistorted",
      "Whole images free of lens distortion, at half size. Dashed: the person box.",
      views,
      read
      if self._store.undistorted
      else [raw_images.undistort(x, v.intrinsics, v.distortion) for x, v in zip(read, views)],
      straight,
      centers,
    )
    if self._store.undistorted:
      return [undistorted]
    raw = _stage(
      "Raw",
      "As the data set has them, at half size. The lens bends the epipolar lines.",
      views,
      read,
      [v.joints_2d for v in views],
      [v.box_center for v in views],
    )
    lens = {
      "distortion": np.stack([v.distortion for v in views]),
      "straight_2d": undistorted["joints_2d"],
    }
    return [raw | lens, undistorted]


def _key(record: dict[str, Any], number: str) -> tuple[int, ...]:
  return tuple(int(record[name]) for name in ("subject", "action", "subaction", number))


def _stage(name, note, views, images, joints, centers) -> dict[str, Any]:
  """One stage: BGR images of 1000 px and points in them, scaled to what is shown."""
  middle = np.full(2, (raw_images.SIDE - 1) / 2)
  shown, affines = zip(*(raw_images.cut(x, middle, raw_images.SIDE, size=_SHOWN) for x in images))
  affine = affines[0]
  scale = affine[0, 0]
  square = np.concatenate([affine, [[0.0, 0.0, 1.0]]])
  return {
    "name": name,
    "note": note,
    "image": np.stack(shown)[..., ::-1],
    "intrinsics": np.stack([square @ v.intrinsics for v in views]),
    "rotation": np.stack([v.rotation for v in views]),
    "translation": np.stack([-v.rotation @ v.center for v in views]),
    "joints_2d": np.stack(joints) * scale + affine[:, 2],
    "joints_3d": np.mean([v.joints_world for v in views], axis=0),
    "boxes": [(c * scale + affine[:, 2], v.box_size * scale) for c, v in zip(centers, views)],
  }

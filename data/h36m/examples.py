"""One stored example of Human3.6M: a moment with its four views; the fields of the synthetic set.

On top of those (`data.synthetic.builder`):
  subaction   int
  labelled    [4, 17] bool, joints_vis of the annotations: without it a joint carries no loss and is
              in no metric. Data sets before version 3 lack it (`labelled_of_old`)
  damaged     bool, the clip's 3D labels are known to be shifted against its images
`frame` is the number in the clip, `action` a name of `annotations.ACTIONS`, `occluded` False.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data import storing
from data.h36m import annotations, calibration, raw_digests, raw_images
from data.h36m import options as options_lib

_STACKED = ("pixels", "intrinsics", "joints_2d", "box_center", "box_size")


def features(options: options_lib.Options) -> tfds.features.FeaturesDict:
  """Types and shapes of the fields."""
  size, views = options.image_size or raw_images.SIDE, annotations.NUM_CAMERAS
  joints = annotations.NUM_JOINTS
  image = tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg")

  def tensor(*shape, dtype=np.float32):
    return tfds.features.Tensor(shape=shape, dtype=dtype)

  return tfds.features.FeaturesDict(
    {
      "image": tfds.features.Sequence(image, length=views),
      "intrinsics": tensor(views, 3, 3),
      "rotation": tensor(views, 3, 3),
      "translation": tensor(views, 3),
      "joints_3d": tensor(joints, 3),
      "joints_2d": tensor(views, joints, 2),
      "visible": tensor(views, joints, dtype=np.bool_),
      "labelled": tensor(views, joints, dtype=np.bool_),
      "box_center": tensor(views, 2),
      "box_size": tensor(views),
      "subject": tfds.features.Scalar(dtype=np.int32),
      "action": tfds.features.Text(),
      "subaction": tfds.features.Scalar(dtype=np.int32),
      "frame": tfds.features.Scalar(dtype=np.int32),
      "damaged": tfds.features.Scalar(dtype=np.bool_),
      "occluded": tensor(views, dtype=np.bool_),
      "occluded_views": tfds.features.Scalar(dtype=np.int32),
    }
  )


def make(
  frame: annotations.Frame,
  name: str,
  store: raw_images.Store,
  options: options_lib.Options,
  expected: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
  """Makes one example: checks, undistorts, cuts, encodes.

  Args:
    frame: the records.
    name: of the annotation file, for messages.
    store: where the images are.
    options: how they are stored.
    expected: CRC-32 of images' files that are known from an earlier preparation.

  Returns:
    The fields of `features`, and raw_crc32, CRC-32 by image.

  Raises:
    data.faults.BadRecord: one of the views cannot be used.
  """
  views = annotations.views(frame, name)
  first = frame.records[0]
  if not frame.damaged:
    # The labels of a damaged clip are wrong by definition; its cameras are those of other clips.
    calibration.check(views)
  made = [_make_view(view, store, options, expected) for view in views]
  stacked = {field: np.stack([view[field] for view in made]) for field in _STACKED}
  inside = _inside(stacked["joints_2d"], options.image_size or raw_images.SIDE)
  labelled = np.stack([view.labelled for view in views])
  rotation = np.stack([view.rotation for view in views])
  return {
    "image": [
      storing.encode_jpeg(pixels[..., ::-1], options.jpeg_quality, tiles=True)
      for pixels in stacked["pixels"]
    ],
    "intrinsics": stacked["intrinsics"].astype(np.float32),
    "rotation": rotation.astype(np.float32),
    "translation": np.stack([-view.rotation @ view.center for view in views]).astype(np.float32),
    "joints_3d": np.mean([view.joints_world for view in views], axis=0).astype(np.float32),
    "joints_2d": stacked["joints_2d"].astype(np.float32),
    "visible": inside & labelled,
    "labelled": labelled,
    "box_center": stacked["box_center"].astype(np.float32),
    "box_size": stacked["box_size"].astype(np.float32),
    "subject": first["subject"],
    "action": annotations.ACTIONS[first["action"]],
    "subaction": first["subaction"],
    "frame": first["image_id"],
    "damaged": frame.damaged,
    "occluded": np.zeros(len(views), np.bool_),
    "occluded_views": 0,
    # Not stored: for `raw_digests`.
    "raw_crc32": {view.image: part["crc32"] for view, part in zip(views, made)},
  }


def labelled_of_old(example: dict[str, Any]) -> np.ndarray:
  """[4, 17], `labelled` of an example stored before there was a field for it.

  `visible` was "labelled and inside the stored image": a joint that lies inside without being
  visible was not labelled. Of those outside nothing is known, and they count as labelled.
  """
  width_height = example["image"][0].size_wh or (raw_images.SIDE, raw_images.SIDE)
  points = np.asarray(example["joints_2d"])
  return np.asarray(example["visible"]) | ~_inside(points, width_height[0])


def _inside(points: np.ndarray, size: int) -> np.ndarray:
  return ((points >= -0.5) & (points <= size - 0.5)).all(-1)


def _make_view(view, store, options, expected):
  """The image, what depends on its pixels, and the CRC-32 of its file."""
  data = store.read(view.image, view.where)
  crc32 = raw_digests.compare(data, expected.get(view.image), view.where, view.image)
  pixels = raw_images.decode(data, view.where, view.image)
  if not store.undistorted:
    pixels = raw_images.undistort(pixels, view.intrinsics, view.distortion)
  points = np.concatenate([view.joints_2d, view.box_center[None]])
  points = raw_images.undistort_points(points, view.intrinsics, view.distortion)
  affine = np.eye(2, 3)
  if options.image_size:
    side = options.margin * view.box_size
    pixels, affine = raw_images.cut(pixels, points[-1], side, size=options.image_size)
  points = points @ affine[:, :2].T + affine[:, 2]
  return {
    "crc32": crc32,
    "pixels": pixels,
    "intrinsics": np.concatenate([affine, [[0, 0, 1.0]]]) @ view.intrinsics,
    "joints_2d": points[:-1],
    "box_center": points[-1],
    "box_size": np.asarray(view.box_size * affine[0, 0]),
  }

"""Looks at what a builder prepared: can every example be used, and do its joints reproject?

Labels and cameras of every example are looked at, images of some. A fault names data set, split,
example and view; faults of one kind are counted, and the first is told.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from data import faults, integrity, opening, plausibility
from data.h36m import raw_digests
from epipolar_jax.inputs import datasets, fields

Example = dict[str, Any]
# Of float32 cameras and labels; Human3.6M's own labels are off by less.
_TOLERANCE_PX = 5.0
_LEVELS = 4
# Two cameras closer than these are one camera twice.
_SAME_PLACE_MM, _SAME_TURN = 1.0, 1e-4
_BAD = faults.BadRecord


def recognizes(path: pathlib.Path) -> bool:
  """Whether TFDS data sets lie in or below a folder."""
  return any(_folders(path))


def check(path: pathlib.Path, *, samples: int) -> tuple[list[str], list[str]]:
  """Reads all labels and some images of every split; arguments as `data.check.check`."""
  facts, problems = [], []
  for folder in _folders(path):
    problems += integrity.faults(folder)
    problems += raw_digests.check(folder, samples=samples)
    try:
      builder = opening.open_folder(folder)
    except Exception as error:
      # Whatever a damaged file raises is the finding.
      problems.append(f"{folder} cannot be opened: {error}")
      continue
    if not builder.info.splits:
      problems.append(f"{folder} has no split: its builder was stopped or made nothing")
    for split, info in builder.info.splits.items():
      facts.append(f"{folder}: {split}, {info.num_examples:,} examples")
      try:
        more, wrong = _check_split(builder, split, f"{folder}, {split}", samples)
      except Exception as error:
        more, wrong = [], [f"{folder}, {split} cannot be read: {error}"]
      facts += more
      problems += wrong
  return facts, problems


def _folders(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Folders of prepared data sets, at most three levels down."""
  for depth in range(_LEVELS):
    for file in sorted(path.glob("*/" * depth + "dataset_info.json")):
      below = file.parent.relative_to(path).parts
      if not any(opening.UNFINISHED.search(part) for part in below):
        yield file.parent


def _check_split(builder, split, name, samples) -> tuple[list[str], list[str]]:
  source = datasets.read(builder, split)
  found = faults.Faults(stop=False)
  poses = plausibility.Poses()
  decoded = set()
  if len(source):
    count = min(samples or len(source), len(source))
    decoded = set(np.linspace(0, len(source) - 1, count).round().astype(int).tolist())
  unlabelled = 0
  for index in range(len(source)):
    example = source[index]
    where = f"{name}, example {index}"
    try:
      unlabelled += _check_example(example, where, poses)
      if index in decoded:
        _check_images(example, where)
    except _BAD as fault:
      found.add(fault)
  facts = [f"{name}: {unlabelled:,} joints of views are not labelled"] if unlabelled else []
  problems = [
    found.first[kind] + (f" ({kind}: {count:,} examples)" if count > 1 else "")
    for kind, count in found.counts.items()
  ]
  if not len(source):
    problems.append(f"{name} has no examples")
  if doubt := poses.doubt():
    problems.append(f"{name}: {doubt}")
  return facts, problems


def _check_example(example: Example, where: str, poses: plausibility.Poses) -> int:
  """Checks what is not an image; returns how many joints of views are not labelled.

  Raises:
    faults.BadRecord: names the field and the view.
  """
  if np.ndim(example["intrinsics"]) == 2:
    # A single view, whose joints are in its own frame.
    example = example | {name: example[name][None] for name in ("intrinsics", "joints_2d")}
    # Which finger is hidden says nothing about its label.
    example["visible"] = np.ones(example["joints_2d"].shape[:2], bool)
    cameras = [(np.eye(3), np.zeros(3))]
  else:
    if lacking := fields.problem(example):
      raise _BAD("unusable", f"{where} ({fields.where(example)}): {lacking}")
    cameras = [*zip(example["rotation"], example["translation"])]
  labelled = fields.labelled(example)
  given = example.get("labelled", example["visible"])
  claimed = np.broadcast_to(np.asarray(given, bool), labelled.shape)
  joints = np.asarray(example["joints_3d"], np.float64)
  finite = np.isfinite(joints).all(-1)
  for view, (rotation, _) in enumerate(cameras):
    place = f"{where}, view {view}"
    _check_camera(example["intrinsics"][view], rotation, place)
    if lost := np.flatnonzero(claimed[view] & ~labelled[view]).tolist():
      raise _BAD(
        "NaN label",
        f"{place}: joints_2d of joint {lost[0]} is NaN or infinite, but it counts as labelled; set "
        "labelled (or, where there is none, visible) to False for joints without a label",
      )
  # One view alone gives no position in space.
  used = labelled.sum(0) >= 2
  if lost := np.flatnonzero(used & ~finite).tolist():
    raise _BAD(
      "NaN label",
      f"{where}: joints_3d of joint {lost[0]} is NaN or infinite, but several views label it; give "
      "it a position, or set labelled to False for it in every view",
    )
  present = example.get("present", np.ones(len(cameras), bool))
  _check_same_camera([camera for camera, there in zip(cameras, present) if there], where)
  _check_projection(example, cameras, labelled & finite, where)
  poses.add(np.where(used[:, None], joints, np.nan), where)
  return int((~labelled).sum())


def _check_camera(intrinsics: np.ndarray, rotation: np.ndarray, where: str) -> None:
  k = np.asarray(intrinsics, np.float64)
  if not np.isfinite(k).all():
    raise _BAD("NaN camera", f"{where}: intrinsics holds NaN or infinity")
  if not (k[0, 0] > 0 and k[1, 1] > 0):
    hint = (
      "it must be positive"
      if k[0, 0] * k[1, 1] == 0
      else "it must be positive: cameras here look along +z (x right, y down). Turn the axes of "
      "one that looks along -z (OpenGL, Blender) in its rotation and translation, by diag(1, -1, "
      "-1)"
    )
    raise _BAD(
      "focal length",
      f"{where}: intrinsics has the focal length {k[0, 0]:g}, {k[1, 1]:g} px; {hint}",
    )
  if np.abs(k[2] - [0, 0, 1]).max() > 1e-6:
    raise _BAD("intrinsics", f"{where}: the last row of intrinsics is {k[2]}; it must be 0, 0, 1")
  r = np.asarray(rotation, np.float64)
  if np.abs(r @ r.T - np.eye(3)).max() > 1e-3 or np.linalg.det(r) < 0:
    raise _BAD(
      "rotation",
      f"{where}: rotation is not a rotation (R R' = I and det R = 1); det is "
      f"{np.linalg.det(r):.3g}",
    )


def _check_same_camera(cameras, where: str) -> None:
  for i, (rotation, translation) in enumerate(cameras):
    for j in range(i):
      other, shift = cameras[j]
      turned = np.abs(rotation - other).max() < _SAME_TURN
      if turned and np.linalg.norm(translation - shift) < _SAME_PLACE_MM:
        raise _BAD(
          "camera twice",
          f"{where}: views {j} and {i} have the same rotation and translation: two views of one "
          "camera say nothing about depth. Give each camera its own calibration",
        )


def _check_projection(example: Example, cameras, labelled: np.ndarray, where: str) -> None:
  """Joints lie before the cameras, and project onto their labels."""
  joints = np.where(np.isfinite(example["joints_3d"]), example["joints_3d"], 0.0)
  projected, errors = [], []
  for view, (rotation, translation) in enumerate(cameras):
    known = labelled[view]
    in_camera = (joints @ np.asarray(rotation, np.float64).T) + translation
    behind = known & (in_camera[:, 2] <= 0)
    if 2 * behind.sum() > known.sum() > 0:
      raise _BAD(
        "behind the camera",
        f"{where}, view {view}: {behind.sum()} of {known.sum()} labelled joints lie behind the "
        "camera (x_c = R x_w + t has z <= 0): cameras look along +z, and rotation and translation "
        "must go from world to camera",
      )
    points = in_camera @ np.asarray(example["intrinsics"][view], np.float64).T
    depth = np.where(points[:, 2:] > 0, points[:, 2:], 1.0)
    projected.append(np.where(points[:, 2:] > 0, points[:, :2] / depth, np.nan))
    errors.append(_error(projected[-1], example["joints_2d"][view], known))
  bad = [view for view, error in enumerate(errors) if not error <= _TOLERANCE_PX]
  if not bad:
    return
  worst = max(bad, key=lambda view: errors[view])
  hint = ""
  for view in bad:
    fits = [
      v
      for v in bad
      if v != view
      and _error(projected[v], example["joints_2d"][view], labelled[view]) <= _TOLERANCE_PX
    ]
    if fits:
      hint = f". joints_2d of view {view} fit the camera of view {fits[0]}: swapped?"
      break
  raise _BAD(
    "reprojection",
    f"{where}: joints of view {worst} reproject {errors[worst]:.1f} px off (median; at most "
    f"{_TOLERANCE_PX:g} px), of {len(bad)} of {len(cameras)} views: intrinsics, rotation, "
    f"translation (mm) and joints_2d do not belong together{hint}",
  )


def _error(points: np.ndarray, labels: np.ndarray, known: np.ndarray) -> float:
  """Median distance in px over known joints; 0 without any, infinite where one is behind."""
  known = known & np.isfinite(points).all(-1)
  if not known.any():
    return 0.0
  return float(np.median(np.linalg.norm(points[known] - labels[known], axis=-1)))


def _check_images(example: Example, where: str) -> None:
  """Images can be decoded, have the declared size, and hold the box and the visible joints."""
  single = np.ndim(example["intrinsics"]) == 2
  for view, image in enumerate([example["image"]] if single else example["image"]):
    try:
      height, width = np.asarray(image).shape[:2]
    except ValueError as error:
      raise _BAD("image", f"{where}, view {view}: image: {error}") from error
    if single:
      continue
    points = np.asarray(example["joints_2d"][view])
    seen = np.asarray(example["visible"][view], bool) & np.isfinite(points).all(-1)
    outside = seen & ((points < -1).any(-1) | (points > [width, height]).any(-1))
    if 2 * outside.sum() > seen.sum():
      raise _BAD(
        "outside the image",
        f"{where}, view {view}: {outside.sum()} of {seen.sum()} visible joints lie outside the "
        f"image of {width} x {height} px: store images and labels at the same size",
      )
    low, high = (example["box_center"][view] + s * example["box_size"][view] / 2 for s in (-1, 1))
    if (high < 0).any() or (low > [width, height]).any():
      raise _BAD(
        "box outside",
        f"{where}, view {view}: the box around box_center {example['box_center'][view].tolist()} "
        f"of box_size {example['box_size'][view]:g} lies outside the image of {width} x {height} "
        "px",
      )

"""Session: the recordings of one rig in step, and what is known of some of their frames."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.footage import rigs, videos
from epipolar_jax.keypoints import reading
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.motion import files as joints_files
from epipolar_jax.motion import formats
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# A label weighs half when its standard deviation is this share of the person's box in the image:
# the width of the Gaussian that heatmaps are trained on.
_BLUR = 1 / 32
# Percentile of the poses' extents that is taken for the size of the body.
_LARGE = 90
_SIDES = (("right", "left"), ("Right", "Left"), ("R", "L"), ("r", "l"))


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
  """What is known of f frames; NaN is not labelled.

  Attributes:
    frames: [f], their numbers in the videos, ascending.
    points: [f, v, j, 2], px of ideal pinhole images.
    joints_3d: [f, j, 3], world, mm.
    sigma_px: [f, v, j], standard deviation of the points; 0 for labels made by people.
    joints: j names.
  """

  frames: np.ndarray
  points: np.ndarray
  joints_3d: np.ndarray
  sigma_px: np.ndarray
  joints: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
  """One recording.

  Attributes:
    name: for messages and as the `action` of its frames.
    footage: v recordings in step.
    rig: the cameras of these images, in the order of the footage.
    labels: of some frames.
  """

  name: str
  footage: videos.Footage
  rig: Rig
  labels: Labels


def read(
  name: str,
  recordings: Sequence[str],
  cameras: str | os.PathLike,
  *,
  labels: Sequence[str] = (),
  joints: str | os.PathLike | None = None,
  unit: str | None = None,
) -> Session:
  """Opens a session.

  Args:
    name: of the session.
    recordings: videos or folders of images, matched with the cameras by name, or CAMERA=FILE.
    cameras: a calibration file.
    labels: 2D keypoint files of any known format, matched likewise.
    joints: in their place a file of 3D joints, such as the joints.npz of `epipolar triangulate`
      and `epipolar predict` (pseudo-labels, which count by their covariance).
    unit: of the calibration, if it does not say.

  Raises:
    FileNotFoundError, ValueError: a file is missing or damaged, does not fit the cameras, or shows
      several animals; the message names it.
  """
  rig = Rig.read(cameras, unit=unit)
  footage = videos.Footage(reading.pair_all(recordings, rig.names))
  rig, said = rigs.fitted(rig, dict(zip(footage.names, footage.sizes_wh)))
  for sentence in said:
    print(f"{name}: {sentence}")
  for first, second in rig.twins():
    print(f"{name}: cameras {first} and {second} have the same pose in {cameras}: one is wrong")
  if (joints is None) == (not labels):
    raise ValueError(f"{name}: give either labels in 2D or one file of joints in 3D")
  found = _of_keypoints(name, labels, rig) if labels else _of_motion(name, joints, rig)
  longest = max(footage.counts)
  if not len(found.frames):
    raise ValueError(f"{name}: {joints or ', '.join(labels)} labels no frame")
  if found.frames[-1] >= longest:
    raise ValueError(
      f"{name}: {joints or labels[0]} labels frame {found.frames[-1]}, but the recordings have "
      f"{longest} frames: are they of another session?"
    )
  return Session(name, footage, rig, found)


def _of_keypoints(name: str, labels: Sequence[str], rig: Rig) -> Labels:
  """Labels in 2D; in 3D what two views or more of them say."""
  seen = reading.read_recording(labels, rig.names)
  people = np.flatnonzero(seen.seen.any(axis=(0, 2, 3)))
  if len(people) != 1:
    raise ValueError(
      f"{name}: the labels show {len(people)} animals; one is needed: leave the others out, or use "
      "the joints.npz of epipolar triangulate, which tells them apart"
    )
  order = [seen.views.index(n) if n in seen.views else -1 for n in rig.names]
  points = np.where(np.array(order)[:, None, None] < 0, np.nan, seen.points[:, people[0]][:, order])
  points = rig.undistort(points)
  labelled = np.isfinite(points).all(-1)
  # A frame that one view labels teaches its heatmaps all the same.
  kept = np.flatnonzero(labelled.any(axis=(1, 2)))
  points, labelled = points[kept], labelled[kept]
  ideal = Observations(points[:, None], labelled[:, None].astype(float), seen.joints, rig.names)
  found = estimate.triangulate(ideal, rig.cameras, "dlt_unweighted")
  return Labels(
    kept + seen.first_frame,
    points,
    np.where(found.valid[:, 0, :, None], found.points[:, 0], np.nan),
    np.zeros(points.shape[:3]),
    seen.joints,
  )


def _of_motion(name: str, joints: str | os.PathLike, rig: Rig) -> Labels:
  """Joints in 3D, projected; with their covariance, where the file has it."""
  path = pathlib.Path(joints)
  moved = formats.read(path)
  people = np.flatnonzero(moved.known.any(axis=(0, 2)))
  if len(people) != 1:
    raise ValueError(f"{name}: {path} holds {len(people)} people or animals; one is needed")
  points = moved.points[:, people[0]]
  covariance = np.zeros((*points.shape, 3))
  if joints_files.recognise(path.read_bytes()[:4]):
    covariance = joints_files.read(path)[0].covariance[:, people[0]]
  kept = np.flatnonzero(np.isfinite(points).all(-1).any(axis=1))
  points, covariance = points[kept], covariance[kept]
  uv, sigma = projected(points, covariance, rig)
  return Labels(kept + moved.first_frame, uv, points, sigma, moved.joints)


def projected(
  points: np.ndarray, covariance: np.ndarray, rig: Rig
) -> tuple[np.ndarray, np.ndarray]:
  """Where points are seen, and how surely.

  Args:
    points: [f, j, 3], world, mm; NaN: unknown.
    covariance: [f, j, 3, 3], mm².
    rig: v cameras.

  Returns:
    uv: [f, v, j, 2], px of ideal pinhole images; NaN behind a camera or outside its image.
    sigma_px: [f, v, j], standard deviation along one axis; 0 where uv is NaN.
  """
  views = []
  for view in range(len(rig.names)):
    k, r, t = (np.asarray(x[view], np.float64) for x in _arrays(rig))
    x = points @ r.T + t
    depth = np.where(x[..., 2:] > 0, x[..., 2:], np.nan)
    uv = x[..., :2] / depth @ k[:2, :2].T + k[:2, 2]
    if rig.sizes_wh[view] is not None:
      inside = ((uv > -0.5) & (uv < np.array(rig.sizes_wh[view]) - 0.5)).all(-1, keepdims=True)
      uv = np.where(inside, uv, np.nan)
    # d(uv)/d(x) = K₂ [I | -x/z] R / z
    jacobian = np.zeros((*points.shape[:-1], 2, 3))
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1.0
    jacobian[..., 2] = -x[..., :2] / depth
    jacobian = k[:2, :2] @ (jacobian / depth[..., None]) @ r
    spread = np.einsum("fjab,fjbc,fjac->fja", jacobian, covariance, jacobian)
    sigma = np.sqrt(np.maximum(spread.mean(axis=-1), 0.0))
    views.append((uv, np.where(np.isfinite(uv).all(-1), sigma, 0.0)))
  return np.stack([uv for uv, _ in views], axis=1), np.stack([s for _, s in views], axis=1)


def _arrays(rig: Rig):
  return rig.cameras.intrinsics, rig.cameras.rotation, rig.cameras.translation


def weight(sigma_px: np.ndarray, side_px: np.ndarray) -> np.ndarray:
  """How much labels count, 0..1, by their standard deviation in a box of some side."""
  return 1.0 / (1.0 + np.square(sigma_px / (_BLUR * side_px)))


def skeleton_of(sessions: Sequence[Session]) -> skeletons.Skeleton:
  """A skeleton of the labels' joints, for who has none: all joints hang on the first.

  Its size is what nine in ten labelled poses stay within; "left" and "right" name the pairs.

  Raises:
    ValueError: no frame has two joints in 3D, so the size is unknown.
  """
  joints = sessions[0].labels.joints
  extents = []
  for points in (points for session in sessions for points in session.labels.joints_3d):
    known = points[np.isfinite(points).all(-1)]
    if len(known) > 1:
      extents.append(np.linalg.norm(np.ptp(known, axis=0)))
  size = np.percentile(extents, _LARGE) if extents else 0.0
  if not size > 0:
    raise ValueError("no frame has two joints that two views label: give --skeleton FILE.toml")
  pairs = []
  for index, joint in enumerate(joints):
    for right, left in _SIDES:
      other = re.sub(rf"(?<![A-Za-z]){right}(?![a-z])|{right}$", left, joint)
      if other != joint and other in joints:
        pairs.append((index, joints.index(other)))
        break
  return skeletons.Skeleton(
    name="labels",
    joints=joints,
    parents=(-1, *[0] * (len(joints) - 1)),
    flip_pairs=tuple(pairs),
    size_mm=float(f"{size:.3g}"),
  )

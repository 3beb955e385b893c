"""Pinhole cameras in plain NumPy, float64: epipolar distance, textbook DLT, projection."""

import numpy as np

from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig


def prepare(observations: Observations, rig: Rig) -> tuple[np.ndarray, Rig]:
  """Undistorted points and the rig with its cameras in the views' order.

  Returns:
    points: [f, p, v, j, 2] px of ideal pinholes, NaN where not seen or without an ideal point.
    rig: of the views.

  Raises:
    ValueError: a view has no camera.
  """
  rig = rig.select(observations.views)
  return rig.undistort(observations.points), rig


def fundamentals(rig: Rig) -> np.ndarray:
  """[v, v, 3, 3]: F of a point x in view a gives its line F[a, b] x in view b (zero for a = b)."""
  k, r = rig.cameras.intrinsics, rig.cameras.rotation
  t = rig.cameras.translation
  inverse = np.linalg.inv(k)
  relative = np.einsum("bij,akj->abik", r, r)
  shift = t[None] - np.einsum("abij,aj->abi", relative, t)
  # A length has no meaning in a line; of order 1, numbers stay in range.
  shift = shift / np.maximum(np.linalg.norm(shift, axis=-1, keepdims=True), 1e-12)
  cross = np.zeros(relative.shape)
  x, y, z = np.moveaxis(shift, -1, 0)
  cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
  cross -= np.swapaxes(cross, -1, -2)
  essential = cross @ relative
  found = np.einsum("bji,abjk,akl->abil", inverse, essential, inverse)
  found[np.arange(len(k)), np.arange(len(k))] = 0.0
  return found


def epipolar_distance(a: np.ndarray, b: np.ndarray, fundamental: np.ndarray) -> np.ndarray:
  """Distances, px, of points b [..., 2] from the lines of a [..., 2] and the other way round.

  Args:
    a: in the first view.
    b: in the second view.
    fundamental: [3, 3], of the two.

  Returns:
    [2, ...]: in the first view, in the second; NaN where a point is NaN or there is no line.
  """
  a, b = np.broadcast_arrays(a, b)
  homogeneous = [np.concatenate([x, np.ones_like(x[..., :1])], axis=-1) for x in (a, b)]
  in_b = homogeneous[0] @ fundamental.T
  in_a = homogeneous[1] @ fundamental
  off = np.abs(np.sum(in_b * homogeneous[1], axis=-1))
  lengths = np.stack([np.hypot(x[..., 0], x[..., 1]) for x in (in_a, in_b)])
  return off / np.where(lengths > 0, lengths, np.nan)


def locate(points: np.ndarray, cameras: np.ndarray) -> np.ndarray:
  """The textbook DLT in normalised coordinates: the singular vector of the least singular value.

  Args:
    points: [v, n, 2], NaN where not seen; px.
    cameras: [v, 3, 4], K [R | t]; the world's origin should be near.

  Returns:
    [n, 3]; NaN where fewer than two views see the point.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 12.2.
  """
  seen = np.isfinite(points).all(-1)
  filled = np.where(seen[..., None], points, 0.0)
  rows = filled[..., None] * cameras[:, None, None, 2] - cameras[:, None, :2]
  # |P_i x P_3| is the focal length: divided by it, rows are those of normalised coordinates.
  focal = np.linalg.norm(np.cross(cameras[:, :2, :3], cameras[:, 2:, :3]), axis=-1)
  rows = np.where(seen[..., None, None], rows / focal[:, None, :, None], 0.0)
  system = np.moveaxis(rows, 1, 0).reshape(points.shape[1], -1, 4)
  _, _, vectors = np.linalg.svd(system, full_matrices=len(points) < 2)
  found = vectors[:, -1]
  depth = found[:, 3:]
  good = (seen.sum(0) >= 2) & (np.abs(depth[:, 0]) > 1e-12 * np.abs(found).max(axis=-1))
  return np.where(good[:, None], found[:, :3] / np.where(depth == 0, 1.0, depth), np.nan)


def project(points: np.ndarray, cameras: np.ndarray) -> np.ndarray:
  """World points [..., n, 3] to [..., v, n, 2] px; NaN behind a camera."""
  homogeneous = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
  x = np.einsum("vab,...nb->...vna", cameras, homogeneous)
  depth = np.where(x[..., 2:] > 0, x[..., 2:], np.nan)
  return x[..., :2] / depth


def median(off: np.ndarray, least: int) -> np.ndarray:
  """Median of what is known of the last axis (the lower of two); infinite with fewer than least."""
  known = np.isfinite(off)
  count = known.sum(axis=-1)
  ordered = np.sort(np.where(known, off, np.inf), axis=-1)
  middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[..., None] // 2, axis=-1)
  return np.where(count >= least, middle[..., 0], np.inf)


def matrices(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
  """K [R | t] [v, 3, 4] in a world whose origin [3] is amid the cameras; and that origin."""
  k, r = rig.cameras.intrinsics, rig.cameras.rotation
  t = rig.cameras.translation
  origin = -np.einsum("vij,vi->vj", r, t).mean(axis=0)
  near = t + np.einsum("vij,j->vi", r, origin)
  return k @ np.concatenate([r, near[..., None]], axis=-1), origin

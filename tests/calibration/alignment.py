"""How far a rig is from the truth where only a similarity between them means nothing."""

import numpy as np

from epipolar_jax.geometry.cameras import Cameras


def errors(cameras: Cameras, truth: Cameras) -> tuple[np.ndarray, np.ndarray]:
  """Rotation errors (degrees) and centre errors (mm) after the best similarity between the rigs.

  The keypoints do not know where the world is, so the whole may be moved.
  """
  a, b = (np.asarray(x.centre(), np.float64) for x in (cameras, truth))
  # Orientation of the whole from the cameras' own orientations, then scale and place.
  u, _, vt = np.linalg.svd(np.einsum("vji,vjk->ik", truth.rotation, cameras.rotation))
  whole = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
  a0, b0 = a - a.mean(0), b - b.mean(0)
  moved = a0 @ whole.T
  scale = np.sum(moved * b0) / np.sum(moved * moved)
  off = np.linalg.norm(scale * moved - b0, axis=-1)
  turned = np.einsum("vij,jk,vlk->vil", cameras.rotation, whole.T, truth.rotation)
  cosine = np.clip((np.einsum("vii->v", turned) - 1) / 2, -1, 1)
  return np.degrees(np.arccos(cosine)), off

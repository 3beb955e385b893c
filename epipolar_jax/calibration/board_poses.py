"""Poses of cameras that saw one board at the same moments; the world is the first camera's."""

import dataclasses

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from epipolar_jax.calibration import judging
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig

# Corners that show a board's pose, and moments that two cameras should share.
_LEAST_CORNERS, _LEAST_SHARED = 6, 3
# A pose of the board leaves this share of its size in the image, and so many px.
_SHARE, _PX = 0.02, 2.0


def pose(observations: Observations, rig: Rig, board: np.ndarray) -> Rig:
  """Poses all cameras by the frames that they share.

  A board's pose in each camera gives the cameras' relative pose, frame by frame: the one that suits
  the other frames best is taken. Cameras are joined along the pairs that share the most frames.

  Args:
    observations: corners of the board, px of the cameras' own images.
    rig: K and lens of each view; its poses are not looked at.
    board: [j, 3], mm, where the corners are.

  Raises:
    ValueError: a camera shares too few frames with the others.
  """
  rig = rig.select(observations.views)
  ideal = np.moveaxis(rig.undistort(observations.points[:, 0]), 1, 0)
  k = np.asarray(rig.cameras.intrinsics, np.float64)
  boards = [_boards(seen, k[view], board) for view, seen in enumerate(ideal)]
  count = len(rig.names)
  rotation, shift = np.stack([np.eye(3)] * count), np.zeros((count, 3))
  done, rest = [0], list(range(1, count))
  while rest:
    pairs = {(a, b): sorted(boards[a].keys() & boards[b].keys()) for a in done for b in rest}
    a, b = max(pairs, key=lambda pair: len(pairs[pair]))
    if len(pairs[a, b]) < _LEAST_SHARED:
      raise ValueError(
        f"camera {rig.names[b]} shares {len(pairs[a, b])} frames that show the board with any of "
        f"{', '.join(rig.names[i] for i in done)}; at least {_LEAST_SHARED} are needed: are the "
        "videos of one recording, and in step?"
      )
    turn, move = _relative(boards[a], boards[b], pairs[a, b], ideal[b], k[b], board)
    rotation[b], shift[b] = turn @ rotation[a], turn @ shift[a] + move
    done.append(b)
    rest.remove(b)
  return dataclasses.replace(rig, cameras=Cameras(k, rotation, shift))


def _boards(seen: np.ndarray, k: np.ndarray, board: np.ndarray):
  """Poses (R, t), board to camera, by frame, of corners [f, j, 2]."""
  found = {}
  for frame, uv in enumerate(seen):
    known = np.isfinite(uv).all(axis=-1)
    if known.sum() < _LEAST_CORNERS:
      continue
    good, turn, move = cv2.solvePnP(board[known], uv[known], k, None, flags=cv2.SOLVEPNP_IPPE)
    if not good:
      continue
    r, t = cv2.Rodrigues(turn)[0], move.ravel()
    if _off(r, t, uv, k, board) < max(_PX, _SHARE * float(np.ptp(uv[known], axis=0).max())):
      found[frame] = r, t
  return found


def _off(r, t, uv, k, board) -> float:
  """Median distance, px, of a board at a pose from corners [j, 2]."""
  camera = Cameras(k, r, t)
  return float(np.nanmedian(np.linalg.norm(judging.project(camera, board) - uv, axis=-1)))


def _relative(one, other, frames, seen, k, board):
  """R, t of the second camera from the first's, as the frame has it that suits all best."""
  each = []
  for frame in frames:
    (r_a, t_a), (r_b, t_b) = one[frame], other[frame]
    turn = r_b @ r_a.T
    each.append((turn, t_b - turn @ t_a))
  costs = []
  for turn, move in each:
    off = [_off(turn @ one[f][0], turn @ one[f][1] + move, seen[f], k, board) for f in frames]
    costs.append(np.median(off))
  best = int(np.argmin(costs))
  # The mean of those like it is better than one.
  turns = np.stack([turn for turn, _ in each])
  angle = Rotation.from_matrix(turns @ each[best][0].T).magnitude()
  near = angle <= max(2 * float(np.median(angle)), 1e-6)
  mean = Rotation.from_matrix(turns[near]).mean().as_matrix()
  move = np.median(np.stack([move for _, move in each])[near], axis=0)
  off = [_off(mean @ one[f][0], mean @ one[f][1] + move, seen[f], k, board) for f in frames]
  return (mean, move) if np.median(off) < costs[best] else each[best]

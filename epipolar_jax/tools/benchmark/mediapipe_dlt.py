"""The plain way: MediaPipe on every image, and the textbook DLT in NumPy.

python mediapipe_dlt.py CAMERAS.json

Run by `benchmark.predict` in an environment of its own, which has mediapipe, numpy and OpenCV and
not this package. Prints a line for each frame when its joints are triangulated.
"""

import json
import pathlib
import sys

import cv2
import numpy as np

_LEAST_VISIBILITY = 0.3


def main(path: str) -> None:
  """Triangulates the joints of the recordings that a file lists, frame by frame."""
  import mediapipe  # which only the environment that this runs in has

  cameras = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
  captures = [cv2.VideoCapture(camera["video"]) for camera in cameras]
  poses = [mediapipe.solutions.pose.Pose(model_complexity=1) for _ in cameras]
  # Of normalised image points: [R | t].
  matrices = [np.column_stack([c["rotation"], c["translation"]]) for c in cameras]
  joints = []
  while True:
    frames = [capture.read() for capture in captures]
    if not any(there for there, _ in frames):
      break
    points = [
      detect(pose, image, camera) if there else np.full((33, 2), np.nan)
      for pose, camera, (there, image) in zip(poses, cameras, frames)
    ]
    joints.append(dlt(np.stack(points), np.stack(matrices)))
    print(len(joints), flush=True)
  if not joints or not np.isfinite(joints).any():
    raise SystemExit("no joint was triangulated")


def detect(pose, image: np.ndarray, camera: dict) -> np.ndarray:
  """Joints [33, 2] in one image, as normalised points without lens; NaN where not visible."""
  found = pose.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).pose_landmarks
  if found is None:
    return np.full((33, 2), np.nan)
  high, wide = image.shape[:2]
  marks = np.array([[mark.x * wide, mark.y * high, mark.visibility] for mark in found.landmark])
  matrix, lens = np.array(camera["intrinsics"]), np.array(camera["lens"])
  ideal = cv2.undistortPoints(marks[:, None, :2], matrix, lens)[:, 0]
  return np.where(marks[:, 2:] >= _LEAST_VISIBILITY, ideal, np.nan)


def dlt(points: np.ndarray, matrices: np.ndarray) -> np.ndarray:
  """Joints [n, 3] of points [v, n, 2] and cameras [v, 3, 4]; NaN with fewer than two views.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 12.2.
  """
  found = np.full((points.shape[1], 3), np.nan)
  for joint in range(points.shape[1]):
    seen = np.isfinite(points[:, joint]).all(axis=-1)
    if seen.sum() < 2:
      continue
    uv, matrix = points[seen, joint], matrices[seen]
    rows = uv[:, :, None] * matrix[:, None, 2] - matrix[:, :2]
    *_, vectors = np.linalg.svd(rows.reshape(-1, 4))
    found[joint] = vectors[-1, :3] / vectors[-1, 3]
  return found


if __name__ == "__main__":
  main(sys.argv[1])

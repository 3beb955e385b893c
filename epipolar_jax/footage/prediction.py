"""Videos to joints, a few frames at a time: resumable, with memory that does not grow."""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from epipolar_jax import locking
from epipolar_jax.footage import tracker as trackers
from epipolar_jax.footage.detector import Detector
from epipolar_jax.footage.videos import Footage
from epipolar_jax.keypoints import npz
from epipolar_jax.rigs.rig import Rig

# Frames detected together, and written together.
_FRAMES = 8
_ARRAYS = tuple(field.name for field in dataclasses.fields(trackers.Part))


def predict(
  footage: Footage,
  rig: Rig,
  detector: Detector,
  folder: pathlib.Path,
  *,
  progress: Callable[[int], None] = lambda frames: None,
) -> trackers.Part:
  """Detects a person's joints in every frame of every camera.

  What is found is written to `folder/parts` every eight frames; a call with the same recording goes
  on where the last one was killed, and gives exactly what it would have given.

  Args:
    footage: v recordings.
    rig: v cameras in the same order.
    detector: of the joints.
    folder: to write to.
    progress: called with the number of frames done.

  Returns:
    Everything that was found, [f, ...].

  Raises:
    ValueError: the folder holds parts of another recording, rig or detector; the message names what
      differs; or another process is writing to it.
  """
  parts = folder / "parts"
  parts.mkdir(parents=True, exist_ok=True)
  try:
    with locking.alone(parts / "lock"):
      _check(folder / "predict.json", _description(footage, rig, detector))
      return _predict(footage, rig, detector, parts, progress)
  except locking.BusyError as error:
    raise ValueError(
      f"{folder} is being written to by {error}: wait for it, or give another --out"
    ) from None


def _predict(footage, rig, detector, parts: pathlib.Path, progress) -> trackers.Part:
  done, start, pose = [], 0, None
  while (path := parts / f"{start:08d}.npz").exists():
    part, pose, ended = _read(path, detector)
    done.append(part)
    start += len(part.found)
    progress(start)
    if ended:
      return _joined(done)
  track = trackers.Tracker(detector, rig)
  for frames, ended in _ahead(footage.frames(start)):
    part, pose = track(frames, pose)
    _write(parts / f"{start:08d}.npz", part, pose, ended)
    done.append(part)
    start += len(frames)
    progress(start)
  if not done:
    raise ValueError("the recordings hold no frames")
  return _joined(done)


def _ahead(frames: Iterator) -> Iterator[tuple[list, bool]]:
  """Groups of frames, and whether the recordings end in each, decoded one group ahead."""

  def take():
    return list(itertools.islice(frames, _FRAMES))

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    now = take()
    while now:
      following = pool.submit(take)
      yield now, len(now) < _FRAMES
      now = following.result()


def _description(footage: Footage, rig: Rig, detector: Detector) -> dict:
  cameras = hashlib.sha256()
  for array in (rig.cameras.intrinsics, rig.cameras.rotation, rig.cameras.translation):
    cameras.update(np.ascontiguousarray(array, np.float64).tobytes())
  cameras.update(repr(rig.lenses).encode())
  return {
    "recordings": footage.description,
    "cameras_sha256": cameras.hexdigest(),
    "detector": detector.description,
  }


def _check(path: pathlib.Path, wanted: dict) -> None:
  if not path.exists():
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
    temporary.replace(path)
    return
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path} cannot be read: {error}. Give another --out") from error
  differ = [key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key]]
  if differ:
    raise ValueError(
      f"{path.parent} holds a prediction with other {', '.join(differ)}: give another --out, or "
      "remove that folder"
    )


def _write(path: pathlib.Path, part, pose, ended: bool) -> None:
  temporary = path.with_suffix(".tmp.npz")
  empty = np.zeros((0, 3)), np.zeros(0, bool)
  points, good = (pose.points, pose.good) if pose is not None else empty
  arrays = {name: getattr(part, name) for name in _ARRAYS}
  np.savez(temporary, **arrays, pose_points=points, pose_good=good, ended=ended)
  temporary.replace(path)


def _read(path: pathlib.Path, detector: Detector):
  wanted = {*_ARRAYS, "pose_points", "pose_good", "ended"}
  joints, advice = detector.skeleton.num_joints, "remove it and the parts after it"
  try:
    found = npz.read(path, wanted)
  except ValueError as error:
    raise ValueError(f"{error}: {advice}") from error
  if missing := sorted(wanted - found.keys()):
    raise ValueError(f"{path} lacks {', '.join(missing)}: {advice}")
  part = trackers.Part(**{name: found[name] for name in _ARRAYS})
  pose = trackers.Pose(found["pose_points"], found["pose_good"])
  if part.own.ndim != 4 or part.own.shape[2] != joints or len(part.own) != len(part.found):
    raise ValueError(
      f"{path} holds joints of shape {part.own.shape}, not [frames, views, {joints}, 2]: {advice}"
    )
  return part, pose if len(pose.good) else None, bool(found["ended"].all())


def _joined(parts: list) -> trackers.Part:
  return trackers.Part(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in _ARRAYS})

"""Videos to joints, a few frames at a time: resumable, with memory that does not grow."""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from epipolar_jax import locking
from epipolar_jax.footage import crowd
from epipolar_jax.footage import tracker as trackers
from epipolar_jax.footage.detector import Detector
from epipolar_jax.footage.finder import Finder
from epipolar_jax.footage.videos import Footage
from epipolar_jax.keypoints import npz
from epipolar_jax.rigs.rig import Rig

# Frames detected together, and written together; fewer of more than eight cameras, by halves, so
# that no more images are held. The search for people counts on powers of two.
_FRAMES, _CAMERAS = 8, 8
# Differences from another prediction that its refusal lists.
_SAID = 4
# Records that are digests, and of what.
_CONTENTS = {
  "cameras_sha256": "the calibration",
  "onnx_sha256": "the detector's file",
  "weights_sha256": "the network",
}
_ARRAYS = tuple(field.name for field in dataclasses.fields(trackers.Part))


def predict(
  footage: Footage,
  rig: Rig,
  detector: Detector,
  folder: pathlib.Path,
  *,
  finder: Finder | None = None,
  progress: Callable[[int], None] = lambda frames: None,
  resumed: Callable[[int], None] = lambda frames: None,
) -> trackers.Part:
  """Detects a person's joints in every frame of every camera.

  What is found is written to `folder/parts` every eight frames (`together`); a call with the same
  recording goes on where the last one was killed, and gives exactly what it would have given.

  Args:
    footage: v recordings.
    rig: v cameras in the same order.
    detector: of the joints.
    folder: to write to.
    finder: of everybody; None: one person alone is looked for.
    progress: called with the number of frames done.
    resumed: called with the number of frames that were there before, if there were any.

  Returns:
    Everything that was found, [f, ...]; with a finder [f, p, ...], as of `crowd.Crowd`, in slots
    of any order.

  Raises:
    ValueError: the folder holds parts of another recording, rig or detector; the message names what
      differs; or another process is writing to it.
  """
  parts = folder / "parts"
  parts.mkdir(parents=True, exist_ok=True)
  try:
    with locking.alone(parts / "lock"):
      description = _description(footage, rig, detector)
      if finder is not None:
        description["people"] = "all"
      _check(folder / "predict.json", description)
      track = _One(detector, rig) if finder is None else crowd.Crowd(detector, rig, finder)
      shape = (*(() if finder is None else (None,)), len(rig.names), detector.skeleton.num_joints)
      return _joined(_predicted(footage, track, parts, shape, progress, resumed))
  except locking.BusyError as error:
    raise ValueError(
      f"{folder} is being written to by {error}: wait for it, or give another --out"
    ) from None


class _One:
  """A tracker of one person in the form of `crowd.Crowd`."""

  def __init__(self, detector: Detector, rig: Rig):
    self._track = trackers.Tracker(detector, rig)

  def located(self, frames, last, start):
    found = self._track.locate(frames, last[0] if last else None)
    pose = trackers.last_of(found[1])
    return found, () if pose is None else (pose,)

  def fused(self, found, frames):
    return self._track.fused(*found)


def _predicted(
  footage, track, parts: pathlib.Path, shape, progress, resumed
) -> list[trackers.Part]:
  """All parts; the next frames are decoded and the last ones fused while these are looked at."""
  done, start, poses, ended = [], 0, (), False
  while (path := parts / f"{start:08d}.npz").exists():
    part, poses, ended = _read(path, shape)
    done.append(part)
    start += len(part.found)
    if ended:
      break
  if start:
    resumed(start)
    progress(start)
  if ended:
    return done

  def finish(path, found, frames, poses, ended):
    part = track.fused(found, frames)
    write_part(path, part, poses, ended)
    return part

  def take(finishing):
    done.append(finishing.result())
    progress(sum(len(part.found) for part in done))

  with concurrent.futures.ThreadPoolExecutor(1) as behind:
    finishing = None
    for frames, ended in _ahead(footage.frames(start), together(shape[-2])):
      found, poses = track.located(frames, poses, start)
      if finishing is not None:
        take(finishing)
      path = parts / f"{start:08d}.npz"
      finishing = behind.submit(finish, path, found, len(frames), poses, ended)
      start += len(frames)
    if finishing is not None:
      take(finishing)
  if not done:
    raise ValueError("the recordings hold no frames")
  return done


def together(views: int) -> int:
  """Frames of so many cameras that are detected together, a power of two."""
  return max(1, _FRAMES >> max(0, (-(-views // _CAMERAS) - 1).bit_length()))


def _ahead(frames: Iterator, size: int) -> Iterator[tuple[list, bool]]:
  """Groups of frames, and whether the recordings end in each, decoded one group ahead."""

  def take():
    return list(itertools.islice(frames, size))

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    now = take()
    while now:
      following = pool.submit(take)
      yield now, len(now) < size
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
  if found == wanted:
    return
  differ = list(_differences(found, wanted)) if isinstance(found, dict) else ["no description"]
  more = f"; and {len(differ) - _SAID} more" if len(differ) > _SAID else ""
  raise ValueError(
    f"{path.parent} holds another prediction: {'; '.join(differ[:_SAID])}{more}. Give another "
    f"--out, or remove {path.parent} to predict anew; with what it was made with, it goes on"
  )


def _differences(found: dict, wanted: dict, within: str = "") -> Iterator[str]:
  """What differs between two descriptions, a phrase each: detector network: "thunder" there, ..."""
  for key in sorted(found.keys() | wanted.keys()):
    old, new = found.get(key), wanted.get(key)
    name = f"{within} {key}".strip()
    if old == new:
      continue
    if isinstance(old, dict) and isinstance(new, dict):
      yield from _differences(old, new, name)
    elif key in _CONTENTS and old and new:
      yield f"{_CONTENTS[key]} is another"
    else:
      said = ["not given" if x is None else json.dumps(x)[:80] for x in (old, new)]
      yield f"{name}: {said[0]} there, {said[1]} now"


def write_part(
  path: pathlib.Path, part: trackers.Part, poses: Sequence[trackers.Pose], ended: bool
) -> None:
  """Writes what was found in a few frames, the last poses, and whether the recordings end there."""
  temporary = path.with_suffix(".tmp.npz")
  arrays = {name: getattr(part, name) for name in _ARRAYS}
  joints = part.own.shape[-2]
  points = np.stack([pose.points for pose in poses]) if poses else np.zeros((0, joints, 3))
  good = np.stack([pose.good for pose in poses]) if poses else np.zeros((0, joints), bool)
  np.savez(temporary, **arrays, pose_points=points, pose_good=good, ended=ended)
  temporary.replace(path)


def _read(path: pathlib.Path, shape: tuple[int | None, ...]):
  """Part, poses and whether it is the last; shape is that of a frame's joints, None: any number."""
  wanted = {*_ARRAYS, "pose_points", "pose_good", "ended"}
  advice = "remove it and the parts after it"
  try:
    found = npz.read(path, wanted)
  except ValueError as error:
    raise ValueError(f"{error}: {advice}") from error
  if missing := sorted(wanted - found.keys()):
    raise ValueError(f"{path} lacks {', '.join(missing)}: {advice}")
  part = trackers.Part(**{name: found[name] for name in _ARRAYS})
  own, joints = part.own.shape, shape[-1]
  agree = len(own) == len(shape) + 2 and all(b in (a, None) for a, b in zip(own[1:], shape))
  if not agree or len(own) < 1 or own[0] != len(part.found):
    raise ValueError(
      f"{path} holds joints of shape {own}, not [frames, {_named(shape)}, 2]: {advice}"
    )
  points, good = found["pose_points"], found["pose_good"]
  if points.shape != (len(points), joints, 3) or good.shape != (len(points), joints):
    raise ValueError(
      f"{path} holds poses of shape {points.shape}, not [people, {joints}, 3]: {advice}"
    )
  poses = tuple(trackers.Pose(*pose) for pose in zip(points, good))
  return part, poses, bool(found["ended"].all())


def _named(shape) -> str:
  return ", ".join("people" if size is None else str(size) for size in shape)


def _joined(parts: list[trackers.Part]) -> trackers.Part:
  """All frames; of several people, with as many slots as the fullest part, one at least."""
  slots = max(1, *(part.own.shape[1] for part in parts))

  def whole(name: str) -> np.ndarray:
    arrays = [getattr(part, name) for part in parts]
    if parts[0].found.ndim == 2:
      empty = np.nan if name in ("own", "fused", "windows") else 0
      arrays = [_filled(array, slots, empty) for array in arrays]
    return np.concatenate(arrays)

  return trackers.Part(**{name: whole(name) for name in _ARRAYS})


def _filled(array: np.ndarray, slots: int, value: float) -> np.ndarray:
  """[f, p, ...] with so many p."""
  pad = [(0, 0), (0, slots - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
  return np.pad(array, pad, constant_values=value)

"""C3D, biomechanics' binary format: one person, mm, by the package c3d (the extra `files`)."""

import io
import pathlib
import warnings

import numpy as np

from epipolar_jax.keypoints import tables
from epipolar_jax.motion.motion import Motion

_LARGEST = 2 << 30
_UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_ABSENT = -1.0
_MOST_LABELS, _MOST_FRAMES, _LAST_FIRST = 255, 65535, 65535
# The axis of the world that points right on a screen if another is up.
_RIGHT = {"x": "+Y", "y": "+X", "z": "+X"}


def library():
  """The package c3d.

  Raises:
    ModuleNotFoundError: it is not installed; the message says what to do.
  """
  try:
    import c3d
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "C3D files need the package c3d: pip install c3d", name="c3d"
    ) from error
  return c3d


def recognise(head: bytes) -> bool:
  """The mark of C3D in the second byte, and the place of the parameters in the first."""
  return len(head) >= 512 and head[1:2] == b"\x50" and 2 <= head[0] < 128


def write(path: pathlib.Path, motion: Motion, *, up: str = "z") -> None:
  """Writes a person's motion, in 32 bits.

  Args:
    path: of the file.
    motion: of one person, with frames a second.
    up: which axis is up, which the file states; the points are not turned.

  Raises:
    ValueError: the file cannot hold it: no frames a second, no frames or too many, too many joints,
      or a name that is not of ASCII.
    ModuleNotFoundError: the package c3d is not installed.
  """
  if motion.fps is None:
    raise ValueError("c3d: the file states frames a second, and they are not known: say --fps")
  count = len(motion.points)
  if not 1 <= count <= _MOST_FRAMES or not 1 <= len(motion.joints) <= _MOST_LABELS:
    raise ValueError(
      f"c3d: holds 1 to {_MOST_FRAMES} frames of 1 to {_MOST_LABELS} joints; these are {count} of "
      f"{len(motion.joints)}"
    )
  if motion.first_frame + count > _LAST_FIRST:
    raise ValueError(f"c3d: frame numbers go to {_LAST_FIRST}; the first is {motion.first_frame}")
  odd = [n for n in motion.joints if not n.isascii() or n != n.strip() or not 0 < len(n) < 128]
  if odd:
    raise ValueError(f"c3d: cannot hold the joint name {odd[0]!r}: ASCII without spaces around it")
  writer = library().Writer(
    point_rate=motion.fps, analog_rate=0, point_scale=-1.0, point_units="mm", gen_scale=-1.0
  )
  writer.set_point_labels(list(motion.joints))
  writer.set_screen_axis(_RIGHT[up[-1]], ("-" if up[0] == "-" else "+") + up[-1].upper())
  writer.set_start_frame(motion.first_frame + 1)
  values = np.zeros((count, len(motion.joints), 5), np.float32)
  values[..., :3] = np.nan_to_num(motion.points[:, 0], nan=0.0)
  values[..., 3] = np.where(motion.known[:, 0], 0.0, _ABSENT)
  writer.add_frames([(frame, np.zeros((0, 0), np.float32)) for frame in values])
  buffer = io.BytesIO()
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    writer.write(buffer)
  with tables.replacing(path, binary=True) as file:
    file.write(buffer.getvalue())


def read(path: pathlib.Path) -> Motion:
  """Reads the labelled points of a file, as it has them; a point of negative residual is absent.

  Raises:
    ValueError: the file is damaged; names it.
    ModuleNotFoundError: the package c3d is not installed.
  """
  c3d = library()
  if path.stat().st_size > _LARGEST:
    raise ValueError(f"{path} has {path.stat().st_size:,} bytes; at most {_LARGEST:,} are read")
  try:
    with warnings.catch_warnings(), path.open("rb") as file:
      warnings.simplefilter("ignore")
      reader = c3d.Reader(file)
      labels = [label.strip() for label in reader.point_labels]
      unit = reader.get("POINT:UNITS").string_value.strip().lower()
      rate, first = float(reader.point_rate), int(reader.first_frame)
      _check_length(path, reader)
      frames = [points[:, :4].astype(np.float64) for _, points, _ in reader.read_frames()]
  except MemoryError as error:
    raise ValueError(f"{path}: a damaged C3D file: it states more than memory holds") from error
  except Exception as error:
    # The package raises whatever comes up when it meets bytes that are no C3D.
    if str(error).startswith(str(path)):
      raise
    raise ValueError(f"{path}: a damaged C3D file: {str(error)[:200]!r}") from error
  if unit not in _UNITS_MM or not 0 < rate < 1e6 or first < 1:
    raise ValueError(f"{path}: its unit is {unit[:20]!r}, its rate {rate}, its first frame {first}")
  joints = _distinct(labels)
  if not frames or {len(frame) for frame in frames} != {len(joints)} or not joints:
    raise ValueError(
      f"{path}: {len(joints)} labels, {len(frames)} frames of other numbers of points"
    )
  values = np.stack(frames)
  points = np.where(values[..., 3:] < 0, np.nan, values[..., :3]) * _UNITS_MM[unit]
  return Motion(points[:, None], joints, rate, first - 1)


def _check_length(path: pathlib.Path, reader) -> None:
  """Raises ValueError if the frames that the header states are more than the file has bytes for."""
  used, count = int(reader.point_used), int(reader.last_frame) - int(reader.first_frame) + 1
  if used * count * 8 > path.stat().st_size:
    raise ValueError(f"{path}: states {count} frames of {used} points, more than it has bytes for")


def _distinct(labels: list[str]) -> tuple[str, ...]:
  """Labels; one that comes again, or is empty, gets its number."""
  found: list[str] = []
  for number, label in enumerate(labels):
    found.append(label if label and label not in found else f"{label}*{number}")
  return tuple(found)

"""TRC, the marker file that OpenSim reads: tabs, Y up, one person.

  PathFileType  4  (X/Y/Z)  name.trc
  DataRate  CameraRate  NumFrames  NumMarkers  Units  OrigDataRate  OrigDataStartFrame ...
  60.0      60.0        100        21          m      60.0          1
  Frame#  Time  RHip          RKnee ...
                X1  Y1  Z1    X2  Y2  Z2 ...
  1       0.0   0.1 0.9 -1.4  ...

An empty cell is "not there". Frame# counts from 1, Time from 0. Joints of our human skeletons are
written under the names of OpenSim's markers (marker_names.py); others keep theirs.
"""

import pathlib

import numpy as np

from epipolar_jax.keypoints import tables
from epipolar_jax.motion import marker_names
from epipolar_jax.motion.motion import Motion

_FIELDS = (
  *("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units"),
  *("OrigDataRate", "OrigDataStartFrame", "OrigNumFrames"),
)
_UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
# x, y, z of the file as (axis, sign) of a world whose up is the key; all are turns, no reflections.
# Pose2Sim writes (y, z, x) of a world with z up.
_FROM_WORLD = {
  "x": ((2, 1), (0, 1), (1, 1)),
  "y": ((0, 1), (1, 1), (2, 1)),
  "z": ((1, 1), (2, 1), (0, 1)),
  "-x": ((1, 1), (0, -1), (2, 1)),
  "-y": ((0, 1), (1, -1), (2, -1)),
  "-z": ((0, 1), (2, -1), (1, 1)),
}
UPS = tuple(_FROM_WORLD)


def recognise(head: bytes) -> bool:
  """A text that begins with PathFileType."""
  return head.removeprefix(b"\xef\xbb\xbf").startswith(b"PathFileType")


def write(path: pathlib.Path, motion: Motion, *, up: str = "z", unit: str = "m") -> None:
  """Writes a person's motion.

  Args:
    path: of the file.
    motion: of one person, with frames a second.
    up: which axis of its world is up, one of `UPS`; it becomes the file's Y.
    unit: m or mm, or cm.

  Raises:
    ValueError: the motion has no frames a second, a joint's name holds a tab or line break or is
      empty, or up or unit is none of the above.
  """
  _check(up, unit)
  if motion.fps is None:
    raise ValueError("trc: the file states frames a second, and they are not known: say --fps")
  odd = [name for name in motion.joints if not name.strip() or any(c in name for c in '\t\r\n"')]
  if odd:
    raise ValueError(f"trc: cannot hold the joint name {odd[0]!r}")
  points = motion.points[:, 0] / _UNITS_MM[unit]
  points = np.stack([sign * points[..., axis] for axis, sign in _FROM_WORLD[up]], axis=-1)
  count, rate = len(points), repr(float(motion.fps))
  markers = marker_names.of(motion.joints)
  with tables.replacing(path) as file:
    lines = [
      ["PathFileType", "4", "(X/Y/Z)", path.name],
      _FIELDS,
      [rate, rate, count, len(motion.joints), unit, rate, motion.first_frame + 1, count],
      ["Frame#", "Time", *(cell for name in markers for cell in (name, "", ""))],
      ["", "", *(f"{axis}{i + 1}" for i in range(len(motion.joints)) for axis in "XYZ")],
    ]
    for line in lines:
      file.write("\t".join(map(str, line)) + "\n")
    for i, row in enumerate(points.reshape(count, -1).tolist(), start=motion.first_frame):
      cells = ["" if x != x else repr(x) for x in row]
      file.write("\t".join([str(i + 1), repr(i / motion.fps), *cells]) + "\n")


def read(path: pathlib.Path, *, up: str = "z") -> Motion:
  """Reads a file whose Y is up into a world in which `up` is.

  Raises:
    ValueError: the header is wrong, a row is, or there are fewer than it says; names the place.
  """
  _check(up, "m")
  lines = tables.rows(path, "\t")
  header = [next(lines, []) for _ in range(5)]
  fields = dict(zip(header[1], header[2]))
  if header[0][:1] != ["PathFileType"] or not set(_FIELDS[:5]) <= set(fields):
    raise ValueError(f"{path}: not a TRC file: row 2 should name {', '.join(_FIELDS[:5])}")
  unit = fields["Units"].strip()
  if unit not in _UNITS_MM:
    raise ValueError(f"{path}: Units should be one of {', '.join(_UNITS_MM)}; got {unit[:40]!r}")
  names = [fields["DataRate"], fields["NumFrames"], fields["NumMarkers"]]
  rate, count, markers = tables.numbers(path, names, 3)
  joints = [name for name in header[3][2:] if name.strip()]
  if not rate > 0 or len(joints) != markers:
    raise ValueError(
      f"{path}: DataRate is {rate}, NumMarkers {markers}, and row 4 names {len(joints)} markers"
    )
  width = 2 + 3 * len(joints)
  numbers, table = [], []
  for number, row in enumerate(lines, start=6):
    if not any(cell.strip() for cell in row):
      continue
    values = tables.numbers(path, row, number)
    if len(row) < width or np.isfinite(values[width:]).any():
      raise ValueError(f"{path}, row {number}: {len(row)} columns, {width} were expected")
    numbers.append(values[0])
    table.append(values[2:width])
  if not len(table) >= count:
    raise ValueError(f"{path}: NumFrames is {count:.0f}, and there are {len(table)} rows")
  first, rows = tables.rows_of_frames(path, np.array(numbers) - 1)
  points = np.full((rows[-1] + 1 if len(rows) else 0, 1, len(joints), 3), np.nan)
  filed = np.array(table).reshape(len(table), len(joints), 3) * _UNITS_MM[unit]
  for i, (axis, sign) in enumerate(_FROM_WORLD[up]):
    points[rows, 0, :, axis] = sign * filed[..., i]
  return Motion(points, tuple(joints), float(rate), first)


def _check(up: str, unit: str) -> None:
  for value, known, what in ((up, _FROM_WORLD, "up"), (unit, _UNITS_MM, "unit")):
    if value not in known:
      raise ValueError(f"trc: {what} should be one of {', '.join(known)}; got {value!r}")

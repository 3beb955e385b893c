"""Reads and writes `Motion` in every format of 3D joints."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

from epipolar_jax.motion import anipose, c3d, deeplabcut_3d, files, sleap_anipose, trc
from epipolar_jax.motion.motion import Motion

_HEAD_BYTES = 1 << 20


class Format(NamedTuple):
  """How motion is written and read in a format.

  Attributes:
    suffix: of its files.
    recognise: whether a file that begins with some bytes is of it.
    write: a motion to a path; None: what it holds, a motion has not.
    read: a path to a motion.
    carries: which optional fields of `Motion` it holds.
    people: whether it holds several; if not, each gets a file.
    writes_up: whether `write` wants the keyword `up`, the axis that is up.
    reads_up: whether `read` does.
    needs_fps: whether it cannot do without frames a second.
  """

  suffix: str
  recognise: Callable[[bytes], bool]
  write: Callable[..., None] | None
  read: Callable[..., Motion]
  carries: frozenset[str]
  people: bool = False
  writes_up: bool = False
  reads_up: bool = False
  needs_fps: bool = False


_QUALITY = ("error_px", "num_views", "score")
# The first that recognises a file reads it.
FORMATS = {
  "joints npz": Format(
    ".npz",
    files.recognise,
    None,
    files.read_motion,
    frozenset(("fps", "first_frame", *_QUALITY)),
    people=True,
  ),
  "anipose": Format(
    ".csv",
    anipose.recognise,
    anipose.write,
    anipose.read,
    frozenset(("first_frame", *_QUALITY)),
  ),
  "trc": Format(
    ".trc",
    trc.recognise,
    trc.write,
    trc.read,
    frozenset(("first_frame", "fps")),
    writes_up=True,
    reads_up=True,
    needs_fps=True,
  ),
  "deeplabcut 3d": Format(
    ".csv",
    deeplabcut_3d.recognise,
    deeplabcut_3d.write,
    deeplabcut_3d.read,
    frozenset(("first_frame", "people")),
    people=True,
  ),
  "sleap-anipose": Format(
    ".h5",
    sleap_anipose.recognise,
    sleap_anipose.write,
    sleap_anipose.read,
    frozenset(("first_frame", "people")),
    people=True,
  ),
  "c3d": Format(
    ".c3d",
    c3d.recognise,
    c3d.write,
    c3d.read,
    frozenset(("first_frame", "fps")),
    writes_up=True,
    needs_fps=True,
  ),
}
WRITTEN = tuple(name for name, format in FORMATS.items() if format.write is not None)
_OPTIONAL = {
  "fps": "frames a second",
  "first_frame": "the first frame's number",
  "people": "names of people",
  "error_px": "reprojection errors",
  "num_views": "numbers of views",
  "score": "scores",
}


def check(name: str) -> None:
  """Raises ValueError if no such format is written; the message lists them.

  Raises ModuleNotFoundError if it needs a package that is not installed.
  """
  if name not in WRITTEN:
    raise ValueError(f"format should be one of {', '.join(WRITTEN)}; got {name!r}")
  if name == "c3d":
    c3d.library()


def check_up(up: str) -> None:
  """Raises ValueError if `up` is no axis; the message lists them."""
  if up not in trc.UPS:
    raise ValueError(f"up should be one of {', '.join(trc.UPS)}; got {up!r}")


def check_fps(name: str, fps: float | None) -> None:
  """Raises ValueError if a format cannot do without frames a second, and they are not known."""
  if FORMATS[name].needs_fps and fps is None:
    raise ValueError(f"{name}: the file states frames a second, and they are not known: say --fps")


def write(
  path: pathlib.Path, motion: Motion, name: str, *, up: str = "z"
) -> tuple[list[pathlib.Path], list[str]]:
  """Writes a motion.

  Args:
    path: of the file; where the format holds one person and there are several, _person0 and so on
      is put before the suffix.
    motion: to write.
    name: one of `WRITTEN`.
    up: which axis of the motion's world is up, one of `trc.UPS`, for formats that state it.

  Returns:
    The files written, and what they do not say, a phrase each.

  Raises:
    ValueError: no such format, or it cannot hold the motion.
    ModuleNotFoundError: the format needs a package of the extra `files`.
  """
  check(name)
  check_up(up)
  check_fps(name, motion.fps)
  format = FORMATS[name]
  options = {"up": up} if format.writes_up else {}
  count = motion.points.shape[1]
  if format.people or count == 1:
    paths = [path]
    format.write(path, motion, **options)
  else:
    paths = [path.with_name(f"{path.stem}_person{i}{path.suffix}") for i in range(count)]
    for i, one in enumerate(paths):
      format.write(one, motion.person(i), **options)
  lost = [text for field, text in _OPTIONAL.items() if _has(motion, field, format)]
  return paths, lost


def _has(motion: Motion, field: str, format: Format) -> bool:
  """Whether there is something that the format does not carry."""
  value = getattr(motion, field)
  empty = value is None or (isinstance(value, int | tuple) and not value)
  return not empty and field not in format.carries


def read(path: pathlib.Path, *, up: str = "z") -> Motion:
  """Reads 3D joints of any known format, told by its content.

  Args:
    path: of the file.
    up: which axis is to be up in the motion's world, for formats that state it.

  Raises:
    FileNotFoundError: no such file.
    ValueError: no known format, or a damaged file.
    ModuleNotFoundError: the format needs a package of the extra `files`.
  """
  if path.exists() and not path.is_file():
    raise ValueError(f"{path} is not a regular file")
  with path.open("rb") as file:
    head = file.read(_HEAD_BYTES)
  for format in FORMATS.values():
    if format.recognise(head):
      return format.read(path, **({"up": up} if format.reads_up else {}))
  raise ValueError(f"{path}: not 3D joints of any known format: {', '.join(FORMATS)}")

"""Reads and writes `Motion` in every format of 3D joints."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

from epipolar_jax.motion import anipose, trc
from epipolar_jax.motion.motion import Motion

_HEAD_BYTES = 1 << 20


class Format(NamedTuple):
  """How motion is written and read in a format.

  Attributes:
    suffix: of its files.
    recognise: whether a text's first lines are of it.
    write: a motion to a path; with the keyword `up` if the format has an axis that is up.
    read: a path to a motion; with `up` likewise.
    people: whether it holds several; if not, each gets a file.
    has_up: whether the format fixes the axis that is up.
    carries: which optional fields of `Motion` it holds.
  """

  suffix: str
  recognise: Callable[[list[str]], bool]
  write: Callable[..., None]
  read: Callable[..., Motion]
  people: bool
  has_up: bool
  carries: frozenset[str]


FORMATS = {
  "anipose": Format(
    ".csv",
    anipose.recognise,
    anipose.write,
    anipose.read,
    people=False,
    has_up=False,
    carries=frozenset(("first_frame", "error_px", "num_views", "score")),
  ),
  "trc": Format(
    ".trc",
    trc.recognise,
    trc.write,
    trc.read,
    people=False,
    has_up=True,
    carries=frozenset(("first_frame", "fps")),
  ),
}
_OPTIONAL = {
  "fps": "frames a second",
  "first_frame": "the first frame's number",
  "people": "names of people",
  "error_px": "reprojection errors",
  "num_views": "numbers of views",
  "score": "scores",
}


def check(name: str) -> None:
  """Raises ValueError if there is no such format; the message lists them."""
  if name not in FORMATS:
    raise ValueError(f"format should be one of {', '.join(FORMATS)}; got {name!r}")


def write(
  path: pathlib.Path, motion: Motion, name: str, *, up: str = "z"
) -> tuple[list[pathlib.Path], list[str]]:
  """Writes a motion.

  Args:
    path: of the file; where the format holds one person and there are several, _person0 and so on
      is put before the suffix.
    motion: to write.
    name: a key of `FORMATS`.
    up: which axis of the motion's world is up, for formats that fix it.

  Returns:
    The files written, and what they do not say, a phrase each.

  Raises:
    ValueError: no such format, or it cannot hold the motion.
  """
  check(name)
  format = FORMATS[name]
  options = {"up": up} if format.has_up else {}
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

  Raises:
    FileNotFoundError: no such file.
    ValueError: no known format, or a damaged file.
  """
  with path.open("rb") as file:
    lines = file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace").splitlines()
  for format in FORMATS.values():
    if format.recognise(lines):
      return format.read(path, **({"up": up} if format.has_up else {}))
  raise ValueError(f"{path}: not 3D joints of any known format: {', '.join(FORMATS)}")

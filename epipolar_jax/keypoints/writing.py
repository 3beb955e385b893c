"""Writes `Observations` in the formats of other tools."""

import pathlib
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple

from epipolar_jax.keypoints import caliscope, coco, deeplabcut, openpose, plain, sleap_analysis
from epipolar_jax.keypoints.observations import Observations

_OPTIONAL = {
  "fps": "frames a second",
  "sizes_wh": "image sizes",
  "first_frame": "the first frame's number",
  "people": "names of people",
  "matched": "that people are the same in all views",
}


class Writer(NamedTuple):
  """How observations are written.

  Attributes:
    write: all views, or one, to a path.
    suffix: of a view's file; None: the format holds all views.
    carries: which optional fields it holds.
    lacks: what else it does not say, a phrase each.
  """

  write: Callable[[pathlib.Path, Observations], None]
  suffix: str | None
  carries: frozenset[str]
  lacks: tuple[str, ...] = ()


_NAMELESS = ("joint names",)
WRITERS = {
  "plain npz": Writer(plain.write, None, frozenset(_OPTIONAL)),
  "deeplabcut": Writer(deeplabcut.write, ".csv", frozenset(("first_frame", "people"))),
  "openpose": Writer(openpose.write, "_json", frozenset(("first_frame",)), _NAMELESS),
  "coco": Writer(coco.write, ".json", frozenset(("first_frame",)), _NAMELESS),
  "sleap analysis": Writer(
    sleap_analysis.write, ".analysis.h5", frozenset(("first_frame", "people"))
  ),
  "caliscope": Writer(
    caliscope.write,
    None,
    frozenset(("first_frame", "matched")),
    ("scores", "names of views, people and joints that are not numbers"),
  ),
}


def write(
  path: pathlib.Path, observations: Observations, name: str
) -> tuple[list[pathlib.Path], list[str]]:
  """Writes observations.

  Args:
    path: of the file; of a folder with a file (OpenPose: a folder) for each view, where the format
      holds one view and there are several.
    observations: to write.
    name: a key of `WRITERS`.

  Returns:
    The files written, and what they do not say, a phrase each.

  Raises:
    ValueError: no such format.
    FileExistsError: a folder for OpenPose's json holds some already.
  """
  if name not in WRITERS:
    raise ValueError(f"format should be one of {', '.join(WRITERS)}; got {name!r}")
  writer, views = WRITERS[name], observations.views
  if writer.suffix is None or len(views) == 1:
    paths = [path]
    writer.write(path, observations)
  else:
    paths = [path / f"{file_name(view)}{writer.suffix}" for view in views]
    for view, one in zip(views, paths):
      writer.write(one, observations.select(views=(view,)))
  lost = [
    text
    for field, text in _OPTIONAL.items()
    if getattr(observations, field) and field not in writer.carries
  ]
  return paths, [*lost, *writer.lacks]


def file_name(name: str) -> str:
  """A name as part of a file's name: what leads elsewhere or is not portable is %-escaped."""
  escaped = urllib.parse.quote(name, safe=" +=,@()")
  return f"%2E{escaped[1:]}" if escaped.startswith(".") else escaped

"""File patterns in quotes, which the shell left to the command."""

import glob
import pathlib
from collections.abc import Sequence

from epipolar_jax import missing_files


def expanded(patterns: Sequence[str], what: str) -> list[str]:
  """The files of patterns, in the order of their names, and names without wildcards as they are.

  Args:
    patterns: of the command line.
    what: a file of them is called, for the message: "video".

  Raises:
    FileNotFoundError: nothing fits a pattern; says which folder was looked in, and what it holds.
  """
  found: list[str] = []
  for pattern in patterns:
    matches = sorted(glob.glob(pattern))
    if not matches and glob.has_magic(pattern) and not pathlib.Path(pattern).exists():
      raise FileNotFoundError(f"no {what} is called {pattern}: {_content(pattern)}")
    found.extend(matches or [pattern])
  return found


def _content(pattern: str) -> str:
  """What is in the folder of a pattern (or CAMERA=PATTERN), before its first wildcard, in words."""
  folder = pathlib.Path(pattern.partition("=")[2] or pattern)
  while glob.has_magic(str(folder)):
    folder = folder.parent
  if not folder.is_dir():
    return f"there is no folder {folder}"
  return missing_files.inside(folder)

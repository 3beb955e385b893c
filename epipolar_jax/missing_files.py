"""What to say where a file is not there: what its folder has instead."""

import difflib
import itertools
import pathlib

# So many names are told, of so many looked at.
_TOLD, _MOST = 5, 5000


def error(path: pathlib.Path) -> FileNotFoundError:
  """For a path at which nothing is: names those of its folder, the most like it first.

  Where the folder is missing too, the nearest one above it that exists is told.
  """
  folder = path.parent
  missing = ""
  while not folder.is_dir():
    missing, folder = f", nor is there a folder {folder}", folder.parent
  there = inside(folder, like=path.relative_to(folder).parts[0])
  return FileNotFoundError(f"No such file or folder: {path}{missing}; {there}")


def inside(folder: pathlib.Path, like: str = "") -> str:
  """What a folder holds, in words: names in their order, or those most like a name first."""
  try:
    names = [x.name for x in itertools.islice(folder.iterdir(), _MOST)]
  except OSError as problem:
    return f"{folder} cannot be read ({problem})"
  names = sorted(x for x in names if not x.startswith("."))
  if like:
    # Sorting is stable: names alike stay in order.
    names.sort(key=lambda x: difflib.SequenceMatcher(None, x, like).ratio(), reverse=True)
  told = ", ".join(x if x.isprintable() else ascii(x) for x in names[:_TOLD])
  more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
  where = "the current folder" if folder == pathlib.Path() else str(folder)
  return f"in {where} there is {told or 'nothing'}{more}"

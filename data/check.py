"""Checks a folder of raw or prepared data and reports what is missing or wrong.

  python -m data.check FOLDER [--all]

Knows Human3.6M as the H36M toolbox writes it, the Rendered Hand Pose data set, and what the
builders here prepared. The exit status is 1 when something is wrong.
"""

import argparse
import pathlib

from data import prepared
from data.h36m import check as h36m
from data.rhd import check as rhd

_LAYOUTS = (prepared, h36m, rhd)
_SAMPLES = 64


def check(path: pathlib.Path, *, samples: int = _SAMPLES) -> tuple[list[str], list[str]]:
  """Finds out what a folder holds and checks it.

  Args:
    path: the folder.
    samples: examples of each split whose images are looked at; 0 is all.

  Returns:
    facts: what is there.
    problems: what is missing or wrong; empty when all is well.
  """
  if not path.is_dir():
    return [], [f"{path} is not a folder"]
  for layout in _LAYOUTS:
    if layout.recognizes(path):
      return layout.check(path, samples=samples)
  held = ", ".join(sorted(item.name for item in path.iterdir())[:10]) or "nothing"
  return [], [
    f"{path} is no data set known here; it holds {held}. data/README.md says what goes in"
  ]


def main() -> None:
  """Prints facts and problems."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("path", type=pathlib.Path)
  parser.add_argument("--all", action="store_true", help=f"every image, not {_SAMPLES} a split")
  arguments = parser.parse_args()
  facts, problems = check(arguments.path, samples=0 if arguments.all else _SAMPLES)
  for fact in facts:
    print(fact)
  for problem in problems:
    print(f"PROBLEM {problem}")
  if problems:
    raise SystemExit(1)
  print("all is well")


if __name__ == "__main__":
  main()

"""Which cameras an evaluation uses: all, a few by number, or every choice of two, three, ..."""

import itertools
from typing import NamedTuple

_WORDS = {"pairs": 2, "triples": 3}


class CameraSets(NamedTuple):
  """Cameras by number.

  Attributes:
    main: of the main numbers.
    others: further sets to compare, grouped by their size where several are compared.
  """

  main: tuple[int, ...]
  others: tuple[tuple[int, ...], ...]


def parse(text: str, num_views: int) -> CameraSets:
  """Reads `eval.views`.

  Args:
    text: "" for all cameras; numbers like "0,2" for these alone; "pairs", "triples" or "every"
      for all cameras and, to compare, every choice of 2, of 3 or of any number of them.
    num_views: cameras of the data set.

  Raises:
    ValueError: it is none of those, or names cameras that do not exist.
  """
  every = tuple(range(num_views))
  sizes = range(2, num_views) if text == "every" else [_WORDS.get(text, 0)]
  if text in ("", "every", *_WORDS):
    others = [c for n in sizes if 2 <= n < num_views for c in itertools.combinations(every, n)]
    return CameraSets(every, tuple(others))
  try:
    chosen = tuple(int(part) for part in text.split(","))
  except ValueError as error:
    raise ValueError(
      f'eval.views is {text!r}; allowed: "", numbers like "0,2", pairs, triples, every'
    ) from error
  if len(set(chosen)) != len(chosen) or len(chosen) < 2 or not set(chosen) <= set(every):
    raise ValueError(
      f"eval.views is {text!r}; it takes at least two different cameras of 0 to {num_views - 1}"
    )
  return CameraSets(chosen, ())


def without_others(text: str) -> str:
  """`eval.views` of the same main cameras, with none to compare."""
  return "" if text in ("every", *_WORDS) else text


def name(cameras: tuple[int, ...]) -> str:
  """ "0,2": as one would write it on the command line."""
  return ",".join(map(str, cameras))

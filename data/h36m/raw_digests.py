"""CRC-32 of every raw image, kept beside the data prepared from it: rot in raw files is noticed.

JPEGs in a folder have no checksum of their own, and one with a flipped bit still decodes. The
builder compares when the same raw folder is prepared again, `data.check` when the data are looked
at and the raw folder is still there.
"""

import json
import pathlib
import re
import zlib
from collections.abc import Mapping

import numpy as np

from data import faults, files
from data.h36m import annotations, raw_images

FILE = "raw_images.crc32"
_LINE = re.compile(r"([0-9a-f]{8}) (.+)")
_LARGEST = 1 << 30


def write(folder: pathlib.Path, found: Mapping[str, int]) -> None:
  """Writes a line for each image, by its path as the annotations have it."""
  lines = (f"{crc:08x} {image}\n" for image, crc in sorted(found.items()))
  (folder / FILE).write_text("".join(lines), encoding="utf-8")


def read(folder: pathlib.Path) -> dict[str, int]:
  """CRC-32 by image; empty where none were written, as the first builders did.

  Raises:
    ValueError: the file is damaged.
  """
  try:
    lines = files.read_text(folder / FILE, largest=_LARGEST).splitlines()
  except FileNotFoundError:
    return {}
  matches = [_LINE.fullmatch(line) for line in lines]
  if None in matches:
    raise ValueError(f"{folder / FILE}, line {matches.index(None) + 1} is not a CRC-32 and a path")
  return {match[2]: int(match[1], 16) for match in matches}


def of_raw(root: pathlib.Path, folders: list[tuple[pathlib.Path, str]]) -> dict[str, int]:
  """What was recorded of a raw folder by all data sets prepared from it.

  Args:
    root: of the raw data.
    folders: of prepared data sets, and the raw folder of each.
  """
  found: dict[str, int] = {}
  for folder, raw in folders:
    if raw == str(root):
      found |= read(folder)
  return found


def compare(data: bytes, expected: int | None, where: str, image: str) -> int:
  """The CRC-32 of a raw image's file.

  Raises:
    faults.BadRecord: it is not the one expected, if any is.
  """
  found = zlib.crc32(data)
  if expected not in (None, found):
    raise faults.BadRecord(
      "changed image",
      f"{where}: {image} is not the file that was prepared before (CRC-32 {found:08x}, recorded "
      f"{expected:08x}): restore it. If images were replaced on purpose, remove the {FILE} "
      "beside the data prepared earlier",
    )
  return found


def check(folder: pathlib.Path, *, samples: int) -> list[str]:
  """A line for each raw image that is not what was prepared; [] where the raw data are gone.

  Args:
    folder: of the prepared data set.
    samples: images looked at, evenly spread; 0 is all.
  """
  try:
    recorded = list(read(folder).items())
    if not recorded:
      return []
    root = pathlib.Path(json.loads(files.read_text(folder / "summary.json"))["raw"])
    store = raw_images.find_store(annotations.find_root(root))
  except FileNotFoundError:
    return []
  except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
    return [f"{folder}: {error}"]
  wrong = []
  count = min(samples or len(recorded), len(recorded))
  for index in np.linspace(0, len(recorded) - 1, count).round().astype(int):
    image, expected = recorded[index]
    try:
      compare(store.read(image, f"{folder}"), expected, str(root), image)
    except faults.BadRecord as fault:
      wrong.append(str(fault))
  return wrong

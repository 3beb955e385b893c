"""Checks the raw files of Rendered Hand Pose and reports what is missing or wrong."""

import pathlib

import numpy as np

from data import faults
from data.rhd import annotations

# Measured on synthetic stand-ins: bytes a stored hand.
_BYTES_PER_HAND = 37_000


def recognizes(path: pathlib.Path) -> bool:
  """Whether a folder looks like Rendered Hand Pose, whole or in part."""
  folders = annotations.FOLDERS.values()
  roots = (path, path / "RHD_published_v2")
  return any((root / folder).is_dir() for root in roots for folder in folders)


def check(path: pathlib.Path, *, samples: int) -> tuple[list[str], list[str]]:
  """Checks all labels and some images.

  Args:
    path: the folder.
    samples: images of each split to look at, evenly spread; 0 is all.

  Returns:
    facts: what is there, and what to do next.
    problems: what is missing or wrong; each names file and record.
  """
  facts, problems, total = [f"Rendered Hand Pose in {path}"], [], 0
  for split in annotations.FOLDERS:
    try:
      folder = annotations.find_folder(path, split)
      file = folder / annotations.annotation_name(split)
      records = annotations.read(file)
    except (OSError, ValueError) as error:
      problems.append(str(error))
      continue
    total += len(records)
    found = faults.Faults(stop=False)
    looked_at = _look(file, records, samples, found)
    facts.append(f"{split}: {len(records):,} records, {looked_at:,} images looked at")
    unused = len(list((folder / "color").glob("*.png"))) - len(records)
    if unused > 0:
      facts.append(f"{split}: {unused:,} images without a record, which is harmless")
    problems += [
      f"{kind}: {count:,} of those looked at, the first: {found.first[kind]}"
      for kind, count in found.counts.items()
    ]
  if not problems:
    size = total * _BYTES_PER_HAND / 1e9
    facts.append(f"next: python -m data.rhd.builder --raw {path} (about {size:.2g} GB)")
  return facts, problems


def _look(file, records, samples, found) -> int:
  """Checks all records, and the images of some; returns of how many."""
  count = min(samples or len(records), len(records))
  looked_at = set(np.linspace(0, len(records) - 1, count).round().astype(int).tolist())
  for index, (frame, record) in enumerate(records.items()):
    try:
      annotations.check(file, frame, record)
      if index in looked_at:
        name = f"{frame:05d}.png"
        annotations.hand_pixels(file.parent / "mask" / name)
        annotations.read_image(file.parent / "color" / name, channels=3)
    except faults.BadRecord as fault:
      found.add(fault)
  return count

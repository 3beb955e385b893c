"""Checks the raw files of Human3.6M and reports what is missing or wrong."""

import pathlib

import numpy as np

from data import faults
from data.h36m import annotations, calibration, raw_images

# Subjects of the usual protocol.
_SUBJECTS = {"train": {1, 5, 6, 7, 8}, "validation": {9, 11}}
# Measured on the H36M-like stand-in at 512 px: bytes a frame of four views.
_BYTES_PER_FRAME = 180_000


def recognizes(path: pathlib.Path) -> bool:
  """Whether a folder looks like Human3.6M as the toolbox writes it, whole or in part."""
  roots = (path, path / "h36m")
  if any((root / "annot").is_dir() for root in roots):
    return True
  return any((root / name).exists() for root in roots for name in ("images.zip", "images"))


def check(path: pathlib.Path, *, samples: int) -> tuple[list[str], list[str]]:
  """Reads all labels and some images.

  Args:
    path: the folder.
    samples: frames of each split whose images and cameras are looked at, evenly spread; 0 is all.

  Returns:
    facts: what is there, and what to do next.
    problems: what is missing or wrong; each names file and record.
  """
  try:
    root = annotations.find_root(path)
  except FileNotFoundError as error:
    return [], [str(error)]
  facts, problems = [f"Human3.6M in {root}"], []
  try:
    store = raw_images.find_store(root)
    facts.append(f"images: {store.path.name}{', undistorted' if store.undistorted else ''}")
  except FileNotFoundError as error:
    store = None
    problems.append(str(error))
  total = 0
  for split in annotations.SPLITS:
    file = annotations.path_of(root, split)
    try:
      records = annotations.read(file)
    except FileNotFoundError:
      problems.append(f"{file} is missing")
      continue
    except (OSError, ValueError) as error:
      problems.append(str(error))
      continue
    bad, incomplete = faults.Faults(stop=False), faults.Faults(stop=False)
    frames = annotations.frames(records, file.name, bad, incomplete)
    total += len(frames)
    looked_at = _look(frames, file.name, store, samples, bad)
    facts.append(
      f"{split}: {len(records):,} records, {len(frames):,} frames with all four cameras, "
      f"{looked_at:,} of them looked at"
    )
    # Some clips of Human3.6M lack a camera: that is as it should be.
    facts += [f"{split}: {count:,} frames {kind}" for kind, count in incomplete.counts.items()]
    found = {frame.records[0]["subject"] for frame in frames}
    if missing := sorted(_SUBJECTS[split] - found):
      names = ", ".join(f"S{subject}" for subject in missing)
      problems.append(f"{file.name} has no frame of {names}")
    problems += [
      f"{kind}: {count:,} of those looked at, the first: {bad.first[kind]}"
      for kind, count in bad.counts.items()
    ]
  if not problems:
    size = total * _BYTES_PER_FRAME / 1e9
    facts.append(f"next: python -m data.h36m.builder --raw {root} (about {size:.2g} GB)")
  return facts, problems


def _look(frames, name, store, samples, bad) -> int:
  """Checks the labels and images of some frames; returns how many."""
  count = min(samples or len(frames), len(frames))
  for index in np.linspace(0, len(frames) - 1, count).round().astype(int):
    try:
      views = annotations.views(frames[index], name)
      if not frames[index].damaged:
        calibration.check(views)
      for view in views if store else ():
        raw_images.decode(store.read(view.image, view.where), view.where, view.image)
    except faults.BadRecord as fault:
      bad.add(fault)
  return count

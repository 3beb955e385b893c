"""Raw Human3.6M folders for tests, made from the tiny synthetic set of tests/golden/h36m_tiny."""

import copy
import pathlib
import pickle
import zipfile
from typing import Any

from data.h36m import annotations

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
TINY = GOLDEN / "h36m_tiny"


def records(*image_ids: int) -> list[dict[str, Any]]:
  """Fresh copies of the records of some frames of subject 9, action 2."""
  found = annotations.read(TINY / "h36m_validation.pkl")
  chosen = [r for r in found if r["action"] == 2 and r["image_id"] in image_ids]
  return copy.deepcopy(chosen)


def images() -> dict[str, bytes]:
  """The images of frames 1 and 11 by the name of their member."""
  with zipfile.ZipFile(TINY / "images.zip") as archive:
    return {name: archive.read(name) for name in archive.namelist()}


def write(
  folder: pathlib.Path,
  train: list[dict[str, Any]],
  validation: list[dict[str, Any]],
  members: dict[str, bytes],
) -> pathlib.Path:
  """Writes a raw folder with an images.zip and returns it."""
  (folder / "annot").mkdir(parents=True, exist_ok=True)
  for split, rows in (("train", train), ("validation", validation)):
    path = folder / "annot" / f"h36m_{split}.pkl"
    path.write_bytes(pickle.dumps(rows, protocol=4))
  with zipfile.ZipFile(folder / "images.zip", "w") as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return folder

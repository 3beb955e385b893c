"""Reads a calibration of any known format into a `Rig`."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from epipolar_jax.rigs import (
  aniposelib,
  biocv,
  calibio,
  caliscope,
  dannce,
  dlt,
  documents,
  easymocap,
  h36m,
  jarvis,
  mamma,
  opencap,
  opencv,
  panoptic,
  plain,
  pose2sim,
  qualisys,
  vicon,
)
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document
from epipolar_jax.rigs.rig import Rig


class Format(NamedTuple):
  """How a format is told apart and read.

  Attributes:
    recognise: whether a document is of it.
    read: adds its cameras to a checker.
    unit_mm: mm in one unit of its translations; None: the file does not say, mm are assumed.
  """

  recognise: Callable[[Document], bool]
  read: Callable[[Document, Checker], None]
  unit_mm: float | None


# The first that recognises a document reads it; those with the clearest marks come first.
FORMATS = {
  "plain json": Format(plain.recognise, plain.read, None),
  "caliscope": Format(caliscope.recognise, caliscope.read, 1000.0),
  "pose2sim": Format(pose2sim.recognise, pose2sim.read, 1000.0),
  "aniposelib": Format(aniposelib.recognise, aniposelib.read, None),
  "qualisys": Format(qualisys.recognise, qualisys.read, 1.0),
  "vicon": Format(vicon.recognise, vicon.read, 1.0),
  "h36m": Format(h36m.recognise, h36m.read, 1.0),
  "opencap": Format(opencap.recognise, opencap.read, 1.0),
  "easymocap": Format(easymocap.recognise, easymocap.read, 1000.0),
  "jarvis": Format(jarvis.recognise, jarvis.read, 1.0),
  "mamma": Format(mamma.recognise, mamma.read, 1000.0),
  "calib.io": Format(calibio.recognise, calibio.read, 1000.0),
  "panoptic": Format(panoptic.recognise, panoptic.read, 10.0),
  "aist++": Format(aniposelib.recognise_aist, aniposelib.read_aist, 10.0),
  "opencv json": Format(opencv.recognise_json, opencv.read_json, None),
  "dannce": Format(dannce.recognise, dannce.read, 1.0),
  "biocv": Format(biocv.recognise, biocv.read, 1.0),
  "dlt": Format(dlt.recognise, dlt.read, None),
  "opencv": Format(opencv.recognise, opencv.read, None),
}
UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4}


def read(
  path: str | os.PathLike,
  *,
  unit: str | None = None,
  size_wh: tuple[int, int] | None = None,
) -> Rig:
  """Reads a calibration file, or a folder of them, whose format is told by its content.

  Args:
    path: of the file or folder.
    unit: of the translations, one of `UNITS_MM`; overrides what the format says. Without it, a file
      that does not state its unit is taken to be in mm, and `Rig.unit_mm` is None.
    size_wh: (width, height) px of images of which the file does not say the size.

  Returns:
    The rig, in mm.

  Raises:
    FileNotFoundError: there is nothing at the path.
    ValueError: no known format, or a damaged file; all faults of its cameras are listed.
  """
  path = pathlib.Path(path)
  if unit is not None and unit not in UNITS_MM:
    raise ValueError(f"unit should be one of {', '.join(UNITS_MM)}; got {unit!r}")
  document = documents.load(path)
  name = recognise(document)
  checker = Checker(path, size_wh)
  FORMATS[name].read(document, checker)
  if name == "plain json":
    # It is in mm, and says the unit of the file that the rig once came from.
    if unit not in (None, "mm"):
      raise ValueError(f"{path}: a plain json is in mm, not in {unit}")
    return dataclasses.replace(checker.rig(None), unit_mm=checker.unit_mm)
  return checker.rig(FORMATS[name].unit_mm if unit is None else UNITS_MM[unit])


def recognise(document: Document) -> str:
  """The name of a document's format.

  Raises:
    ValueError: it is of no known format; the message lists them.
  """
  for name, format in FORMATS.items():
    if format.recognise(document):
      return name
  raise ValueError(
    f"{document.path}: a {document.kind}{'' if document.kind == 'folder' else ' file'}, but not a "
    f"calibration of any known format: {', '.join(FORMATS)}"
  )

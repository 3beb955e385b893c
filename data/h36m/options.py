"""What of Human3.6M is stored, and the names that follow from it."""

import dataclasses
import hashlib
import json

from data.h36m import annotations

# Raise when the same options give other bytes than before.
VERSION = 3


@dataclasses.dataclass(frozen=True)
class Options:
  """How the images are stored.

  Attributes:
    image_size: side of the stored square, px; 0 keeps whole undistorted frames, 1000 px.
    margin: stored side / side of the person box. 1.8 leaves room for a crop 25 % larger turned by
      any angle: 1.25 * sqrt(2) = 1.77. A smaller one saves disk, but no time: only the part around
      a crop is decoded.
    jpeg_quality: 1..100.
  """

  image_size: int = 512
  margin: float = 1.8
  jpeg_quality: int = 90

  def __post_init__(self):
    limits = {"image_size": (0, 2048), "margin": (1.0, 4.0), "jpeg_quality": (1, 100)}
    for name, (low, high) in limits.items():
      value = getattr(self, name)
      if not low <= value <= high:
        raise ValueError(f"Options.{name} is {value}; it must lie in {low}..{high}")

  @property
  def name(self) -> str:
    """Of the TFDS configuration: the folder that training looks for."""
    return config_name(self.image_size)


def config_name(image_size: int) -> str:
  """Name of the prepared data set with images of this side; 0 is whole frames."""
  return f"{image_size}px" if image_size else "whole"


def fingerprint(options: Options, annotation_files: dict[str, bytes]) -> str:
  """Twelve hex digits over the options and the annotations.

  Args:
    options: of the data set.
    annotation_files: contents by split.
  """
  digest = hashlib.sha256()
  record = {"version": VERSION, "splits": annotations.SPLITS, **dataclasses.asdict(options)}
  digest.update(json.dumps(record, sort_keys=True).encode())
  for split in sorted(annotation_files):
    digest.update(split.encode() + hashlib.sha256(annotation_files[split]).digest())
  return digest.hexdigest()[:12]

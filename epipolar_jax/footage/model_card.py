"""Card of a detector in ONNX: facts about input and output that its file does not hold, as TOML."""

import dataclasses
import math
import pathlib
import tomllib
from typing import Any

from epipolar_jax import skeletons
from epipolar_jax.skeletons import Skeleton

_CHOICES = {
  "channels": ("rgb", "bgr"),
  "layout": ("nchw", "nhwc"),
  "output": ("heatmap", "simcc"),
  "values": ("probability", "logit"),
}
_DEFAULTS = {
  "channels": "rgb",
  "layout": "nchw",
  "values": "probability",
  "mean": [0.0, 0.0, 0.0],
  "std": [1.0, 1.0, 1.0],
  "simcc_factor": 1.0,
}
_NEEDED = ("skeleton", "input_wh", "output")
_MOST_BYTES, _LARGEST = 1 << 20, 2048


@dataclasses.dataclass(frozen=True)
class Card:
  """How to run a network.

  Attributes:
    skeleton: of its joints, in the order of its output.
    input_wh: (width, height) of its images, px.
    channels: rgb or bgr.
    layout: nchw or nhwc, of images and heatmaps.
    mean, std: of each channel in that order, of pixels 0..255: it is fed (pixel - mean) / std.
    output: heatmap, one output; or simcc, two, of columns and of rows.
    values: probability or logit, of a heatmap.
    simcc_factor: of simcc's numbers before the softmax.
  """

  skeleton: Skeleton
  input_wh: tuple[int, int]
  channels: str
  layout: str
  mean: tuple[float, ...]
  std: tuple[float, ...]
  output: str
  values: str
  simcc_factor: float


def read(path: pathlib.Path) -> Card:
  """Reads a card.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a field is missing, unknown or wrong; the message names the file and the field.
  """
  if not path.is_file():
    raise FileNotFoundError(f"{path}: a network in ONNX needs a card beside it (docs/predict.md)")
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path}: {path.stat().st_size} bytes are too many for a card")
  try:
    given = tomllib.loads(path.read_text(encoding="utf-8"))
  except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
    raise ValueError(f"{path}: not a TOML file: {error}") from error
  known = {*_NEEDED, *_DEFAULTS}
  missing, unknown = [x for x in _NEEDED if x not in given], sorted(set(given) - known)
  if missing or unknown:
    raise ValueError(
      f"{path}: a card has {', '.join(_NEEDED)} and perhaps {', '.join(_DEFAULTS)}; missing: "
      f"{', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
    )
  fields = _DEFAULTS | given
  for name, choices in _CHOICES.items():
    if fields[name] not in choices:
      raise ValueError(f"{path}: {name} should be {' or '.join(choices)}, got {fields[name]!r:.40}")
  size = fields["input_wh"]
  whole = isinstance(size, list) and len(size) == 2 and all(type(x) is int for x in size)
  if not whole or not all(8 <= x <= _LARGEST for x in size):
    raise ValueError(
      f"{path}: input_wh should be [width, height], from 8 to {_LARGEST}, got {size!r:.40}"
    )
  numbers = {name: _numbers(path, name, fields[name]) for name in ("mean", "std")}
  (factor,) = _numbers(path, "simcc_factor", [fields["simcc_factor"]], count=1)
  if min(numbers["std"]) <= 0 or factor <= 0:
    raise ValueError(f"{path}: std and simcc_factor should be above 0")
  return Card(
    skeleton=_skeleton(path, fields["skeleton"]),
    input_wh=tuple(size),
    simcc_factor=factor,
    **numbers,
    **{name: fields[name] for name in _CHOICES},
  )


def _numbers(path: pathlib.Path, name: str, given: Any, *, count: int = 3) -> tuple[float, ...]:
  numbers = isinstance(given, list) and all(type(x) in (int, float) for x in given)
  if (
    not numbers or len(given) != count or not all(math.isfinite(x) and abs(x) < 1e6 for x in given)
  ):
    raise ValueError(
      f"{path}: {name} should be {count} number{'s' * (count > 1)}, got {given!r:.60}"
    )
  return tuple(float(x) for x in given)


def _skeleton(path: pathlib.Path, given: Any) -> Skeleton:
  """A skeleton by name, as a table in the card, or of a TOML file in the card's folder."""
  if isinstance(given, dict):
    return skeletons.from_dict(given, where=f"{path}: skeleton")
  if not isinstance(given, str):
    raise ValueError(f"{path}: skeleton should be a name, a file or a table, got {given!r:.40}")
  if not given.endswith(".toml"):
    return skeletons.read(given)
  if pathlib.Path(given).name != given:
    raise ValueError(f"{path}: skeleton {given!r:.80} should be a file in the card's own folder")
  return skeletons.read(path.parent / given)

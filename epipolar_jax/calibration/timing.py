"""Cameras that are not in step: their offsets in time and drift, as a file has them, and applied.

What the first camera shows at its frame f, another shows at its frame f + offset + drift (f - m), m
the middle of the recording.
"""

import dataclasses
import json
import os
import pathlib

import numpy as np

from epipolar_jax.keypoints.observations import Observations

# Bytes of a file of offsets, at most.
_MOST_BYTES = 1 << 20
# An offset is supported that is so many of its standard deviations and gains so much log
# likelihood (where there was none, 140 estimates gained up to 6). Deviations above so many frames
# tell nothing.
SURE, _LEAST_GAIN, BLIND = 4.0, 20.0, 1.0


@dataclasses.dataclass(frozen=True)
class Timing:
  """When cameras took their frames, relative to the first camera.

  Attributes:
    views: v names.
    offset: [v] frames; camera v shows at f + offset what the first shows at f, in the middle of the
      recording. 0 for the first.
    drift: [v] frames gained each frame; 0 where it is not above its uncertainty.
    middle: frame, counted as in the videos, at which offsets are meant.
    sigma: [v] standard deviations of the offsets, frames; infinite: not known.
    before_px, after_px: median epipolar distance of all pairs as recorded and in step.
    gain: [v] log likelihood that an offset gains over none.
  """

  views: tuple[str, ...]
  offset: tuple[float, ...]
  drift: tuple[float, ...]
  middle: float
  sigma: tuple[float, ...] = ()
  before_px: float = float("nan")
  after_px: float = float("nan")
  gain: tuple[float, ...] = ()

  def verdict(self, view: str) -> tuple[bool, str]:
    """Whether the recording supports a view's offset, and why, in words."""
    self.check(view)
    i = self.views.index(view)
    if i == 0:
      return True, "the clock"
    gain = f"log likelihood {self.gain[i]:+.0f}"
    if self.sigma[i] > BLIND:
      return False, f"not supported: the motion is too slow to tell ({gain})"
    deviations = abs(self.offset[i]) / max(self.sigma[i], 1e-9)
    sure = deviations > SURE and self.gain[i] > _LEAST_GAIN
    head = "supported" if sure else "not supported"
    return sure, f"{head}: {deviations:.1f} standard deviations from 0, {gain}"

  def supported(self) -> "Timing":
    """The same with offsets that are not supported taken as 0; drift is as it is."""
    kept = [x if self.verdict(name)[0] else 0.0 for name, x in zip(self.views, self.offset)]
    return dataclasses.replace(self, offset=tuple(kept))

  def times(self, view: str, frames: np.ndarray) -> np.ndarray:
    """Places, in frames of a view, of frames of the first camera (both counted as in the videos).

    Raises:
      ValueError: no such view; the message lists the names.
    """
    self.check(view)
    i = self.views.index(view)
    return frames + self.offset[i] + self.drift[i] * (frames - self.middle)

  def check(self, view: str) -> None:
    """Raises ValueError if a view has no offset; the message lists those that have."""
    if view not in self.views:
      raise ValueError(f"no time offset of view {view}; there are {', '.join(self.views)}")

  def whole(self) -> tuple[dict[str, int], "Timing"]:
    """Offsets in whole frames by view, and what is left when these have been shifted away."""
    shifts = tuple(round(offset) for offset in self.offset)
    left = tuple(offset - shift for offset, shift in zip(self.offset, shifts))
    return dict(zip(self.views, shifts)), dataclasses.replace(self, offset=left)

  def write(self, path: str | os.PathLike) -> None:
    """Writes a json file that `read` reads."""
    table = {name: {"offset": o, "drift": d} for name, o, d in self.rows()}
    text = json.dumps({"middle_frame": self.middle, "cameras": table}, indent=1, allow_nan=False)
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")

  def rows(self):
    return zip(self.views, self.offset, self.drift)


def read(path: str | os.PathLike) -> Timing:
  """Reads what `Timing.write` wrote.

  Raises:
    ValueError: the file is no such json, or a number in it is none; names the file and field.
  """
  path = pathlib.Path(path)
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path}: {path.stat().st_size} bytes are too many for time offsets")
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
    cameras = found["cameras"]
    names = tuple(cameras)
    values = [found["middle_frame"]]
    values += [cameras[name][field] for name in names for field in ("offset", "drift")]
  except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
    raise ValueError(
      f"{path}: time offsets are json with middle_frame and, under cameras, offset and drift of "
      f"each camera by name; {type(error).__name__}: {error}"
    ) from error
  for value in values:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) < 1e9:
      raise ValueError(f"{path}: {value!r} is no number of frames")
  middle, *rest = map(float, values)
  return Timing(names, tuple(rest[::2]), tuple(rest[1::2]), middle)


def apply(observations: Observations, timing: Timing) -> Observations:
  """Puts views in step with the first camera by interpolating their keypoints.

  Slot i has to hold the same person in all frames of a view. A point between two frames is there if
  it was seen in both; its score is the lower of the two.

  Raises:
    ValueError: a view has no offset, or people are not matched over time.
  """
  if observations.points.shape[1] > 1 and not observations.matched:
    raise ValueError(
      f"time offsets of {observations.points.shape[1]} people: match them over time first "
      "(matching.people)"
    )
  frames = np.arange(len(observations.points), dtype=np.float64)
  points, score = observations.points.copy(), observations.score.copy()
  for view, name in enumerate(observations.views):
    first = observations.first_frame
    times = timing.times(name, frames + first) - first
    points[:, :, view] = sample(observations.points[:, :, view], times)
    score[:, :, view] = _lower(observations.score[:, :, view], times)
  score = np.where(np.isfinite(points).all(axis=-1), score, 0.0)
  return dataclasses.replace(observations, points=points, score=score)


def sample(table: np.ndarray, times: np.ndarray) -> np.ndarray:
  """Rows [n, ...] of a table [f, ...] at times [n], in frames; NaN outside, or beside NaN."""
  low = np.floor(times).astype(int)
  share = (times - low).reshape(-1, *[1] * (table.ndim - 1))
  before, after = rows(table, low), rows(table, low + 1)
  return np.where(share > 0, (1 - share) * before + share * after, before)


def rows(table: np.ndarray, frames: np.ndarray) -> np.ndarray:
  """Rows [n, ...] of a table [f, ...] at whole frames [n]; NaN outside."""
  inside = (frames >= 0) & (frames < len(table))
  found = table[np.clip(frames, 0, len(table) - 1)]
  return np.where(inside.reshape(-1, *[1] * (table.ndim - 1)), found, np.nan)


def _lower(score: np.ndarray, times: np.ndarray) -> np.ndarray:
  low = np.floor(times).astype(int)
  between = (times > low).reshape(-1, *[1] * (score.ndim - 1))
  before, after = (np.nan_to_num(rows(score, x)) for x in (low, low + 1))
  return np.where(between, np.minimum(before, after), before)

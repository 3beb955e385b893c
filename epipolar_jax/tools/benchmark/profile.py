"""Where the time of `epipolar predict` goes: each stage by itself, and all of them as they overlap.

A prediction (Thunder; --only lightning for the other) is run once with its calls recorded, then
every stage is run again alone on what it was given: what it takes when nothing else does anything,
and how many cores it keeps busy. "of processor time" is its share of what all stages take. Then the
same prediction as it is, whose stages overlap, and the network alone on one window an image, which
is all that a detector by itself would do. Times are of one frame of all cameras.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pathlib
import tempfile
from collections.abc import Callable
from unittest import mock

import numpy as np

from epipolar_jax.cli import detectors
from epipolar_jax.footage import overlay, prediction, report, rigs, tracker, videos, windows
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.tools.benchmark import recordings, timing
from epipolar_jax.triangulation import estimate

_DETECTORS = ("thunder", "lightning")
# Frames looked at: the images of all of them are held.
_MOST = 32


def run(
  seconds: float,
  only: tuple[str, ...] = (),
  recording: recordings.Recording = recordings.RENDERED,
) -> list[timing.Row]:
  """Measures the stages.

  Args:
    seconds: for each.
    only: name of a detector; () is thunder.
    recording: whose first 32 frames are predicted.

  Raises:
    ValueError: there is no such detector.
  """
  if not set(only) <= set(_DETECTORS):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(_DETECTORS)}")
  rows = []
  with recording.opened() as opened:
    paths, rig = opened.paths()
    for name in only or _DETECTORS[:1]:
      rows += _Profile(name, videos.Footage(paths), rig, seconds).rows()
  return rows


class _Profile:
  """One detector on one recording."""

  def __init__(self, name: str, footage: videos.Footage, rig, seconds: float):
    self._footage, self._seconds = footage, seconds
    self._rig, _ = rigs.fitted(rig, dict(zip(footage.names, footage.sizes_wh)))
    self._detector = detectors.detector_of(name, None)
    self._frames = min(max(footage.counts), _MOST)
    shapes = sorted({f"{wide} x {high}" for wide, high in footage.sizes_wh})
    self._size = f"{name}, {len(footage.names)} views of {', '.join(shapes)}"

  def rows(self) -> list[timing.Row]:
    """A row for each stage, then those of the whole and of the detector alone."""
    calls = _Calls()
    with calls.recorded(self._detector), tempfile.TemporaryDirectory() as folder:
      found = prediction.predict(self, self._rig, self._detector, pathlib.Path(folder))
    threads = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    drawn, shown = self._drawn(found)
    first = [window for batch in calls.maps for window in batch][: self._frames * self._views]
    with tempfile.TemporaryDirectory() as folder:
      out = pathlib.Path(folder)
      stages = {
        "decode": lambda: sum(1 for _ in self.frames()),
        "cut and resize": lambda: calls.again(calls.cut, windows.square, threads.map),
        "network": lambda: [self._detector.maps(batch) for batch in calls.maps],
        "peaks": lambda: calls.again(calls.decode, self._detector.decode, map),
        "fusion": lambda: calls.again(calls.fuse, self._detector.fuse, threads.map),
        "triangulation": lambda: calls.again(calls.triangulate, estimate.triangulate, map),
        "write parts": lambda: self._write_parts(out, found),
        "report and sheet": lambda: shown(out),
        "film": lambda: overlay.write_film(out / "overlay.mp4", *drawn, fps=25.0),
      }
      stages = {name: self._row(name, stage) for name, stage in stages.items()}
    whole = {
      "predicted, stages overlapping": self._predict,
      "network alone, a window an image": lambda: self._detector.maps(first),
    }
    cores = os.cpu_count()
    total = sum(row.median_s * row.busy * cores for row in stages.values())
    return [
      *(
        dataclasses.replace(row, share=row.median_s * row.busy * cores / total)
        for row in stages.values()
      ),
      *(self._row(name, stage) for name, stage in whole.items()),
    ]

  # What `prediction.predict` and `overlay` ask of `videos.Footage`, of the first frames.

  @property
  def description(self):
    return self._footage.description

  @property
  def sizes_wh(self):
    return self._footage.sizes_wh

  def frames(self, start: int = 0):
    return itertools.islice(self._footage.frames(start), self._frames - start)

  def at(self, frames):
    return self._footage.at(frames)

  @property
  def _views(self) -> int:
    return len(self._footage.names)

  def _row(self, name: str, stage: Callable[[], object]) -> timing.Row:
    # Everything is compiled by then.
    about = {"size": self._size, "frames": self._frames, "seconds": self._seconds, "ahead": False}
    return timing.host(name, stage, **about)

  def _predict(self) -> None:
    with tempfile.TemporaryDirectory() as folder:
      prediction.predict(self, self._rig, self._detector, pathlib.Path(folder))

  def _drawn(self, found: tracker.Part):
    """What the overlays take, and a function that writes report and sheet into a folder."""
    names = self._detector.skeleton.joints, self._footage.names
    seen = Observations(found.fused[:, None], found.fused_score[:, None], *names)
    estimated = estimate.triangulate(seen, self._rig.cameras)
    drawn = self, self._rig, self._detector.skeleton, estimated

    def write(out: pathlib.Path) -> None:
      report.write(out / "report.html", *drawn, estimated.reprojection_px, 400.0)
      overlay.write_sheet(out / "overlay.png", *drawn)

    return drawn, write

  def _write_parts(self, out: pathlib.Path, found: tracker.Part) -> None:
    size = prediction.together(self._views)
    for start in range(0, self._frames, size):
      arrays = {
        field.name: getattr(found, field.name)[start : start + size]
        for field in dataclasses.fields(found)
      }
      prediction.write_part(out / f"{start}.npz", tracker.Part(**arrays), (), False)


class _Calls:
  """Arguments of the calls that a prediction makes."""

  def __init__(self):
    self.cut: list[tuple] = []
    self.maps: list[list[np.ndarray]] = []
    self.decode: list[tuple] = []
    self.fuse: list[tuple] = []
    self.triangulate: list[tuple] = []

  @contextlib.contextmanager
  def recorded(self, detector):
    """While it lasts, calls are kept."""
    maps = detector.maps

    def kept(calls: list, function):
      def call(*arguments, **options):
        calls.append((arguments, options))
        return function(*arguments, **options)

      return call

    def keep_windows(found):
      self.maps.append(list(found))
      return maps(self.maps[-1])

    with (
      mock.patch.object(windows, "square", kept(self.cut, windows.square)),
      mock.patch.object(detector, "maps", keep_windows),
      mock.patch.object(detector, "decode", kept(self.decode, detector.decode)),
      mock.patch.object(detector, "fuse", kept(self.fuse, detector.fuse)),
      mock.patch.object(estimate, "triangulate", kept(self.triangulate, estimate.triangulate)),
    ):
      yield

  @staticmethod
  def again(calls: list[tuple], function, each) -> None:
    """Makes recorded calls again, by `map` or that of a pool of threads."""
    list(each(lambda call: function(*call[0], **call[1]), calls))

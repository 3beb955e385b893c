"""Frames of several cameras in step, from videos or folders of images."""

import itertools
import os
import pathlib
import re
import types
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from epipolar_jax.inputs import image_header

IMAGES = (".jpg", ".jpeg", ".png")


class Footage:
  """Recordings of v cameras that started together, or as many frames apart as is said.

  Attributes:
    names: v camera names.
    sizes_wh: (width, height) of each, px, upright as a player shows it.
    counts: frames that each file promises, from the first camera's start on.
    fps: frames a second, None for images.
    description: name, size and frames of each, by camera, for records.
  """

  def __init__(
    self,
    sources: Mapping[str, str | os.PathLike],
    *,
    shifts: Mapping[str, int] = types.MappingProxyType({}),
  ):
    """Opens the recordings.

    Args:
      sources: video file or folder of images (in natural order of their names), by camera.
      shifts: by camera, which of its frames is shown with frame 0; below 0 it is missing at first.

    Raises:
      FileNotFoundError, ValueError: one is missing, empty or not readable, or frame rates differ;
        the message names it.
    """
    self._tracks = {name: _open(pathlib.Path(path)) for name, path in sources.items()}
    if not self._tracks:
      raise ValueError("no videos were given")
    self.names = tuple(self._tracks)
    tracks = self._tracks.values()
    self.sizes_wh = tuple(track.size_wh for track in tracks)
    self._shifts = [int(shifts.get(name, 0)) for name in self.names]
    longest = max(track.count for track in tracks)
    for name, track, shift in zip(self.names, tracks, self._shifts):
      if not -longest < shift < max(track.count, 1):
        raise ValueError(
          f"camera {name} is to start at frame {shift}: it has {track.count} frames, the longest "
          f"recording {longest}. Is the time offset in frames?"
        )
    self.counts = tuple(track.count - shift for track, shift in zip(tracks, self._shifts))
    self.description = {
      name: {"file": track.path.name, "bytes": track.bytes, "frames": track.count}
      for name, track in self._tracks.items()
    }
    for name, shift in zip(self.names, self._shifts):
      if shift:
        self.description[name]["shift"] = shift
    rates = {name: track.fps for name, track in self._tracks.items() if track.fps is not None}
    self.fps = next(iter(rates.values()), None)
    if rates and max(rates.values()) > 1.001 * min(rates.values()):
      stated = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
      raise ValueError(f"frame rates differ: {stated}. Convert the videos to one rate first")

  def frames(self, start: int = 0) -> Iterator[list[np.ndarray | None]]:
    """Yields frames [h, w, 3] uint8 RGB of the cameras; None before one starts and once it ended.

    Args:
      start: first frame.
    """
    readers = [
      itertools.chain(itertools.repeat(None, max(0, -first)), track.images(max(0, first)))
      for track, first in zip(self._tracks.values(), (start + shift for shift in self._shifts))
    ]
    ended = object()
    while True:
      images = [next(reader, ended) for reader in readers]
      if all(image is ended for image in images):
        return
      yield [None if image is ended else image for image in images]

  def at(self, frames: Sequence[int]) -> Iterator[list[np.ndarray | None]]:
    """Yields some frames as `frames` does; those in between are skipped, which is quicker.

    Args:
      frames: numbers, ascending.
    """
    readers = [
      track.picked([frame + shift for frame in frames])
      for track, shift in zip(self._tracks.values(), self._shifts)
    ]
    for _ in frames:
      yield [next(reader) for reader in readers]


class _Video:
  def __init__(self, path: pathlib.Path):
    self.path, self.bytes = path, path.stat().st_size
    capture = self._capture()
    fps = capture.get(cv2.CAP_PROP_FPS)
    self.fps = float(fps) if 0 < fps < 1e5 else None
    self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    wide, high = (
      int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    if not 0 < wide * high <= image_header.LARGEST:
      raise ValueError(f"{path}: frames of {wide} by {high} pixels")
    ok, first = capture.read()
    capture.release()
    if not ok:
      raise ValueError(f"{path}: no frame can be decoded")
    self.size_wh = first.shape[1], first.shape[0]

  def _capture(self) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
      raise ValueError(f"{self.path} is no video that OpenCV can open")
    return capture

  def images(self, start: int) -> Iterator[np.ndarray]:
    capture = self._capture()
    for _ in range(start):
      if not capture.grab():
        return
    while True:
      ok, frame = capture.read()
      if not ok:
        capture.release()
        return
      yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

  def picked(self, numbers: Sequence[int]) -> Iterator[np.ndarray | None]:
    """Images of ascending numbers; None where there is none."""
    capture, passed = self._capture(), 0
    for number in numbers:
      there = number >= 0
      while there and passed <= number:
        there, passed = capture.grab(), passed + 1
      there, frame = capture.retrieve() if there else (False, None)
      yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if there else None
    capture.release()


class _Folder:
  fps = None

  def __init__(self, path: pathlib.Path):
    self.path = path
    files = [x for x in path.iterdir() if x.suffix.lower() in IMAGES and x.is_file()]
    self.files = sorted(files, key=lambda x: [int(s) if s.isdigit() else s for s in _parts(x.name)])
    self.count, self.bytes = len(self.files), sum(x.stat().st_size for x in files)
    if not self.files:
      raise ValueError(f"{path} holds no images ({', '.join(IMAGES)})")
    first = _decode(self.files[0])
    self.size_wh = first.shape[1], first.shape[0]

  def images(self, start: int) -> Iterator[np.ndarray]:
    return map(self._image, self.files[start:])

  def picked(self, numbers: Sequence[int]) -> Iterator[np.ndarray | None]:
    """Images of ascending numbers; None where there is none."""
    for number in numbers:
      yield self._image(self.files[number]) if 0 <= number < self.count else None

  def _image(self, path: pathlib.Path) -> np.ndarray:
    image = _decode(path)
    if image.shape[1::-1] != self.size_wh:
      raise ValueError(
        f"{path} is {image.shape[1]} by {image.shape[0]}, the first image of its folder "
        f"{self.size_wh[0]} by {self.size_wh[1]}"
      )
    return image


def _parts(name: str) -> list[str]:
  return re.split(r"(\d+)", name)


def _decode(path: pathlib.Path) -> np.ndarray:
  data = path.read_bytes()
  try:
    image_header.check(data)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
  if image is None:
    raise ValueError(f"{path} is no image that OpenCV can decode")
  return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _open(path: pathlib.Path) -> _Video | _Folder:
  if path.is_dir():
    return _Folder(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such video or folder of images")
  return _Video(path)

"""Rig: the cameras of a laboratory as its calibration file describes them, on the host."""

import dataclasses
import os

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.rigs.lenses import Lens


@dataclasses.dataclass(frozen=True, eq=False)
class Rig:
  """Named cameras with their lenses; networks and triangulation only ever see `cameras`.

  Attributes:
    names: v camera names, as the file has them.
    sizes_wh: (width, height) px of each camera's images, None where the file does not say.
    lenses: v lens models.
    cameras: v pinhole cameras, float64, w→c, translation in mm.
    unit_mm: mm in one unit of the file the rig came from (1000 for m), None where the file does not
      say and mm was assumed.

  Raises:
    ValueError: the numbers of names, sizes, lenses and cameras differ, or names repeat.
  """

  names: tuple[str, ...]
  sizes_wh: tuple[tuple[int, int] | None, ...]
  lenses: tuple[Lens, ...]
  cameras: Cameras
  unit_mm: float | None = None

  def __post_init__(self):
    counts = len(self.names), len(self.sizes_wh), len(self.lenses), *self.cameras.shape
    if len(counts) != 4 or len(set(counts)) != 1:
      raise ValueError(
        "a rig has as many names, sizes and lenses as cameras [v]; got "
        f"{counts[0]} names, {counts[1]} sizes, {counts[2]} lenses, cameras {self.cameras.shape}"
      )
    twice = sorted({name for name in self.names if self.names.count(name) > 1})
    if twice:
      raise ValueError(f"two cameras are called {', '.join(twice)}")

  @staticmethod
  def read(
    path: str | os.PathLike, *, unit: str | None = None, size_wh: tuple[int, int] | None = None
  ) -> "Rig":
    """Reads a calibration file of any known format; see `epipolar_jax.rigs.reading.read`."""
    from epipolar_jax.rigs import reading  # which makes rigs

    return reading.read(path, unit=unit, size_wh=size_wh)

  def write(
    self, path: str | os.PathLike, format: str = "plain json", *, unit: str | None = None
  ) -> tuple[str, ...]:
    """Writes a calibration file; see `epipolar_jax.rigs.writing.write`."""
    from epipolar_jax.rigs import writing  # which knows rigs

    return writing.write(self, path, format, unit=unit)

  def undistort(self, points: np.ndarray) -> np.ndarray:
    """Pixels of the cameras' own images to those of ideal pinholes with the same K.

    Args:
      points: [..., v, n, 2] px.

    Returns:
      The same shape; NaN where a pixel is NaN or has no ideal point.
    """
    return self._each_view(points, "undistort")

  def distort(self, points: np.ndarray) -> np.ndarray:
    """Pixels of ideal pinholes [..., v, n, 2] to those of the cameras' own images."""
    return self._each_view(points, "distort")

  def _each_view(self, points: np.ndarray, which: str) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim < 3 or points.shape[-3] != len(self.names) or points.shape[-1] != 2:
      raise ValueError(
        f"points should be [..., {len(self.names)}, n, 2] px, one row per camera; got "
        f"{list(points.shape)}"
      )
    views = [
      getattr(lens, which)(points[..., view, :, :], self.cameras.intrinsics[view])
      for view, lens in enumerate(self.lenses)
    ]
    return np.stack(views, axis=-3)

  def twins(self) -> tuple[tuple[str, str], ...]:
    """Pairs of cameras that stand in one place and look one way: one of them is not right."""
    pose = np.concatenate([self.cameras.rotation, self.cameras.translation[..., None]], axis=-1)
    scale = np.maximum(np.abs(pose).max(axis=(1, 2)), 1e-12)
    off = np.abs(pose[:, None] - pose[None]).max(axis=(2, 3)) / scale
    rows, columns = np.nonzero(np.triu(off < 1e-6, k=1))
    return tuple((self.names[a], self.names[b]) for a, b in zip(rows, columns))

  def select(self, names: tuple[str, ...]) -> "Rig":
    """These cameras, in this order.

    Raises:
      ValueError: there is no such camera; the message lists the names.
    """
    missing = [name for name in names if name not in self.names]
    if missing:
      raise ValueError(f"no camera {', '.join(missing)}; the rig has {', '.join(self.names)}")
    order = [self.names.index(name) for name in names]
    return Rig(
      tuple(names),
      tuple(self.sizes_wh[i] for i in order),
      tuple(self.lenses[i] for i in order),
      self.cameras[np.array(order)],
      self.unit_mm,
    )

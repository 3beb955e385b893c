"""Long recordings: no stage holds more images when there are more frames, sixteen cameras too."""

import tracemalloc

import pytest

from epipolar_jax.footage import overlay, prediction, report
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.footage import dots

_SKELETON = dots.DotDetector.skeleton
_DRAWN = 4


class _Long:
  """Stands in for `Footage`: frames of two seconds over and over, each a copy of its own."""

  def __init__(self, rig, frames: int):
    self.description = {"file": "long"}
    self._frames, self.sizes_wh = frames, rig.sizes_wh
    self._drawn = dots.draw(dots.spread(_DRAWN), rig)
    self.image_bytes = sum(image.nbytes for image in self._drawn[0])

  def frames(self, start=0):
    return self.at(range(start, self._frames))

  def at(self, frames):
    for frame in frames:
      yield [image.copy() for image in self._drawn[frame % _DRAWN]]


def _peak_bytes(rig, frames: int, folder) -> tuple[int, int]:
  """Most memory at once that NumPy and Python took, and bytes of a frame's images."""
  footage = _Long(rig, frames)
  tracemalloc.start()
  try:
    found = prediction.predict(footage, rig, dots.DotDetector(), folder)
    assert found.found.all() and len(found.found) == frames
    names = _SKELETON.joints, rig.names
    seen = Observations(found.fused[:, None], found.fused_score[:, None], *names)
    estimated = estimate.triangulate(seen, rig.cameras)
    drawn = footage, rig, _SKELETON, estimated
    report.write(folder / "report.html", *drawn, estimated.reprojection_px, 400.0)
    assert overlay.write_sheet(folder / "overlay.png", *drawn) is not None
    assert overlay.write_film(folder / "overlay.mp4", *drawn, fps=25.0) == frames
    return tracemalloc.get_traced_memory()[1], footage.image_bytes
  finally:
    tracemalloc.stop()


@pytest.mark.parametrize(("views", "short", "long"), [(2, 24, 40), (16, 12, 20)])
def test_memory_does_not_grow_with_the_recording(views, short, long, tmp_path):
  rig = walkers.ring(views)
  before, _ = _peak_bytes(rig, short, tmp_path / "short")
  after, image_bytes = _peak_bytes(rig, long, tmp_path / "long")
  # Numbers of 17 joints alone: kilobytes a frame, where images are megabytes.
  assert after - before < 0.05 * (long - short) * image_bytes
  # Images of two groups, one decoded ahead, and one more; heatmaps [f, v, 128, 128, 17] of two
  # groups and their copies.
  frames = prediction.together(views)
  assert after < (2 * frames + 1) * image_bytes + 6 * frames * views * 17 * 4 * dots.SIZE**2


def test_more_cameras_are_detected_in_smaller_groups():
  sizes = {views: prediction.together(views) for views in (1, 4, 8, 9, 16, 17, 32, 33, 500)}
  assert sizes == {1: 8, 4: 8, 8: 8, 9: 4, 16: 4, 17: 2, 32: 2, 33: 1, 500: 1}


def test_numbers_alone_stay_in_the_triangulation():
  """A frame of four views costs its results and their parts, not every Jacobian."""
  rig = walkers.ring(4)
  peaks = {}
  for frames in (1024, 3072):
    seen = walkers.observed(walkers.walk(frames), rig)
    estimate.triangulate(seen, rig, "dlt")
    tracemalloc.start()
    estimate.triangulate(seen, rig, "dlt")
    peaks[frames] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  # 38 kB when residuals and Jacobians of all frames were held at once.
  assert (peaks[3072] - peaks[1024]) / 2048 < 10e3, peaks

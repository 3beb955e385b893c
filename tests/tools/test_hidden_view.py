"""The comparison of hidden views: the bar hides joints, and errors are of the hidden view."""

import numpy as np

from epipolar_jax.footage import windows
from epipolar_jax.footage.tracker import Part
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.tools import hidden_view
from tests import walkers
from tests.footage import dots

_FRAMES = 6


class _Fusing(dots.DotDetector):
  """Reads dots, and "fuses" by knowing where the joints are: what is tested is the bookkeeping."""

  def __init__(self, points):
    super().__init__()
    self._points = list(points)

  def fuse(self, maps, seen, cameras: Cameras):
    assert seen.all()
    uv = walkers.project(self._points.pop(0)[None], cameras)[0]
    return uv, np.full(uv.shape[:2], 0.9)


def _row(text: str) -> list[float]:
  return [float(x) for x in text.replace("/", " ").split()]


def test_fusion_finds_what_the_bar_hides_and_a_view_alone_does_not():
  rig, points = walkers.ring(3), dots.spread(_FRAMES)
  uv = walkers.project(points, rig.cameras)
  valid = np.ones(17, bool)
  boxes = np.full((_FRAMES, 3, 3), np.nan)
  for f, v in np.ndindex(_FRAMES, 3):
    centre, side = windows.around(uv[f, v], valid, margin=1.3)
    boxes[f, v] = *centre, side
  score = np.full((_FRAMES, 3, 17), 0.9)
  found = np.ones(_FRAMES, bool)
  found[2] = False  # nobody was found: it does not count
  part = Part(uv, score, uv, score, boxes, found)
  footage, network = dots.Drawn(dots.draw(points, rig)), _Fusing(points[[0, 4]])
  rows = hidden_view.compare(footage, rig, network, part, (1,), range(0, _FRAMES, 2))
  assert network.windows == 2 * 3  # frames 0 and 4
  alone, fusion = _row(rows["alone"]), _row(rows["fusion"])
  # Median px in the hidden view, then mean and 90th percentile in mm by dlt and by robust.
  assert len(alone) == len(fusion) == 5
  assert max(fusion) < 0.2
  assert alone[0] > 50 and alone[1] > 10 * fusion[1]

"""Keypoints of stretches of videos: where they are drawn, in turned images too; check --videos."""

import dataclasses
import types

import cv2
import numpy as np
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.cli import detectors
from epipolar_jax.footage import finder as finders
from epipolar_jax.footage import sampled
from tests import walkers
from tests.footage import dots

_RIG = walkers.ring(3)


class _Dots(dots.DotDetector):
  """Is sure of people who stand upright: later joints of `dots.spread` are higher."""

  def decode(self, maps):
    uv, score = super().decode(maps)
    seen = score[:, -1] > 0.5
    upright = seen & (uv[:, -1, 1] < uv[:, 0, 1] - np.abs(uv[:, -1, 0] - uv[:, 0, 0]))
    return uv, np.where(upright[:, None], score, 0.5 * score)


class _Finder(finders.Finder):
  """Looks into the whole image once."""

  def __init__(self, detector=None):
    super().__init__(_Dots())
    self.searches = 0

  def __call__(self, cut, size_wh):
    self.searches += 1
    first, score = self.near(cut, np.array([[0.0, 0.0, *size_wh]]))
    good = np.flatnonzero(score.mean(axis=-1) > 0.3)
    return self.certain(*self.near(cut, finders.boxes(first[good])))


def _footage(images, *, count=None):
  """Frames [f][v] as `Footage` gives them."""
  sizes = tuple(image.shape[1::-1] for image in images[0])
  count = len(images) if count is None else count
  return types.SimpleNamespace(
    names=_RIG.names,
    sizes_wh=sizes,
    counts=(count,) * len(sizes),
    fps=30.0,
    frames=lambda start: iter(images[start:]),
  )


def _observed(footage, **options):
  told = []
  return sampled.observe(footage, _Finder(), tell=told.append, **options), told


def test_people_are_where_they_are_drawn_in_turned_images_too():
  points = dots.spread(6)
  images = dots.draw(points, _RIG)
  for frame in images:
    frame[1] = np.ascontiguousarray(np.rot90(frame[1], 2))
    frame[2] = np.ascontiguousarray(np.rot90(frame[2], 1))
  found, told = _observed(_footage(images), start=1)
  assert found.points.shape == (5, 1, 3, 17, 2) and found.first_frame == 1 and found.fps == 30.0
  truth = walkers.project(points, _RIG.cameras)[1:]
  wide, high = walkers.SIZE_WH
  truth[:, 1] = [wide - 1, high - 1] - truth[:, 1]
  truth[:, 2] = np.stack([truth[:, 2, :, 1], wide - 1 - truth[:, 2, :, 0]], axis=-1)
  off = np.linalg.norm(found.points[:, 0] - truth, axis=-1)
  # Windows shrink the images five times.
  assert np.median(off) < 2.0 and (off < 8).mean() > 0.9
  assert "5 frames of each video: 1 to 5" in told[0]
  assert "camera cam1: people stand upright in its images if these are turned by 180°" in told[1]
  assert "camera cam2" in told[2] and "turned by 90° clockwise" in told[2]


@pytest.mark.parametrize("turns", range(4))
def test_pixels_of_turned_images_are_turned_back(turns):
  image = np.zeros((30, 40))
  image[7, 31] = 1.0
  v, u = np.argwhere(np.rot90(image, turns))[0]
  assert sampled.back(np.array([u, v]), turns, (40, 30)).tolist() == [31, 7]


def test_stretches_are_spread_and_kept_apart():
  assert sampled.stretches(100) == [range(100)] and sampled.stretches(0) == [range(144)]
  long = sampled.stretches(50000)
  assert [len(x) for x in long] == [48, 48, 48] and long[0].start == 0 and long[-1].stop == 1800
  images = dots.draw(dots.spread(1), _RIG) * 400
  finder = _Finder()
  found = sampled.observe(_footage(images), finder, tell=lambda text: None)
  seen = found.seen.any(axis=(1, 2, 3))
  # No time offset that is looked for, 30 frames, reaches from one to the next.
  assert len(seen) == 3 * 48 + 2 * 35 and seen[:48].all() and not seen[48:83].any()
  # Whoever is there is followed: one search of each view in each stretch.
  assert finder.searches == 9


def test_nobody_is_an_error_that_says_what_to_do():
  black = [[np.zeros((96, 128, 3), np.uint8)] * 3] * 10
  with pytest.raises(ValueError, match=r"frames 2 to 9: --start names another .*--checkpoint"):
    _observed(_footage(black), start=2)
  with pytest.raises(ValueError, match=r"frame 10 is to be the first: the shortest .* has 10"):
    _observed(_footage(black), start=10)


def test_check_takes_videos(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(finders, "Finder", _Finder)
  monkeypatch.setattr(detectors, "detector_of", lambda *args, **options: None)
  for index, images in enumerate(dots.draw(dots.spread(20), _RIG)):
    for name, image in zip(_RIG.names, images):
      (tmp_path / name).mkdir(exist_ok=True)
      cv2.imwrite(str(tmp_path / name / f"{index:02}.png"), image[..., ::-1])
  _RIG.write(tmp_path / "rig.json")
  r = _RIG.cameras.rotation.copy()
  r[1] = r[1].T
  cameras = dataclasses.replace(_RIG.cameras, rotation=r)
  dataclasses.replace(_RIG, cameras=cameras).write(tmp_path / "wrong.json")
  videos = ["--videos", str(tmp_path / "cam?")]
  page = tmp_path / "check.html"
  assert command.main(["check", "--cameras", str(tmp_path / "rig.json"), *videos]) == 0
  assert "Looked at 20 frames of each video: 0 to 19" in capsys.readouterr().out
  wrong = ["check", "--cameras", str(tmp_path / "wrong.json"), *videos, "--html", str(page)]
  assert command.main(wrong) == 1
  assert "FOUND: camera cam1 is " in capsys.readouterr().out
  assert "treated as R transposed" in page.read_text(encoding="utf-8")
  for image in (tmp_path / "cam2").iterdir():
    cv2.imwrite(str(image), np.rot90(cv2.imread(str(image))))
  assert command.main(["check", "--cameras", str(tmp_path / "rig.json"), *videos]) == 1
  said = capsys.readouterr().out
  assert "camera cam2: images of 960 x 1280 px, calibrated for 1280 x 960: the image is tur" in said
  assert "treated as an image turned by 90° anticlockwise" in said
  both = [*videos, "--keypoints", "x.npz"]
  assert command.main(["check", "--cameras", str(tmp_path / "rig.json"), *both]) == 2
  assert "either --keypoints or --videos" in capsys.readouterr().err

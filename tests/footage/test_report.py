"""The report of a prediction: its verdict, and a page that is self-contained and escaped."""

import dataclasses
import html.parser

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.calibration import judging
from epipolar_jax.footage import report
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.footage import dots

_SKELETON = skeletons.SKELETONS["coco_17"]
_FRAMES = 6


def _case(*, shift_px=0.0, names=("cam0", "cam1", "cam2", "cam3")):
  """A rig, an estimate of its walkers, and their left-out errors; one view is shifted."""
  rig = dataclasses.replace(walkers.ring(4), names=names)
  points = dots.spread(_FRAMES)
  observations = walkers.observed(points, rig, noise_px=1.0)
  moved = observations.points.copy()
  moved[:, :, 2] += shift_px
  observations = dataclasses.replace(observations, points=moved, joints=_SKELETON.joints)
  estimated = estimate.triangulate(observations, rig.cameras)
  return rig, points, estimated, judging.leave_one_out(observations, rig.cameras)[:, None]


def test_the_verdict_names_the_camera_that_is_off():
  rig, _, estimated, errors = _case()
  good = report.verdict(rig.names, estimated, errors, 400.0)
  assert "agreement is good" in good[0] and "100.0%" in good[1] and len(good) == 2
  rig, _, estimated, errors = _case(shift_px=60.0)
  off = report.verdict(rig.names, estimated, errors, 400.0)
  assert any("Camera cam2" in s and "timing" in s for s in off)
  assert not any("Camera cam0" in s for s in off)
  bad = report.verdict(rig.names, estimated, errors, 20.0)
  assert "not to be trusted" in bad[0] and "calibrate" in bad[-1]
  doubted = report.verdict(rig.names, estimated, errors, 20.0, ("FOUND: R transposed",))
  assert doubted[-1] == "FOUND: R transposed" and not any("calibrate" in s for s in doubted)
  assert report.doubtful(errors, 20.0) and not report.doubtful(errors, 1e5)
  assert report.doubtful(np.full_like(errors, np.nan), 1e5)
  nothing = report.verdict(rig.names, estimated, np.full_like(errors, np.nan), 400.0)
  assert nothing == ["Nothing was triangulated: no two views agree on a person."]


class _Tags(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.tags, self.sources = [], []

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    self.sources += [v for k, v in attributes if k in ("src", "href")]


def test_the_page_is_one_inert_file(tmp_path):
  names = ("<script>alert(1)</script>", "cam1", 'a"b', "cam3")
  rig, points, estimated, errors = _case(names=names)
  errors[1, 0, 2] = np.nan
  path = tmp_path / "report.html"
  footage = dots.Drawn(dots.draw(points, rig))
  report.write(path, footage, rig, _SKELETON, estimated, errors, 400.0)
  page = path.read_text(encoding="utf-8")
  tags = _Tags()
  tags.feed(page)
  assert "script" not in tags.tags and "alert(1)" in page
  assert tags.tags.count("img") == _FRAMES
  assert all(source.startswith("data:image/jpeg;base64,") for source in tags.sources)
  assert tags.tags.count("polyline") >= 5  # a gap parts one camera's line
  assert f"--to_label {_FRAMES}" in page and "Frames 0, 1, 2" in page
  assert "nan" not in page.replace("base64", "").lower().split("<h2>the worst")[0]


def test_the_colour_of_the_verdict_follows_it(tmp_path):
  def bad(case, size_px=400.0, views=slice(None), **options):
    rig, points, estimated, errors = case
    few = rig.select(rig.names[views])
    parts = {n: getattr(estimated, n)[:, :, views] for n in ("inlier", "reprojection_px")}
    seen = dataclasses.replace(estimated, views=few.names, **parts)
    path, footage = tmp_path / "report.html", dots.Drawn(dots.draw(points, few))
    errors = errors[:, :, views]
    report.write(path, footage, few, _SKELETON, seen, errors, size_px, **options)
    return '<div class="verdict bad">' in path.read_text(encoding="utf-8")

  assert not bad(_case())
  assert bad(_case(), doubts=("SUSPICIOUS: camera cam1 looks elsewhere",))
  assert bad(_case(), size_px=20.0)
  assert bad(_case(shift_px=60.0), size_px=1e5)  # one camera is off
  assert bad(_case(), views=slice(2))


def test_several_people_have_a_row_a_colour_and_limbs_each(tmp_path):
  rig, points, estimated, errors = _case()
  shared = ("points", "valid", "covariance", "inlier", "reprojection_px")
  both = {name: np.concatenate([getattr(estimated, name)] * 2, axis=1) for name in shared}
  both["valid"][:4, 1] = False
  both = dataclasses.replace(estimated, **both)
  errors = np.concatenate([errors, np.full_like(errors, np.nan)], axis=1)
  path = tmp_path / "report.html"
  footage = dots.Drawn(dots.draw(points, rig))
  said = report.write(path, footage, rig, _SKELETON, both, errors, 400.0)
  assert "2 people were found, at most 2 in a frame." in said and "100.0%" in said[1]
  page = path.read_text(encoding="utf-8")
  assert "<td>person 2</td><td>4 to 5</td><td>2</td><td>4</td><td>none</td>" in page
  assert "to_label" not in page
  assert "person 2: limb" in page and "frame 0, cam" in page and "person 1</figcaption>" in page


def test_a_page_of_nobody_is_a_page(tmp_path):
  rig, points, estimated, errors = _case()
  nobody = dataclasses.replace(
    estimated, points=0 * estimated.points, valid=np.zeros_like(estimated.valid)
  )
  path = tmp_path / "report.html"
  footage = dots.Drawn(dots.draw(points, rig))
  said = report.write(path, footage, rig, _SKELETON, nobody, np.full_like(errors, np.nan), 400.0)
  assert "Nothing was triangulated" in said[0] and "none" in path.read_text(encoding="utf-8")

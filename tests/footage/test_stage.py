"""The skeleton in space as an SVG: as many states as frames, the right way up and not mirrored."""

import dataclasses
import re
import xml.etree.ElementTree

import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.footage import stage
from epipolar_jax.triangulation import estimate
from epipolar_jax.visualize import limbs, palette
from tests import walkers
from tests.footage import dots

_SKELETON = skeletons.SKELETONS["coco_17"]
_FRAMES = 6


def _case():
  rig = walkers.ring(3)
  seen = dataclasses.replace(walkers.observed(dots.spread(_FRAMES), rig), joints=_SKELETON.joints)
  return rig, estimate.triangulate(seen, rig)


def _paths(text: str):
  return xml.etree.ElementTree.fromstring(text).findall("path")


def _numbers(path: str) -> np.ndarray:
  return np.array(re.findall(r"-?[0-9.]+", path), float).reshape(-1, 2, 2)


def test_every_frame_is_a_state_and_everything_is_on_the_stage():
  rig, found = _case()
  valid = found.valid.copy()
  valid[2, 0, 9] = False
  text = stage.play(dataclasses.replace(found, valid=valid), rig, _SKELETON, ("#fff",), fps=12.0)
  paths = _paths(text)
  assert len(paths) == 1 + 3 + 3  # floor, cameras, sides and what joins them
  for path in paths:
    animate = path.find("animate")
    states = animate.get("values").split(";")
    assert len(states) == _FRAMES and animate.get("dur") == "0.500s"
    shapes = {_numbers(state).shape for state in states}
    assert len(shapes) == 1  # browsers step between paths of the same commands alone
    places = np.concatenate([_numbers(state) for state in states])
    assert (places >= -1).all() and (places[..., 0] <= 901).all() and (places[..., 1] <= 481).all()
  assert "nan" not in text


@pytest.mark.parametrize("up", ("z", "-z", "y", "-x"))
def test_up_is_up_and_right_is_right(up):
  (screen,) = stage._screens(up, np.array([0.3]))
  vertical = (-1.0 if up.startswith("-") else 1.0) * np.eye(3)["xyz".index(up[-1])]
  right, down = screen
  assert abs(right @ vertical) < 1e-9 and down @ vertical < -0.9
  np.testing.assert_allclose([right @ right, down @ down, right @ down], [1, 1, 0], atol=1e-9)
  # Whoever looks along right x down looks a little downwards: not from below, and not mirrored.
  assert -0.3 < np.cross(right, down) @ vertical < -0.2


def test_shoulders_and_hips_are_joined_where_the_tree_has_no_spine():
  names = _SKELETON.joints
  lines = [(names[a], names[b]) for a, b in limbs.across(_SKELETON)]
  assert lines == [("rsho", "lsho"), ("rhip", "lhip")]
  assert limbs.across(skeletons.H36M_17) == ()  # they hang on root and neck
  rig, found = _case()
  middle = "#{:02x}{:02x}{:02x}".format(*palette.MIDDLE)
  *_, path = _paths(stage.play(found, rig, _SKELETON, ("#fff",)))
  assert path.get("stroke") == middle and len(_numbers(path.get("d"))) == 2
  canvas = np.zeros((40, 40, 3), np.uint8)
  uv = np.full((17, 2), 20.0)
  uv[_SKELETON.index("rsho")] = 5, 5
  uv[_SKELETON.index("lsho")] = 35, 5
  only = np.isin(names, ("rsho", "lsho"))
  limbs.draw(canvas, uv, _SKELETON, thickness=3, valid=only)
  assert tuple(canvas[5, 20]) == palette.MIDDLE and not canvas[10:].any()


def test_several_people_have_paths_of_their_own():
  rig, found = _case()
  shared = ("points", "valid", "covariance", "inlier", "reprojection_px")
  both = {name: np.concatenate([getattr(found, name)] * 2, axis=1) for name in shared}
  both["points"][:, 1] += [900.0, 0.0, 0.0]
  both["valid"][2:, 1] = False
  paths = _paths(stage.play(dataclasses.replace(found, **both), rig, _SKELETON, ("#fff",)))
  assert len(paths) == 1 + 3 + 2 * 2
  assert len({path.get("stroke") for path in paths[-4:]}) == 4
  first, gone = (path.find("animate").get("values").split(";")[-1] for path in paths[-4::2])
  assert np.ptp(_numbers(first), axis=(0, 1)).min() > 5
  assert np.ptp(_numbers(gone), axis=(0, 1)).max() == 0  # a dot: who is not there


def test_long_recordings_are_thinned_and_nobody_is_nothing():
  rig, found = _case()
  fields = ("points", "valid", "covariance", "inlier", "reprojection_px")
  long = {n: np.repeat(getattr(found, n), 100, axis=0) for n in fields}
  text = stage.play(dataclasses.replace(found, **long), rig, _SKELETON, ("#fff",))
  assert text.count(";") == 7 * 239 and 'dur="24.000s"' in text
  nobody = dataclasses.replace(found, valid=np.zeros_like(found.valid))
  assert stage.play(nobody, rig, _SKELETON, ("#fff",)) == ""

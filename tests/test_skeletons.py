"""Skeletons."""

import numpy as np
import pytest

from epipolar_jax import skeletons
from tests import golden_files


def test_known_facts():
  h36m, union, hand = skeletons.H36M_17, skeletons.UNION_20, skeletons.RHD_21
  assert (*range(8), 9, 11, 12, *range(14, 20)) == skeletons.UNION_TO_H36M
  assert [union.joints[i] for i in (8, 10, 13)] == ["thorax", "upper_neck", "head_top"]
  assert (hand.index("middle4"), hand.parents[11], hand.root) == (12, 12, 0)
  assert h36m.joints[h36m.parents[h36m.index("lsho")]] == "neck"
  for skeleton in (h36m, union, hand):
    assert skeletons.of_model({"skeleton": skeleton.name}) is skeleton
    # Configs from before `model.skeleton`.
    assert skeletons.of_model({"num_joints": skeleton.num_joints}) is skeleton
    assert len(skeleton.limbs) == skeleton.num_joints - 1
  # The same tree, seen through either joint set, where MPII's extra joints are leaves or absent.
  names = {h36m.joints[c]: h36m.joints[p] for p, c in h36m.limbs}
  assert all(union.joints[union.parents[union.index(c)]] == p for c, p in names.items())


def test_mirroring_golden_fliplr_joints():
  g = golden_files.load("affine")
  pairs = {frozenset(p) for p in g["flip_pairs"].tolist()}
  assert {frozenset(p) for p in skeletons.H36M_17.flip_pairs} == pairs
  order = list(skeletons.H36M_17.flip_order)
  visible = g["flip_out"][:, 1] != 0  # the original zeroes what is not
  assert visible.sum() == 15
  np.testing.assert_array_equal(g["flip_in"][order][visible, 1], g["flip_out"][visible, 1])


def test_errors_name_the_choices():
  with pytest.raises(
    ValueError, match=r"no model.skeleton, and of 16 joints none is known.*h36m_17"
  ):
    skeletons.of_model({"num_joints": 16})
  with pytest.raises(ValueError, match="it has root, rhip"):
    skeletons.H36M_17.index("tail")
  with pytest.raises(ValueError, match="does not lead to the root"):
    skeletons.Skeleton("loop", ("a", "b", "c"), (-1, 2, 1))


def test_ones_own_skeleton_from_a_file(tmp_path):
  """A mouse; and every shipped skeleton survives being written down."""
  path = tmp_path / "mouse.toml"
  path.write_text(
    'name = "mouse"\nsize_mm = 90\njoints = ["nose", "left_ear", "right_ear", "tail"]\n'
    'parents = ["tail", "nose", "nose", ""]\nflip_pairs = [["right_ear", "left_ear"]]\n'
  )
  mouse = skeletons.read(path)
  assert (mouse.name, mouse.size_mm, mouse.root) == ("mouse", 90.0, 3)
  assert mouse.parents == (3, 0, 0, -1) and mouse.flip_pairs == ((2, 1),)
  for skeleton in (mouse, *skeletons.SKELETONS.values()):
    assert skeletons.from_dict(skeletons.to_dict(skeleton), where="here") == skeleton
  assert skeletons.read("coco_17").joints[5] == "lsho"
  # A config names the file; its record holds the skeleton, wherever the file goes.
  recorded = skeletons.record({"skeleton": str(path), "width": 1.0})
  path.unlink()
  assert skeletons.of_model(recorded) == mouse and recorded["width"] == 1.0
  assert skeletons.record(recorded) == recorded
  assert skeletons.record({"num_joints": 20}) == {"skeleton": "union_20"}
  # Human3.6M's 17 joints and COCO's are not the same weights.
  assert skeletons.describe(skeletons.H36M_17) == {"num_joints": 17}
  assert skeletons.describe(skeletons.COCO_17)["skeleton"]["name"] == "coco_17"


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"size_mm": None}, "missing: size_mm"),
    ({"limbs": []}, "unknown: limbs"),
    ({"size_mm": "big"}, "size_mm should be a number, got 'big'"),
    ({"size_mm": 10**400}, r"size_mm should be a number, got 1000"),
    ({"size_mm": -1.0}, "size_mm must be above 0"),
    ({"joints": ["a", "a"]}, "distinct names"),
    ({"parents": ["b", "c"]}, "parents names 'c'; the joints are a, b"),
    ({"parents": [""]}, "a name for each of 2 joints"),
    ({"parents": ["b", "a"]}, "exactly one joint has parent -1"),
    ({"flip_pairs": [["a"]]}, r"a list of \[right, left\]"),
    ({"flip_pairs": [["a", "b"], ["b", "a"]]}, "one flip pair at most"),
  ],
)
def test_what_is_wrong_in_a_skeleton_file_is_named(change, message):
  fields = {"name": "x", "size_mm": 5, "joints": ["a", "b"], "parents": ["", "a"]} | change
  fields = {name: value for name, value in fields.items() if value is not None}
  with pytest.raises(ValueError, match=message):
    skeletons.from_dict(fields, where="x.toml")


@pytest.mark.parametrize("given", [1e308, None, ["h36m_17"]])
def test_a_record_whose_skeleton_is_none(given):
  with pytest.raises(ValueError, match=r"model\.skeleton should be a name, a \.toml file or"):
    skeletons.of_model({"skeleton": given})
  with pytest.raises(ValueError, match=r"the config has no model\.skeleton"):
    skeletons.of_model({"num_joints": given})


def test_names_that_are_no_skeleton_and_files_that_are_no_toml(tmp_path):
  with pytest.raises(ValueError, match=r"no skeleton 'mouse'; there are h36m_17.* or give a .toml"):
    skeletons.read("mouse")
  (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
  with pytest.raises(ValueError, match="not a TOML file"):
    skeletons.read(tmp_path / "x.toml")

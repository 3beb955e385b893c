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
    assert skeletons.by_num_joints(skeleton.num_joints) is skeleton
    assert len(skeleton.limbs) == skeleton.num_joints - 1
  # The same tree, seen through either joint set, where MPII's extra joints are leaves or absent.
  names = {h36m.joints[c]: h36m.joints[p] for p, c in h36m.limbs}
  assert all(union.joints[union.parents[union.index(c)]] == p for c, p in names.items())


def test_mirroring_golden_fliplr_joints():
  g = golden_files.load("affine")
  pairs = {frozenset(p) for p in g["flip_pairs"].tolist()}
  assert {frozenset(p) for p in skeletons.H36M_17.flip_pairs} == pairs
  order = list(skeletons.H36M_17.flip_order)
  visible = g["flip_out"][:, 1] != 0  # the reference zeroes what is not
  assert visible.sum() == 15
  np.testing.assert_array_equal(g["flip_in"][order][visible, 1], g["flip_out"][visible, 1])


def test_errors_name_the_choices():
  with pytest.raises(ValueError, match=r"17 .*20 .*21"):
    skeletons.by_num_joints(16)
  with pytest.raises(ValueError, match="it has root, rhip"):
    skeletons.H36M_17.index("tail")
  with pytest.raises(ValueError, match="does not lead to the root"):
    skeletons.Skeleton("loop", ("a", "b", "c"), (-1, 2, 1))

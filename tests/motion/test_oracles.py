"""Other programs read what we write; skipped where they are not installed."""

import warnings

import numpy as np
import pytest

from epipolar_jax.motion import formats
from tests.motion import motions


def test_movement_reads_our_anipose_csv(tmp_path):
  movement = pytest.importorskip("movement.io.load_poses", exc_type=ImportError)
  made = motions.make()
  formats.write(tmp_path / "a.csv", made, "anipose")
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    found = movement.from_anipose_file(tmp_path / "a.csv", fps=60)
  by_name = found.position.transpose("time", "individuals", "keypoints", "space")
  by_name = by_name.sel(keypoints=list(made.joints))
  np.testing.assert_array_equal(by_name.values, made.points)


def test_ezc3d_reads_our_c3d(tmp_path):
  ezc3d = pytest.importorskip("ezc3d")
  made = motions.make(first_frame=9)
  formats.write(tmp_path / "a.c3d", made, "c3d")
  found = ezc3d.c3d(str(tmp_path / "a.c3d"))
  point = found["parameters"]["POINT"]
  assert point["LABELS"]["value"] == list(made.joints)
  assert point["UNITS"]["value"] == ["mm"] and point["RATE"]["value"] == [60.0]
  assert found["header"]["points"]["first_frame"] == 9, "it counts from 0"
  values = found["data"]["points"][:3].transpose(2, 1, 0)
  np.testing.assert_allclose(values, made.points[:, 0], rtol=1e-6)

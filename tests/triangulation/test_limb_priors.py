"""Limb lengths: learned, written, read, refused."""

import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.inputs import datasets
from epipolar_jax.tools import limb_priors as tool
from epipolar_jax.triangulation import limb_priors
from tests import dots

_SMALL = skeletons.Skeleton("small", ("a", "b", "c"), (-1, 0, 1))


def test_learned_lengths_by_hand_survive_the_file(tmp_path):
  poses = np.zeros((3, 3, 3))
  poses[:, 1, 0] = [100.0, 110.0, 120.0]
  poses[:, 2] = poses[:, 1] + [0.0, 30.0, 40.0]
  poses[2, 2] = np.nan
  priors = limb_priors.learn(poses, _SMALL)
  np.testing.assert_allclose(priors.mean_mm, [110.0, 50.0])
  np.testing.assert_allclose(priors.std_mm, [np.sqrt(200 / 3), 0.0])
  limb_priors.write(tmp_path / "a" / "p.json", priors, _SMALL, {"frames": 3})
  again = limb_priors.read(tmp_path / "a" / "p.json", _SMALL)
  np.testing.assert_allclose(again.mean_mm, priors.mean_mm, atol=0.005)
  np.testing.assert_allclose(again.std_mm, priors.std_mm, atol=0.005)


def test_what_does_not_fit_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"small wants \[n, 3, 3\]"):
    limb_priors.learn(np.zeros((2, 4, 3)), _SMALL)
  with pytest.raises(ValueError, match="no pose has the limbs that end at c"):
    limb_priors.learn(np.where(np.arange(3)[:, None] == 2, np.nan, np.ones((2, 3, 3))), _SMALL)
  path = tmp_path / "p.json"
  huge = '{"mean_and_std_mm": {"a-b": [1, 0], "b-c": [1' + 400 * "0" + ", 0]}}"
  for text in ("", "[]", "{}", '{"mean_and_std_mm": {"a-b": [1, 0]}}', huge, 100_000 * "["):
    path.write_text(text)
    with pytest.raises(ValueError, match=r"p\.json is not a file of limb lengths of small"):
      limb_priors.read(path, _SMALL)
  path.write_text('{"mean_and_std_mm": {"a-b": [1, 0], "b-c": [NaN, 0]}}')
  with pytest.raises(ValueError, match="needs a mean above 0"):
    limb_priors.read(path, _SMALL)


def test_tool_learns_from_the_training_split(tmp_path, monkeypatch):
  asked = []

  def open_split(config, split):
    asked.append(split)
    return dots.frames(5)

  monkeypatch.setattr(datasets, "open_split", open_split)
  priors = tool.learn(dots.config(), tmp_path / "p.json", max_frames=3)
  assert asked == ["train"]
  joints = np.stack([dots.frames(5)[i]["joints_3d"] for i in (0, 2, 4)])
  expected = limb_priors.learn(joints, skeletons.H36M_17)
  np.testing.assert_allclose(priors.mean_mm, expected.mean_mm)
  read = limb_priors.read(tmp_path / "p.json", skeletons.H36M_17)
  np.testing.assert_allclose(read.mean_mm, expected.mean_mm, atol=0.01)

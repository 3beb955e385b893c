"""Covariances of the size that errors have: laws on simulated errors, files, refusals."""

import dataclasses
import json

import numpy as np
import pytest

from epipolar_jax.triangulation import doubt
from epipolar_jax.triangulation.estimate import Estimate

_JOINTS = ("hip", "knee", "ankle")


def _simulated(seed, frames=3000, heavy=True):
  """Errors that grow as scores fall and from joint to joint; covariances a fifth of their size."""
  rng = np.random.default_rng(seed)
  shape = (frames, 1, 3)
  score = rng.uniform(0.2, 1.0, (frames, 1, 4, 3))
  best = np.sort(score, axis=2)[:, :, -2:].mean(2)
  own = rng.uniform(2.0, 8.0, shape)
  sigma = np.array([5.0, 10.0, 20.0]) * np.sqrt(own / 4.0) / best**2
  axes = np.array([0.5, 1.0, 2.0]) / np.sqrt(1.75)  # of mean square 1: deeper than wide
  covariance = np.square(own)[..., None, None] * np.diag(axes**2)
  tails = 1 / np.sqrt(rng.chisquare(4, shape) / 4) if heavy else np.ones(shape)
  points = sigma[..., None] * axes * rng.normal(size=(*shape, 3)) * tails[..., None]
  inlier, reprojection = np.ones(score.shape), np.ones(score.shape)
  views = ("a", "b", "c", "d")
  valid = np.ones(shape, bool)
  estimate = Estimate(points, valid, covariance, inlier, reprojection, _JOINTS, views)
  return estimate, score, np.zeros((*shape, 3))


@pytest.mark.parametrize("heavy", [True, False])
def test_intervals_hold_on_other_frames(heavy):
  fitted = doubt.fit(*_simulated(0, heavy=heavy))
  estimate, score, truth = _simulated(1, heavy=heavy)
  after = fitted.apply(estimate, score)
  assert doubt.covered(estimate, truth, 1.0) < 0.4
  assert abs(doubt.covered(after, truth, 1.0) - 0.683) < 0.01
  assert abs(doubt.covered(after, truth, fitted.wide) - 0.95) < 0.01
  for joint in range(3):
    one = np.where(np.arange(3)[:, None] == joint, truth, np.nan)
    assert abs(doubt.covered(after, one, 1.0) - 0.683) < 0.03
  # The law that was put in is the one that was found.
  np.testing.assert_allclose([fitted.by_spread, fitted.by_score], [0.5, -2.0], atol=0.1)
  np.testing.assert_allclose(np.diff(fitted.offset), np.log([2.0, 2.0]), atol=0.1)
  assert (fitted.wide > 2.2) == heavy and abs(fitted.wide - 1.96) < (0.8 if heavy else 0.05)


def test_only_the_size_changes():
  estimate, score, truth = _simulated(0, frames=300)
  fitted = doubt.fit(estimate, score, truth)
  estimate.valid[3, 0, 1] = False
  estimate.covariance[3, 0, 1] = 0.0
  after = fitted.apply(estimate, score)
  assert not after.covariance[3, 0, 1].any() and np.isfinite(after.covariance).all()
  ratio = after.covariance[estimate.valid] / np.where(
    estimate.covariance[estimate.valid] == 0, 1.0, estimate.covariance[estimate.valid]
  )
  diagonal = np.einsum("naa->na", ratio)
  np.testing.assert_allclose(diagonal, diagonal[:, :1] * np.ones(3), rtol=1e-9)
  assert after.points is estimate.points and after.valid is estimate.valid


def test_unknown_truth_does_not_count():
  estimate, score, truth = _simulated(0, frames=600)
  some = truth.copy()
  some[300:] = np.nan
  half = dataclasses.replace(
    estimate,
    **{
      name: getattr(estimate, name)[:300]
      for name in ("points", "valid", "covariance", "inlier", "reprojection_px")
    },
  )
  expected = doubt.fit(half, score[:300], truth[:300])
  found = doubt.fit(estimate, score, some)
  np.testing.assert_allclose(found.offset, expected.offset, rtol=1e-6)
  assert found.frames == expected.frames == 300


def test_what_is_refused(tmp_path):
  estimate, score, truth = _simulated(0, frames=300)
  fitted = doubt.fit(estimate, score, truth)
  with pytest.raises(ValueError, match="the joints are hip, knee, foot"):
    fitted.apply(dataclasses.replace(estimate, joints=("hip", "knee", "foot")), score)
  with pytest.raises(ValueError, match="0 joints with a truth are few"):
    doubt.fit(estimate, score, np.full_like(truth, np.nan))


def test_files(tmp_path):
  fitted = doubt.fit(*_simulated(0, frames=300))
  path = tmp_path / "doubt.json"
  fitted.write(path)
  assert doubt.read(path) == fitted
  record = json.loads(path.read_text())
  for broken in (
    "[]",
    "{",
    json.dumps({**record, "form": 9}),
    json.dumps({**record, "offset": record["offset"][:2]}),
    json.dumps({**record, "wide": float("nan")}),
    json.dumps({k: v for k, v in record.items() if k != "by_score"}),
  ):
    path.write_text(broken)
    with pytest.raises(ValueError, match=r"doubt.json is no record .*tools.doubt"):
      doubt.read(path)

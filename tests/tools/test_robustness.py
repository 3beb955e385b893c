"""The robustness table: simulated detections do what their troubles say; table and chart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.tools import robustness, simulation
from epipolar_jax.visualize import dot_plot, palette

_SCENES = simulation.make_scenes(np.random.default_rng(0), 40)


def _detect(**trouble):
  return robustness.detect(np.random.default_rng(1), _SCENES, robustness.Trouble(**trouble))


def test_scenes_are_people_in_crops():
  """Projected by our camera model; limbs within 5 % (three sigma: 15) of the average person's."""
  flat = jax.tree.map(lambda x: jnp.asarray(x[0]), _SCENES.cameras)
  for view in range(4):
    for joint in (0, 3, 16):
      uv = flat[view].project(jnp.asarray(_SCENES.joints[0, joint]))
      np.testing.assert_allclose(uv, _SCENES.uv[0, view, joint], atol=1e-2)
  limbs = np.array(simulation.skeletons.H36M_17.limbs)
  ends = _SCENES.joints[:, limbs]
  lengths = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1)
  assert np.abs(lengths / simulation.LIMB_MM - 1).max() < 0.2
  inside = (_SCENES.uv > 0) & (_SCENES.uv < simulation.SIZE)
  assert inside.mean() > 0.95


def test_troubles_are_what_they_say():
  off = _detect().joints_2d - _SCENES.uv
  assert off.std() == pytest.approx(2.0, rel=0.03)
  hidden = _detect(hidden=2)
  low = hidden.score <= 0.5
  assert (low.all(axis=2).sum(axis=1) == 2).all()
  assert (hidden.joints_2d - _SCENES.uv)[low].std() == pytest.approx(25.0, rel=0.05)
  assert (hidden.joints_2d - _SCENES.uv)[~low].std() == pytest.approx(2.0, rel=0.05)
  wrong = _detect(outliers=0.2)
  far = np.linalg.norm(wrong.joints_2d - _SCENES.uv, axis=-1) > 25
  assert far.mean() == pytest.approx(0.2, abs=0.03) and wrong.score.min() > 0.5
  assert ((_detect(missing=1).score == 0).all(axis=2).sum(axis=1) == 1).all()
  turned = _detect(turn_deg=1.0)
  cos = np.einsum("nvab,nvab->nv", turned.cameras.rotation, _SCENES.cameras.rotation)
  angle = np.degrees(np.arccos(np.clip((cos - 1) / 2, -1, 1)))
  # The length of three Gaussians of one degree.
  assert angle.mean() == pytest.approx(1.6, abs=0.2)
  for views in (turned, _SCENES):
    centers = -np.einsum("nvba,nvb->nva", views.cameras.rotation, views.cameras.translation)
    assert np.linalg.norm(centers[..., :2], axis=-1).min() > 2000
  moved = -np.einsum("nvba,nvb->nva", turned.cameras.rotation, turned.cameras.translation) - centers
  assert np.abs(moved).max() < 5.0
  shifted = _detect(shift_px=3.0).cameras.intrinsics - _SCENES.cameras.intrinsics
  assert shifted[..., :2, 2].std() == pytest.approx(3.0, rel=0.1)
  lens = _detect(lens=True, noise_px=0.0).joints_2d - _SCENES.uv
  assert 0.2 < np.abs(lens).mean() < 5.0


def test_neighbours_are_the_nearest_cameras():
  """Of 40 rigs of a ring: by slow search, also among those that are left."""
  centers = -np.einsum("nvba,nvb->nva", _SCENES.cameras.rotation, _SCENES.cameras.translation)
  present = np.random.default_rng(2).permuted(np.tile([True, True, True, False], (40, 1)), axis=1)
  among = simulation.nearest_view(_SCENES.cameras, present)
  for frame, allowed, found in (
    *((n, range(4), _SCENES.neighbour[n]) for n in range(40)),
    *((n, np.flatnonzero(present[n]), among[n]) for n in range(40)),
  ):
    for view in range(4):
      gap = {w: np.linalg.norm(centers[frame, w] - centers[frame, view]) for w in allowed}
      assert found[view] == min((w for w in gap if w != view), key=gap.get)


def test_no_match_is_better_than_its_views():
  """With cameras missing: in one that is there. In a hidden view, or by one: guessed."""
  frame = np.arange(40)[:, None]
  views = _detect(missing=2)
  there = (views.score > 0).all(axis=2)
  assert np.array_equal(np.isfinite(views.match).all(axis=(2, 3)), there)
  assert there[frame, views.neighbour][there].all()
  off = (views.match - _SCENES.uv[frame, views.neighbour])[there]
  assert off.std() == pytest.approx(4.0, rel=0.05)
  views = _detect(hidden=1)
  low = (views.score <= 0.5).all(axis=2)
  guessed = low | low[frame, views.neighbour]
  off = views.match - _SCENES.uv[frame, views.neighbour]
  assert off[guessed].std() == pytest.approx(25.0, rel=0.05)
  assert off[~guessed].std() == pytest.approx(4.0, rel=0.05)
  assert np.isnan(_detect(missing=3).match).all()


def test_robust_tells_a_bad_calibration_from_outliers():
  """Cameras turned by a degree: as good as the linear fit. Outliers: a third of its error.

  With one tolerance for both, 16 px, the former is a fifth worse than the linear fit.
  """
  errors = {}
  for name in ("dlt", "robust"):
    locate = robustness.triangulation.make(name)
    for trouble in ({"turn_deg": 1.0}, {"outliers": 0.1}):
      off = np.asarray(locate(_detect(**trouble)).points) - _SCENES.joints
      errors[name, *trouble] = np.linalg.norm(off, axis=-1).mean()
  assert errors["robust", "turn_deg"] < 1.05 * errors["dlt", "turn_deg"]
  assert errors["robust", "outliers"] < 0.35 * errors["dlt", "outliers"]


def _mean_error(name, views):
  found = robustness.triangulation.make(name)(views)
  assert found.valid.all()
  return np.linalg.norm(np.asarray(found.points) - _SCENES.joints, axis=-1).mean()


def test_robust_is_the_best_of_positions():
  """Not worse than any linear fit with good views alone, better with any bad one."""
  for trouble, most in (
    ({}, 1.0),
    ({"noise_px": 5.0}, 1.0),
    ({"shift_px": 3.0}, 1.01),
    ({"missing": 1}, 1.01),
    ({"lens": True}, 1.0),
    ({"hidden": 1}, 0.8),
    ({"hidden": 2}, 0.8),
    ({"outliers": 0.2}, 0.4),
    ({"missing": 1, "outliers": 0.1}, 0.6),
  ):
    views = _detect(**trouble)
    others = [_mean_error(name, views) for name in ("dlt", "dlt_unweighted", "pymvg")]
    assert _mean_error("robust", views) < most * min(others), trouble


def test_scores_are_believed_as_far_as_errors_follow_them():
  """Scores that say nothing cost under 1 %; those that say all gain a tenth over their absence."""
  rng = np.random.default_rng(4)
  score = rng.uniform(0.4, 1.0, _SCENES.uv.shape[:3]).astype(np.float32)
  for power, most in ((0.0, 1.01), (2.0, 0.9)):
    noise = 2.0 * score[..., None] ** -power * rng.normal(size=_SCENES.uv.shape)
    views = _detect()._replace(joints_2d=(_SCENES.uv + noise).astype(np.float32), score=score)
    silent = _mean_error("robust", views._replace(score=np.ones_like(score)))
    told = _mean_error("robust", views)
    assert told < most * silent and told < _mean_error("dlt", views)


def test_same_seed_same_table_and_chart(monkeypatch):
  """Of two troubles; the plain DLT."""
  few = {name: robustness.TROUBLES[name] for name in ("noise 2 px", "2 cameras missing")}
  monkeypatch.setattr(robustness, "TROUBLES", few)
  results = robustness.compare(("dlt",), frames=6, seed=3)
  assert results == robustness.compare(("dlt",), frames=6, seed=3)
  first, second = (results[name]["dlt"] for name in few)
  assert 5 < first["mean_mm"] < second["mean_mm"] < 200 and first["failed_joints"] == 0
  lines = robustness.table(results).splitlines()
  assert lines[2].startswith("| noise 2 px | **") and len(lines) == 4
  rows = {name: {m: x["mean_mm"] for m, x in row.items()} for name, row in results.items()}
  chart = dot_plot.draw(rows | {"none": {"dlt": None}}, title="t")
  drawn = np.all(chart == palette.SERIES[0], axis=-1)
  # Dots on two lines, further right for the larger error; nothing but its label below the third.
  middles = [dot_plot._TOP + dot_plot._ROW * n + dot_plot._ROW // 2 for n in range(3)]
  places = [np.flatnonzero(drawn[y - 5 : y].all(axis=0)).mean() for y in middles[:2]]
  assert places[0] + 30 < places[1]
  assert not drawn[middles[2] - 1 : middles[2] + 1, : dot_plot._LEFT].any()
  below = np.abs(chart[-dot_plot._LABELS + 30 :].astype(int) - palette.STAGE).any(axis=(0, 2))
  written = np.flatnonzero(below).mean()
  assert abs(written - places[1]) < 30, "the label stands below the end of its line"
  with pytest.raises(ValueError, match="numbers above 0"):
    dot_plot.draw({"a": {"b": 0.0}}, title="t")


def test_more_columns_than_colours_are_told_apart():
  """The tenth has the first one's colour and a dark middle."""
  row = {f"m{i}": 10.0**i for i in range(10)}
  drawn = dot_plot.draw({"a": row}, title="t")
  y = dot_plot._TOP + dot_plot._ROW // 2
  alike = np.all(drawn == palette.SERIES[0], axis=-1)
  first = np.flatnonzero(alike[y - 10])[[0, -1]].mean()
  tenth = np.flatnonzero(alike[y + 8 + 5])[[0, -1]].mean()
  assert tenth > first + 500
  np.testing.assert_array_equal(drawn[y - 10, round(first)], palette.SERIES[0])
  np.testing.assert_array_equal(drawn[y + 8, round(tenth)], palette.STAGE)

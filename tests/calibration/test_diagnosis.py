"""Every usual mistake is named in rigs that have it, and rigs that are right raise no alarm."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.calibration import (
  checking,
  diagnosis,
  following,
  mistakes,
  recording,
  resection,
  telling,
)
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints import writing
from epipolar_jax.rigs import lenses
from epipolar_jax.visualize import calibration
from tests import walkers
from tests.calibration import injected


@pytest.mark.parametrize("mistake", [x for x in injected.NAMES if x != "all unit"])
@pytest.mark.parametrize("views", [3, 5])
def test_each_mistake_is_named_with_its_camera(views, mistake):
  broken, cameras, name = injected.inject(views, mistake, seed=views)
  found = diagnosis.diagnose(*broken)
  assert found.alarm and len(found.explanations) == 1
  best = found.explanations[0]
  assert best.mistake == name and set(best.cameras) == set(cameras)
  # The noise is 2 px a coordinate; ill-placed cameras add to it.
  assert best.after_px < 8 and best.before_px > 2 * best.after_px


@pytest.mark.parametrize("views", [2, 3, 5])
def test_good_rigs_raise_no_alarm(views):
  for seed in range(4):
    found = diagnosis.diagnose(*injected.case(views, seed, outliers=0.05))
    assert not found.alarm and not found.explanations and found.suspect is None, seed
    apart = found.pairs[~np.eye(views, dtype=bool)]
    assert (apart > 0.5).all() and (apart < 5).all() and np.isnan(np.diag(found.pairs)).all()


def test_noisy_keypoints_are_no_wrong_calibration():
  """Noise of 6 px is above 2 % of the body's size, and shows as jitter."""
  found = diagnosis.diagnose(*injected.case(8, seed=5, noise_px=6.0, outliers=0.1))
  apart = found.pairs[~np.eye(8, dtype=bool)]
  assert apart.max() > max(4.0, 0.02 * found.size_px) and not found.alarm
  # Jitter explains the distances, and is not much larger than they are.
  ratio = apart / found.noise[~np.eye(8, dtype=bool)]
  assert ratio.min() > 0.5 and ratio.max() < 1.3


@pytest.mark.parametrize("mistake", ["scaled", "cropped"])
def test_of_two_cameras_a_scale_and_a_crop_are_told_apart(mistake):
  """By one number or two: a scale is also a crop by s - 1 times the epipole."""
  for seed in (2, 3):
    broken, cameras, name = injected.inject(2, mistake, seed, outliers=0.05)
    [best] = diagnosis.diagnose(*broken).explanations
    assert best.mistake == name and best.cameras == cameras and best.after_px < 4, seed


def test_a_scale_and_a_shift_move_points_along_the_lines_of_the_other_camera():
  seen = recording.Recording(*injected.case(2, 2, noise_px=0.0))
  matrix = recording.fundamental(*seen.poses)
  epipole = np.linalg.svd(matrix.T)[2][-1]
  epipole = epipole[:2] / epipole[2]
  for scale in (0.7, 1.6):
    moved = seen.ideal.copy()
    moved[1] = scale * (moved[1] - epipole) + epipole
    assert recording.epipolar_px(seen.poses, moved, 0, 1) < 1e-6


def test_a_mirrored_image_of_a_detector_has_its_sides_swapped_too():
  """A network takes the left hand of a mirrored body for a right one."""
  (observations, rig), (camera,), _ = injected.inject(4, "mirrored", seed=2)
  points, view = observations.points.copy(), rig.names.index(camera)
  points[:, :, view] = points[:, :, view][..., mistakes.flipped(observations.joints), :]
  [best] = diagnosis.diagnose(dataclasses.replace(observations, points=points), rig).explanations
  assert best.mistake == "mirrored" and best.cameras == (camera,)
  assert "in which left was taken for right" in best.text


def test_an_image_turned_is_named_before_a_camera_that_is_turned_as_much():
  """The camera is also a degree off, which a fitted turn absorbs and the image's does not."""
  (observations, rig), (camera,), _ = injected.inject(4, "turned 180", seed=1)
  view = rig.names.index(camera)
  turn = np.eye(3) + np.array([[0, 0, 0.004], [0, 0, 0], [-0.004, 0, 0]])
  turn, _ = np.linalg.qr(turn)
  turn *= np.sign(np.diag(turn))
  r, t = rig.cameras.rotation.copy(), rig.cameras.translation.copy()
  r[view], t[view] = turn @ r[view], turn @ t[view]
  found = diagnosis.diagnose(observations, _with(rig, rig.cameras.intrinsics, r, t))
  [best] = found.explanations
  assert best.mistake == "turned 180" and best.cameras == (camera,)


def test_half_a_pixel_is_named_where_keypoints_are_that_good():
  (observations, rig), cameras, name = injected.inject(4, "half a pixel", seed=1, noise_px=0.02)
  [best] = diagnosis.diagnose(observations, rig).explanations
  assert best.mistake == name and best.cameras == cameras


def test_a_camera_that_moved_is_suspected_without_a_name():
  observations, rig = injected.case(5, seed=1)
  t = rig.cameras.translation + np.array([0, 0, 500.0, 0, 0])[:, None] * np.array([1, 1, 0])
  moved = dataclasses.replace(rig, cameras=dataclasses.replace(rig.cameras, translation=t))
  found = diagnosis.diagnose(observations, moved)
  assert found.alarm and found.suspect == "cam2" and found.explanations == ()
  assert found.left_out.argmax() == 2 and found.others.argmin() == 2
  # Its pose from the points of the others is where it was.
  assert found.resected.error_px < 5 and abs(found.resected.mm - 500 * np.sqrt(2)) < 60
  np.testing.assert_allclose(found.resected.rotation, rig.cameras.rotation[2], atol=0.02)


def test_a_hidden_camera_is_not_called_a_wrong_one():
  """A detector that guesses in one view: no camera fits that, so none is proposed."""
  observations, rig = injected.case(4, seed=1)
  rng, points = np.random.default_rng(0), observations.points.copy()
  middle = np.nanmedian(points[:, :, 2], axis=(1, 2), keepdims=True)
  points[:, :, 2] = middle + rng.uniform(-80, 80, points[:, :, 2].shape)
  guessed = dataclasses.replace(observations, points=points)
  found = diagnosis.diagnose(guessed, rig)
  assert found.suspect == "cam2" and not found.explanations
  said = " ".join(telling.sentences(found, rig))
  assert "Does something hide the body" in said
  assert "turned by" not in said and "K is not right" not in said and "usual mistakes" not in said


def test_a_pose_is_found_among_outliers_or_not_at_all():
  rig, points = walkers.ring(2), walkers.walk(20).reshape(-1, 3)
  k, r, t = (x[1] for x in (rig.cameras.intrinsics, *_pose(rig)))
  ideal = walkers.project(points[None], rig.cameras)[0, 1]
  ideal[::4] += 300.0
  points[1::5] = np.nan
  file = k, rig.cameras.rotation[0], rig.cameras.translation[0]
  found = resection.resect(points, ideal, file)
  np.testing.assert_allclose(found.rotation, r, atol=1e-3)
  np.testing.assert_allclose(found.translation, t, atol=5.0)
  assert found.error_px < 1 and abs(found.degrees - 180) < 5 and found.mm > 8000
  assert found.free_error_px < 1 and abs(found.focal - 1) < 0.05
  zoomed = resection.resect(points, ideal, (np.diag([0.8, 0.8, 1.0]) @ k, *file[1:]))
  assert zoomed.free_error_px < 0.2 * zoomed.error_px and abs(zoomed.focal - 1.25) < 0.05
  assert resection.resect(points[:20], ideal[:20], file) is None


def test_time_offsets_are_found_in_parts_of_a_frame():
  rig, fine = walkers.ring(4), walkers.walk(480)
  seen = walkers.observed(fine[40:440:4], rig, noise_px=0.5)
  ahead = walkers.observed(fine[40 + 22 : 440 + 22 : 4], rig, noise_px=0.5)
  points = seen.points.copy()
  points[:, :, 1] = ahead.points[:, :, 1]
  best = diagnosis.diagnose(dataclasses.replace(seen, points=points), rig).explanations[0]
  # The second camera shows what the others show 5.5 frames later.
  assert best.mistake == "time offset" and best.cameras == ("cam1",)
  assert best.offset == -5.5 and "started 5.50 frames after" in best.text


@pytest.mark.parametrize(("views", "seed"), [(5, 2014), (6, 2025), (16, 2012)])
def test_short_offsets_and_many_views_are_named_through_noise(views, seed):
  """1.7 and 1.0 frames, worth less than the noise of 2 px; and 16 views, of which one is always
  wrong about a point.
  """
  noise = {"noise_px": 2.0, "outliers": 0.05}
  broken, cameras, name = injected.inject(views, "time offset", seed, **noise)
  [best] = diagnosis.diagnose(*broken).explanations
  assert best.mistake == name and best.cameras == cameras
  assert (best.after_px > 0.5 * best.before_px) == (views < 16)
  good = diagnosis.diagnose(*injected.case(views, seed, **noise))
  assert not good.alarm and max(good.left_out) < 4.5


def test_left_and_right_are_told_by_names():
  assert mistakes.twin("left_x") == "right_x" and mistakes.twin("EarRight") == "EarLeft"
  assert mistakes.twin("RKnee") == "LKnee" and mistakes.twin("wrist_l") == "wrist_r"
  assert mistakes.twin("nose") is None and mistakes.twin("l") is None
  order = mistakes.flipped(("left_a", "rib", "right_a"))
  assert order is not None and order.tolist() == [2, 1, 0]
  assert mistakes.flipped(("rib", "nose")) is None


def test_nothing_to_compare_is_said():
  observations, rig = injected.case(3, seed=0)
  with pytest.raises(ValueError, match="one view"):
    diagnosis.diagnose(observations.select(views=("cam0",)), rig)
  apart = np.where(np.arange(3)[:, None] == np.arange(120)[:, None, None, None] % 3, 1.0, 0.0)
  with pytest.raises(ValueError, match="no frame has points in two of the views cam0, cam1, cam2"):
    diagnosis.diagnose(dataclasses.replace(observations, score=observations.score * apart), rig)


def test_too_few_points_are_not_a_verdict():
  observations, rig = injected.case(3, seed=0)
  few = (np.arange(17) < 5) & (np.arange(120) < 2)[:, None, None, None]
  with pytest.raises(ValueError, match="have 12 points in common"):
    diagnosis.diagnose(dataclasses.replace(observations, score=observations.score * few), rig)


def _texts(rig):
  return [(x.cameras, x.text, x.suspicious) for x in checking.check(rig)]


def test_a_good_file_has_nothing_suspicious():
  assert _texts(injected.case(4, seed=0)[1]) == []


def test_what_a_file_shows_by_itself():
  rig = walkers.ring(4)
  k, r, t = (np.array(x) for x in (rig.cameras.intrinsics, *_pose(rig)))
  t[1], r[1] = t[0], r[0]
  [(cameras, text, suspicious)] = _texts(_with(rig, k, r, t))
  assert cameras == ("cam0", "cam1") and "same pose" in text and suspicious

  k, r, t = (np.array(x) for x in (rig.cameras.intrinsics, *_pose(rig)))
  t[1] = -r[1] @ (-r[0].T @ t[0])
  found = _texts(_with(rig, k, r, t))
  assert (("cam0", "cam1"), True) in [(c, s) for c, text, s in found if "in one place" in text]

  k, r, t = (np.array(x) for x in (rig.cameras.intrinsics, *_pose(rig)))
  [(cameras, text, suspicious)] = _texts(_with(rig, k, np.diag([-1, 1, -1]) @ r, -t * [1, -1, 1]))
  assert len(cameras) == 4 and "behind all cameras" in text and suspicious


@pytest.mark.parametrize(
  "change, word, suspicious",
  [
    ({(0, 2): 1400.0}, "outside the image", True),
    ({(0, 2): 1000.0}, "far from the middle", False),
    ({(0, 2): 479.5, (1, 2): 639.5}, "width and height swapped", True),
    ({(0, 0): 136000.0, (1, 1): 136000.0}, "field of view", False),
    ({(0, 0): 900.0}, "not square", False),
  ],
)
def test_intrinsics_that_are_unlikely(change, word, suspicious):
  rig = walkers.ring(3)
  k = rig.cameras.intrinsics.copy()
  for place, value in change.items():
    k[1][place] = value
  found = _texts(_with(rig, k, *_pose(rig)))
  assert [(("cam1",), suspicious)] == [(cameras, s) for cameras, text, s in found if word in text]


def test_lenses_that_fold_the_image():
  corners = checking.check(walkers.ring(2, lens=lenses.OpenCV((-0.9, 0.0, 0.0, 0.0))))
  assert ["border" in x.text and not x.suspicious for x in corners] == [True, True]
  middle = checking.check(walkers.ring(2, lens=lenses.OpenCV((-5.0, 0.0, 0.0, 0.0))))
  assert ["middle half" in x.text and x.suspicious for x in middle] == [True, True]


def test_names_in_a_page_are_escaped(tmp_path):
  observations, rig = injected.case(3, seed=0)
  names = ("<b>left", "a&b", '"c"')
  found = diagnosis.diagnose(
    dataclasses.replace(observations, views=names), dataclasses.replace(rig, names=names)
  )
  calibration.write_check(tmp_path / "x.html", "<i>", ["<u>"], suspicious=False, found=found)
  text = (tmp_path / "x.html").read_text(encoding="utf-8")
  assert "<b>" not in text and "<i>" not in text and "<u>" not in text
  assert "&lt;b&gt;left" in text and "a&amp;b" in text


def _pose(rig):
  return rig.cameras.rotation, rig.cameras.translation


def _with(rig, k, r, t):
  return dataclasses.replace(rig, cameras=Cameras(k, r, t))


def test_the_verb_gives_a_verdict_and_a_status(tmp_path, capsys):
  observations, rig = injected.case(3, seed=0)
  rig.write(tmp_path / "rig.json")
  writing.write(tmp_path / "good.npz", observations, "plain npz")
  arguments = ["check", "--cameras", str(tmp_path / "rig.json")]
  assert command.main(arguments) == 0
  assert "nothing is suspicious" in capsys.readouterr().out
  assert command.main([*arguments, "--keypoints", str(tmp_path / "good.npz")]) == 0
  (broken, _), (camera,), _ = injected.inject(3, "mirrored", seed=0)
  writing.write(tmp_path / "bad.npz", broken, "plain npz")
  assert command.main([*arguments, "--keypoints", str(tmp_path / "bad.npz")]) == 1
  said = capsys.readouterr().out
  assert f"FOUND: camera {camera} is " in said and "treated as a mirrored image: " in said
  assert said.endswith("Verdict: something is wrong\n")
  page = tmp_path / "check.html"
  bad = [*arguments, "--keypoints", str(tmp_path / "bad.npz"), "--html", str(page)]
  assert command.main(bad) == 1
  text = page.read_text(encoding="utf-8")
  assert text.index("Something is wrong.") < text.index("treated as a mirrored image")
  assert text.index("treated as a mirrored image") < text.index("<h2>Pairs of cameras</h2>")
  # Pairs with the wrong camera are orange, the others are not.
  assert text.count("rgba(213,94,0,1.00)") >= 4 and text.count("rgba(213,94,0,0.00)") >= 2
  assert "<script" not in text and "http" not in text.replace("http-equiv", "")
  good = ["--keypoints", str(tmp_path / "good.npz")]
  assert command.main([*arguments, *good, "--size_mm", "1000000"]) == 1
  assert "times too small: translations in m for mm (1000 times)?" in capsys.readouterr().out
  assert command.main([*arguments, *good, "--size_mm", "2000", "--html", str(page)]) == 0
  assert "Nothing is suspicious." in page.read_text(encoding="utf-8")
  assert command.main([*arguments, *good, "--html", str(tmp_path / "page.txt")]) == 2
  assert command.main([*arguments, *good, "--size_mm", "-1"]) == 2
  (tmp_path / "rig.json").write_text("{}")
  assert command.main(arguments) == 2
  assert command.main([*arguments, "--joint_set", "BODY_25B"]) == 2


def test_a_wrong_camera_is_found_among_several_people():
  """Matching across views would drop all that it saw, and a rig without it is a good one."""
  first, rig = injected.case(4, seed=3)
  aside = np.where(np.isfinite(first.points), first.points + 5000.0, np.nan)
  (broken, _), (camera,), name = injected.inject(4, "mirrored", seed=3)
  few = np.where(np.arange(120)[:, None, None, None] % 4 == 0, 0.4, 0.0) * np.ones_like(first.score)
  several = dataclasses.replace(
    broken,
    points=np.concatenate([aside, broken.points], axis=1),
    score=np.concatenate([few, broken.score], axis=1),
  )
  followed, lost = following.follow(several, rig)
  assert followed.points.shape[1] == 1 and lost == (camera,)
  [best] = diagnosis.diagnose(followed, rig).explanations
  assert best.mistake == name and best.cameras == (camera,)
  right = dataclasses.replace(several, points=np.concatenate([aside, first.points], axis=1))
  followed, lost = following.follow(right, rig)
  assert lost == () and not diagnosis.diagnose(followed, rig).alarm

"""The benchmarks of `predict`: their arithmetic, their stopwatch, the plain DLT, the stages."""

import sys

import cv2
import numpy as np
import pytest

from epipolar_jax.tools.benchmark import __main__ as benchmark
from epipolar_jax.tools.benchmark import mediapipe_dlt, predict, profile, recordings
from tests import walkers
from tests.footage import dots


def test_rows_by_hand():
  """The first run compiles; 1 to 17 frames in four seconds; twenty frames in all."""
  run = predict.of_times([(10.0, 1), (12.0, 9), (14.0, 17)], 20.0, 0.5)
  assert (run.first_s, run.bar_fps, run.whole_s, run.busy) == (10.0, 4.0, 20.0, 0.5)
  cold = predict.Run(16.0, 3.0, 28.0, 20, 0.9)
  warm = predict.Run(10.0, 4.0, 20.0, 20, 0.5)
  start, then, whole = predict.of_runs("x", [cold, warm, warm])
  assert (start.median_s, start.compile_s, start.calls) == (10.0, 6.0, 2)
  assert then.median_s == 0.25 and then.frames_per_s == 4.0
  assert (whole.median_s, whole.compile_s, whole.frames_per_s) == (20.0, 8.0, 1.0)
  assert whole.busy == 0.5
  assert len(predict.of_runs("x", [predict.of_times([(10.0, 1)], 20.0, 0.5)])) == 2
  with pytest.raises(RuntimeError, match="no frame"):
    predict.of_times([], 1.0, 0.0)


def test_the_stopwatch_sees_what_a_process_does():
  code = "import time\nfor i in range(3): print(i); time.sleep(0.2)"
  lines: list[str] = []
  times, whole, busy = predict._watched([sys.executable, "-c", code], lambda: len(lines), lines)
  assert [n for _, n in times] == [1, 2, 3] and 0 < busy <= 1
  assert 0.3 < times[2][0] - times[0][0] <= whole
  with pytest.raises(RuntimeError, match="ZeroDivisionError"):
    predict._watched([sys.executable, "-c", "1 / 0"], lambda: 0)


def test_the_plain_dlt_undoes_projection():
  rig, points = walkers.ring(3), walkers.walk(1)[0]
  uv = walkers.project(points[None], rig.cameras)[0]
  k = rig.cameras.intrinsics
  normalised = (uv - k[:, None, :2, 2]) / k[:, None, [0, 1], [0, 1]]
  matrices = np.concatenate([rig.cameras.rotation, rig.cameras.translation[..., None]], axis=-1)
  normalised[0, 3] = normalised[0, 5] = normalised[1, 5] = np.nan
  found = mediapipe_dlt.dlt(normalised, matrices)
  assert np.isnan(found[5]).all()
  np.testing.assert_allclose(np.delete(found, 5, 0), np.delete(points, 5, 0), atol=1e-6)


@pytest.fixture
def drawn(tmp_path):
  """Three videos of nine frames, and their calibration."""
  rig, frames = walkers.ring(3), dots.draw(dots.spread(9), walkers.ring(3))
  for view, name in enumerate(rig.names):
    path = str(tmp_path / f"{name}.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, walkers.SIZE_WH)
    for images in frames:
      writer.write(images[view][..., ::-1])
    writer.release()
  rig.write(tmp_path / "rig.json")
  return recordings.Recording([str(tmp_path / "cam?.avi")], tmp_path / "rig.json")


def test_an_environment_without_mediapipe_is_an_error_that_says_so(drawn, tmp_path):
  with drawn.opened() as opened, pytest.raises(RuntimeError, match="mediapipe"):
    predict.measure_mediapipe(sys.executable, *opened.paths())
  with pytest.raises(FileNotFoundError, match="no_python"):
    predict.measure_mediapipe(str(tmp_path / "no_python"), *drawn.paths())


def test_every_stage_is_run_again_on_what_it_was_given(drawn, monkeypatch):
  detector, kept = dots.DotDetector(), []
  detector.gain = 1.0
  detector.fuse = lambda maps, *_: dots.DotDetector().decode(maps)
  monkeypatch.setattr(profile.detectors, "detector_of", lambda *_: detector)
  calls = profile._Calls
  monkeypatch.setattr(profile, "_Calls", lambda: kept.append(calls()) or kept[-1])
  rows = {row.name: row for row in profile.run(0.0, (), drawn)}
  stages = [row for row in rows.values() if row.share is not None]
  assert [row.name for row in stages][:3] == ["decode", "cut and resize", "network"]
  assert len(stages) == 9 and sum(row.share for row in stages) == pytest.approx(1.0)
  assert all(row.median_s > 0 and 0 <= row.busy <= 1.1 for row in rows.values())
  assert len(rows) == 11 and "3 views of 1280 x 960" in stages[0].size
  # Whole images and windows of the first eight frames, then windows of one more; fused once.
  (found,) = kept
  assert len(found.cut) == sum(map(len, found.maps)) >= 3 * (8 + 9)
  assert len(found.fuse) == 9 and len(found.decode) == len(found.maps)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["predict", "--videos", "cam*.mp4"], "belong together"),
    (["profile", "--frames", "0"], "at least 1"),
    (["starts", "--videos", "a", "--cameras", "b"], "a recording is for predict, profile"),
  ],
)
def test_options_that_do_not_belong_together(words, message, capsys):
  with pytest.raises(SystemExit):
    benchmark.main(words)
  assert message in capsys.readouterr().err

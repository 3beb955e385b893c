"""The benchmark of the command: its arithmetic, its stopwatch, and the plain DLT beside it."""

import sys

import cv2
import numpy as np
import pytest

from epipolar_jax.tools.benchmark import mediapipe_dlt, predict
from tests import walkers


def test_rows_by_hand():
  row = predict.of_times("x", [(10.0, 8), (12.0, 16), (14.0, 20)], 20.0)
  assert (row.first_s, row.bar_fps, row.whole_s, row.frames) == (10.0, 3.0, 20.0, 20)
  assert predict.of_times("x", [(10.0, 8)], 20.0).bar_fps is None
  lines = predict.table([row, predict.of_times("y", [], 1.0)]).splitlines()
  assert lines[2] == "| x | 10.0 | 3.00 | 20.0 | 1.00 |"
  assert "no frame was done" in lines[3] and all(line.count("|") == 6 for line in lines)


def test_the_stopwatch_sees_what_a_process_does():
  code = "import time\nfor i in range(3): print(i); time.sleep(0.2)"
  lines: list[str] = []
  times, whole, status, _ = predict._watched(
    [sys.executable, "-c", code], lambda: len(lines), lines
  )
  assert status == 0 and [n for _, n in times] == [1, 2, 3]
  assert 0.3 < times[2][0] - times[0][0] <= whole
  _, _, status, said = predict._watched([sys.executable, "-c", "1 / 0"], lambda: 0)
  assert status == 1 and "ZeroDivisionError" in said[-1]


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


def test_an_environment_without_mediapipe_is_a_row_that_says_so(tmp_path):
  rig = walkers.ring(2)
  videos = {}
  for name in rig.names:
    videos[name] = tmp_path / f"{name}.avi"
    writer = cv2.VideoWriter(str(videos[name]), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
  for python in (sys.executable, str(tmp_path / "no_python")):
    row = predict.measure_mediapipe(python, videos, rig)
    assert row.note.startswith("not installed or failed: ") and len(row.note) > 30


def test_videos_and_cameras_belong_together(capsys):
  with pytest.raises(SystemExit):
    predict.main(["--videos", "cam*.mp4"])
  assert "belong together" in capsys.readouterr().err

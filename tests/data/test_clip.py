"""The rendered recording that README's first command makes."""

import cv2
import numpy as np
import pytest

from data.synthetic import clip
from epipolar_jax.calibration import judging
from epipolar_jax.rigs.rig import Rig


def test_videos_calibration_and_truth_belong_together(tmp_path, monkeypatch):
  monkeypatch.setattr(clip, "_SIZE", 64)
  clip.write(tmp_path, frames=3, views=2, hide=1, seed=0)
  rig = Rig.read(tmp_path / "calibration.json")
  assert rig.names == ("cam1", "cam2") and rig.sizes_wh == ((64, 64),) * 2
  with np.load(tmp_path / "truth.npz", allow_pickle=False) as file:
    joints = file["joints_3d"]
  assert joints.shape == (3, 17, 3)
  step = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
  assert 0 < step.max() < 400  # one moment after another, at 25 a second
  for view, name in enumerate(rig.names):
    uv = judging.project(rig.cameras[view], joints)
    assert ((uv > -0.5) & (uv < 63.5)).all()  # the person is in the image
    video = cv2.VideoCapture(str(tmp_path / f"{name}.mp4"))
    frames = [video.read()[1] for _ in range(3)]
    assert all(frame.shape == (64, 64, 3) and frame.std() > 5 for frame in frames)
    assert not video.read()[0]


@pytest.mark.parametrize("wrong", [["--views", "1"], ["--hide", "5"], ["--frames", "0"]])
def test_wrong_numbers_are_said(tmp_path, wrong, capsys):
  with pytest.raises(SystemExit):
    clip.main(["--output", str(tmp_path), *wrong])
  assert "--views is from 2 to 16" in capsys.readouterr().err


def test_the_next_command_runs_where_nothing_is_installed(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(clip, "write", lambda *_, **__: None)
  clip.main(["--output", str(tmp_path)])
  assert f"Next:\npython -m epipolar_jax predict --videos '{tmp_path}/" in capsys.readouterr().out

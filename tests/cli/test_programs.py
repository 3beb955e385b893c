"""Another number of frames compiles nothing again: programs are made for sizes by halves."""

import contextlib

import cv2
import jax
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.cli import detectors
from epipolar_jax.keypoints import writing
from tests import walkers
from tests.footage import dots

_COMPILED = "/jax/core/compile/backend_compile_duration"
_COUNTERS: list[list[str]] = []


def _listen(event, *_, **__):
  if event == _COMPILED:
    for counter in _COUNTERS:
      counter.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def _counted():
  """A list that gets an entry for every program that XLA compiles or finds in its cache."""
  counter: list[str] = []
  _COUNTERS.append(counter)
  try:
    yield counter
  finally:
    _COUNTERS.remove(counter)


def test_programs_are_counted():
  with _counted() as programs:
    jax.jit(lambda x: x * 17.25)(1.0)
  assert programs


@pytest.mark.parametrize("views", [3, 4])
def test_triangulate_has_one_program_for_90_and_100_frames(views, tmp_path):
  rig = walkers.ring(views)
  rig.write(tmp_path / "rig.json")
  for frames in (90, 100):
    seen = walkers.observed(walkers.walk(frames), rig, noise_px=1.0)
    writing.write(tmp_path / f"{frames}.npz", seen, "plain npz")

  def run(frames):
    given = [
      "--keypoints",
      str(tmp_path / f"{frames}.npz"),
      "--cameras",
      str(tmp_path / "rig.json"),
    ]
    assert command.main(["triangulate", *given, "--out", str(tmp_path / f"out_{frames}")]) == 0

  run(90)
  with _counted() as programs:
    run(100)
  assert not programs


def test_predict_has_one_program_for_9_and_20_frames(tmp_path, monkeypatch):
  rig, images = walkers.ring(3), dots.draw(dots.spread(20), walkers.ring(3))
  rig.write(tmp_path / "rig.json")
  for frames in (9, 20):
    for view, name in enumerate(rig.names):
      (tmp_path / f"{frames}" / name).mkdir(parents=True)
      for index in range(frames):
        image = images[index][view][..., ::-1]
        cv2.imwrite(str(tmp_path / f"{frames}" / name / f"{index}.png"), image)
  monkeypatch.setattr(detectors, "detector_of", lambda *_, **__: dots.DotDetector())

  def run(frames):
    given = ["--videos", str(tmp_path / f"{frames}" / "cam?"), "--no_film"]
    given += ["--cameras", str(tmp_path / "rig.json"), "--out", str(tmp_path / f"out_{frames}")]
    assert command.main(["predict", *given]) == 0

  run(9)
  with _counted() as programs:
    run(20)
  assert not programs

"""Prediction of whole recordings: killed and resumed, it gives what it would have given."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax import locking
from epipolar_jax.footage import prediction
from tests import walkers
from tests.footage import dots

_RIG = walkers.ring(3)
_FRAMES = 20


class _Drawn:
  """Stands in for `Footage`: frames drawn here, which fail at one of them."""

  def __init__(self, fail_at=None):
    self._frames, self._fail_at = dots.draw(dots.spread(_FRAMES), _RIG), fail_at
    self.description = {"file": "drawn"}

  def frames(self, start=0):
    for index in range(start, _FRAMES):
      if index == self._fail_at:
        raise KeyboardInterrupt
      yield self._frames[index]


def test_a_killed_prediction_goes_on_and_gives_the_same(tmp_path):
  whole = prediction.predict(_Drawn(), _RIG, dots.DotDetector(), tmp_path / "whole")
  assert whole.found.shape == (_FRAMES,) and whole.found.all()
  with pytest.raises(KeyboardInterrupt):
    prediction.predict(_Drawn(fail_at=17), _RIG, dots.DotDetector(), tmp_path / "killed")
  done, before = [], []
  detector = dots.DotDetector()
  told = {"progress": done.append, "resumed": before.append}
  resumed = prediction.predict(_Drawn(), _RIG, detector, tmp_path / "killed", **told)
  assert done == [16, 20] and before == [16]
  for field in dataclasses.fields(whole):
    a, b = getattr(whole, field.name), getattr(resumed, field.name)
    np.testing.assert_array_equal(a, b, err_msg=field.name)
  windows = detector.windows
  finished = prediction.predict(_Drawn(fail_at=0), _RIG, detector, tmp_path / "killed")
  assert detector.windows == windows
  np.testing.assert_array_equal(finished.own, whole.own)


def test_a_folder_of_another_prediction_is_refused(tmp_path):
  prediction.predict(_Drawn(), _RIG, dots.DotDetector(), tmp_path)
  other = dots.DotDetector()
  other.description = {"network": "others"}
  with pytest.raises(ValueError, match=r"detector network: .* there, \"others\" now"):
    prediction.predict(_Drawn(), _RIG, other, tmp_path)
  t = np.array(_RIG.cameras.translation)
  t[0, 0] += 1e-3
  moved = dataclasses.replace(_RIG, cameras=dataclasses.replace(_RIG.cameras, translation=t))
  with pytest.raises(ValueError, match=r"the calibration is another\. Give another --out, or"):
    prediction.predict(_Drawn(), moved, dots.DotDetector(), tmp_path)
  (tmp_path / "predict.json").write_text("{")
  with pytest.raises(ValueError, match=r"predict.json cannot be read"):
    prediction.predict(_Drawn(), _RIG, dots.DotDetector(), tmp_path)


def test_a_folder_that_another_process_writes_to_is_refused(tmp_path):
  with (
    locking.alone(tmp_path / "parts" / "lock"),
    pytest.raises(ValueError, match=r"is being written to by process \d+ .*another --out"),
  ):
    prediction.predict(_Drawn(), _RIG, dots.DotDetector(), tmp_path)
  assert not (tmp_path / "predict.json").exists()

"""The process that reads HDF5: it may crash, hang or run out of memory, and ours does not."""

import pytest

from epipolar_jax.keypoints import isolated, reading
from tests.keypoints import files


@pytest.mark.parametrize(
  ("program", "message"),
  [
    ("import os; os.kill(os.getpid(), 11)", "reading it ended with status -11"),
    ("while True: pass", "reading it does not end"),
    ("raise RuntimeError('what')", "reading it ended with status 1 .*RuntimeError: what"),
    (
      "import sys; from epipolar_jax.keypoints import isolated, reading; "
      "reading.read_source = lambda *_: bytearray(8 << 30); isolated.main()",
      "needs more memory than a file of its size should",
    ),
  ],
)
def test_what_happens_to_it_is_a_sentence(tmp_path, monkeypatch, program, message):
  path = files.sleap_analysis(tmp_path)
  monkeypatch.setattr(isolated, "_PROGRAM", program)
  if program.startswith("while"):
    monkeypatch.setattr(isolated, "_SECONDS", 1)
  with pytest.raises(ValueError, match=rf"(?s)cam\.analysis\.h5.*{message}"):
    reading.read_file(path)


def test_its_error_and_result_are_those_of_the_reader(tmp_path):
  path = files.sleap_analysis(tmp_path)
  assert reading.read_file(path).people == files.PEOPLE
  with pytest.raises(ValueError, match="names its joints; COCO_17 is for files that do not"):
    reading.read_file(path, joint_set="COCO_17")

"""Every 2D format: read what its description says, written and read again, damaged."""

import dataclasses
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from epipolar_jax.keypoints import reading, sources, writing
from epipolar_jax.keypoints.observations import Observations
from tests import damage
from tests.keypoints import files

# What the formats cannot say.
_NO_SCORE, _NO_FRAMES = ("caliscope", "coco labels"), ("mediapipe",)
_TRACKS = (
  "deeplabcut",
  "deeplabcut h5",
  "deeplabcut h5, fixed",
  "sleap analysis",
  "sleap",
  "plain npz",
)


def _format(name: str) -> str:
  return name.split(",")[0]


@pytest.mark.parametrize("name", files.MAKERS)
def test_a_known_file_is_recognised_and_read(name, tmp_path):
  path = files.MAKERS[name](tmp_path)
  assert reading.recognise(sources.load(path)) == _format(name)
  found = Observations.read(path, joint_set="COCO_17" if name == "caliscope" else None)
  truth = files.truth()
  first = 0 if name in (*_NO_FRAMES, "sleap analysis") else files.FIRST
  assert found.joints == files.JOINTS and found.first_frame == first
  points, score = found.points[:, :, 0], found.score[:, :, 0]
  if name == "sleap analysis":
    assert not score[: files.FIRST].any()
    points, score = points[files.FIRST :], score[files.FIRST :]
  tolerance = 1e-12 if name == "mediapipe" else 0
  np.testing.assert_allclose(points, truth[..., :2], rtol=tolerance)
  wanted = np.nan_to_num(truth[..., 2])
  wanted = (wanted > 0).astype(float) if name in _NO_SCORE else wanted
  np.testing.assert_allclose(score, wanted, rtol=1e-15)
  assert found.people == (files.PEOPLE if name in _TRACKS else ("0", "1") * (name == "caliscope"))
  assert found.matched == (name == "caliscope")
  assert found.sizes_wh == (((1000, 500),) if name == "mediapipe" else ())
  assert len(found.views) == 1 and found.views[0] in ("cam", "cam.analysis", "3")


def _several() -> Observations:
  """Three views of two people, one of whom a view never sees."""
  truth = files.truth()
  values = np.stack([truth, truth + np.array([1.0, 2.0, 0.0]), truth * [1.0, 1.0, 0.5]], axis=2)
  values[:, 1, 2] = np.nan
  return Observations(
    values[..., :2],
    values[..., 2],
    files.JOINTS,
    ("Cam-A", "top", "b/..c"),
    first_frame=files.FIRST,
  )


@pytest.mark.parametrize("name", writing.WRITERS)
def test_written_and_read_is_the_same(name, tmp_path):
  made = _several()
  paths, lost = writing.write(tmp_path / "out", made, name)
  assert all(path.resolve().is_relative_to(tmp_path) for path in paths)
  joint_set = "COCO_17" if name in ("openpose", "coco", "caliscope") else None
  if len(paths) == 1:
    found = reading.read_file(paths[0], joint_set=joint_set)
  else:
    assert [path.name.split(".")[0].removesuffix("_json") for path in paths] == [
      "Cam-A",
      "top",
      "b%2F",
    ]
    found = reading.read(dict(zip(made.views, paths)), joint_set=joint_set)
    if name == "sleap analysis":
      found = dataclasses.replace(
        found, points=found.points[4:], score=found.score[4:], first_frame=files.FIRST
      )
  if name != "caliscope":
    assert found.views == made.views
    np.testing.assert_array_equal(found.score, made.score)
  np.testing.assert_array_equal(found.points, made.points)
  assert (found.joints, found.first_frame) == (made.joints, made.first_frame)
  assert bool(lost) == (name in ("openpose", "coco", "caliscope"))


def test_what_is_not_carried_over_is_said(tmp_path):
  made = dataclasses.replace(
    _several(), fps=50.0, sizes_wh=((9, 9),) * 3, people=("a", "b"), matched=True
  )
  _, lost = writing.write(tmp_path / "x.npz", made, "plain npz")
  assert lost == []
  back = reading.read_file(tmp_path / "x.npz")
  for field in dataclasses.fields(made):
    np.testing.assert_array_equal(getattr(back, field.name), getattr(made, field.name))
  _, lost = writing.write(tmp_path / "d", made, "deeplabcut")
  assert lost == ["frames a second", "image sizes", "that people are the same in all views"]
  _, lost = writing.write(tmp_path / "o", made, "openpose")
  assert "names of people" in lost and "joint names" in lost
  with pytest.raises(FileExistsError, match="holds json files: choose another folder"):
    writing.write(tmp_path / "o", made, "openpose")
  with pytest.raises(ValueError, match="format should be one of plain npz"):
    writing.write(tmp_path / "x", made, "mp3")


@pytest.mark.parametrize("name", files.MAKERS)
def test_damage(name, tmp_path):
  path = files.MAKERS[name](tmp_path)
  damaged = path if path.is_file() else sorted(path.iterdir())[1]

  def sound(found):
    assert np.isfinite(found.points[found.seen]).all() and found.score.max(initial=0.0) <= 1

  rng = np.random.default_rng(list(name.encode()))
  # A file of HDF5 is read by a process of its own, which takes 0.5 s.
  rounds = 6 if path.suffix in (".h5", ".slp") else 60
  damage.check_reader(lambda: reading.read_file(path), damaged, check=sound, rng=rng, rounds=rounds)


_MANY = """
import pathlib, resource, sys
import numpy as np
from epipolar_jax.keypoints import reading, sources
from tests import damage
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
path = pathlib.Path(sys.argv[1])
data, rng, refused = path.read_bytes(), np.random.default_rng(1), 0
for _ in range(200):
  path.write_bytes(damage.damage(data, rng))
  try:
    found = reading.read_source(sources.load(path), None)
    assert np.isfinite(found.points[found.seen]).all()
  except (ValueError, MemoryError) as error:
    refused += 1
assert refused > 20, refused
"""


@pytest.mark.parametrize("name", [n for n in files.MAKERS if "h5" in n or "sleap" in n])
def test_much_damage_in_a_process_of_its_own(name, tmp_path):
  path = files.MAKERS[name](tmp_path)
  command = [sys.executable, "-c", _MANY, str(path)]
  environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
  ran = subprocess.run(command, env=environment, capture_output=True, text=True)
  assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.parametrize("name", ["mmpose", "alphapose", "coco"])
def test_wrong_types(name, tmp_path):
  path, rng = files.MAKERS[name](tmp_path), np.random.default_rng(5)
  value = json.loads(path.read_text())
  for _ in range(150):
    path.write_text(json.dumps(damage.mutate(value, rng)))
    try:
      found = reading.read_file(path)
    except ValueError as error:
      assert "cam.json" in str(error)
    else:
      assert np.isfinite(found.points[found.seen]).all()


def test_a_file_of_no_known_format(tmp_path):
  for name, data in (
    ("a.csv", b"a,b\n1,2\n"),
    ("a.json", b'{"a": 1}'),
    ("a.npz", None),
    ("a.h5", 1),
  ):
    path = tmp_path / name
    if data is None:
      np.savez(path, a=np.zeros(2))
    elif data == 1:
      with h5py.File(path, "w") as file:
        file["a"] = np.zeros(2)
    else:
      path.write_bytes(data)
    with pytest.raises(ValueError, match=r"not keypoints of any known format: plain npz"):
      reading.read_file(path)
  with pytest.raises(ValueError, match="neither a text nor an npz or HDF5 file"):
    (tmp_path / "b").write_bytes(b"ab\0\0")
    reading.read_file(tmp_path / "b")
  with pytest.raises(FileNotFoundError):
    reading.read_file(tmp_path / "c")
  (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbf")
  with pytest.raises(ValueError, match="a csv file, but not keypoints of any known format"):
    reading.read_file(tmp_path / "d.csv")
  with pytest.raises(ValueError, match="names its joints; COCO_17 is for files that do not"):
    reading.read_file(files.deeplabcut(tmp_path), joint_set="COCO_17")

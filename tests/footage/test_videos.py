"""Frames in step from videos and folders of images."""

import cv2
import numpy as np
import pytest

from epipolar_jax.footage import videos


def _video(path, grey, size_wh=(64, 48), fps=25):
  writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, size_wh)
  for level in grey:
    writer.write(np.full((size_wh[1], size_wh[0], 3), level, np.uint8))
  writer.release()
  return path


def _images(path, grey):
  path.mkdir()
  for index, level in enumerate(grey):
    cv2.imwrite(str(path / f"frame{index}.png"), np.full((32, 40, 3), level, np.uint8))
  return path


def test_frames_come_in_step_and_a_recording_that_ended_is_none(tmp_path):
  long = _video(tmp_path / "a.avi", range(0, 240, 20))
  short = _images(tmp_path / "b", range(0, 110, 10))
  footage = videos.Footage({"left": long, "right": short})
  assert footage.names == ("left", "right") and footage.counts == (12, 11)
  assert footage.sizes_wh == ((64, 48), (40, 32)) and footage.fps == 25
  frames = list(footage.frames())
  assert len(frames) == 12 and frames[11][1] is None
  for index, (left, right) in enumerate(frames[:11]):
    # Natural order: frame10 comes after frame9, not after frame1.
    assert right[0, 0, 0] == 10 * index
    assert abs(int(left.mean()) - 20 * index) <= 2
  later = list(footage.frames(start=7))
  assert len(later) == 5
  np.testing.assert_array_equal(later[0][0], frames[7][0])


def test_shifted_recordings_show_what_happened_together(tmp_path):
  sources = {"a": _images(tmp_path / "a", range(0, 120, 10))}
  # b saw at its frame 3 what a saw at 0, c at its frame -2.
  sources["b"] = _images(tmp_path / "b", range(0, 100, 10))
  sources["c"] = _images(tmp_path / "c", range(20, 120, 10))
  footage = videos.Footage(sources, shifts={"b": 3, "c": -2})
  assert footage.counts == (12, 7, 12)
  assert footage.description["b"]["shift"] == 3 and "shift" not in footage.description["a"]
  for start in (0, 1, 5):
    shown = [
      [None if image is None else int(image[0, 0, 0]) for image in images]
      for images in footage.frames(start)
    ]
    b = [10 * (f + 3) if f < 7 else None for f in range(start, 12)]
    c = [10 * f if f >= 2 else None for f in range(start, 12)]
    assert shown == [[10 * f, *more] for f, *more in zip(range(start, 12), b, c)]
  for shift in (12, -12, 10**9):
    with pytest.raises(ValueError, match=r"camera b is to start at frame .* 10 frames"):
      videos.Footage(sources, shifts={"b": shift})


def test_some_frames_are_those_of_all(tmp_path):
  sources = {"a": _video(tmp_path / "a.avi", range(0, 240, 20))}
  sources["b"] = _images(tmp_path / "b", range(0, 100, 10))
  footage = videos.Footage(sources, shifts={"b": -2})
  everything, numbers = list(footage.frames()), [0, 1, 2, 5, 11]
  for number, images in zip(numbers, footage.at(numbers)):
    for image, other in zip(images, everything[number]):
      np.testing.assert_array_equal(image, other)
  assert next(footage.at([1]))[1] is None and next(footage.at([99])) == [None, None]
  assert list(footage.at([])) == []


def test_colours_are_rgb(tmp_path):
  folder = tmp_path / "one"
  folder.mkdir()
  cv2.imwrite(str(folder / "0.png"), np.full((8, 8, 3), (10, 20, 200), np.uint8))
  ((image,),) = videos.Footage({"one": folder}).frames()
  assert image[0, 0].tolist() == [200, 20, 10]


def test_what_cannot_be_read_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"none.mp4"):
    videos.Footage({"a": tmp_path / "none.mp4"})
  text = tmp_path / "text.mp4"
  text.write_text("no video")
  with pytest.raises(ValueError, match=r"text.mp4"):
    videos.Footage({"a": text})
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="holds no images"):
    videos.Footage({"a": tmp_path / "empty"})
  slow, fast = _video(tmp_path / "s.avi", [0] * 3), _video(tmp_path / "f.avi", [0] * 3, fps=50)
  with pytest.raises(ValueError, match="a 25, b 50"):
    videos.Footage({"a": slow, "b": fast})
  folder = _images(tmp_path / "mixed", [1, 2])
  cv2.imwrite(str(folder / "frame9.png"), np.zeros((8, 8, 3), np.uint8))
  with pytest.raises(ValueError, match=r"frame9.png is 8 by 8"):
    list(videos.Footage({"a": folder}).frames())
  with pytest.raises(ValueError, match="no videos"):
    videos.Footage({})


def test_an_image_that_promises_too_much_is_not_decoded(tmp_path):
  folder = _images(tmp_path / "bomb", [0])
  header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (40000).to_bytes(4, "big") * 2
  (folder / "frame0.png").write_bytes(header + bytes(9))
  with pytest.raises(ValueError, match="40000 x 40000"):
    videos.Footage({"a": folder})

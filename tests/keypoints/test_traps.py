"""What goes wrong with other tools' 2D files and gives plausible wrong 3D, format by format."""

import builtins
import json

import h5py
import numpy as np
import pytest

from epipolar_jax.keypoints import hdf5, npz, reading, sources
from tests.keypoints import files


def _read(path, joint_set=None):
  """In this process, as it is quick."""
  return reading.read_source(sources.load(path), joint_set)


def _changed_json(path, change):
  value = json.loads(path.read_text())
  change(value)
  path.write_text(json.dumps(value))
  return path


def test_alphapose_confidence_is_0_to_6_or_0_to_1(tmp_path):
  path = files.alphapose(tmp_path)
  entries = json.loads(path.read_text())
  entries = [
    e | {"keypoints": [x / 6 if i % 3 == 2 else x for i, x in enumerate(e["keypoints"])]}
    for e in entries
  ]
  path.write_text(json.dumps(entries))
  found = _read(path)
  np.testing.assert_allclose(found.score[:, :, 0], np.nan_to_num(files.truth()[..., 2]), rtol=1e-12)
  entries[0]["keypoints"][2] = 7.5
  path.write_text(json.dumps(entries))
  with pytest.raises(ValueError, match=r"confidence from 0.0 to 7.5; 0 to 6 is known"):
    _read(path)
  path = _changed_json(files.alphapose(tmp_path), lambda v: v[0].update(image_id="one.jpg"))
  with pytest.raises(ValueError, match=r"number 0, image_id holds no number: 'one\.jpg'"):
    _read(path)


def test_images_of_coco_are_no_video(tmp_path):
  path = _changed_json(files.coco(tmp_path), lambda v: v[0].update(image_id=581_781_000))
  with pytest.raises(ValueError, match="numbered from 4 to 581781000: that is no video's count"):
    _read(path)


def test_mmpose_names_its_joints_and_counts_frames_from_1(tmp_path):
  path = _changed_json(files.mmpose(tmp_path), lambda v: v.update(meta_info={}))
  assert _read(path).joints == files.JOINTS, "17 joints are COCO's, by their number alone"
  other = {str(i): f"point {i}" for i in range(17)}
  _changed_json(path, lambda v: v.update(meta_info={"keypoint_id2name": other}))
  assert _read(path).joints[3] == "point 3"
  assert _read(path, "COCO_17").joints == files.JOINTS
  _changed_json(path, lambda v: v["instance_info"][1].update(frame_id=0))
  with pytest.raises(ValueError, match="a frame has the number -1; they count from 0"):
    _read(path)


def test_mediapipe_is_normalised_and_needs_the_size(tmp_path):
  landmarks = np.zeros((2, 33, 5))
  landmarks[0, 4, :2] = 0.5, 1.0
  landmarks[..., 3] = 0.25
  landmarks[1] = np.nan
  path = tmp_path / "left.npz"
  np.savez(path, landmarks=landmarks, size_wh=[640, 480], fps=25.0)
  found = _read(path)
  np.testing.assert_array_equal(found.points[0, 0, 0, 4], [320.0, 480.0])
  assert (found.score[0] == 0.25).all() and not found.seen[1].any() and found.fps == 25.0
  assert found.joints[11] == "LShoulder" and found.sizes_wh == ((640, 480),)
  np.savez(path, landmarks=landmarks)
  with pytest.raises(ValueError, match="needs size_wh, the images' width and height"):
    _read(path)
  np.savez(path, landmarks=landmarks * 640, size_wh=[640, 480])
  with pytest.raises(ValueError, match=r"landmarks reach 640.0: they are not normalised"):
    _read(path)
  np.savez(path, landmarks=landmarks[0], size_wh=[640, 480])
  with pytest.raises(ValueError, match=r"landmarks should be \[frames, joints, 2 to 5\]"):
    _read(path)


def test_caliscope_has_older_names_and_points_once(tmp_path):
  path = files.caliscope(tmp_path)
  text = path.read_text()
  path.write_text(text.replace("keypoint_id", "point_id").replace("cam_id", "port"))
  found = _read(path)
  assert found.views == ("3",) and found.joints[2] == "2"
  assert _read(path, "COCO_17").joints == files.JOINTS
  lines = text.splitlines()
  path.write_text("\n".join([*lines, lines[3]]))
  with pytest.raises(ValueError, match=rf"row {len(lines) + 1}: this point is in it before"):
    _read(path)
  path.write_text(text.replace("\n4,3,0,1,", "\n4,left,0,1,"))
  with pytest.raises(ValueError, match="row 3, cam_id: 'left' is not a number"):
    _read(path)
  path.write_text(text.replace("img_loc_y", "y"))
  with pytest.raises(ValueError, match="has no column img_loc_y"):
    _read(path)


def test_sleap_counted_pixels_from_the_corner_once(tmp_path):
  found = _read(files.sleap_labels(tmp_path, 1.0))
  np.testing.assert_allclose(found.points[:, :, 0], files.truth()[..., :2], rtol=1e-12)
  assert files.sleap_labels(tmp_path, 1.0).read_bytes() != files.sleap_labels(tmp_path).read_bytes()


def test_a_persons_correction_counts_before_the_networks_instance(tmp_path):
  """The same frame and track: the one that is `from_predicted`, and one of the same track."""
  path = files.sleap_labels(tmp_path)
  with h5py.File(path, "r+") as file:
    frames, instances = (file[n][()] for n in ("frames", "instances"))
    made = np.zeros(34, file["points"].dtype)
    made["x"], made["y"], made["visible"] = np.arange(34), 7.0, True
    made["visible"][3] = False
    first = instances[frames[0]["instance_id_start"]]
    more = np.repeat(instances[:1], 2)
    more["instance_type"], more["instance_id"] = 0, 100 + np.arange(2)
    more["from_predicted"] = [first["instance_id"], -1]
    more["track"], more["point_id_start"], more["point_id_end"] = [-1, 1], [0, 17], [17, 34]
    count = len(instances)
    start, end = frames[0]["instance_id_start"], frames[0]["instance_id_end"]
    instances = np.concatenate([instances, instances[start:end], more])
    frames[0]["instance_id_start"], frames[0]["instance_id_end"] = count, len(instances)
    for name, value in (("frames", frames), ("instances", instances), ("points", made)):
      del file[name]
      file[name] = value
  found = _read(path)
  assert found.people == (), "an instance without a track is in no slot of a track"
  assert found.seen[0].any((-1, -2)).sum() == 2, "both of the network's are replaced"
  np.testing.assert_array_equal(found.points[0, 1, 0, :, 0], np.arange(17, 34))
  np.testing.assert_array_equal(found.seen[0, 0, 0], np.arange(17) != 3)
  assert (found.score[0][found.seen[0]] == 1).all()


def test_videos_of_one_sleap_file_are_views(tmp_path):
  """The second shows the same instances two frames later; it is called as its file."""
  path = files.sleap_labels(tmp_path)
  alone = _read(path)
  with h5py.File(path, "r+") as file:
    frames, videos = file["frames"][()], file["videos_json"][()]
    later = frames.copy()
    later["video"], later["frame_idx"] = 1, later["frame_idx"] + 2
    names = [*videos, json.dumps({"backend": {"filename": "/data/top/right.mp4"}}).encode()]
    for name, value in (("frames", np.concatenate([frames, later])), ("videos_json", names)):
      del file[name]
      file[name] = value
  found = _read(path)
  assert found.views == ("left", "right") and found.people == files.PEOPLE
  assert found.first_frame == files.FIRST and len(found.points) == 5
  np.testing.assert_array_equal(found.points[:3, :, 0], alone.points[:, :, 0])
  np.testing.assert_array_equal(found.points[2:, :, 1], alone.points[:, :, 0])
  assert not found.seen[:2, :, 1].any()
  with h5py.File(path, "r+") as file:
    file["frames"][4] = tuple(
      2 if n == "video" else v for n, v in zip(frames.dtype.names, frames[1])
    )
  with pytest.raises(ValueError, match=r"frames are of the videos \[0, 1, 2\]; it names 2"):
    _read(path)


@pytest.mark.parametrize("order", ["frame track node xy", "frame node xy track"])
def test_axes_of_an_analysis_file_are_those_it_states(tmp_path, order):
  path = files.sleap_analysis(tmp_path)
  wanted = _read(path)
  axes, usual = order.split(), ["track", "xy", "node", "frame"]
  with h5py.File(path, "r+") as file:
    for name in ("tracks", "point_scores"):
      here = [a for a in usual if a != "xy" or name == "tracks"]
      new = [a for a in axes if a in here]
      value = file[name][()].transpose([here.index(a) for a in new])
      del file[name]
      file[name] = value
      if order == "frame node xy track":
        file.attrs["transpose"] = False
      else:
        file[name].attrs["dims"] = json.dumps(new)
  np.testing.assert_array_equal(_read(path).points, wanted.points)
  np.testing.assert_array_equal(_read(path).score, wanted.score)
  with h5py.File(path, "r+") as file:
    file["tracks"].attrs["dims"] = '["a", "b"]'
  with pytest.raises(ValueError, match="dims are a, b"):
    _read(path)


def test_a_link_out_of_an_hdf5_file_is_not_followed(tmp_path):
  path = files.sleap_analysis(tmp_path)
  (tmp_path / "other").mkdir()
  other = files.sleap_analysis(tmp_path / "other")
  with h5py.File(path, "r+") as file:
    del file["tracks"]
    file["tracks"] = h5py.ExternalLink(str(other), "/tracks")
  with pytest.raises(ValueError, match="tracks: is a link to another file"):
    _read(path)


def test_a_pickle_in_an_h5_file_or_npz_is_not_run(tmp_path):
  path = files.deeplabcut_table(tmp_path)
  evil = b"cbuiltins\nexec\n(Vraise SystemExit('code of a pickle was run')\ntR."
  with h5py.File(path, "r+") as file:
    file["df_with_missing/table"].attrs["values_block_0_kind"] = np.bytes_(evil)
  with pytest.raises(ValueError, match="GLOBAL is not allowed in a table's attribute"):
    _read(path)
  np.savez(tmp_path / "a.npz", points=np.array([print], object), score=1, views=1)
  with pytest.raises(ValueError, match=r"an array of object and shape .* is not read"):
    _read(tmp_path / "a.npz")


def test_sizes_of_an_npz_are_checked_before_its_arrays_are_read(tmp_path, monkeypatch):
  path = files.plain(tmp_path)
  monkeypatch.setattr(npz, "_MOST_BYTES", 1000)
  with pytest.raises(ValueError, match=r"cam\.npz: .* its entry has .* bytes"):
    _read(path)


def test_without_h5py_a_sentence_says_what_to_install(tmp_path, monkeypatch):
  path, real = files.sleap_analysis(tmp_path), builtins.__import__

  def without(name, *args, **kwargs):
    if name == "h5py":
      raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, "__import__", without)
  with pytest.raises(ModuleNotFoundError, match=r"need h5py: pip install h5py"):
    hdf5.library()
  with pytest.raises(ModuleNotFoundError, match=r"need h5py"):
    _read(path)


@pytest.mark.parametrize(
  "change, said",
  [
    (lambda v: v["annotations"][0].update(image_id=5), "annotation 0 is of image 5, which is not"),
    (lambda v: v["annotations"][1]["keypoints"].pop(), "annotation 1: 50 numbers are not x, y"),
    (lambda v: v["annotations"][0]["keypoints"].__setitem__(2, 3), "0, 1 and 2 are known"),
    (lambda v: v["images"][1].update(file_name="video/img00007.png"), "view and number of another"),
    (lambda v: v["images"][1].update(id=100), "1 images have the id of another"),
    (lambda v: v["categories"][0].pop("keypoints"), "category 0 does not name its joints"),
    (lambda v: v["categories"][0].update(id=9), "no annotation is of a category"),
  ],
)
def test_what_is_wrong_in_labels_of_coco_is_named(change, said, tmp_path):
  path = files.coco_labels(tmp_path)
  first = f"video/img{files.FIRST:05d}.png"
  path = _changed_json(path, change)
  path.write_text(path.read_text().replace("video/img00007.png", first))
  with pytest.raises(ValueError, match=said):
    reading.read_file(path)


def test_labels_of_coco_have_a_view_for_each_folder(tmp_path):
  path = files.coco_labels(tmp_path)

  def part(value):
    for index, image in enumerate(value["images"]):
      image["file_name"] = f"{'ab'[index % 2]}/img{files.FIRST + index // 2:05d}.png"

  found = reading.read_file(_changed_json(path, part))
  assert found.views == ("a", "b") and found.first_frame == files.FIRST
  truth = files.truth()
  np.testing.assert_array_equal(found.points[0, :, 1], truth[1][..., :2])

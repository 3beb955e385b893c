"""One camera's keypoints in every format, written from the formats' descriptions alone.

Two people in three frames, which begin with number 4: one is away in the second frame, and a joint
of the other is not seen in the third. Nothing here uses the package's readers or writers.
"""

import json
import pathlib

import h5py
import numpy as np

FIRST = 4
JOINTS = (
  *("Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow"),
  *("LWrist", "RWrist", "LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle"),
)
PEOPLE = ("ann", "bob")


def truth() -> np.ndarray:
  """[f, p, j, 3], x, y and score; NaN where not seen."""
  rng = np.random.default_rng(3)
  values = np.concatenate(
    [rng.uniform(1, 900, (3, 2, 17, 2)), rng.uniform(0.1, 1, (3, 2, 17, 1))], axis=-1
  )
  values[1, 1] = np.nan
  values[2, 0, 5] = np.nan
  return values


def flat(person: np.ndarray) -> list[float]:
  """x, y, score, x, y, ...; 0, 0, 0 where not seen."""
  return np.nan_to_num(person, nan=0.0).ravel().tolist()


def _people(frame: np.ndarray) -> list[np.ndarray]:
  return [person for person in frame if np.isfinite(person).any()]


def openpose(tmp_path: pathlib.Path) -> pathlib.Path:
  folder = tmp_path / "cam_json"
  folder.mkdir()
  for i, frame in enumerate(truth()):
    people = [{"person_id": [-1], "pose_keypoints_2d": flat(p)} for p in _people(frame)]
    text = json.dumps({"version": 1.3, "people": people})
    (folder / f"cam.{FIRST + i:05d}.json").write_text(text)
  return folder


def mmpose(tmp_path: pathlib.Path) -> pathlib.Path:
  infos = []
  for i, frame in enumerate(truth()):
    instances = [
      {
        "keypoints": p[:, :2].tolist(),
        "keypoint_scores": p[:, 2].tolist(),
        "bbox": [[0, 0, 9, 9]],
        "bbox_score": 0.9,
      }
      for p in map(np.nan_to_num, _people(frame))
    ]
    infos.append({"frame_id": FIRST + i + 1, "instances": instances})
  names = {str(i): name for i, name in enumerate(JOINTS)}
  value = {"meta_info": {"keypoint_id2name": names}, "instance_info": infos}
  (tmp_path / "cam.json").write_text(json.dumps(value))
  return tmp_path / "cam.json"


def alphapose(tmp_path: pathlib.Path) -> pathlib.Path:
  """Of a model trained on COCO: confidence to 6."""
  people = []
  for i, frame in enumerate(truth()):
    for person in _people(frame):
      keypoints = flat(person * [1, 1, 6])
      entry = {"image_id": f"{FIRST + i}.jpg", "category_id": 1, "score": 2.9}
      people.append(entry | {"keypoints": keypoints, "box": [0, 0, 1, 1], "idx": [0.0]})
  (tmp_path / "cam.json").write_text(json.dumps(people))
  return tmp_path / "cam.json"


def coco(tmp_path: pathlib.Path) -> pathlib.Path:
  people = [
    {"image_id": FIRST + i, "category_id": 1, "keypoints": flat(person), "score": 0.8}
    for i, frame in enumerate(truth())
    for person in _people(frame)
  ]
  (tmp_path / "cam.json").write_text(json.dumps(people))
  return tmp_path / "cam.json"


def coco_labels(tmp_path: pathlib.Path) -> pathlib.Path:
  """As a labelling tool exports them; labels that are hidden have v 1."""
  images, annotations = [], []
  for i, frame in enumerate(truth()):
    name = f"video/img{FIRST + i:05d}.png"
    images.append({"id": 100 + i, "file_name": name, "width": 1000, "height": 500})
    for person in _people(frame):
      values = np.nan_to_num(person)
      values[:, 2] = np.where(values[:, 2] > 0, 1 + (values[:, 2] > 0.5), 0)
      entry = {"id": len(annotations), "image_id": 100 + i, "category_id": 3}
      annotations.append(entry | {"keypoints": values.ravel().tolist()})
  categories = [{"id": 3, "name": "person", "keypoints": list(JOINTS)}]
  value = {"images": images, "annotations": annotations, "categories": categories}
  (tmp_path / "cam.json").write_text(json.dumps(value))
  return tmp_path / "cam.json"


def _columns() -> list[tuple[str, str, str, str]]:
  return [
    ("net", person, joint, c)
    for person in PEOPLE
    for joint in JOINTS
    for c in ("x", "y", "likelihood")
  ]


def deeplabcut(tmp_path: pathlib.Path) -> pathlib.Path:
  rows = [
    [name, *row]
    for name, row in zip(("scorer", "individuals", "bodyparts", "coords"), zip(*_columns()))
  ]
  for i, frame in enumerate(truth()):
    rows.append([str(FIRST + i), *("" if x != x else repr(x) for x in frame.ravel().tolist())])
  (tmp_path / "cam.csv").write_text("\n".join(",".join(row) for row in rows))
  return tmp_path / "cam.csv"


def _pickled(columns: list[tuple[str, ...]]) -> bytes:
  """A list of tuples of texts in pickle's protocol 0, the second column by recalled texts too."""
  parts, memo = [b"(lp0\n"], {}
  for column in columns:
    parts.append(b"(")
    for text in column:
      if text in memo:
        parts.append(b"g%d\n" % memo[text])
      else:
        memo[text] = len(memo) + 1
        parts.append(b"V%s\np%d\n" % (text.encode("raw-unicode-escape"), memo[text]))
    parts.append(b"ta")
  return b"".join([*parts, b"."])


def deeplabcut_table(tmp_path: pathlib.Path) -> pathlib.Path:
  """pandas' layout `table`."""
  values = truth().reshape(3, -1)
  table = np.zeros(3, [("index", "<i8"), ("values_block_0", "<f8", (values.shape[1],))])
  table["index"], table["values_block_0"] = FIRST + np.arange(3), values
  with h5py.File(tmp_path / "cam.h5", "w") as file:
    group = file.create_group("df_with_missing")
    group.attrs["pandas_type"] = np.bytes_(b"frame_table")
    group["table"] = table
    group["table"].attrs["values_block_0_kind"] = np.bytes_(_pickled(_columns()))
  return tmp_path / "cam.h5"


def deeplabcut_fixed(tmp_path: pathlib.Path) -> pathlib.Path:
  """pandas' layout `fixed`."""
  with h5py.File(tmp_path / "cam.h5", "w") as file:
    group = file.create_group("df_with_missing")
    group.attrs["pandas_type"] = np.bytes_(b"frame")
    group["axis1"] = FIRST + np.arange(3)
    group["block0_values"] = truth().reshape(3, -1)
    for i, column in enumerate(zip(*_columns())):
      level = sorted(set(column))
      group[f"block0_items_level{i}"] = [text.encode() for text in level]
      group[f"block0_items_label{i}"] = np.array([level.index(x) for x in column], np.int8)
  return tmp_path / "cam.h5"


def sleap_analysis(tmp_path: pathlib.Path) -> pathlib.Path:
  values = np.concatenate([np.full((FIRST, 2, 17, 3), np.nan), truth()])
  with h5py.File(tmp_path / "cam.analysis.h5", "w") as file:
    file["tracks"] = values[..., :2].transpose(1, 3, 2, 0)
    file["point_scores"] = values[..., 2].transpose(1, 2, 0)
    file["node_names"] = [name.encode() for name in JOINTS]
    file["track_names"] = [name.encode() for name in PEOPLE]
    file["track_occupancy"] = np.ones((7, 2), np.uint8)
  return tmp_path / "cam.analysis.h5"


def sleap_labels(tmp_path: pathlib.Path, version: float = 1.2) -> pathlib.Path:
  """Predictions of two tracks; nodes are listed in another order than the skeleton has them."""
  shift = 0.0 if version >= 1.1 else 0.5
  frames, instances, points = [], [], []
  for i, frame in enumerate(truth()):
    start = len(instances)
    for track, person in enumerate(frame):
      if not np.isfinite(person).any():
        continue
      first = len(points)
      for x, y, score in person.tolist():
        points.append((x + shift, y + shift, x == x, True, score))
      number = len(instances)
      instances.append((number, 1, i, 0, track, -1, 0.9, first, len(points)))
    frames.append((i, 0, FIRST + i, start, len(instances)))
  whole = [("frame_id", "<u8"), ("video", "<u4"), ("frame_idx", "<u8")]
  whole += [("instance_id_start", "<u8"), ("instance_id_end", "<u8")]
  one = [("instance_id", "<i8"), ("instance_type", "u1"), ("frame_id", "<u8"), ("skeleton", "<u4")]
  one += [("track", "<i4"), ("from_predicted", "<i8"), ("score", "<f4")]
  one += [("point_id_start", "<u8"), ("point_id_end", "<u8")]
  if version >= 1.2:
    one.append(("tracking_score", "<f4"))
    instances = [(*instance, 0.5) for instance in instances]
  made = [("x", "<f8"), ("y", "<f8"), ("visible", "?"), ("complete", "?")]
  listed = sorted(JOINTS)
  graph = {"name": "Skeleton-0", "num_edges_inserted": 0}
  skeleton = {"directed": True, "graph": graph, "links": [], "multigraph": True}
  skeleton["nodes"] = [{"id": listed.index(name)} for name in JOINTS]
  metadata = {"skeletons": [skeleton], "nodes": [{"name": n, "weight": 1.0} for n in listed]}
  video = {"backend": {"filename": "D:\\videos\\left.mp4"}}
  with h5py.File(tmp_path / "cam.slp", "w") as file:
    group = file.create_group("metadata")
    group.attrs["format_id"] = version
    group.attrs["json"] = np.bytes_(json.dumps(metadata).encode())
    file["frames"] = np.array(frames, whole)
    file["instances"] = np.array(instances, one)
    file["points"] = np.zeros(0, made)
    file["pred_points"] = np.array(points, [*made, ("score", "<f8")])
    file["tracks_json"] = [json.dumps([0, name]).encode() for name in PEOPLE]
    file["videos_json"] = [json.dumps(video).encode()]
  return tmp_path / "cam.slp"


def caliscope(tmp_path: pathlib.Path) -> pathlib.Path:
  """Two people are two objects; it has no scores."""
  lines = ["sync_index,cam_id,object_id,keypoint_id,img_loc_x,img_loc_y,obj_loc_x"]
  for f, p, j in np.argwhere(np.isfinite(truth()[..., 0])).tolist():
    x, y = truth()[f, p, j, :2].tolist()
    lines.append(f"{FIRST + f},3,{p},{j},{x!r},{y!r},")
  (tmp_path / "cam.csv").write_text("\n".join(lines))
  return tmp_path / "cam.csv"


def mediapipe(tmp_path: pathlib.Path) -> pathlib.Path:
  """Normalised by 1000 × 500 px; it has no frame numbers."""
  values = truth()
  landmarks = np.concatenate(
    [values[..., :2] / [1000, 500], np.zeros_like(values[..., :1]), values[..., 2:]], axis=-1
  )
  np.savez(tmp_path / "cam.npz", landmarks=landmarks, size_wh=[1000, 500])
  return tmp_path / "cam.npz"


def plain(tmp_path: pathlib.Path) -> pathlib.Path:
  values = truth()[:, :, None]
  np.savez(
    tmp_path / "cam.npz",
    format="epipolar-jax observations",
    version=1,
    points=values[..., :2],
    score=np.nan_to_num(values[..., 2]),
    joints=np.array(JOINTS),
    views=np.array(["cam"]),
    fps=np.nan,
    sizes_wh=np.zeros((0, 2), int),
    first_frame=FIRST,
    people=np.array(PEOPLE),
    matched=False,
  )
  return tmp_path / "cam.npz"


MAKERS = {
  "openpose": openpose,
  "mmpose": mmpose,
  "alphapose": alphapose,
  "coco": coco,
  "coco labels": coco_labels,
  "deeplabcut": deeplabcut,
  "deeplabcut h5": deeplabcut_table,
  "deeplabcut h5, fixed": deeplabcut_fixed,
  "sleap analysis": sleap_analysis,
  "sleap": sleap_labels,
  "caliscope": caliscope,
  "mediapipe": mediapipe,
  "plain npz": plain,
}

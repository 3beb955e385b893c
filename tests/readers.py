"""Every reader of files that come from outside, with a good file for it to be damaged.

What a reader may raise is what its docstring names; anything else is a fault.
"""

import functools
import json
import pathlib
import pickle
import shutil
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy import sparse

from data import integrity, opening, prepared
from data.h36m import annotations, builder, options, raw_images
from data.rhd import annotations as rhd
from epipolar_jax import checkpointing, metric_writer, skeletons
from epipolar_jax.footage import prediction, videos
from epipolar_jax.inputs import stored_images as stored
from epipolar_jax.keypoints import reading
from epipolar_jax.motion import files, formats
from epipolar_jax.original import pairwise_pickle, pth, pth_writer, safetensors
from epipolar_jax.pickles import numpy_pickle, text_pickle
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.training import run_folder
from epipolar_jax.triangulation import limb_priors
from epipolar_jax.triangulation.estimate import Estimate
from tests import dots, golden_files
from tests.data import h36m_raw
from tests.keypoints import files as keypoint_files
from tests.motion import motions
from tests.rigs import files as rig_files

_SIDE = 40  # px of images


class Target(NamedTuple):
  """Good files and how they are read.

  Attributes:
    files: one of these is damaged at a time.
    read: reads them and raises if what it got is not sound.
  """

  files: tuple[pathlib.Path, ...]
  read: Callable[[], Any]


class Reader(NamedTuple):
  """How to make a reader's good files in an empty folder, and what it may raise.

  Attributes:
    make: folder -> target.
    refuses: the kinds of exception that its docstring names.
  """

  make: Callable[[pathlib.Path], Target]
  refuses: tuple[type[Exception], ...] = (ValueError,)


def _files(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
  return (path,) if path.is_file() else tuple(p for p in sorted(path.rglob("*")) if p.is_file())


def _rig(name: str, folder: pathlib.Path) -> Target:
  path = rig_files.MAKERS[name](folder, rig_files.truth())

  def read():
    rig = Rig.read(path, size_wh=(1920, 1080))
    assert np.isfinite(rig.cameras.projection_matrix()).all(), "the rig is not finite"

  return Target(_files(path), read)


def _keypoints(name: str, folder: pathlib.Path) -> Target:
  path = keypoint_files.MAKERS[name](folder)

  def read():
    found = reading.read_file(path)
    assert not np.isinf(found.points).any(), "infinite points"
    assert np.isfinite(found.score).all(), "scores that are not finite"

  return Target(_files(path), read)


def _motion(name: str, folder: pathlib.Path) -> Target:
  path, count = folder / f"out{formats.FORMATS[name].suffix}", 2
  count = 2 if formats.FORMATS[name].people else 1
  formats.write(path, motions.make(count), name)
  return Target((path,), lambda: motions.assert_sound(formats.read(path)))


def _joints(folder: pathlib.Path) -> Target:
  rng, views = np.random.default_rng(0), tuple("ab")
  valid = rng.random((3, 1, 4)) < 0.8
  seen = rng.random((3, 1, 2, 4))
  points = rng.normal(size=(3, 1, 4, 3)) * valid[..., None]
  covariance = rng.normal(size=(3, 1, 4, 3, 3))
  found = Estimate(points, valid, covariance, seen, seen, tuple("wxyz"), views)
  files.write(folder / "joints.npz", found, fps=30.0)
  return Target(
    (folder / "joints.npz",), lambda: motions.assert_sound(formats.read(folder / "joints.npz"))
  )


def _part(folder: pathlib.Path) -> Target:
  """What `epipolar predict` keeps of frames that are done."""
  path, joints = folder / "00000000.npz", skeletons.COCO_17.num_joints
  shapes = {"found": (2,), "windows": (2, 3, 3)}
  shapes |= dict.fromkeys(("own", "fused"), (2, 3, joints, 2))
  arrays = {name: np.zeros(shapes.get(name, (2, 3, joints))) for name in prediction._ARRAYS}
  prediction.write_part(path, types.SimpleNamespace(**arrays), (), False)
  return Target((path,), lambda: prediction._read(path, (3, joints)))


def _bytes(name: str, content: bytes, read: Callable[[pathlib.Path], Any], folder) -> Target:
  path = folder / name
  path.write_bytes(content)
  return Target((path,), lambda: read(path))


def _array_pickle(folder: pathlib.Path) -> Target:
  value = {"a": [np.arange(6.0).reshape(2, 3), np.float32(2)], "b": (np.ones(3, bool), None, "x")}
  content = pickle.dumps(value, protocol=4)
  return _bytes("a.pkl", content, numpy_pickle.load, folder)


def _h36m(folder: pathlib.Path) -> Target:
  path = folder / "h36m_train.pkl"
  path.write_bytes(pickle.dumps(h36m_raw.records(1), protocol=4))

  def read():
    for index, record in enumerate(annotations.read(path)):
      annotations.view(record, f"record {index}")

  return Target((path,), read)


def _rhd(folder: pathlib.Path) -> Target:
  path = folder / "anno.pickle"
  shutil.copyfile(golden_files.FOLDER / "rhd_tiny" / "anno.pickle", path)

  def read():
    for number, record in rhd.read(path).items():
      rhd.check(path, number, record)

  return Target((path,), read)


def _pairwise(folder: pathlib.Path) -> Target:
  skeleton = skeletons.Skeleton("small", ("a", "b"), (-1, 0))
  axis = np.linspace(-1000, 1000, 4)
  places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
  distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
  tables = {(0, 1): sparse.csr_matrix(np.abs(distance - 700.0) <= 150.0)}
  content = pickle.dumps({"pairwise_constrain": tables}, protocol=4)
  read = functools.partial(pairwise_pickle.limb_lengths, skeleton=skeleton)
  return _bytes("pairwise.pkl", content, read, folder)


def _columns(folder: pathlib.Path) -> Target:
  content = b"(lp0\n(Vnet\np1\nVann\np2\nVnose\np3\nta(g1\ng2\nVtail\np4\nta."
  return _bytes("a.pkl", content, lambda path: text_pickle.loads(path.read_bytes()), folder)


def _pth(file_format: str, folder: pathlib.Path) -> Target:
  path = folder / "a.pth"
  tree = {"epoch": 1, "state_dict": {"w": np.ones((2, 3), np.float32), "b": np.zeros(3)}}
  pth_writer.write(path, tree, file_format=file_format)
  return Target((path,), lambda: pth.read(path))


def _safetensors(folder: pathlib.Path) -> Target:
  header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
  header["b"] = {"dtype": "I64", "shape": [], "data_offsets": [24, 32]}
  text = json.dumps(header).encode()
  content = len(text).to_bytes(8, "little") + text + bytes(32)
  return _bytes("a.safetensors", content, safetensors.read, folder)


def _image(side: int = _SIDE) -> np.ndarray:
  smooth = np.add.outer(np.arange(side), np.arange(side))[..., None] * [1, 2, 3]
  return (smooth % 256).astype(np.uint8)


def _jpeg(tiles: bool, folder: pathlib.Path) -> Target:
  settings = [cv2.IMWRITE_JPEG_RST_INTERVAL, 1] if tiles else []
  done, data = cv2.imencode(".jpg", _image(96), settings)
  assert done
  affine = np.array([[1, 0, -20], [0, 1, -20]], np.float32)

  def read(path):
    stored.warp(stored.Jpeg(path.read_bytes()), affine, np.zeros((32, 32, 3), np.uint8))

  return _bytes("a.jpg", data.tobytes(), read, folder)


def _png(folder: pathlib.Path) -> Target:
  done, data = cv2.imencode(".png", _image(rhd.SIDE))
  assert done
  read = functools.partial(rhd.read_image, channels=3)
  return _bytes("00000.png", data.tobytes(), read, folder)


def _archive(folder: pathlib.Path) -> Target:
  h36m_raw.write(folder, [], [], {"images/a.jpg": b"\xff\xd8" + bytes(range(256)) * 4})

  def read():
    raw_images._open_archive.cache_clear()  # one archive a process, else
    raw_images.Store(folder / "images.zip", False).read("a.jpg", "record 0")

  return Target((folder / "images.zip",), read)


def _prepared(folder: pathlib.Path) -> pathlib.Path:
  """The folder of a prepared data set of two frames, without its digests: a stranger's."""
  members = h36m_raw.images()
  h36m_raw.write(folder / "raw", h36m_raw.records(1), h36m_raw.records(1), members)
  made = builder.prepare(folder / "raw", folder / "data", options.Options(image_size=64))
  target = pathlib.Path(made.data_dir)
  (target / integrity.FILE).unlink()
  return target


def _prepared_json(folder: pathlib.Path) -> Target:
  target = _prepared(folder)
  named = ("features.json", "dataset_info.json")
  return Target(tuple(target / n for n in named), lambda: opening.open_folder(target))


def _prepared_records(folder: pathlib.Path) -> Target:
  target = _prepared(folder)
  records = tuple(p for p in _files(target) if "array_record" in p.name)
  assert records

  def read():
    _, problems = prepared.check(target, samples=0)
    if problems:
      raise ValueError(problems[0])

  return Target(records, read)


def _prepared_summary(folder: pathlib.Path) -> Target:
  target = _prepared(folder)
  read = functools.partial(builder.read_summary, folder / "data", 64)
  return Target((target / "summary.json",), read)


def _digests(folder: pathlib.Path) -> Target:
  (folder / "a.json").write_text("{}")
  integrity.record(folder)
  return Target((folder / integrity.FILE,), lambda: integrity.faults(folder))


def _checkpoint(parts: Iterable[str], folder: pathlib.Path) -> Target:
  path = folder / "1"
  weights = {"params": {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float32)}}
  checkpointing.write_weights(path, weights=weights, meta={"task": "x", "model": {"width": 0.5}})
  found = tuple(p for part in parts for p in _files(path / part) if p.stat().st_size)
  if tuple(parts) == ("meta",):
    return Target(found, lambda: checkpointing._read_meta(path))
  return Target(found, lambda: checkpointing.read_weights(path, say=str))


def _config(folder: pathlib.Path) -> Target:
  run_folder.write(folder, dots.config(), resumed=False)
  return Target((folder / "config.json",), lambda: run_folder.read(folder))


def _log(folder: pathlib.Path) -> Target:
  path, content = folder / "metrics.jsonl", "".join(f'{{"step": {i}}}\n' for i in range(9))
  path.write_text(content)
  return Target((path,), lambda: metric_writer._truncate(path, 5))


def _limbs(folder: pathlib.Path) -> Target:
  path, count = folder / "limbs.json", len(skeletons.H36M_17.limbs)
  priors = limb_priors.LimbPriors(np.full(count, 200.0), np.ones(count))
  limb_priors.write(path, priors, skeletons.H36M_17, {})
  return Target((path,), lambda: limb_priors.read(path, skeletons.H36M_17))


def _skeleton(folder: pathlib.Path) -> Target:
  content = b'name = "m"\nsize_mm = 90\njoints = ["a", "b"]\nparents = ["", "a"]\nflip_pairs = []\n'
  return _bytes("m.toml", content, skeletons.read, folder)


def _video(folder: pathlib.Path) -> Target:
  path = folder / "a.avi"
  writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (_SIDE, _SIDE))
  for _ in range(3):
    writer.write(_image())
  writer.release()
  return Target((path,), lambda: list(videos.Footage({"a": path}).frames()))


def _images(folder: pathlib.Path) -> Target:
  for name in ("0.jpg", "1.png"):
    cv2.imwrite(str(folder / name), _image())
  return Target(_files(folder), lambda: list(videos.Footage({"a": folder}).frames()))


_CHECKPOINT = (checkpointing.DamagedError,)
READERS = {
  **{f"calibration: {n}": Reader(functools.partial(_rig, n)) for n in rig_files.MAKERS},
  **{f"keypoints: {n}": Reader(functools.partial(_keypoints, n)) for n in keypoint_files.MAKERS},
  **{f"motion: {n}": Reader(functools.partial(_motion, n)) for n in formats.WRITTEN},
  "motion: joints npz": Reader(_joints),
  "pickle: arrays": Reader(_array_pickle),
  "pickle: Human3.6M": Reader(_h36m),
  "pickle: RHD": Reader(_rhd),
  "pickle: pairwise": Reader(_pairwise),
  "pickle: names of columns": Reader(_columns),
  "weights: .pth, legacy": Reader(functools.partial(_pth, "legacy"), (pth.CheckpointError,)),
  "weights: .pth, zip": Reader(functools.partial(_pth, "zip"), (pth.CheckpointError,)),
  "weights: .safetensors": Reader(_safetensors, (pth.CheckpointError,)),
  "weights: checkpoint": Reader(functools.partial(_checkpoint, ("weights",)), _CHECKPOINT),
  "weights: meta": Reader(functools.partial(_checkpoint, ("meta",)), _CHECKPOINT),
  "image: JPEG": Reader(functools.partial(_jpeg, False)),
  "image: JPEG in tiles": Reader(functools.partial(_jpeg, True)),
  "image: PNG": Reader(_png),
  "image: folder": Reader(_images),
  "video": Reader(_video),
  "archive of images": Reader(_archive),
  "prepared data: description": Reader(_prepared_json),
  "prepared data: examples": Reader(_prepared_records),
  "prepared data: summary": Reader(_prepared_summary),
  "prepared data: digests": Reader(_digests),
  "run: config.json": Reader(_config),
  "run: metrics.jsonl": Reader(_log),
  "run: part of a prediction": Reader(_part),
  "limb lengths": Reader(_limbs),
  "skeleton": Reader(_skeleton),
}

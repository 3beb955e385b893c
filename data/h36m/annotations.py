"""The annotation files of the H36M toolbox: what a record must hold, and frames of four records.

A file is a pickled list of dicts, one for each image:

  image                      "s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_000001.jpg"
  subject, action, subaction, image_id, camera_id (0..3)
  joints_2d [17, 2] px of the distorted image     joints_vis [17, 3]
  joints_3d_camera [17, 3] mm                       center [2] px, scale [2] in 200 px: person box
  camera  R [3, 3] and T [3] mm, the centre: x_c = R (x_w - T); fx fy cx cy px; k [3], p [2]

`joints_3d` is there too but never used: the toolbox takes it from the "universal" skeleton, so it
is no position in the world.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from data import faults, files
from epipolar_jax.pickles import numpy_pickle

NUM_CAMERAS = 4
NUM_JOINTS = 17
SPLITS = ("train", "validation")
# By the data set's own metadata. Some code has 14 and 15 the other way round.
ACTIONS = {
  2: "directions",
  3: "discussion",
  4: "eating",
  5: "greeting",
  6: "phoning",
  7: "posing",
  8: "purchases",
  9: "sitting",
  10: "sitting_down",
  11: "smoking",
  12: "taking_photo",
  13: "waiting",
  14: "walking",
  15: "walking_dog",
  16: "walking_together",
}
# (subject, action, subaction) of clips whose 3D labels are shifted against the images.
DAMAGED = frozenset({(9, 5, 2), (9, 10, 2), (9, 13, 1)})
# The stored fields are 32 bits wide.
_LARGEST_NUMBER = 2**31 - 1
# A person box outside these is a mistake, px.
_BOX_SIDES = (20.0, 3000.0)
_SIDE = 1000
# The camera in an image's name, from 1.
_NAME = re.compile(r"^s_\d+_act_\d+_subact_\d+_ca_(\d{1,4})_")
_KEY = ("subject", "action", "subaction", "image_id")


@dataclasses.dataclass(frozen=True)
class Frame:
  """The records of one moment, by camera.

  Attributes:
    records: NUM_CAMERAS dicts as they stand in the file.
    indices: their positions in it.
  """

  records: tuple[dict[str, Any], ...]
  indices: tuple[int, ...]

  @property
  def damaged(self) -> bool:
    """Its clip's 3D labels are known to be shifted against its images."""
    first = self.records[0]
    return (first["subject"], first["action"], first["subaction"]) in DAMAGED


@dataclasses.dataclass(frozen=True)
class View:
  """One checked record.

  Attributes:
    where: names file and record, for messages.
    image: path below the folder of images.
    camera: number, 0..3.
    rotation: [3, 3], world to camera.
    center: [3] mm, the camera's centre in the world.
    intrinsics: [3, 3] px, of the distorted image and of the undistorted one alike.
    distortion: [5], (k0, k1, p0, p1, k2), OpenCV's order.
    joints_2d: [17, 2] px of the distorted image.
    joints_camera: [17, 3] mm, camera frame.
    labelled: [17] bool.
    box_center: [2] px of the distorted image.
    box_size: px.
  """

  where: str
  image: str
  camera: int
  rotation: np.ndarray
  center: np.ndarray
  intrinsics: np.ndarray
  distortion: np.ndarray
  joints_2d: np.ndarray
  joints_camera: np.ndarray
  labelled: np.ndarray
  box_center: np.ndarray
  box_size: float

  @property
  def joints_world(self) -> np.ndarray:
    """[17, 3] mm."""
    return self.joints_camera @ self.rotation + self.center


def find_root(path: pathlib.Path) -> pathlib.Path:
  """The folder that holds `annot`: `path` or `path`/h36m.

  Raises:
    FileNotFoundError: neither does; the message lists what belongs there.
  """
  for root in (path, path / "h36m"):
    if (root / "annot").is_dir():
      return root
  raise FileNotFoundError(
    f"{path} has no folder annot: Human3.6M as the H36M toolbox writes it is "
    "annot/h36m_train.pkl, annot/h36m_validation.pkl and images/ or images.zip (data/README.md)"
  )


def path_of(root: pathlib.Path, split: str) -> pathlib.Path:
  """The annotation file of a split."""
  return root / "annot" / f"h36m_{split}.pkl"


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Reads an annotation file; nothing in it is executed.

  Raises:
    FileNotFoundError: it is not there.
    ValueError: it is damaged, holds anything but numbers, texts, arrays and their containers, or is
      not a list of dicts.
  """
  files.check_regular(path)
  records = numpy_pickle.load(path)
  if type(records) is not list or not records or not all(type(r) is dict for r in records):
    raise ValueError(
      f"{path} must hold a list of records (dicts), at least one; see data/README.md"
    )
  return records


def frames(
  records: list[dict[str, Any]], name: str, bad: faults.Faults, incomplete: faults.Faults
) -> list[Frame]:
  """Puts the four views of every moment together, in the order of the file.

  Args:
    records: from `read`.
    name: of the file, for messages.
    bad: for records without a place, duplicates, and clips whose frames are out of order (these
      are put in order).
    incomplete: for frames that not all cameras have.
  """
  found: dict[tuple[int, ...], list[int]] = {}
  for index, record in enumerate(records):
    try:
      _place(record, index, f"{name}, record {index}", records, found)
    except faults.BadRecord as fault:
      bad.add(fault)
  newest: dict[tuple[int, ...], int] = {}
  unsorted = set()
  for key, indices in found.items():
    clip = key[:3]
    if key[3] < newest.get(clip, key[3]) and clip not in unsorted:
      unsorted.add(clip)
      what = (
        f"{name}, record {max(indices)}: frame {key[3]} of {_clip_name(clip)} comes after frame"
      )
      bad.add(faults.BadRecord("clip out of order", f"{what} {newest[clip]}: sort the file"))
    newest[clip] = max(key[3], newest.get(clip, key[3]))
  clips: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
  for key, indices in found.items():
    if -1 in indices:
      cameras = [i for i in range(NUM_CAMERAS) if indices[i] < 0]
      incomplete.add(
        faults.BadRecord(
          "not in all cameras",
          f"{name}, record {max(indices)}: frame {key[3]} of {_clip_name(key[:3])} is missing in "
          f"camera {', '.join(map(str, cameras))}",
        )
      )
    else:
      clips.setdefault(key[:3], []).append(key)
  ordered = (key for clip in clips.values() for key in sorted(clip))
  return [Frame(tuple(records[i] for i in found[key]), tuple(found[key])) for key in ordered]


def _place(record, index, where, records, found):
  """Enters one record into `found`: (subject, action, subaction, image_id) -> index per camera."""
  key = tuple(_integer(record, field, where) for field in _KEY)
  camera = _integer(record, "camera_id", where)
  if not 0 <= camera < NUM_CAMERAS:
    raise faults.BadRecord(
      "bad field", f"{where}: camera_id is {camera}; allowed: 0..{NUM_CAMERAS - 1}"
    )
  if key[1] not in ACTIONS:
    raise faults.BadRecord("bad field", f"{where}: action is {key[1]}; allowed: 2..16")
  indices = found.setdefault(key, [-1] * NUM_CAMERAS)
  if indices[camera] >= 0:
    raise faults.BadRecord(
      "duplicate", f"{where} is camera {camera} of the same frame as record {indices[camera]}"
    )
  indices[camera] = index


def view(record: dict[str, Any], where: str) -> View:
  """Checks one record.

  Raises:
    faults.BadRecord: a field is absent, has another shape, or holds NaN or an impossible value.
  """
  camera = record.get("camera")
  if type(camera) is not dict:
    raise faults.BadRecord("bad field", f"{where}: camera is {_brief(camera)}; it must be a dict")
  in_camera = f"{where}, camera"
  rotation = _array(camera, "R", (3, 3), in_camera)
  if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
    raise faults.BadRecord("bad camera", f"{in_camera}: R is not a rotation")
  fx, fy, cx, cy = (float(_array(camera, name, (), in_camera)) for name in ("fx", "fy", "cx", "cy"))
  if not (fx > 0 and fy > 0):
    raise faults.BadRecord(
      "bad camera", f"{in_camera}: fx, fy are {fx}, {fy}; they must be positive"
    )
  k, p = _array(camera, "k", (3,), in_camera), _array(camera, "p", (2,), in_camera)
  for name in ("joints_2d", "joints_3d_camera", "joints_vis"):
    joints = record.get(name)
    if isinstance(joints, np.ndarray) and joints.ndim == 2 and len(joints) != NUM_JOINTS:
      raise faults.BadRecord(
        "wrong number of joints",
        f"{where}: {name} has {len(joints)} joints; the toolbox writes {NUM_JOINTS}",
      )
  scale = _array(record, "scale", (2,), where)
  side = 200.0 * float(scale[0])
  low, high = _BOX_SIDES
  for value in (200.0 * scale).tolist():
    if not low <= value <= high:
      raise faults.BadRecord(
        "bad field",
        f"{where}: the person box is {value} px (200 times scale); allowed: {low}..{high}",
      )
  center = _array(record, "center", (2,), where)
  if (center + side / 2 < 0).any() or (center - side / 2 > _SIDE).any():
    raise faults.BadRecord(
      "bad field",
      f"{where}: the person box of {side:g} px around center {center.tolist()} lies outside the "
      f"image of {_SIDE} px",
    )
  return View(
    where=where,
    image=_image_path(record, where),
    camera=_integer(record, "camera_id", where),
    rotation=rotation,
    center=_array(camera, "T", (3,), in_camera),
    intrinsics=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]),
    distortion=np.array([k[0], k[1], p[0], p[1], k[2]]),
    joints_2d=_array(record, "joints_2d", (NUM_JOINTS, 2), where),
    joints_camera=_array(record, "joints_3d_camera", (NUM_JOINTS, 3), where),
    labelled=_array(record, "joints_vis", (NUM_JOINTS, 3), where)[:, 0] > 0,
    box_center=center,
    box_size=side,
  )


def views(frame: Frame, name: str) -> tuple[View, ...]:
  """The checked records of a frame.

  Raises:
    faults.BadRecord: as `view`; or the names of the images say that cameras are swapped.
  """
  found = tuple(view(r, f"{name}, record {i}") for r, i in zip(frame.records, frame.indices))
  named = [_NAME.search(pathlib.PurePosixPath(v.image).name) for v in found]
  numbers = [int(match[1]) - 1 if match else None for match in named]
  if None not in numbers and set(numbers) == {v.camera for v in found}:
    for v, number in zip(found, numbers):
      if v.camera != number:
        raise faults.BadRecord(
          "images swapped",
          f"{v.where}: image is {v.image}, of camera {number} (from 0) by its name, but camera_id "
          f"is {v.camera}: the images of two cameras are swapped",
        )
  return found


def _array(record: dict[str, Any], field: str, shape: tuple[int, ...], where: str) -> np.ndarray:
  """A field as float64 of this shape; axes of length 1 may be added to it."""
  value = record.get(field)
  try:
    array = np.asarray(value, np.float64)
  except (TypeError, ValueError, OverflowError):
    array = np.asarray(np.nan)
  if array.size != np.prod(shape) or [n for n in array.shape if n > 1] != [
    n for n in shape if n > 1
  ]:
    found = f"has shape {array.shape}" if field in record else "is missing"
    raise faults.BadRecord("bad field", f"{where}: {field} {found}; it must be {list(shape)}")
  if not np.isfinite(array).all():
    raise faults.BadRecord("not finite", f"{where}: {field} holds NaN or infinity")
  return array.reshape(shape)


def _integer(record: dict[str, Any], field: str, where: str) -> int:
  value = record.get(field)
  if type(value) is not int or not 0 <= value <= _LARGEST_NUMBER:
    what = f"is {_brief(value)}" if field in record else "is missing"
    raise faults.BadRecord(
      "bad field", f"{where}: {field} {what}; it must be an integer of 0..{_LARGEST_NUMBER}"
    )
  return value


def _image_path(record: dict[str, Any], where: str) -> str:
  """The image's path, which must stay below the folder of images."""
  value = record.get("image")
  # Annotations made on Windows separate folders by backslashes.
  value = value.replace("\\", "/") if type(value) is str and "\0" not in value else None
  path = pathlib.PurePosixPath(value) if type(value) is str else None
  bad = path is None or not path.parts or path.is_absolute() or ".." in path.parts
  if bad or ":" in path.parts[0]:
    raise faults.BadRecord(
      "bad field", f"{where}: image is {_brief(record.get('image'))}; it must be a relative path"
    )
  return str(path)


def _brief(value: Any) -> str:
  if type(value) is int and abs(value) >= 10**40:
    return "a huge integer"  # whose digits Python refuses to write
  return repr(value)[:80] if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def _clip_name(clip: Iterable[int]) -> str:
  subject, action, subaction = clip
  return f"subject {subject}, action {action}, subaction {subaction}"

"""The raw Rendered Hand Pose data set, version 2: what its files hold, and how a record is checked.

  training/    color/00000.png ..  mask/00000.png ..  anno_training.pickle     41,258 images
  evaluation/  color/00000.png ..  mask/00000.png ..  anno_evaluation.pickle    2,728 images

Images are 320 x 320. An annotation file is a pickled dict: number of the image to

  xyz     [42, 3] metres, camera frame (x right, y down, z forward): left hand, then right hand;
          each is the wrist, then thumb, index, middle, ring and little finger from tip to base
  uv_vis  [42, 3], (u, v) px and 1 where the joint is visible
  K       [3, 3]

A mask holds 0 for the background, 1 for the person, 2..16 for the left hand's fingers (three each,
tip to base), 17 for its palm, and 18..33 the same for the right hand. The file may also have
`depth` folders; they are not read.
"""

import dataclasses
import pathlib
from typing import Any

import cv2
import numpy as np

from data import faults, files
from epipolar_jax.inputs import image_header
from epipolar_jax.pickles import numpy_pickle

FOLDERS = {"train": "training", "validation": "evaluation"}
SIDE = 320
NUM_JOINTS = 42
# First and last mask id of the left and of the right hand.
HAND_IDS = ((2, 17), (18, 33))
_PNG_END = b"IEND\xaeB`\x82"
_LARGEST_FILE = 16 << 20
# Median over the joints of one image. A wrong camera or unit is off by tens of pixels.
_REPROJECTION_TOLERANCE_PX = 3.0
# Wrist to base of the middle finger, mm.
_PALM_MM = (30.0, 300.0)
WHERE_FROM = (
  "Rendered Hand Pose version 2 comes from the University of Freiburg's computer vision group "
  "(RenderedHandposeDataset, RHD_v1-1.zip or later); unpack it and give the folder that holds "
  "`training` and `evaluation`. `python -m data.synthetic.export --layout rhd` writes a synthetic "
  "stand-in in the same format"
)


@dataclasses.dataclass(frozen=True)
class Record:
  """One checked annotation.

  Attributes:
    frame: number of the image.
    joints_3d: [42, 3] mm, camera frame.
    joints_2d: [42, 2] px.
    visible: [42] bool.
    intrinsics: [3, 3].
  """

  frame: int
  joints_3d: np.ndarray
  joints_2d: np.ndarray
  visible: np.ndarray
  intrinsics: np.ndarray


def find_folder(root: pathlib.Path, split: str) -> pathlib.Path:
  """The folder of a split in a raw data set, or in the RHD_published_v2 folder below `root`.

  Raises:
    ValueError: unknown split.
    FileNotFoundError: it is not there; the message says where to get it.
  """
  if split not in FOLDERS:
    raise ValueError(f"split is {split!r}; it must be one of {', '.join(FOLDERS)}")
  for folder in (root, root / "RHD_published_v2"):
    if (folder / FOLDERS[split] / annotation_name(split)).is_file():
      return folder / FOLDERS[split]
  wanted = root / FOLDERS[split] / annotation_name(split)
  raise FileNotFoundError(f"there is no {wanted}. {WHERE_FROM}")


def annotation_name(split: str) -> str:
  """File name of a split's annotations."""
  return f"anno_{FOLDERS[split]}.pickle"


def read(path: pathlib.Path) -> dict[int, Any]:
  """Reads an annotation file; its records are checked one by one with `check`.

  Returns:
    Records as they stand in the file by number of the image, in rising order.

  Raises:
    ValueError: not a file of this kind, or a damaged one.
  """
  files.check_regular(path)
  records = numpy_pickle.load(path)
  good = type(records) is dict and records
  if not good or not all(type(n) is int and 0 <= n < 10**6 for n in records):
    raise ValueError(f"{path} must hold a dict of records by number of the image")
  return dict(sorted(records.items()))


def check(path: pathlib.Path, frame: int, record: Any) -> Record:
  """Checks one record of an annotation file.

  Args:
    path: of the file, for messages.
    frame: number of the image.
    record: as it stands in the file.

  Raises:
    faults.BadRecord: something is missing or of the wrong shape, not finite, or the joints do not
      project onto their pixels.
  """
  where = f"{path}, record {frame}"
  arrays = {}
  for name, shape in (("xyz", (NUM_JOINTS, 3)), ("uv_vis", (NUM_JOINTS, 3)), ("K", (3, 3))):
    value = record.get(name) if type(record) is dict else None
    if not isinstance(value, np.ndarray) or value.shape != shape:
      got = f"of shape {value.shape}" if isinstance(value, np.ndarray) else "missing"
      raise faults.BadRecord(
        f"wrong {name}", f"{where}: {name} is {got}; it must be an array of {shape}"
      )
    arrays[name] = value.astype(np.float64)
    if not np.isfinite(arrays[name]).all():
      raise faults.BadRecord(f"{name} not finite", f"{where}: {name} has NaN or infinite values")
  joints_3d, joints_2d, intrinsics = 1000.0 * arrays["xyz"], arrays["uv_vis"][:, :2], arrays["K"]
  palms = np.linalg.norm(joints_3d[[12, 33]] - joints_3d[[0, 21]], axis=1)
  if not ((palms > _PALM_MM[0]) & (palms < _PALM_MM[1])).all():
    raise faults.BadRecord(
      "size of a hand",
      f"{where}: palms {palms[0]:.3g} and {palms[1]:.3g} mm long (wrist to base of the middle "
      f"finger); xyz must be in metres, and a palm is {_PALM_MM[0]:g} to {_PALM_MM[1]:g} mm long",
    )
  error = reprojection_error(joints_3d, joints_2d, intrinsics)
  if not error <= _REPROJECTION_TOLERANCE_PX:
    raise faults.BadRecord(
      "joints do not reproject",
      f"{where}: half of the joints project more than {error:.1f} px away from uv_vis; K and xyz "
      "do not belong together (x right, y down, z forward, metres)",
    )
  return Record(frame, joints_3d, joints_2d, arrays["uv_vis"][:, 2] == 1, intrinsics)


def reprojection_error(
  joints_3d: np.ndarray, joints_2d: np.ndarray, intrinsics: np.ndarray
) -> float:
  """Median distance in px of joints [n, 2] from the projections of [n, 3].

  Joints behind the camera have no projection and do not count: one hand may be there. With more
  than half of them behind it, the distance is infinite.
  """
  projected = joints_3d @ intrinsics.T
  ahead = projected[:, 2] > 0
  depth = np.where(ahead, projected[:, 2], 1.0)
  distance = np.linalg.norm(projected[:, :2] / depth[:, None] - joints_2d, axis=1)
  return float(np.median(distance[ahead])) if 2 * ahead.sum() >= len(ahead) else np.inf


def read_image(path: pathlib.Path, *, channels: int) -> np.ndarray:
  """Reads a PNG of the data set, whole and of the right size.

  Args:
    path: of the file.
    channels: 3 for an image (returned as RGB), 1 for a mask.

  Returns:
    [320, 320, 3] or [320, 320] uint8.

  Raises:
    faults.BadRecord: it is not there, damaged, truncated or of another size.
  """
  what = "image" if channels == 3 else "mask"
  try:
    data = files.read(path, largest=_LARGEST_FILE)
  except OSError as error:
    reason = error.strerror or error
    raise faults.BadRecord(f"no {what}", f"{path} cannot be read: {reason}") from error
  pixels, shape = None, (SIDE, SIDE, 3)[: 3 if channels == 3 else 2]
  # OpenCV fills up what is missing of a truncated file. A PNG's end has a place of its own: what
  # follows it does not matter.
  if _PNG_END in data:
    try:
      size = image_header.read(data)
      if size != (SIDE, SIDE):
        found = (*size[::-1], 3)[: len(shape)]
        raise faults.BadRecord(
          f"size of a {what}", f"{path} is uint8 {found}; it must be uint8 {shape}"
        )
      flag = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_UNCHANGED
      pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
      pixels = None
    except faults.BadRecord:
      raise
    except ValueError as error:
      raise faults.BadRecord(f"damaged {what}", f"{path} is {error}") from error
  if pixels is None:
    raise faults.BadRecord(f"damaged {what}", f"{path} is a truncated or damaged PNG")
  if pixels.shape != shape or pixels.dtype != np.uint8:
    raise faults.BadRecord(
      f"size of a {what}", f"{path} is {pixels.dtype} {pixels.shape}; it must be uint8 {shape}"
    )
  return pixels[..., ::-1] if channels == 3 else pixels


def hand_pixels(path: pathlib.Path) -> np.ndarray:
  """[2] int32, pixels of the left and of the right hand in a mask.

  Raises:
    faults.BadRecord: see `read_image`; or the mask holds other ids.
  """
  counts = np.bincount(read_image(path, channels=1).ravel(), minlength=256)
  if counts[HAND_IDS[1][1] + 1 :].any():
    raise faults.BadRecord(
      "ids of a mask", f"{path} holds id {counts.nonzero()[0][-1]}; a mask has 0..{HAND_IDS[1][1]}"
    )
  return np.array([counts[first : last + 1].sum() for first, last in HAND_IDS], np.int32)

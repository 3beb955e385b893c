"""Synthetic people as the H36M toolbox would have written them: distorted whole images, pickles.

Seven subjects, each with four cameras of their own in two sizes (1000 x 1002 and 1000 x 1000 px)
and lenses as strong as those of Human3.6M. Images are drawn without distortion at `render_size`,
a little wider than the sensor sees, and bent to the sensor's size; the labels are exact.
Action numbers only tell the motions apart. `joints_3d` are positions in the world.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import functools
import pathlib
import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import tqdm

from data.synthetic import options as options_lib
from data.synthetic import rig as rig_lib
from data.synthetic import scene

SUBJECTS = {"train": (1, 5, 6, 7, 8), "validation": (9, 11)}
# Our motions under the numbers of Human3.6M's actions.
ACTIONS = {
  "dancing": 2,
  "acrobatics": 3,
  "boxing": 5,
  "kicking": 7,
  "climbing": 8,
  "sitting": 9,
  "getting up": 10,
  "crawling": 11,
  "jumping": 13,
  "walking": 14,
  "running": 15,
}
_WIDTH = rig_lib.SENSOR_SIZE
_ROWS = (1002, 1000, 1000, 1002)
# A barrel lens sees further out than its focal length says: drawn width / sensor width.
_FIELD = 1.12
_FRAME_STEP = 5
# Corners of the person box from the root, mm in the camera's frame, as the toolbox has them.
_BOX_LOW, _BOX_HIGH = np.array([-1000.0, -900.0, 0.0]), np.array([1000.0, 1100.0, 0.0])
_JPEG_QUALITY = 95
_THREADS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this layout."""
  parser.add_argument("--frames", type=int, default=200, help="training frames, 4 images each")
  parser.add_argument("--validation_frames", type=int, default=40)
  parser.add_argument("--render_size", type=int, default=640, help="px, enlarged to the sensor's")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--suits", type=float, default=1.0, help="share of people in marker suits")
  parser.add_argument("--zip", action="store_true", help="images.zip instead of a folder")


def write(output: pathlib.Path, arguments: argparse.Namespace) -> str:
  """Writes the data set; the annotations last.

  Args:
    output: folder, empty or not there.
    arguments: of `add_arguments`.

  Returns:
    What was written and what to do next.

  Raises:
    ValueError: fewer than one frame in a split.
  """
  counts = {"train": arguments.frames, "validation": arguments.validation_frames}
  if min(counts.values()) < 1:
    raise ValueError(f"frames and validation_frames are {counts}; each must be at least 1")
  options = options_lib.Options(
    seed=arguments.seed,
    image_size=arguments.render_size,
    supersampling=1,
    train_occlusion=0.0,
    suits=arguments.suits,
  )
  generator = _WholeViews(options)
  (output / "annot").mkdir(parents=True, exist_ok=True)
  total = 4 * sum(counts.values())
  with (
    _sink(output, arguments.zip) as save,
    tqdm.tqdm(total=total, unit="img", desc="write h36m") as bar,
    concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
  ):
    splits = {}
    for split, count in counts.items():
      # Compiles before the threads start, which would both compile the same.
      generator.frame(split, 0)

      def make(index, split=split):
        records = _make_frame(generator, split, index, save)
        bar.update(len(records))
        return records

      splits[split] = [record for frame in pool.map(make, range(count)) for record in frame]
  for split, records in splits.items():
    with (output / "annot" / f"h36m_{split}.pkl").open("wb") as file:
      pickle.dump(_in_order(records), file, protocol=4)
  return (
    f"wrote {total} images to {output}. They are synthetic: results on them say nothing about "
    f"Human3.6M.\nNext: python -m data.h36m.builder --raw {output} --data_dir data_cache"
  )


class _WholeViews(scene.Generator):
  """Frames whose subject and rig follow from their number, seen by whole sensors."""

  def cast(self, base: str, index: int, rng: np.random.Generator) -> tuple[int, int]:
    person = index % len(SUBJECTS[base])
    return person, person

  def aim(self, rig: rig_lib.Rig, root: np.ndarray) -> tuple[rig_lib.Rig, float]:
    scaled = self.to_drawn() @ rig.intrinsics
    return dataclasses.replace(rig, intrinsics=scaled), float(self.options.image_size)

  def to_drawn(self) -> np.ndarray:
    """[3, 3], sensor px to drawn px: the same middle, a wider field."""
    size = self.options.image_size
    scale = size / (_FIELD * _WIDTH)
    offset = (size - 1) / 2 - scale * (_WIDTH - 1) / 2
    return np.array([[scale, 0, offset], [0, scale, offset], [0, 0, 1.0]])

  @functools.lru_cache(maxsize=32)  # noqa: B019 - the generator lives as long as the program
  def lens(self, base: str, subject: int, camera: int) -> np.ndarray:
    """[5], (k0, k1, p0, p1, k2) of a camera."""
    rng = self._rng(base, "lens", subject, camera)
    low, high = [-0.24, 0.20, -2e-3, -2e-3, -0.01], [-0.19, 0.25, 2e-3, 2e-3, 0.01]
    return rng.uniform(low, high)

  @functools.lru_cache(maxsize=32)  # noqa: B019 - the same
  def bending(self, base: str, subject: int, camera: int, matrix: bytes) -> tuple[Any, Any]:
    """Maps of cv2.remap from the drawn image to the sensor of a camera with these intrinsics."""
    intrinsics = np.frombuffer(matrix).reshape(3, 3)
    u, v = np.meshgrid(np.arange(_WIDTH), np.arange(_ROWS[camera]))
    pixels = np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
    ideal = _undistort(pixels, intrinsics, self.lens(base, subject, camera))
    drawn = ideal * self.to_drawn()[0, 0] + self.to_drawn()[:2, 2]
    maps = drawn.astype(np.float32).reshape(_ROWS[camera], _WIDTH, 2)
    return cv2.convertMaps(maps, None, cv2.CV_16SC2)


def _undistort(pixels: np.ndarray, intrinsics: np.ndarray, lens: np.ndarray) -> np.ndarray:
  """Pixels [n, 2] of an ideal lens with the same K; 20 rounds are exact for these mild lenses.

  OpenCV's own, as a million pixels are too many for `rigs.lenses`, which checks each.
  """
  rounds = (cv2.TERM_CRITERIA_COUNT, 20, 0.0)
  arguments = pixels[:, None].astype(np.float64), intrinsics, lens
  if hasattr(cv2, "undistortPointsIter"):  # OpenCV 4
    ideal = cv2.undistortPointsIter(*arguments, None, intrinsics, rounds)
  else:
    ideal = cv2.undistortPoints(*arguments, R=None, P=intrinsics, criteria=rounds)
  return ideal[:, 0]


def _make_frame(
  generator: _WholeViews, split: str, index: int, save: Callable[[str, bytes], None]
) -> list[dict[str, Any]]:
  """Draws a frame, saves its images, returns its four records."""
  frame = generator.frame(split, index)
  subjects = SUBJECTS[split]
  subject, nth = subjects[index % len(subjects)], index // len(subjects)
  key = {
    "subject": subject,
    "action": ACTIONS[frame.action],
    "subaction": 1 + nth % 2,
    "image_id": 1 + _FRAME_STEP * nth,
  }
  to_sensor = np.linalg.inv(generator.to_drawn())
  records = []
  for camera, drawn in enumerate(frame.images):
    intrinsics = to_sensor @ frame.rig.intrinsics[camera]
    lens = generator.lens(split, subject, camera)
    maps = generator.bending(split, subject, camera, intrinsics.tobytes())
    distorted = cv2.remap(drawn, *maps, cv2.INTER_LINEAR)
    folder = "s_{subject:02d}_act_{action:02d}_subact_{subaction:02d}".format(**key)
    folder += f"_ca_{camera + 1:02d}"
    name = f"{folder}/{folder}_{key['image_id']:06d}.jpg"
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    save(name, cv2.imencode(".jpg", distorted[..., ::-1], quality)[1].tobytes())
    calibration = (intrinsics, lens, frame.rig.rotation[camera], frame.rig.centers[camera])
    records.append({"image": name, **labels(frame.joints_3d, *calibration)})
    records[-1].update(key, camera_id=camera, video_id=0, source="h36m")
  return records


def labels(
  joints: np.ndarray,
  intrinsics: np.ndarray,
  lens: np.ndarray,
  rotation: np.ndarray,
  center: np.ndarray,
) -> dict[str, Any]:
  """What the toolbox writes of one view: joints, camera, person box.

  Args:
    joints: [17, 3] mm, world.
    intrinsics: [3, 3] px.
    lens: [5], (k0, k1, p0, p1, k2).
    rotation: [3, 3], world to camera.
    center: [3] mm, of the camera.
  """
  in_camera = (joints - center) @ rotation.T
  points, _ = cv2.projectPoints(in_camera[:, None], np.zeros(3), np.zeros(3), intrinsics, lens)
  corners = (in_camera[0] + np.stack([_BOX_LOW, _BOX_HIGH])) @ intrinsics.T
  corners = corners[:, :2] / corners[:, 2:]
  k0, k1, p0, p1, k2 = lens
  return {
    "joints_2d": points[:, 0],
    "joints_3d": joints,
    "joints_3d_camera": in_camera,
    "joints_vis": np.ones((len(joints), 3)),
    "camera": {
      "R": rotation,
      "T": center[:, None],
      "fx": intrinsics[:1, 0],
      "fy": intrinsics[1:2, 1],
      "cx": intrinsics[:1, 2],
      "cy": intrinsics[1:2, 2],
      "k": np.array([[k0], [k1], [k2]]),
      "p": np.array([[p0], [p1]]),
    },
    "box": corners.ravel(),
    "center": tuple(corners.mean(0)),
    "scale": tuple((corners[1] - corners[0]) / 200.0),
  }


def _in_order(records):
  """Clip after clip, camera after camera, frame after frame, as the toolbox writes."""
  fields = ("subject", "action", "subaction", "camera_id", "image_id")
  return sorted(records, key=lambda record: [record[field] for field in fields])


@contextlib.contextmanager
def _sink(output: pathlib.Path, packed: bool) -> Iterator[Callable[[str, bytes], None]]:
  """Yields a function that saves an image in the folder or in the archive."""
  if not packed:

    def save(name, data):
      path = output / "images" / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(data)

    yield save
    return
  lock = threading.Lock()
  with zipfile.ZipFile(output / "images.zip", "w", zipfile.ZIP_STORED) as archive:

    def add(name, data):
      with lock:
        archive.writestr(f"images/{name}", data)

    yield add

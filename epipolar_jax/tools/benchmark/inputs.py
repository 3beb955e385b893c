"""Images a second and core of the Human3.6M builder and loader, beside the plain OpenCV recipe.

The recipe is what a loader does that works on the raw files: read the JPEG, undistort it, warp it,
normalise it, draw 17 target heatmaps. Here the first two are the builder's, once; the third is the
loader's; what is left is made on the device. The loader is the pipeline as training runs it, up to
batches of frames, with upright crops (configs/h36m.py) and with every augmentation. Time is
processor time of this process, all its threads together.
"""

import functools
import itertools
import pathlib
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable

import cv2
import numpy as np

from data import faults
from data.h36m import annotations, builder, examples, raw_images
from data.h36m import options as options_lib
from data.synthetic import export_h36m
from data.synthetic import rig as rig_lib
from epipolar_jax.inputs import crops, datasets, multiview, subsets
from epipolar_jax.tools.benchmark import timing

# Side of the network's input and of the images stored for it, px; stored side / person box.
_SIZES = ((256, 512, 1.8), (256, 320, 1.25), (384, 704, 1.8))
_FRAMES = 4
_LENS = np.array([-0.21, 0.23, -1e-3, -1e-3, -3e-3])
_AUGMENTATIONS = {
  "upright": crops.Augmentation(),
  "scaled, turned": crops.Augmentation(0.25, 30.0),
  "and colours, erased": crops.Augmentation(0.25, 30.0, 0.0, 0.0, 0.2, 0.2),
}
# What lifting from true joints reads.
_LABELS = functools.partial(multiview.load_frame, with_image=False)
_BATCH = 8
# As many examples as the shuffle needs to be quick; the few frames again and again.
_EXAMPLES = 4096


def run(seconds: float, only: tuple[str, ...] = ()) -> list[timing.Row]:
  """Measures recipe, builder and loader; ratios are to the recipe.

  Args:
    seconds: processor time for each measurement.
    only: sides of the network's input, for example ("256",); () is all.

  Raises:
    ValueError: no such side is measured.
  """
  chosen = [sizes for sizes in _SIZES if not only or str(sizes[0]) in only]
  if not chosen:
    raise ValueError(f"inputs are measured at 256 and 384 px, not {', '.join(only)}")
  threads = cv2.getNumThreads()
  cv2.setNumThreads(1)
  try:
    with tempfile.TemporaryDirectory() as folder:
      raw = _write_raw(pathlib.Path(folder) / "raw")
      return [row for sizes in chosen for row in _measure(raw, *sizes, seconds)]
  finally:
    cv2.setNumThreads(threads)


def _measure(raw, size, stored, margin, seconds):
  options = options_lib.Options(image_size=stored, margin=margin)
  store = raw_images.find_store(raw)
  path = annotations.path_of(raw, "train")
  frames = annotations.frames(annotations.read(path), path.name, faults.Faults(), faults.Faults())
  builder.prepare(raw, raw.parent, options)
  stored_frames = datasets.read(builder.open_prepared(raw.parent, stored), "train")
  source = subsets.Subset(stored_frames, np.arange(_EXAMPLES) % _FRAMES)
  views = [view for frame in frames for view in annotations.views(frame, path.name)]
  recipe = _timed(
    "OpenCV recipe", f"{size} px", lambda i: _recipe(views[i % len(views)], store, size), 1, seconds
  )
  built = _timed(
    "builder, once",
    f"{stored} px, margin {margin}",
    lambda i: examples.make(frames[i % _FRAMES], path.name, store, options),
    annotations.NUM_CAMERAS,
    seconds,
  )
  rows = [recipe, timing.against(built, recipe)]
  loaders = {name: (augmentation, None) for name, augmentation in _AUGMENTATIONS.items()}
  if (size, stored) == _SIZES[0][:2]:
    loaders["labels alone"] = _AUGMENTATIONS["upright"], _LABELS
  for name, (augmentation, load) in loaders.items():
    batches = multiview.train_batches(
      source,
      augmentation,
      size=size,
      batch_size=_BATCH,
      seed=0,
      start_step=0,
      num_steps=_EXAMPLES,
      num_threads=1,
      load=load,
    )
    # The first ones are made side by side with the others, ahead of time.
    list(itertools.islice(batches, 3))
    images = _BATCH * annotations.NUM_CAMERAS
    take = lambda _, batches=batches: next(batches)  # noqa: E731
    row = _timed(f"loader, {name}", f"{stored} to {size} px", take, images, seconds)
    rows.append(timing.against(row, recipe))
  return rows


def _timed(
  name: str, size: str, function: Callable[[int], object], images: int, seconds: float
) -> timing.Row:
  """Calls `function(0)`, `function(1)` ... until so much processor time is used."""
  function(0)
  times: list[float] = []
  while len(times) < 3 or sum(times) < seconds:
    start = time.process_time()
    function(len(times))
    times.append(time.process_time() - start)
  median = statistics.median(times)
  return timing.Row(
    name, size, 0.0, median, min(times), max(times), len(times), images / median, unit="images"
  )


def _recipe(view: annotations.View, store: raw_images.Store, size: int) -> tuple[np.ndarray, ...]:
  """One training image and its targets from the raw file, step by step."""
  image = cv2.imread(str(store.path / view.image))[:1000]
  image = cv2.undistort(image, view.intrinsics, view.distortion)
  points = np.concatenate([view.joints_2d, view.box_center[None]])[:, None]
  points = cv2.undistortPoints(points, view.intrinsics, view.distortion, P=view.intrinsics)[:, 0]
  affine = cv2.getRotationMatrix2D(points[-1], 10.0, size / view.box_size)
  affine[:, 2] += size / 2 - points[-1]
  image = cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR)
  joints = points[:-1] @ affine[:, :2].T + affine[:, 2]
  centers = np.arange(size // 4) * 4 + 1.5
  u, v = np.meshgrid(centers, centers)
  square = (u - joints[:, 0, None, None]) ** 2 + (v - joints[:, 1, None, None]) ** 2
  sigma = size / 32
  heatmaps = np.exp(-np.minimum(square / (2 * sigma**2), 4.60517)).astype(np.float32)
  mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  return ((image / 255.0 - mean) / std).astype(np.float32), heatmaps


def _write_raw(folder: pathlib.Path) -> pathlib.Path:
  """A raw set of a few frames, the same in both splits: people of random joints, smooth noise."""
  rng = np.random.default_rng(0)
  (folder / "annot").mkdir(parents=True)
  (folder / "images").mkdir()
  rig = rig_lib.sample_rig(rng, num_views=annotations.NUM_CAMERAS, jitter=1.0)
  records = []
  for frame in range(_FRAMES):
    joints = rng.normal([0, 0, 900], [300, 300, 400], (annotations.NUM_JOINTS, 3))
    for camera, center in enumerate(rig.centers):
      name = f"{frame}_{camera}.jpg"
      noise = rng.normal(128, 600, (raw_images.SIDE, raw_images.SIDE, 3))
      # Smooth enough for files of about 150 kB, as those of Human3.6M are.
      image = np.clip(cv2.GaussianBlur(noise, (0, 0), 7), 0, 255).astype(np.uint8)
      cv2.imwrite(str(folder / "images" / name), image)
      labels = export_h36m.labels(
        joints, rig.intrinsics[camera], _LENS, rig.rotation[camera], center
      )
      place = {"subject": 1, "action": 2, "subaction": 1, "image_id": frame, "camera_id": camera}
      records.append({"image": name, **place, **labels})
  for split in annotations.SPLITS:
    annotations.path_of(folder, split).write_bytes(pickle.dumps(records, protocol=4))
  return folder

"""Batches of frames with all their views: decode, crop, augment, batch. Pixels only, no geometry.

A batch is a pure function of (seed, step), so a resumed run needs nothing but its step. It is a
dict of numpy arrays with leading axes b (frames) and v (views):
  image [b v h w 3] uint8 RGB      crop [b v 2 3] stored px -> network px
  intrinsics [b v 3 3]             rotation [b v 3 3]           translation [b v 3] mm
  joints_2d [b v j 2] stored px    joints_3d [b j 3] mm         valid [b] False for padding
  labelled [b j] joints that have a position at all
  occluded [b v]                   subject, frame, action [b]
  damaged [b] if the data set marks frames whose labels are wrong
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import grain
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.inputs import crops

Batch = dict[str, np.ndarray]
# (example, augmentation, rng, size=...) -> the frame, without the axis b.
LoadFrame = Callable[..., Batch]
_COPIED = ("intrinsics", "rotation", "translation", "occluded", "subject", "frame", "action")


def train_batches(
  source: Sequence[dict[str, Any]],
  augmentation: crops.Augmentation,
  *,
  size: int,
  batch_size: int,
  seed: int,
  start_step: int,
  num_steps: int,
  num_threads: int,
  num_workers: int = 0,
  shard_index: int = 0,
  shard_count: int = 1,
  load: LoadFrame | None = None,
) -> Iterator[Batch]:
  """Yields the batches of steps `start_step` .. `num_steps` - 1, shuffled anew every epoch.

  The batch of a step does not depend on threads or workers. With several shards (processes of one
  job) it is dealt out to them frame by frame, so together they see what one would have seen.

  Args:
    source: random access to the stored examples of a split.
    augmentation: how far crops and colours change.
    size: side of the network input, px.
    batch_size: frames a step, over all shards; the frames left over at the end of an epoch open
      the next one.
    seed: of the order and of the augmentation.
    start_step: first step to yield.
    num_steps: length of the whole run.
    num_threads: host threads, of each worker if there are any.
    num_workers: host processes; 0 works in this one. Source and `load` must be picklable for them,
      and absl's flags parsed (`app.run` does that).
    shard_index: of this process.
    shard_count: of all; the batch yielded here has `batch_size` / `shard_count` frames.
    load: makes a frame of a stored example; `load_frame` unless given.

  Raises:
    ValueError: if the split has fewer frames than a batch, or the batch does not divide by the
      number of shards.
  """
  if len(source) < batch_size:
    raise ValueError(
      f"the training split has {len(source)} frames, fewer than train.batch_size {batch_size}"
    )

  if batch_size % shard_count:
    raise ValueError(
      f"train.batch_size {batch_size} cannot be dealt out to {shard_count} processes evenly"
    )
  make = functools.partial(
    _load_random, load=load or load_frame, augmentation=augmentation, size=size
  )
  data = grain.MapDataset.source(source).seed(seed).shuffle().repeat().random_map(make)
  if shard_count > 1:
    # After the random map: what is drawn for a frame depends on its place in the whole job.
    data = data[shard_index::shard_count]
  data = data.batch(batch_size // shard_count, drop_remainder=True)
  return iter(_read(data[start_step:num_steps], num_threads, num_workers))


def eval_batches(
  source: Sequence[dict[str, Any]],
  *,
  size: int,
  batch_size: int,
  max_frames: int = 0,
  num_threads: int,
  load: LoadFrame | None = None,
) -> Iterator[Batch]:
  """Yields a split once, in order, unaugmented; the last batch is padded with `valid` False.

  Args:
    source: random access to the stored examples of a split.
    size: side of the network input, px.
    batch_size: frames a batch.
    max_frames: stops after so many frames, evenly spread over the split; 0 is all of them.
    num_threads: host threads.
    load: makes a frame of a stored example; `load_frame` unless given.
  """
  load = load or load_frame
  nothing = crops.Augmentation()
  data = grain.MapDataset.source(source)
  if 0 < max_frames < len(source):
    picked = np.linspace(0, len(source) - 1, max_frames).round().astype(int)
    data = grain.MapDataset.source(picked).map(lambda i: source[int(i)])
  data = data.map(lambda example: load(example, nothing, np.random.default_rng(0), size=size))
  for batch in _read(data.batch(batch_size, drop_remainder=False), num_threads):
    missing = batch_size - len(batch["valid"])
    yield {name: _pad(x, missing) for name, x in batch.items()}


def device_part(batch: Batch) -> Batch:
  """Leaves out what a device cannot hold (names)."""
  return {name: x for name, x in batch.items() if x.dtype.kind in "biuf"}


def _read(data: grain.MapDataset, num_threads: int, num_workers: int = 0) -> grain.IterDataset:
  options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads)
  batches = data.to_iter_dataset(options)
  if not num_workers:
    return batches
  # Each worker makes every n-th batch; they come in the order of their steps.
  return batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers))


def _load_random(
  example: dict[str, Any],
  rng: np.random.Generator,
  *,
  load: LoadFrame,
  augmentation: crops.Augmentation,
  size: int,
) -> Batch:
  """`load` with its arguments as grain gives them; not a closure, so that workers can have it."""
  return load(example, augmentation, rng, size=size)


def _pad(x: np.ndarray, missing: int) -> np.ndarray:
  """Repeats the last example; a padded `valid` is False."""
  if not missing:
    return x
  tail = np.repeat(x[-1:], missing, 0)
  return np.concatenate([x, np.zeros_like(tail) if x.dtype == bool and x.ndim == 1 else tail])


def load_frame(
  example: dict[str, Any],
  augmentation: crops.Augmentation,
  rng: np.random.Generator,
  *,
  size: int,
) -> Batch:
  """Decodes, crops and augments one frame."""
  mirror = bool(rng.random() < augmentation.flip_probability)
  images, affines = [], []
  for picture, center, side in zip(example["image"], example["box_center"], example["box_size"]):
    affine = crops.random_crop(center, float(side), augmentation, rng, size=size, mirror=mirror)
    table = crops.color_table(augmentation, rng)
    warped = cv2.warpAffine(picture, affine, (size, size), flags=cv2.INTER_LINEAR)
    images.append(cv2.LUT(warped, table))
    affines.append(affine)
  for image in images:
    crops.erase(image, augmentation, rng)
  joints_2d, joints_3d = example["joints_2d"], example["joints_3d"]
  if mirror:
    # In a mirrored world the left wrist is a right wrist, in every view and in 3D.
    swap = list(skeletons.by_num_joints(len(joints_3d)).flip_order)
    joints_2d, joints_3d = joints_2d[:, swap], joints_3d[swap]
  copied = (*_COPIED, "damaged") if "damaged" in example else _COPIED
  batch = {name: np.asarray(example[name]) for name in copied}
  return batch | {
    "image": np.stack(images),
    "crop": np.stack(affines),
    "joints_2d": joints_2d,
    "joints_3d": joints_3d,
    # Those without a label lie on the body's axis: a mirrored frame has the same ones.
    "labelled": example.get("labelled", np.ones(len(joints_3d), bool)),
    "valid": np.asarray(True),
  }

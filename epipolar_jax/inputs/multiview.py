"""Batches of frames with all their views: decode, crop, augment, batch. Pixels only, no geometry.

A batch is a pure function of (seed, step), so a resumed run needs nothing but its step. It is a
dict of numpy arrays with leading axes b (frames) and v (views):
  image [b v h w 3] uint8 RGB      crop [b v 2 3] stored px -> network px
  intrinsics [b v 3 3]             rotation [b v 3 3]           translation [b v 3] mm
  joints_2d [b v j 2] stored px    joints_3d [b j 3] mm         valid [b] False for padding
  labelled [b v j] joints with a label in this view (`inputs.fields`); where there is none,
    joints_2d is 0, and joints_3d may be NaN
  occluded [b v]                   subject, frame, action [b]
  damaged [b] if the data set marks frames whose labels are wrong
  label_weight [b v j] if the data set says how much its labels count, 0..1
  present [b v] if some of its frames lack views: False where a view only fills the place
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.inputs import crops, fields, stored_images

Batch = dict[str, np.ndarray]
# What a frame gives to a batch: arrays without the axis b, and as its image what is to be drawn.
Frame = dict[str, np.ndarray | list[stored_images.Cut]]
# (example, augmentation, rng, size=...) -> the frame.
LoadFrame = Callable[..., Frame]
_BOX_SEED = 0  # of the errors of boxes in an evaluation
# Of data sets that have them.
_OPTIONAL = ("damaged", "label_weight", "present")
_COPIED = ("intrinsics", "rotation", "translation", "occluded", "subject", "frame", "action")


def train_batches(
  source: Sequence[dict[str, Any]],
  augmentation: crops.Augmentation,
  *,
  start_step: int,
  num_steps: int,
  num_threads: int,
  num_workers: int = 0,
  **options: Any,
) -> Iterator[Batch]:
  """Yields the batches of steps `start_step` .. `num_steps` - 1; they depend on nothing else here.

  Args:
    source: random access to the stored examples of a split.
    augmentation: how far crops and colours change.
    start_step: first step to yield.
    num_steps: length of the whole run.
    num_threads: host threads, of each worker if there are any.
    num_workers: host processes; 0 works in this one. Source and `load` must be picklable for them,
      and absl's flags parsed (`app.run` does that).
    **options: of `train_data`.

  Raises:
    ValueError: as `train_data`.
  """
  data = train_data(source, augmentation, **options)
  return iter(_read(data[start_step:num_steps], num_threads, num_workers))


def train_data(
  source: Sequence[dict[str, Any]],
  augmentation: crops.Augmentation,
  *,
  size: int,
  batch_size: int,
  seed: int,
  shard_index: int = 0,
  shard_count: int = 1,
  load: LoadFrame | None = None,
) -> grain.MapDataset:
  """The batch of every step by its number, without end, shuffled anew every epoch.

  With several shards (processes of one job) a batch is dealt out to them frame by frame, so
  together they see what one would have seen.

  Args:
    source: random access to the stored examples of a split.
    augmentation: how far crops and colours change.
    size: side of the network input, px.
    batch_size: frames a step, over all shards; the frames left over at the end of an epoch open
      the next one.
    seed: of the order and of the augmentation.
    shard_index: of this process.
    shard_count: of all; the batch made here has `batch_size` / `shard_count` frames.
    load: makes a frame of a stored example; `load_frame` unless given.

  Raises:
    ValueError: the split has fewer frames than a batch, the batch does not divide by the number of
      shards, or there is no such shard.
  """
  if len(source) < batch_size:
    raise ValueError(
      f"the training split has {len(source)} frames, fewer than train.batch_size {batch_size}"
    )
  _check_shard(shard_index, shard_count)
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
  return _in_batches(data, batch_size // shard_count, size)


def eval_batches(
  source: Sequence[dict[str, Any]],
  *,
  size: int,
  batch_size: int,
  max_frames: int = 0,
  num_threads: int,
  shard_index: int = 0,
  shard_count: int = 1,
  load: LoadFrame | None = None,
  box_error: float = 0.0,
) -> Iterator[Batch]:
  """Yields a split once, in order, unaugmented; the last batch is padded with `valid` False.

  With several shards each yields its part of every batch, and all yield as many batches: a shard
  for which no frame is left in the last one gets a batch of padding.

  Args:
    source: random access to the stored examples of a split.
    size: side of the network input, px.
    batch_size: frames a batch, over all shards.
    max_frames: stops after so many frames, evenly spread over the split; 0 is all.
    num_threads: host threads.
    shard_index: of this process.
    shard_count: of all; shard i has frames i, i + n, ... of each batch.
    load: makes a frame of a stored example; `load_frame` unless given.
    box_error: share of a box's side by which boxes are off, as a detector's are: each view's moves
      and grows by up to it, the same in every pass.

  Raises:
    ValueError: the batch does not divide by the number of shards, or there is no such shard.
  """
  _check_shard(shard_index, shard_count)
  if batch_size % shard_count:
    raise ValueError(
      f"eval.batch_size {batch_size} cannot be dealt out to {shard_count} processes evenly"
    )
  load = load or load_frame
  boxes = crops.Augmentation(scale_factor=box_error, translation_factor=box_error)
  picked = np.arange(len(source))
  if 0 < max_frames < len(source):
    picked = np.linspace(0, len(source) - 1, max_frames).round().astype(int)
  count = len(picked)
  # A place past the end repeats the last frame, as padding.
  places = np.arange(shard_index, -(-count // batch_size) * batch_size, shard_count)

  def make(place: int) -> Frame:
    # Of the frame alone: neither batches nor processes change what is drawn for it.
    index = int(picked[min(place, count - 1)])
    frame = load(source[index], boxes, np.random.default_rng((_BOX_SEED, index)), size=size)
    return frame | {"valid": np.asarray(place < count)}

  data = grain.MapDataset.source(places).map(make)
  yield from _read(_in_batches(data, batch_size // shard_count, size), num_threads)


def _check_shard(index: int, count: int) -> None:
  if not 0 <= index < count:
    raise ValueError(f"shard {index} of {count}: shards are numbered from 0 to {count - 1}")


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


def _in_batches(data: grain.MapDataset, batch_size: int, size: int) -> grain.MapDataset:
  return data.batch(batch_size, drop_remainder=True, batch_fn=functools.partial(_stack, size=size))


def _stack(frames: Sequence[Frame], *, size: int) -> Batch:
  """Frames as a batch; images are drawn where they stay, not made first and copied then."""
  fields.check_same_views(frames)
  batch = {k: np.stack([f[k] for f in frames]) for k in frames[0] if k != "image"}
  if "image" in frames[0]:
    views = len(frames[0]["image"])
    batch["image"] = np.empty((len(frames), views, size, size, 3), np.uint8)
    for images, frame in zip(batch["image"], frames):
      for image, cut in zip(images, frame["image"]):
        cut.draw(image)
  return batch


def _load_random(
  example: dict[str, Any],
  rng: np.random.Generator,
  *,
  load: LoadFrame,
  augmentation: crops.Augmentation,
  size: int,
) -> Frame:
  """`load` with its arguments as grain gives them; not a closure, so that workers can have it."""
  return load(example, augmentation, rng, size=size)


def load_frame(
  example: dict[str, Any],
  augmentation: crops.Augmentation,
  rng: np.random.Generator,
  *,
  size: int,
  with_image: bool = True,
  skeleton: skeletons.Skeleton | None = None,
) -> Frame:
  """Crops and augments one frame; its image is drawn when it gets its place in a batch.

  Args:
    example: as stored.
    augmentation: the random changes.
    rng: draws them.
    size: side of the crops, px.
    with_image: False leaves the images out.
    skeleton: of the joints; None where nothing is mirrored.

  Raises:
    ValueError: a camera or box of the frame cannot be used, or its joints are not the skeleton's;
      the message names frame and view.
  """
  fields.check(example)
  joints = len(example["joints_3d"])
  if skeleton is not None and joints != skeleton.num_joints:
    raise ValueError(
      f"{fields.where(example)}: joints_3d has {joints} joints, model.skeleton {skeleton.name} has "
      f"{skeleton.num_joints}: choose the skeleton of the data set"
    )
  mirror = bool(rng.random() < augmentation.flip_probability)
  affines, tables = [], []
  for center, side in zip(example["box_center"], example["box_size"]):
    affines.append(
      crops.random_crop(center, float(side), augmentation, rng, size=size, mirror=mirror)
    )
    tables.append(crops.color_table(augmentation, rng))
  joints_2d, joints_3d = np.asarray(example["joints_2d"]), np.asarray(example["joints_3d"])
  labelled = fields.labelled(example)
  joints_2d = np.where(np.isfinite(joints_2d).all(-1, keepdims=True), joints_2d, 0)
  if mirror:
    # In a mirrored world the left wrist is a right wrist, in every view and in 3D.
    if skeleton is None:
      raise ValueError("mirroring exchanges left and right: give the skeleton of the joints")
    swap = list(skeleton.flip_order)
    joints_2d, joints_3d, labelled = joints_2d[:, swap], joints_3d[swap], labelled[:, swap]
  copied = (*_COPIED, *(name for name in _OPTIONAL if name in example))
  frame = {name: np.asarray(example[name]) for name in copied}
  if mirror and "label_weight" in frame:
    frame["label_weight"] = frame["label_weight"][:, swap]
  frame |= {
    "crop": np.stack(affines),
    "joints_2d": joints_2d,
    "joints_3d": joints_3d,
    "labelled": labelled,
    "valid": np.asarray(True),
  }
  if with_image:
    erased = [crops.erased_box(size, augmentation, rng) for _ in affines]
    # Without jitter a table changes nothing.
    tables = tables if augmentation.color_jitter else [None] * len(tables)
    frame["image"] = [*map(stored_images.Cut, example["image"], affines, tables, erased)]
  return frame

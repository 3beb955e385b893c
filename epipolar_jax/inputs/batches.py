"""What a config's task reads: its data and its training batches."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections

from epipolar_jax import skeletons
from epipolar_jax.inputs import crops, datasets, lifting, multiview, subsets

Batch = multiview.Batch
device_part = multiview.device_part


def open_split(config: ml_collections.ConfigDict, split: str) -> Sequence[dict[str, Any]]:
  """Random access to the stored examples of one split, in the skeleton of the network."""
  source = datasets.open_split(config.data, split)
  skeleton = skeletons.of_model(config.model)
  if config.data.name == "footage":
    datasets.check_joints(config.data, skeleton)
  if config.data.name == "synthetic":
    datasets.check_skeleton(config.data, skeleton)
  union = config.data.name == "h36m" and skeleton == skeletons.UNION_20
  return subsets.UnionJoints(source) if union else source


def train_batches(
  config: ml_collections.ConfigDict,
  source: Sequence[dict[str, Any]],
  *,
  start_step: int,
  num_steps: int,
  shard_index: int = 0,
  shard_count: int = 1,
) -> Iterator[Batch]:
  """The batches of steps `start_step` .. `num_steps` - 1, a pure function of (seed, step).

  Args:
    config: the whole config.
    source: of the training split.
    start_step: first step to yield.
    num_steps: length of the whole run.
    shard_index: of this process in the job.
    shard_count: of all; each yields its part of every batch.

  Raises:
    ValueError: the split has fewer frames than a batch, the batch does not divide by the number of
      shards, or there is no such shard.
  """
  return multiview.train_batches(
    source,
    augmentation(config.data),
    size=config.data.image_size,
    batch_size=config.train.batch_size,
    seed=config.seed,
    start_step=start_step,
    num_steps=num_steps,
    num_threads=config.data.num_threads,
    num_workers=config.data.num_workers,
    shard_index=shard_index,
    shard_count=shard_count,
    load=_loader(config, train=True),
  )


def eval_batches(
  config: ml_collections.ConfigDict,
  source: Sequence[dict[str, Any]],
  *,
  shard_index: int = 0,
  shard_count: int = 1,
  box_error: float = 0.0,
) -> Iterator[Batch]:
  """A split once, in order, unaugmented; the last batch is padded with `valid` False.

  Args:
    config: the whole config; `eval.max_frames` spreads so many frames over the split.
    source: of the split.
    shard_index: of this process in the job.
    shard_count: of all; each yields its part of every batch, and all as many batches.
    box_error: share of its side by which a box is off, see `multiview.eval_batches`.

  Raises:
    ValueError: the batch does not divide by the number of shards, or there is no such shard.
  """
  return multiview.eval_batches(
    source,
    size=config.data.image_size,
    batch_size=config.eval.batch_size,
    max_frames=config.eval.max_frames,
    num_threads=config.data.num_threads,
    shard_index=shard_index,
    shard_count=shard_count,
    load=_loader(config, train=False),
    box_error=box_error,
  )


def _loader(config: ml_collections.ConfigDict, *, train: bool):
  """What turns a stored example into a frame."""
  if config.task != "multiview":
    return lifting.loader(config, train=train)
  return functools.partial(multiview.load_frame, skeleton=skeletons.of_model(config.model))


def augmentation(config: ml_collections.ConfigDict) -> crops.Augmentation:
  """The random changes that the `data` group asks for."""
  return crops.Augmentation(
    scale_factor=config.scale_factor,
    rotation_factor=config.rotation_factor,
    translation_factor=config.translation_factor,
    flip_probability=config.flip_probability,
    color_jitter=config.color_jitter,
    erase_probability=config.erase_probability,
  )

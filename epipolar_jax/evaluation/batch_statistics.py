"""Batch statistics as averages over whole batches: while training, or afresh before a test."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import tqdm

from epipolar_jax import tasks
from epipolar_jax.inputs import batches as inputs
from epipolar_jax.runtime import parallel, processes


def average(old: Any, new: Any, *, count: jax.Array | int) -> Any:
  """The mean of `count` earlier batches' statistics and a new one's.

  Args:
    old: tree of the mean so far; forgotten when count is 0.
    new: tree of one more batch.
    count: batches behind `old`.
  """
  return jax.tree.map(lambda a, b: a + (b - a) / (count + 1), old, new)


def recompute(config: ml_collections.ConfigDict, variables: Any) -> Any:
  """Replaces running statistics by means over unaugmented frames of the training split.

  Running statistics follow the last steps only, and those had augmented crops (the original's
  TEST.RECOMPUTE_BN, which goes on with its running averages).

  Args:
    config: the whole config; uses the first `eval.recompute_bn_frames` // `eval.batch_size` batches
      of that many frames spread evenly over the split.
    variables: of the model, replicated.

  Returns:
    The variables with new statistics.

  Raises:
    ValueError: fewer frames than a batch.
  """
  size, frames = config.eval.batch_size, config.eval.recompute_bn_frames
  if frames < size:
    raise ValueError(
      f"eval.recompute_bn_frames is {frames}, fewer than a batch of eval.batch_size {size}"
    )
  alone = config.copy_and_resolve_references()
  alone.model.bn_momentum = -1.0
  alone.eval.max_frames = frames
  task = tasks.build(alone, axis_name=parallel.AXIS)
  key = jax.random.key(config.seed)

  def step(state: tuple[Any, Any], batch: Any):
    params, old, count = state
    _, _, new = task.loss({"params": params, "batch_stats": old}, batch, key)
    return (params, average(old, new, count=count), count + 1), {}

  run = parallel.make_step(step)
  # A copy: the step donates its state, and the caller's variables must survive.
  state = jax.tree.map(jnp.copy, (variables["params"], variables["batch_stats"], jnp.int32(0)))
  state = parallel.replicate(state)
  source = processes.first_alone(functools.partial(inputs.open_split, alone, "train"))
  count = min(frames, len(source)) // size
  shard = {"shard_index": jax.process_index(), "shard_count": jax.process_count()}
  batches = itertools.islice(inputs.eval_batches(alone, source, **shard), count)
  options = {"unit": "batch", "leave": False, "disable": not processes.leads()}
  for batch in tqdm.tqdm(batches, total=count, desc="recompute BN", **options):
    state, _ = run(state, parallel.shard_batch(inputs.device_part(batch)))
  params, stats, _ = state
  return {"params": params, "batch_stats": stats}

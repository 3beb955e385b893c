"""Devices: programs mapped over them, batches dealt out to them, results gathered."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax import sharding

AXIS = "devices"  # name of the data-parallel axis in psum, pmean and synchronised BN


def replicated() -> sharding.NamedSharding:
  """The sharding of a value that is the same on every device of all processes."""
  # The order of pmap: process after process.
  devices = [d for i in range(jax.process_count()) for d in jax.local_devices(process_index=i)]
  mesh = sharding.Mesh(np.asarray(devices), (AXIS,))
  return sharding.NamedSharding(mesh, sharding.PartitionSpec())


def replicate(tree: Any) -> Any:
  """Puts a tree on every device, without a device axis.

  A state that enters the first step any other way makes the second step compile again, since the
  step returns it with this sharding. Every process must bring the same values.
  """
  place = replicated()
  if jax.process_count() == 1:
    return jax.device_put(tree, place)

  def put(x: Any) -> jax.Array:
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, place, lambda index: x[index])

  return jax.tree.map(put, tree)


def make_step(function: Callable[..., Any]) -> Callable[..., Any]:
  """Maps `function(state, batch) -> (state, metrics)` over devices; the state is donated.

  In a job of several processes each brings its own part of the batch.

  State and metrics have no device axis on either side, so everything returned must be equal on
  all devices: reduce gradients, statistics and metrics over `AXIS` inside `function`.
  """
  return jax.pmap(
    function, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0
  )


def make_predict(function: Callable[..., Any]) -> Callable[..., Any]:
  """Maps `function(variables, batch) -> per-example arrays` over devices."""
  return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), out_axes=0)


def shard_batch(batch: Any) -> Any:
  """Splits the leading axis over the local devices: [n*b, ...] -> [n, b, ...].

  Raises:
    ValueError: if the number of examples does not divide by the number of devices.
  """
  count = jax.local_device_count()

  def split(x: np.ndarray) -> np.ndarray:
    if len(x) % count:
      raise ValueError(
        f"a batch of {len(x)} frames cannot be split over {count} devices: "
        "choose train.batch_size and eval.batch_size divisible by the number of devices"
      )
    return x.reshape(count, len(x) // count, *x.shape[1:])

  return jax.tree.map(split, batch)


def prefetch(batches: Iterable[Any], *, ahead: int = 1) -> Iterator[Any]:
  """Yields `shard_batch` of each batch, already on its way to the devices while a step runs.

  In a job of several processes the transfer is left to the step itself.

  Args:
    batches: of numpy arrays.
    ahead: batches on the devices besides the one in use.
  """
  mesh = sharding.Mesh(np.asarray(jax.local_devices()), (AXIS,))
  placed = sharding.NamedSharding(mesh, sharding.PartitionSpec(AXIS))

  def put(batch: Any) -> Any:
    split = shard_batch(batch)
    return split if jax.process_count() > 1 else jax.device_put(split, placed)

  waiting = iter(batches)
  ready = collections.deque(put(batch) for batch in itertools.islice(waiting, ahead + 1))
  while ready:
    yield ready.popleft()
    ready.extend(put(batch) for batch in itertools.islice(waiting, 1))


def gather(tree: Any) -> Any:
  """Device results to numpy with one leading axis: [n, b, ...] -> [n*b, ...]."""
  return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), jax.device_get(tree))

"""Devices: programs mapped over them, batches dealt out to them, results gathered."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax import sharding
from jax.experimental import multihost_utils

AXIS = "devices"  # name of the data-parallel axis in psum, pmean and synchronised BN


def replicated() -> sharding.NamedSharding:
  """The sharding of a value that is the same on every device of all processes."""
  return sharding.NamedSharding(_mesh(), sharding.PartitionSpec())


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


def make_step(function: Callable[..., Any], *, by_shard_map: bool = False) -> Callable[..., Any]:
  """Maps `function(state, batch) -> (state, metrics)` over devices; the state is donated.

  In a job of several processes each brings its own part of the batch.

  State and metrics have no device axis on either side, so everything returned must be equal on
  all devices: reduce gradients, statistics and metrics over `AXIS` inside `function`.

  Args:
    function: of one device's share, without a device axis.
    by_shard_map: maps by `jax.shard_map` in place of `jax.pmap`, which jax keeps for compatibility
      only; the same bits.
  """
  if by_shard_map:
    return _by_shard_map(function, out_spec=sharding.PartitionSpec(), donate_argnums=0)
  return jax.pmap(
    function, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0
  )


def make_predict(function: Callable[..., Any], *, by_shard_map: bool = False) -> Callable[..., Any]:
  """Maps `function(variables, batch) -> per-example arrays` over devices; see `make_step`."""
  if by_shard_map:
    return _by_shard_map(function, out_spec=sharding.PartitionSpec(AXIS))
  return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), out_axes=0)


def shard_mapped(
  function: Callable[..., Any],
  mesh: sharding.Mesh | sharding.AbstractMesh,
  out_spec: sharding.PartitionSpec,
) -> Callable[..., Any]:
  """What `pmap` makes of `function(tree, batch)`, as a `jax.shard_map` to be put under `jit`.

  Args:
    function: of one device's share, without a device axis.
    mesh: of one axis, `AXIS`.
    out_spec: () for results that are equal on all devices, (AXIS,) for those of each device.

  Returns:
    A function of a tree that all devices have whole and a batch [n, b, ...] of n devices.
  """
  split = out_spec == sharding.PartitionSpec(AXIS)

  def local(tree: Any, batch: Any) -> Any:
    result = function(tree, jax.tree.map(lambda x: x[0], batch))
    return jax.tree.map(lambda x: x[None], result) if split else result

  in_specs = (sharding.PartitionSpec(), sharding.PartitionSpec(AXIS))
  # As in pmap, nobody checks that what is returned as equal on all devices is.
  return jax.shard_map(local, mesh=mesh, in_specs=in_specs, out_specs=out_spec, check_vma=False)


def _by_shard_map(function, *, out_spec, donate_argnums=()):
  """`shard_mapped` over all devices; a process gives and gets its own part, as with pmap."""
  mesh, batch_spec = _mesh(), sharding.PartitionSpec(AXIS)
  run = jax.jit(shard_mapped(function, mesh, out_spec), donate_argnums=donate_argnums)

  def mapped(tree: Any, batch: Any) -> Any:
    if jax.process_count() == 1:
      return run(tree, batch)
    batch = multihost_utils.host_local_array_to_global_array(batch, mesh, batch_spec)
    result = run(tree, batch)
    if out_spec != batch_spec:
      return result
    return multihost_utils.global_array_to_host_local_array(result, mesh, batch_spec)

  return mapped


def _mesh() -> sharding.Mesh:
  # The order of pmap: process after process.
  devices = [d for i in range(jax.process_count()) for d in jax.local_devices(process_index=i)]
  return sharding.Mesh(np.asarray(devices), (AXIS,))


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

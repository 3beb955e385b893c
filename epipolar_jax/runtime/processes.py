"""The processes of one job: how they join it, agree, wait for each other and share results."""

import io
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

_T = TypeVar("_T")
_PREPARING_S = 24 * 3600  # the others wait so long for what the first process makes alone


def join(
  *,
  detect: bool,
  coordinator_address: str | None,
  num_processes: int | None,
  process_id: int | None,
) -> None:
  """Joins a job of several processes; does nothing when no argument asks for it.

  Must come before anything else that uses a device. On CPUs the processes talk through gloo. A
  process that dies takes the others with it, at the latest when jax misses its heartbeats (100 s).

  Args:
    detect: asks the surroundings: TPU pods, SLURM, Open MPI and Kubernetes are known.
    coordinator_address: HOST:PORT of process 0, reachable from all.
    num_processes: of the job.
    process_id: of this one, 0 .. num_processes - 1.

  Raises:
    ValueError: some of the last three only, or both ways at once; nothing around to ask.
  """
  given = {
    "--coordinator_address": coordinator_address,
    "--num_processes": num_processes,
    "--process_id": process_id,
  }
  missing = [name for name, value in given.items() if value is None]
  if len(missing) == len(given):
    if detect:
      _initialize()
    return
  if detect:
    raise ValueError(
      "--distributed finds out by itself what --coordinator_address etc. say: drop one"
    )
  if missing:
    raise ValueError(f"a job is described by {', '.join(given)} together; missing: {missing[0]}")
  _initialize(coordinator_address, num_processes, process_id)


def _initialize(*description: Any) -> None:
  # Jax would catch SIGTERM, for a service of its own that nothing here asks: only the training
  # loop answers it (training/loop.py), so everywhere else a process could not be stopped.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(*description)
  except ValueError as error:
    if description:
      raise
    raise ValueError(
      "--distributed finds no TPU pod, SLURM, Open MPI or Kubernetes around this process: start it "
      "by srun or mpirun, or give --coordinator_address, --num_processes and --process_id"
    ) from error


def leads() -> bool:
  """Whether this is the one process that prints and writes files."""
  return jax.process_index() == 0


def tell(text: str) -> None:
  """Prints a sentence once for the job."""
  if leads():
    print(text, flush=True)


def agree(flags: Sequence[bool]) -> list[bool]:
  """For each flag, whether it is set in any process; all must call this at the same time."""
  if jax.process_count() == 1:
    return list(flags)
  return multihost_utils.process_allgather(np.array(flags)).any(axis=0).tolist()


def first_alone(make: Callable[[], _T]) -> _T:
  """`make()` in the first process, then in all others: what it leaves on disk is made once."""
  if jax.process_count() == 1:
    return make()
  made = make() if leads() else None
  wait = ocp.multihost.get_barrier_sync_fn()
  wait(key="first_alone", timeout_ms=1000 * _PREPARING_S)
  return made if leads() else make()


def concatenate(tree: Any) -> Any:
  """Arrays of all processes, one after the other, in every process.

  Args:
    tree: of numpy arrays (numbers, truth values or text) with a leading axis, whose length may
      differ between processes.
  """
  if jax.process_count() == 1:
    return tree
  leaves, structure = jax.tree.flatten(tree)
  file = io.BytesIO()
  np.savez(file, *leaves)
  own = np.frombuffer(file.getvalue(), np.uint8)
  sizes = multihost_utils.process_allgather(np.array([len(own)], np.int32))[:, 0]
  padded = np.zeros(max(sizes), np.uint8)
  padded[: len(own)] = own
  parts = []
  for row, size in zip(multihost_utils.process_allgather(padded), sizes):
    with np.load(io.BytesIO(row[:size].tobytes()), allow_pickle=False) as stored:
      parts.append([stored[f"arr_{i}"] for i in range(len(leaves))])
  return structure.unflatten([np.concatenate(same) for same in zip(*parts)])

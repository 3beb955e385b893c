"""One process at a time does a thing; the lock of a process that died holds nobody up."""

import contextlib
import json
import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator

import filelock


class BusyError(ValueError):
  """Another process holds the lock; says which."""


@contextlib.contextmanager
def alone(file: pathlib.Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
  """Holds a lock; the system frees it when this process ends, however it ends.

  Args:
    file: the lock, made if need be; a .json file beside it names the process that holds it.
    waiting: told which process holds it when this one has to wait; None: it does not wait.

  Raises:
    BusyError: the lock is held and this process does not wait; the message is who holds it.
  """
  file.parent.mkdir(parents=True, exist_ok=True)
  lock, owner = filelock.FileLock(file), file.with_name(f"{file.name}.json")
  try:
    lock.acquire(timeout=0)
  except filelock.Timeout:
    if waiting is None:
      raise BusyError(_who(owner)) from None
    waiting(_who(owner))
    lock.acquire()
  try:
    record = {
      "process": os.getpid(),
      "machine": socket.gethostname(),
      "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    owner.write_text(json.dumps(record) + "\n", encoding="utf-8")
    yield
  finally:
    owner.unlink(missing_ok=True)
    lock.release()


def _who(owner: pathlib.Path) -> str:
  """The process that holds a lock, in words."""
  try:
    found = json.loads(owner.read_text(encoding="utf-8"))
    return f"process {found['process']} on {found['machine']} (since {found['since']})"
  except (OSError, ValueError, KeyError, TypeError):
    return "another process"

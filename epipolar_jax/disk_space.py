"""Is there room for what is about to be written? Said before hours of work, quotas included."""

import ctypes
import errno
import os
import pathlib
import shutil
import sys
import tempfile

_KEEP_SIZE = 1  # of Linux's fallocate


def check(folder: pathlib.Path, needed: int, what: str, advice: str) -> None:
  """Refuses to begin what the disk has no room for.

  A quota does not show in the free space of a disk. On Linux the bytes are reserved for a moment,
  where the file system can do so without writing them: a quota refuses that.

  Args:
    folder: where it will be written; the nearest folder above it that is there counts.
    needed: bytes, at least.
    what: needs them, for the message.
    advice: what to do, the end of the message.

  Raises:
    OSError: says how much is needed, and how much is free.
  """
  folder = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise OSError(f"{folder} has {_text(free)} left, {what} needs {_text(needed)}: {advice}")
  refused = _reserve(folder, needed)
  if refused in (errno.ENOSPC, errno.EDQUOT):
    raise OSError(
      f"{folder} has {_text(free)} left, but does not give {_text(needed)} of it to {what} "
      f"({os.strerror(refused)}): {advice}"
    )


def _reserve(folder: pathlib.Path, count: int) -> int:
  """Reserves bytes and gives them back; the error's number, 0 where nothing can be said."""
  if sys.platform != "linux":
    return 0
  try:
    with tempfile.TemporaryFile(dir=folder) as file:
      reserve = ctypes.CDLL(None, use_errno=True).fallocate
      reserve.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
      return ctypes.get_errno() if reserve(file.fileno(), _KEEP_SIZE, 0, max(1, count)) else 0
  except (OSError, AttributeError) as error:
    return getattr(error, "errno", None) or 0


def _text(count: int) -> str:
  return f"{count / 1e6:,.0f} MB" if count < 1e10 else f"{count / 1e9:,.0f} GB"

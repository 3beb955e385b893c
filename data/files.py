"""Reads files that strangers made: regular ones alone, and never more than a stated size."""

import os
import pathlib
import stat


class UnfitFile(OSError, ValueError):
  """Not a regular file, or too large; the message says which."""


def check_regular(path: str | os.PathLike) -> None:
  """Makes sure that opening a file will not wait: a FIFO would hang, a device never ends.

  Raises:
    UnfitFile: it is a FIFO, a socket, a device or a folder.
    FileNotFoundError: it is not there.
  """
  mode = os.stat(path).st_mode
  if not stat.S_ISREG(mode):
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    raise UnfitFile(f"{os.fspath(path)} is {kind}; only regular files are read")


def read(path: str | os.PathLike, *, largest: int | None = None) -> bytes:
  """The bytes of a regular file.

  Args:
    path: of the file.
    largest: bytes; a larger file is refused before it is read. None is no limit.

  Raises:
    UnfitFile: it is no regular file, or too large.
    OSError: it is not there or cannot be read.
  """
  check_regular(path)
  # Should something else have taken the file's place meanwhile, opening must not wait either.
  descriptor = os.open(
    path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
  )
  with open(descriptor, "rb") as file:
    size = os.fstat(descriptor).st_size
    if largest is not None and size > largest:
      raise UnfitFile(f"{os.fspath(path)} has {size:,} bytes; at most {largest:,} are read")
    return file.read() if largest is None else file.read(largest)


def read_text(path: pathlib.Path, *, largest: int | None = None) -> str:
  """A regular file as text; raises as `read`, and UnicodeDecodeError where it is not UTF-8."""
  return read(path, largest=largest).decode("utf-8")

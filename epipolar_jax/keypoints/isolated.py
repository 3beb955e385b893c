"""Reads HDF5 keypoint files in a process of its own.

The HDF5 library trusts lengths that a file states: a damaged one makes it allocate gigabytes, or
ends the process. Here that process is another one, with a limit on its memory and time.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from epipolar_jax.keypoints import plain, sources
from epipolar_jax.keypoints.observations import Observations

# Of memory: arrays of a compressed file are larger than it.
_BYTES, _BYTES_PER_BYTE = 2 << 30, 50
_SECONDS, _BYTES_PER_SECOND = 120, 1 << 20
_REFUSED, _NO_PACKAGE = 3, 4
_PROGRAM = "from epipolar_jax.keypoints import isolated; isolated.main()"


def read(path: pathlib.Path, joint_set: str | os.PathLike | None) -> Observations:
  """Reads a file as `reading.read_source` does.

  Raises:
    ValueError: as there; or the file is damaged so that reading it took too much memory or time.
    ModuleNotFoundError: h5py is not installed.
  """
  size = path.stat().st_size
  root = str(pathlib.Path(__file__).parents[2])
  paths = os.pathsep.join(x for x in (root, os.environ.get("PYTHONPATH")) if x)
  environment = os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / "observations.npz"
    limit = str(_BYTES + _BYTES_PER_BYTE * size)
    command = [sys.executable, "-P", "-c", _PROGRAM, str(path), str(out), limit]
    command += [] if joint_set is None else [str(joint_set)]
    try:
      ran = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS + size / _BYTES_PER_SECOND,
      )
    except subprocess.TimeoutExpired as error:
      raise ValueError(f"{path}: a damaged HDF5 file: reading it does not end") from error
    message = ran.stderr.decode("utf-8", "replace").strip()
    if ran.returncode == _REFUSED:
      raise ValueError(message)
    if ran.returncode == _NO_PACKAGE:
      raise ModuleNotFoundError(message, name="h5py")
    if ran.returncode < 0 or not out.exists():
      raise ValueError(
        f"{path}: a damaged HDF5 file: reading it ended with status {ran.returncode} "
        f"{message[-500:]}"
      )
    return plain.read(sources.load(out), None)


def main() -> None:
  """What the other process runs: path, result and limit, and perhaps a joint set, are arguments."""
  path, out, limit, *joint_set = sys.argv[1:]
  _limit_memory(int(limit))
  from epipolar_jax.keypoints import reading  # which calls this module

  try:
    found = reading.read_source(sources.load(pathlib.Path(path)), *(joint_set or [None]))
    plain.write(pathlib.Path(out), found, compressed=False)
  except ModuleNotFoundError as error:
    sys.exit(_fail(str(error), _NO_PACKAGE))
  except MemoryError:
    sys.exit(_fail(f"{path}: needs more memory than a file of its size should", _REFUSED))
  except ValueError as error:
    sys.exit(_fail(str(error), _REFUSED))


def _fail(message: str, status: int) -> int:
  sys.stderr.buffer.write(message.encode("utf-8", "replace"))
  return status


def _limit_memory(count: int) -> None:
  try:
    import resource
  except ModuleNotFoundError:  # Windows has no such limits
    return
  _, hard = resource.getrlimit(resource.RLIMIT_AS)
  count = count if hard == resource.RLIM_INFINITY else min(count, hard)
  resource.setrlimit(resource.RLIMIT_AS, (count, hard))

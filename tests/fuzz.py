"""Damages files for every reader: `python -m tests.fuzz [--inputs 100000] [--only TEXT]`.

Readers (tests/readers.py) take turns, each in a process of its own, until that many damaged files
were read. A file is refused with an exception that the reader documents, or gives something sound;
a crash, a hang, much memory or any other exception is a fault, of which the file is kept in
--faults. Prints a table for docs/reliability.md.
"""

import argparse
import collections
import faulthandler
import json
import mmap
import multiprocessing
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from tests import damage, readers

_POLL_S = 0.05
_HANG_S = 300.0  # without a new input; reading HDF5, in a process of its own, ends after 120 s
_BYTES = 3 << 30  # that a process may take beyond what it has when it starts
_MOST_DAMAGES = 3
_MEMORY = "/dev/shm"  # writing a file anew takes milliseconds on a disk
_FAULTS_A_TURN = 5
# Places in the shared counts.
_TRIED, _REFUSED, _FAULTY = range(3)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
  """A copy with one to three damages; of a JSON text often one to its values."""
  if data[:1] in (b"{", b"[") and rng.random() < 0.3:
    try:
      return json.dumps(damage.mutate(json.loads(data), rng)).encode()
    except ValueError:
      pass
  for _ in range(rng.integers(1, _MOST_DAMAGES + 1)):
    data = damage.damage(data, rng) if data else data
  return data


def inputs(
  name: str, folder: pathlib.Path, *, seed: int, turn: int
) -> Iterator[tuple[pathlib.Path, str]]:
  """Reads damaged files without end; yields the one that is next, then what came of it.

  Args:
    name: of `readers.READERS`.
    folder: empty, for the files.
    seed, turn: what is done to them follows from these.

  Yields:
    The damaged file with "" before it is read, and after that with "read", "refused" or the
    traceback of a fault.
  """
  reader = readers.READERS[name]
  target = reader.make(folder)
  whole = {path: path.read_bytes() for path in target.files}
  rng = np.random.default_rng([seed, turn, *name.encode()])
  while True:
    path = target.files[int(rng.integers(len(target.files)))]
    path.write_bytes(damaged(whole[path], rng))
    yield path, ""
    try:
      target.read()
      outcome = "read"
    except reader.refuses as error:
      outcome = "refused" if str(error) else "refused without a word:\n" + traceback.format_exc()
    except Exception:
      outcome = traceback.format_exc()
    yield path, outcome
    path.write_bytes(whole[path])


def _work(name: str, folder: pathlib.Path, kept: pathlib.Path, counts, options) -> None:
  """What a process does in a turn."""
  seed, turn, seconds = options
  with (kept / "output.txt").open("w") as output:
    for stream in (1, 2):
      os.dup2(output.fileno(), stream)
    faulthandler.enable(output)
    warnings.simplefilter("ignore")
    os.chdir(folder)
    end = None
    for path, outcome in inputs(name, folder / "files", seed=seed, turn=turn):
      if end is None:
        # The first is read before the limit: libraries that are imported then may take memory.
        end = time.monotonic() + seconds
      if not outcome:
        counts[_TRIED] += 1
        (folder / "current").write_text(str(path))
        continue
      if counts[_TRIED] == 1:
        _limit_memory()
      if outcome == "refused":
        counts[_REFUSED] += 1
      elif outcome != "read":
        counts[_FAULTY] += 1
        place = kept / f"fault{counts[_FAULTY]}"
        shutil.copyfile(path, place.with_name(f"{place.name}_{path.name}"))
        place.with_suffix(".txt").write_text(outcome)
      if time.monotonic() > end or counts[_FAULTY] >= _FAULTS_A_TURN:
        os._exit(0)  # without the ends of libraries' threads


def _limit_memory() -> None:
  taken = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (taken + _BYTES, resource.RLIM_INFINITY))


def turn(
  name: str, kept: pathlib.Path, *, seed: int, number: int, seconds: float
) -> tuple[int, int, list[str]]:
  """Lets a reader work in a process of its own.

  Args:
    name: of `readers.READERS`.
    kept: a folder for what is at fault; removed when nothing was.
    seed, number: what is done to files follows from these.
    seconds: of work.

  Returns:
    Inputs tried and refused, and a line for each fault.
  """
  kept.mkdir(parents=True)
  shared = mmap.mmap(-1, 3 * 8)
  counts = np.frombuffer(shared, np.int64)
  with tempfile.TemporaryDirectory(dir=_MEMORY if os.path.isdir(_MEMORY) else None) as temporary:
    folder = pathlib.Path(temporary)
    (folder / "files").mkdir()
    process = multiprocessing.get_context("fork").Process(
      target=_work, args=(name, folder, kept, counts, (seed, number, seconds))
    )
    process.start()
    status = _watch(process, counts)
    faults = [
      f"{path}: {path.read_text().strip().splitlines()[-1]}" for path in sorted(kept.glob("*.txt"))
      if path.name != "output.txt"
    ]  # fmt: skip
    if status:
      if (current := folder / "current").exists():
        last = pathlib.Path(current.read_text())
        shutil.copyfile(last, kept / f"last_{last.name}")
      faults.append(f"{kept}: {status}")
  tried, refused = int(counts[_TRIED]), int(counts[_REFUSED])
  if not faults:
    shutil.rmtree(kept)
  return tried, refused, faults


def _watch(process, counts) -> str:
  """Waits for a process; how it died if it did, or that it hung."""
  seen, since = -1, time.monotonic()
  while process.is_alive():
    if counts[_TRIED] != seen:
      seen, since = int(counts[_TRIED]), time.monotonic()
    if time.monotonic() - since > _HANG_S:
      process.kill()
      process.join()
      return f"hangs for {_HANG_S:g} s"
    process.join(_POLL_S)
  return f"ended with status {process.exitcode}" if process.exitcode else ""


def main(arguments: Sequence[str] | None = None) -> None:
  """Fuzzes until as many inputs as asked were tried."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
  parser.add_argument("--only", default="", help="readers whose name has this text")
  parser.add_argument("--seconds", type=float, default=15.0, help="of a turn")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--faults", type=pathlib.Path, default=pathlib.Path("runs/fuzz"))
  options = parser.parse_args(arguments)
  names = [name for name in readers.READERS if options.only in name]
  if not names:
    raise SystemExit(f"no reader has {options.only!r} in its name: {', '.join(readers.READERS)}")
  os.environ["JAX_PLATFORMS"] = "cpu"
  tried, refused, faults = collections.Counter(), collections.Counter(), []
  number = 0
  while tried.total() < options.inputs:
    for name in names:
      place = options.faults.absolute() / f"{name.replace(': ', '_').replace(' ', '_')}_{number}"
      shutil.rmtree(place, ignore_errors=True)
      one, no, found = turn(name, place, seed=options.seed, number=number, seconds=options.seconds)
      tried[name] += one
      refused[name] += no
      faults += found
      print(f"turn {number}, {name}: {one:,} inputs; {tried.total():,} in all", flush=True)
      print(*found, sep="\n", end="\n" if found else "", file=sys.stderr, flush=True)
    number += 1
  print("| reader | inputs | refused |\n|---|---|---|")
  for name in names:
    print(f"| {name} | {tried[name]:,} | {refused[name]:,} |")
  print(f"{tried.total():,} inputs of {len(names)} readers: {len(faults)} faults")
  if faults:
    raise SystemExit(1)


if __name__ == "__main__":
  main()

"""Many recordings of `epipolar predict`: which are this process's, what is finished, a summary."""

import argparse
import csv
import glob
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from epipolar_jax import locking
from epipolar_jax.cli import recording

# Options that say which recordings and where, not how: another value leaves a result as it is.
_WHICH = {"recordings", "shard", "out", "debug", "run", "verb"}
_COLUMNS = ("recording", "state", "frames", "triangulated", "left_out_px", "words")


def predict(
  predictor: Callable[[recording.Given], recording.Outcome], options: argparse.Namespace
) -> int:
  """Predicts the recordings of a shard, one after the other; one that fails stops no other.

  `OUT/NAME/summary.json` says that a recording is finished (or why it failed) and what it was
  predicted from: it is not done again until an option or a file changes. `OUT/summary.csv` has all
  recordings, those of other processes too, as far as they are.

  Returns:
    2 if a recording failed, else 1 if nothing at all was triangulated in one, else 0.

  Raises:
    ValueError, FileNotFoundError: the options name no recordings, or two of one name.
  """
  everything = folders(options.recordings)
  own = everything[shard(options.shard)]
  if not own:
    print(f"--shard {options.shard}: nothing to do for {len(everything)} recordings")
  failed = empty = 0
  for number, folder in enumerate(own, 1):
    print(f"\n{folder.name} ({number} of {len(own)})", flush=True)
    out = options.out / folder.name
    try:
      with locking.alone(out / "lock"):
        summary = _one(predictor, options, folder, out)
    except locking.BusyError as error:
      print(f"{out} is being written to by {error}: left to it")
      continue
    failed += summary["state"] == "failed"
    empty += summary.get("triangulated") == 0
    _write_table(options.out, everything)
  print()
  for folder in own:
    row = _row(options.out, folder)
    print(f"{row['recording']:>24}  {row['state']:8}  {row['words']}")
  print(f"Wrote {options.out / 'summary.csv'}: all {len(everything)} recordings")
  return 2 if failed else int(empty > 0)


def folders(patterns: Sequence[str]) -> list[pathlib.Path]:
  """The recordings' folders, in the order of their names, which is the same in every process.

  Raises:
    FileNotFoundError: a pattern fits no folder.
    ValueError: two folders have one name.
  """
  found: set[pathlib.Path] = set()
  for pattern in patterns:
    matches = [pathlib.Path(x) for x in glob.glob(pattern) if pathlib.Path(x).is_dir()]
    if not matches:
      raise FileNotFoundError(f"--recordings: no folder is called {pattern}")
    found.update(path.absolute() for path in matches)
  ordered = sorted(found, key=lambda path: (path.name, str(path)))
  for first, second in itertools.pairwise(ordered):
    if first.name == second.name:
      raise ValueError(
        f"--recordings: {first} and {second} have one name, and --out has a folder for each name: "
        "predict them in two commands"
      )
  return ordered


def shard(text: str | None) -> slice:
  """What process I of N does, of `--shard I/N`; None: everything.

  Raises:
    ValueError: it is no such thing.
  """
  if text is None:
    return slice(None)
  number = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
  index, count = map(int, number.groups()) if number else (0, 0)
  if not index < count:
    raise ValueError(
      f"--shard is {text!r}; it should be I/N with I from 0 to N - 1, for example 0/4 "
      "(SLURM: --array=0-3 and $SLURM_ARRAY_TASK_ID/4)"
    )
  return slice(index, None, count)


def given(options: argparse.Namespace, folder: pathlib.Path, out: pathlib.Path) -> recording.Given:
  """The files of one recording: names and patterns of the options in its folder.

  Calibration and timing that are not in there are taken as they stand.

  Raises:
    FileNotFoundError: a pattern fits nothing.
    ValueError: videos that are not inside the folder.
  """
  videos: list[str] = []
  for pattern in options.videos:
    if pathlib.Path(pattern.partition("=")[2] or pattern).is_absolute():
      raise ValueError(f"--videos {pattern}: with --recordings, what it is called in each of them")
    matches = sorted(glob.glob(pattern, root_dir=folder))
    camera, equals, name = pattern.partition("=")
    if not matches and equals:
      videos.append(f"{camera}={folder / name}")
      continue
    if not matches:
      raise FileNotFoundError(f"{folder}: no video in it is called {pattern}")
    videos.extend(str(folder / name) for name in matches)

  def common(path: pathlib.Path | None) -> pathlib.Path | None:
    return folder / path if path is not None and (folder / path).exists() else path

  return recording.Given(tuple(videos), common(options.cameras), common(options.timing), out)


def _one(predictor, options, folder: pathlib.Path, out: pathlib.Path) -> dict[str, Any]:
  """Predicts one recording unless it is finished; its summary, which is written last."""
  path = out / "summary.json"
  of: dict[str, Any] = {}
  try:
    files = given(options, folder, out)
    of = _of(options, files)
    before = _read(path)
    if before.get("state") == "done" and before.get("of") == of:
      print("is finished")
      return before
    path.unlink(missing_ok=True)
    summary = {"state": "done", **predictor(files)._asdict()}
  except (OSError, ValueError) as error:
    if options.debug:
      raise
    print(f"failed: {error}", flush=True)
    summary = {"state": "failed", "error": str(error)}
  out.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps(summary | {"of": of}, indent=1) + "\n", encoding="utf-8")
  temporary.replace(path)
  return summary


def _of(options: argparse.Namespace, files: recording.Given) -> dict[str, Any]:
  """What a result depends on: options, and size and time of every file."""
  how = {name: str(value) for name, value in vars(options).items() if name not in _WHICH}
  names = [*files.videos, files.cameras, files.timing, options.detector, options.checkpoint]
  seen = {}
  for name in map(str, filter(None, names)):
    path = next((x for x in (name, name.partition("=")[2]) if x and os.path.exists(x)), None)
    if path is not None:
      found = os.stat(path)
      seen[name] = [found.st_size, found.st_mtime_ns]
  return {"options": how, "files": seen}


def _read(path: pathlib.Path) -> dict[str, Any]:
  """A summary; {} where there is none that can be read, and so nothing that is finished."""
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}


def _row(out: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
  found = _read(out / folder.name / "summary.json")
  row = {name: found.get(name, "") for name in _COLUMNS}
  words = found.get("error" if found.get("state") == "failed" else "verdict", "")
  state = found.get("state", "not done")
  return row | {"recording": folder.name, "state": state, "words": words}


def _write_table(out: pathlib.Path, everything: Sequence[pathlib.Path]) -> None:
  """Writes summary.csv; whoever writes last has seen every summary."""
  path = out / "summary.csv"
  with locking.alone(out / "summary.lock", waiting=lambda _: None):
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
      table = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
      table.writeheader()
      table.writerows(_row(out, folder) for folder in everything)
    temporary.replace(path)

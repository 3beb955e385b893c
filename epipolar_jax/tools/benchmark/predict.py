"""How long `epipolar predict` takes as a user sees it, beside MediaPipe with a plain DLT.

Whole commands are run, each as a process of its own: decoding, detection, fusion, triangulation,
report; without the film. Each has three rows: from its start to its first frames, frames a second
from then on, and the whole. The ratio is to MediaPipe where there is an interpreter that has it:
pose estimation of every image, full model, and the textbook DLT in NumPy, on the same videos.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from epipolar_jax.motion import files
from epipolar_jax.rigs.lenses import OpenCV, Pinhole
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.tools.benchmark import recordings, timing

_DETECTORS = ("thunder", "lightning")
_MEDIAPIPE = "MediaPipe full + NumPy DLT"
_FEWEST = 2  # runs after the first, which compiles
_SCRIPT = pathlib.Path(__file__).with_name("mediapipe_dlt.py")
_POLL_S = 0.02


def run(
  seconds: float,
  only: tuple[str, ...] = (),
  recording: recordings.Recording = recordings.RENDERED,
) -> list[timing.Row]:
  """Measures the commands.

  Args:
    seconds: for each command, after its first run; two more runs at least.
    only: names of detectors; () is thunder and lightning.
    recording: what is predicted.

  Raises:
    ValueError: there is no such detector.
    RuntimeError: a command failed; has what it said.
  """
  if not set(only) <= set(_DETECTORS):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(_DETECTORS)}")
  with recording.opened() as opened, tempfile.TemporaryDirectory() as name:
    folder, rows = pathlib.Path(name), []
    if opened.mediapipe:
      rows += of_runs(_MEDIAPIPE, [measure_mediapipe(opened.mediapipe, *opened.paths())])
    for detector in only or _DETECTORS:
      runs: list[Run] = []
      while len(runs) <= _FEWEST or sum(run.whole_s for run in runs[1:]) < seconds:
        out = folder / f"{detector}{len(runs)}"
        runs.append(measure_predict(opened.videos, opened.cameras, detector, out))
      rows += of_runs(f"predict, {detector}", runs)
  base = {row.size: row for row in rows if row.name == _MEDIAPIPE}
  return [
    timing.against(row, base[row.size]) if row.size in base and row.name != _MEDIAPIPE else row
    for row in rows
  ]


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a command.

  Attributes:
    first_s: from the start to its first frames.
    bar_fps: frames (of all views) a second from then to the last one; None: there were no more.
    whole_s: from start to end.
    frames: of the recording.
    busy: share of all cores that it kept busy, children included.
  """

  first_s: float
  bar_fps: float | None
  whole_s: float
  frames: int
  busy: float


def of_runs(name: str, runs: Sequence[Run]) -> list[timing.Row]:
  """Rows of a command's runs, of which the first compiles if there are more."""
  warm = runs[1:] or runs

  def row(size, seconds, cold, per, **about):
    median = statistics.median(seconds)
    about = {"compile_s": max(cold - median, 0.0), "calls": len(seconds)} | about
    low, high = min(seconds), max(seconds)
    return timing.Row(
      name, size, median_s=median, low_s=low, high_s=high, frames_per_s=per / median, **about
    )

  rows = [
    row("start to first frames", [r.first_s for r in warm], runs[0].first_s, 1, unit="starts")
  ]
  steady = [1 / r.bar_fps for r in warm if r.bar_fps is not None]
  if steady:
    rows.append(row("each frame then", steady, 0.0, 1))
  whole, busy = [r.whole_s for r in warm], statistics.median(r.busy for r in warm)
  size = "whole command"
  rows.append(row(size, whole, runs[0].whole_s, runs[0].frames, busy=busy))
  return rows


def of_times(times: Sequence[tuple[float, int]], whole_s: float, busy: float) -> Run:
  """A run.

  Args:
    times: (seconds since the start, frames done so far), ascending.
    whole_s: of the process.
    busy: as of `Run`.

  Raises:
    RuntimeError: no frame was done.
  """
  if not times:
    raise RuntimeError("no frame was done")
  (first_s, first), (last_s, last) = times[0], times[-1]
  bar = (last - first) / (last_s - first_s) if last > first else None
  return Run(first_s, bar, whole_s, last, busy)


def measure_predict(
  videos: Sequence[str], cameras: pathlib.Path, detector: str, folder: pathlib.Path
) -> Run:
  """One `epipolar predict` without the film, into a new folder."""
  arguments = ["--videos", *videos, "--cameras", str(cameras), "--detector", detector]
  command = [sys.executable, "-m", "epipolar_jax", "predict", *arguments]
  command += ["--no_film", "--out", str(folder)]

  def done() -> int:
    """Parts are written whole and named by their first frame; frames up to the last one's start."""
    parts = sorted((folder / "parts").glob("????????.npz"))
    return int(parts[-1].stem) + 1 if parts else 0

  times, whole, busy = _watched(command, done)
  run = of_times(times, whole, busy)
  return dataclasses.replace(run, frames=len(files.read(folder / "joints.npz")[0].points))


def measure_mediapipe(python: str, videos: dict[str, pathlib.Path], rig: Rig) -> Run:
  """MediaPipe and a plain DLT in another environment."""
  cameras = [
    {
      "video": str(videos[camera]),
      "intrinsics": rig.cameras.intrinsics[view].tolist(),
      "rotation": rig.cameras.rotation[view].tolist(),
      "translation": rig.cameras.translation[view].tolist(),
      "lens": _coefficients(rig.lenses[view]),
    }
    for view, camera in enumerate(rig.names)
  ]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "cameras.json"
    path.write_text(json.dumps(cameras), encoding="utf-8")
    lines: list[str] = []
    times, whole, busy = _watched([python, str(_SCRIPT), str(path)], lambda: len(lines), lines)
  # `predict` gives its first frames eight at a time.
  return of_times([x for x in times if x[1] >= min(8, len(lines))], whole, busy)


def _watched(
  command: Sequence[str], done: Callable[[], int], lines: list[str] | None = None
) -> tuple[list[tuple[float, int]], float, float]:
  """Runs a command and asks how many frames are done until it ends.

  Returns:
    (seconds, frames) at each change, seconds of the whole, share of all cores kept busy.

  Raises:
    OSError: there is no such command.
    RuntimeError: it failed; has what it said.
  """
  start, times, before = time.perf_counter(), [], timing.children_s()
  process = subprocess.Popen(
    command,
    stdout=subprocess.PIPE if lines is not None else subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, "PYTHONUNBUFFERED": "1"},
  )
  said: list[str] = []
  readers = [threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)]
  if lines is not None:
    readers.append(threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True))
  for reader in readers:
    reader.start()
  while True:
    ended = process.poll() is not None
    count = done()
    if count and (not times or count > times[-1][1]):
      times.append((time.perf_counter() - start, count))
    if ended:
      break
    time.sleep(_POLL_S)
  whole = time.perf_counter() - start
  for reader in readers:
    reader.join()
  for pipe in filter(None, (process.stdout, process.stderr)):
    pipe.close()
  if process.returncode != 0:
    raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{''.join(said)[-2000:]}")
  return times, whole, (timing.children_s() - before) / whole / os.cpu_count()


def _coefficients(lens) -> list[float]:
  if isinstance(lens, Pinhole):
    return [0.0] * 5
  if isinstance(lens, OpenCV):
    return np.ravel(lens.coefficients).tolist()
  raise ValueError(f"the plain way has no {type(lens).__name__} lens: leave out --mediapipe")

"""How long `epipolar predict` takes as a user sees it, beside MediaPipe with a plain DLT.

python -m epipolar_jax.tools.benchmark.predict [--videos 'cam*.mp4' --cameras calibration.json]
    [--detectors thunder,lightning] [--mediapipe PYTHON] [--runs 2] [--output runs/predict.json]

Whole commands are run, each as a process of its own: decoding, detection, fusion, triangulation,
report. Without --videos the recording is a rendered one (data.synthetic.clip), made first.
--mediapipe is the interpreter of an environment with mediapipe 0.10, numpy and OpenCV: its row is
pose estimation of every image, full model, and the textbook DLT in NumPy, on the same videos.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from epipolar_jax.cli import predict
from epipolar_jax.keypoints import reading
from epipolar_jax.motion import files
from epipolar_jax.rigs.lenses import OpenCV, Pinhole
from epipolar_jax.rigs.rig import Rig

_SCRIPT = pathlib.Path(__file__).with_name("mediapipe_dlt.py")
_POLL_S = 0.02
# What `predict` detects and writes together: its first frames come all at once.
_FIRST = 8


@dataclasses.dataclass(frozen=True)
class Row:
  """One run of a command.

  Attributes:
    name: of what was run.
    first_s: from the start to its first eight frames.
    bar_fps: frames (of all views) a second from then to the last one; None: there were no more.
    whole_s: from start to end.
    frames: of the recording.
    note: what went wrong; "": nothing.
  """

  name: str
  first_s: float = 0.0
  bar_fps: float | None = None
  whole_s: float = 0.0
  frames: int = 0
  note: str = ""


def table(rows: Sequence[Row]) -> str:
  """The rows as a Markdown table."""
  lines = ["| what | start to first frames, s | frames/s then | whole, s | frames/s of the whole |"]
  lines.append("|---|---|---|---|---|")
  for row in rows:
    if row.note:
      lines.append(f"| {row.name} | {row.note} | | | |")
      continue
    bar = "" if row.bar_fps is None else f"{row.bar_fps:.2f}"
    cells = (f"{row.first_s:.1f}", bar, f"{row.whole_s:.1f}", f"{row.frames / row.whole_s:.2f}")
    lines.append(f"| {row.name} | {' | '.join(cells)} |")
  return "\n".join(lines)


def of_times(name: str, times: Sequence[tuple[float, int]], whole_s: float) -> Row:
  """The row of a run.

  Args:
    name: of what was run.
    times: (seconds since the start, frames done so far), ascending.
    whole_s: of the process.
  """
  if not times:
    return Row(name, note="no frame was done")
  (first_s, first), (last_s, last) = times[0], times[-1]
  bar = (last - first) / (last_s - first_s) if last > first else None
  return Row(name, first_s, bar, whole_s, last)


def measure_predict(
  videos: Sequence[str], cameras: pathlib.Path, detector: str, folder: pathlib.Path
) -> Row:
  """One `epipolar predict` without the film, into a new folder."""
  arguments = ["--videos", *videos, "--cameras", str(cameras), "--detector", detector]
  command = [sys.executable, "-m", "epipolar_jax", "predict", *arguments]
  command += ["--no_film", "--out", str(folder)]

  def done() -> int:
    """Frames up to the last part; parts are written whole and named by their first frame."""
    parts = sorted((folder / "parts").glob("????????.npz"))
    return int(parts[-1].stem) + _FIRST if parts else 0

  times, whole, status, said = _watched(command, done)
  if status != 0:
    return Row(detector, note=f"failed: {said[-1:] or status}")
  frames = _frames(folder)
  return of_times(detector, [(s, min(n, frames)) for s, n in times], whole)


def measure_mediapipe(python: str, videos: dict[str, pathlib.Path], rig: Rig) -> Row:
  """MediaPipe and a plain DLT in another environment; a row that says so where it is not there."""
  name = "MediaPipe full + NumPy DLT"
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
    times, whole, status, said = _watched(
      [python, str(_SCRIPT), str(path)], lambda: len(lines), lines
    )
  if status != 0:
    return Row(name, note=f"not installed or failed: {said[-1] if said else status}")
  return of_times(name, [x for x in times if x[1] >= min(_FIRST, len(lines))], whole)


def _watched(
  command: Sequence[str], done: Callable[[], int], lines: list[str] | None = None
) -> tuple[list[tuple[float, int]], float, int, list[str]]:
  """Runs a command and asks how many frames are done until it ends.

  Returns:
    (seconds, frames) at each change, seconds of the whole, exit status, last lines of its errors.
  """
  start, times = time.perf_counter(), []
  try:
    process = subprocess.Popen(
      command,
      stdout=subprocess.PIPE if lines is not None else subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
      env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
  except OSError as error:
    return [], 0.0, -1, [str(error)]
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
  return times, whole, process.returncode, [line.strip() for line in said[-3:] if line.strip()]


def _frames(folder: pathlib.Path) -> int:
  return len(files.read(folder / "joints.npz")[0].points)


def _coefficients(lens) -> list[float]:
  if isinstance(lens, Pinhole):
    return [0.0] * 5
  if isinstance(lens, OpenCV):
    return np.ravel(lens.coefficients).tolist()
  raise ValueError(f"the plain way has no {type(lens).__name__} lens: leave out --mediapipe")


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--videos", nargs="+", help="as of epipolar predict; else a rendered clip")
  parser.add_argument("--cameras", type=pathlib.Path, help="their calibration")
  parser.add_argument("--frames", type=int, default=64, help="of the rendered clip (64)")
  parser.add_argument("--detectors", default="thunder,lightning")
  parser.add_argument("--mediapipe", metavar="PYTHON", help="interpreter that has mediapipe")
  parser.add_argument("--runs", type=int, default=2, help="of each; the first compiles (2)")
  parser.add_argument("--output", type=pathlib.Path, help="JSON file")
  options = parser.parse_args(arguments)
  if (options.videos is None) != (options.cameras is None):
    parser.error("--videos and --cameras belong together")
  if options.runs < 1 or options.frames < 1:
    parser.error("--runs and --frames are at least 1")
  with tempfile.TemporaryDirectory() as folder:
    rows = _rows(options, pathlib.Path(folder))
  print(table(rows))
  if options.output is not None:
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([dataclasses.asdict(row) for row in rows], indent=2)
    options.output.write_text(text + "\n", encoding="utf-8")


def _rows(options: argparse.Namespace, folder: pathlib.Path) -> list[Row]:
  videos, cameras = options.videos, options.cameras
  if videos is None:
    from data.synthetic import clip

    clip.write(folder / "clip", frames=options.frames, views=4, hide=0, seed=0)
    videos, cameras = [str(folder / "clip" / "cam*.mp4")], folder / "clip" / "calibration.json"
  rows = []
  for detector in filter(None, options.detectors.split(",")):
    for run in range(options.runs):
      row = measure_predict(videos, cameras, detector, folder / f"{detector}{run}")
      rows.append(dataclasses.replace(row, name=f"predict, {detector}, run {run + 1}"))
  if options.mediapipe:
    rig = Rig.read(cameras)
    paths = reading.pair_all(predict.expanded(videos), rig.names)
    rows.append(measure_mediapipe(options.mediapipe, paths, rig.select(tuple(paths))))
  else:
    rows.append(Row("MediaPipe full + NumPy DLT", note="not measured: --mediapipe was not given"))
  return rows


if __name__ == "__main__":
  main()

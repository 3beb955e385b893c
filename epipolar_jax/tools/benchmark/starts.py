"""What somebody waits for who types a command: whole processes, from start to end.

Each command runs first with an empty folder for compiled programs, and then again and again with
what the first run left there; what the first run takes longer is the column "compile". Four
cameras, 100 frames of 17 joints.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from epipolar_jax.keypoints import writing
from epipolar_jax.tools.benchmark import calibration, timing

_FRAMES, _EVERY = 100, 4  # every fourth camera of sixteen
_GIVEN = "--cameras calibration.json --keypoints keypoints.npz"
# NEW is a name that no run before has used.
_COMMANDS = {
  "python": "-c pass",
  "help": "-m epipolar_jax --help",
  "convert": "-m epipolar_jax convert calibration.json NEW.toml --format aniposelib",
  "triangulate": f"-m epipolar_jax triangulate {_GIVEN} --out NEW",
  "check": f"-m epipolar_jax check {_GIVEN}",
  "calibrate": f"-m epipolar_jax calibrate {_GIVEN} --out NEW.json",
}
# A verdict that something is wrong with the cameras, which there is, ends with 1.
_EXPECTED = (0, 1)


def run(seconds: float, only: tuple[str, ...] = ()) -> list[timing.Row]:
  """Measures the commands.

  Args:
    seconds: for each command, after its first run; two more runs at least.
    only: names of commands; () is all.

  Raises:
    ValueError: there is no such command.
    RuntimeError: a command failed; has what it said.
  """
  if not set(only) <= set(_COMMANDS):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(_COMMANDS)}")
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    _write_recording(folder)
    return [_measure(folder, x, seconds) for x in _COMMANDS if not only or x in only]


def _write_recording(folder: pathlib.Path) -> None:
  """A calibration that is a little off, and keypoints."""
  rng = np.random.default_rng(0)
  rig = calibration.ring()
  chosen = rig.names[::_EVERY]
  observed = calibration.observed(rng, _FRAMES, rig).select(views=chosen)
  calibration.disturbed(rng, rig).select(chosen).write(folder / "calibration.json")
  writing.write(folder / "keypoints.npz", observed, "plain npz")


def _measure(folder: pathlib.Path, name: str, seconds: float) -> timing.Row:
  programs = folder / f"programs_{name}"
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(programs)}
  package = str(pathlib.Path(__file__).parents[3])
  environment["PYTHONPATH"] = os.pathsep.join(
    path for path in (package, os.environ.get("PYTHONPATH")) if path
  )
  times: list[float] = []
  while len(times) < 3 or sum(times[1:]) < seconds:
    words = _COMMANDS[name].replace("NEW", f"{name}_{len(times)}").split()
    start = time.perf_counter()
    done = subprocess.run(
      [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    times.append(time.perf_counter() - start)
    if done.returncode not in _EXPECTED or "Traceback" in done.stderr:
      raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
  median = float(np.median(times[1:]))
  return timing.Row(
    name=name,
    size=f"{_FRAMES} frames, {calibration.VIEWS // _EVERY} views",
    compile_s=max(times[0] - median, 0.0),
    median_s=median,
    low_s=min(times[1:]),
    high_s=max(times[1:]),
    calls=len(times) - 1,
    frames_per_s=1 / median,
    unit="runs",
  )

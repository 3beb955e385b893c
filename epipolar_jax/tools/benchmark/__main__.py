"""Runs one suite, prints its table and writes JSON.

python -m epipolar_jax.tools.benchmark SUITE
    [--only dlt,robust] [--seconds 3] [--against torch] [--output runs/benchmark.json]
    [--videos 'cam*.mp4' --cameras calibration.json] [--frames 64] [--mediapipe PYTHON]

Suites: attention, backbone, calibration, generator, inputs, movenet, pipeline, scaling, starts,
step, triangulation; predict and profile of `epipolar predict`, for which the last line is.
"""

import argparse
import importlib.util
import json
import pathlib
import sys

from epipolar_jax.runtime import host_memory
from epipolar_jax.tools.benchmark import recordings, suites


def main(argv: list[str] | None = None) -> None:
  """Measures what the arguments name."""
  arguments = parse(argv)
  only = tuple(name for name in arguments.only.split(",") if name)
  host_memory.keep()
  recording = recordings.Recording(
    arguments.videos or (), arguments.cameras, arguments.frames, arguments.mediapipe
  )
  found = suites.run(arguments.suite, arguments.seconds, only, arguments.against, recording)
  print(found.text())
  if arguments.output is not None:
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.record(), indent=2)
    arguments.output.write_text(text + "\n", encoding="utf-8")
    print(f"\nWrote {arguments.output}.", file=sys.stderr)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """The arguments of the command line; ends the program where they make no sense."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("suite", choices=sorted(suites.PLAIN | suites.COMPARED | suites.RECORDED))
  parser.add_argument("--seconds", type=float, default=3.0, help="time for each measurement")
  parser.add_argument("--only", default="", help="what to measure, separated by commas")
  parser.add_argument("--against", default="", choices=["torch"], help="compare with PyTorch")
  parser.add_argument("--videos", nargs="+", help="of predict and profile; else a rendered clip")
  parser.add_argument("--cameras", type=pathlib.Path, help="their calibration")
  parser.add_argument("--frames", type=int, default=64, help="of the rendered clip (64)")
  parser.add_argument("--mediapipe", default="", metavar="PYTHON", help="that has mediapipe")
  parser.add_argument("--output", type=pathlib.Path, help="JSON file")
  arguments = parser.parse_args(argv)
  if arguments.against and arguments.suite not in suites.COMPARED:
    parser.error(
      f"--against compares {', '.join(suites.COMPARED)}; {arguments.suite} brings its own baseline"
    )
  if (arguments.videos is None) != (arguments.cameras is None):
    parser.error("--videos and --cameras belong together")
  if arguments.frames < 1:
    parser.error("--frames is at least 1")
  if (arguments.videos or arguments.mediapipe) and arguments.suite not in suites.RECORDED:
    parser.error(f"a recording is for {', '.join(suites.RECORDED)}, not for {arguments.suite}")
  if arguments.against and importlib.util.find_spec("torch") is None:
    parser.error(
      "--against torch: PyTorch is not installed here; pip install torch, or leave it out"
    )
  return arguments


if __name__ == "__main__":
  main()

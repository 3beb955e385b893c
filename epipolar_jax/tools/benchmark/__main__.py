"""Runs one suite, prints its table and writes JSON; or all of them within a given time.

python -m epipolar_jax.tools.benchmark attention|backbone|step|pipeline|triangulation|inputs|scaling
    [--only dlt,robust] [--seconds 3] [--against torch] [--output runs/benchmark.json]
python -m epipolar_jax.tools.benchmark all --output runs/benchmark [--minutes 30]
    [--only attention,step] [--seconds 3] [--against torch]
"""

import argparse
import json
import pathlib
import signal
import sys
import time

from epipolar_jax.runtime import host_memory
from epipolar_jax.tools.benchmark import probe, session, suites


def main(argv: list[str] | None = None) -> None:
  """Measures what the arguments name."""
  arguments = parse(argv)
  only = tuple(name for name in arguments.only.split(",") if name)
  if arguments.suite == "all":
    _run_all(arguments, only)
    return
  host_memory.keep()
  found = suites.run(arguments.suite, arguments.seconds, only, arguments.against)
  print(found.text())
  if arguments.output is not None:
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.record(), indent=2)
    arguments.output.write_text(text + "\n", encoding="utf-8")
    print(f"\nWrote {arguments.output}.", file=sys.stderr)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """The arguments of the command line; ends the program where they make no sense."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("suite", choices=[*sorted(suites.PLAIN | suites.COMPARED), "all"])
  parser.add_argument("--seconds", type=float, default=3.0, help="time for each measurement")
  parser.add_argument("--only", default="", help="what to measure, separated by commas")
  parser.add_argument("--against", default="", choices=["torch"], help="compare with PyTorch")
  parser.add_argument("--output", type=pathlib.Path, help="JSON file; of all, a folder")
  parser.add_argument("--minutes", type=float, default=30.0, help="of all: time for everything")
  arguments = parser.parse_args(argv)
  if arguments.suite == "all":
    if arguments.output is None:
      parser.error("all writes many files: name a folder with --output")
  elif arguments.against and arguments.suite not in suites.COMPARED:
    parser.error(
      f"--against compares {', '.join(suites.COMPARED)}; {arguments.suite} brings its own baseline"
    )
  elif arguments.against and (reason := probe.torch_missing()):
    parser.error(f"--against torch: {reason}, or leave it out")
  return arguments


def _run_all(arguments: argparse.Namespace, only: tuple[str, ...]) -> None:
  # As Ctrl-C does, so that the suite that is running ends too.
  signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
  start = time.monotonic()
  around = probe.look()
  head = f"\n{around.devices} x {around.platform}, `--seconds {arguments.seconds:g}`."
  if arguments.against and around.no_torch:
    head += f"\n\nNot compared with PyTorch: {around.no_torch}."
  print(head)
  steps = session.plan(
    around,
    arguments.output,
    seconds=arguments.seconds,
    against=arguments.against,
    only=only,
  )
  minutes = arguments.minutes - (time.monotonic() - start) / 60
  failed = session.run(steps, arguments.output, minutes=minutes, head=head)
  print(f"Wrote {arguments.output}/tables.md and the JSON file of every suite.")
  if failed:
    raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
  main()

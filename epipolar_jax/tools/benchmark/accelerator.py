"""All that docs/benchmarks.md and docs/tpu.md have not measured on a GPU or TPU, in eight minutes.

python -m epipolar_jax.tools.benchmark.accelerator
    [--minutes 8] [--seconds 1] [--against torch] [--output runs/gpu] [--only attention,kernel]

Every part is a suite in a process of its own with a limit of its own, the most wanted first, so
that one that crashes or takes too long costs no other; what a part leaves of its time goes to those
that follow. Tables go to the screen and to tables.md, numbers to PART.json, errors to PART.log. The
last words are which attention algorithm `auto` should take on this platform.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

# Part: words of the suite's command, share of the time. The kernel has a process of its own: it has
# never run on a GPU. Its table, as that of attention, has the error before the times.
_PARTS = {
  "attention": ("attention --only gather,dense", 3),
  "kernel": ("attention --only gather,kernel", 3),
  "step": ("step --only float32", 4),
  "step_bfloat16": ("step --only bfloat16", 4),
  "pipeline": ("pipeline --only float32", 3),
  "pipeline_bfloat16": ("pipeline --only bfloat16", 3),
  "backbone": ("backbone --only resnet50", 3),
  "backbone_bfloat16": ("backbone --only resnet50_bfloat16", 3),
  "triangulation": ("triangulation --only robust,refine,rpsm", 2),
  "predict": ("predict --frames 32", 3),
  "scaling": ("scaling", 1),
}
_COMPARED = ("attention", "kernel", "step", "pipeline", "backbone")
# jax gets half of the memory where PyTorch needs some in the same process.
_MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"
# Largest difference from `gather`, in float32 at the highest precision, that is rounding.
_EXACT = 1e-3
_PASS = "forward+backward"


def main(argv: Sequence[str] | None = None) -> None:
  """Runs the parts and prints their tables and the choice."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--minutes", type=float, default=8.0, help="for everything (8)")
  parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement (1)")
  parser.add_argument("--against", default="", choices=["torch"], help="compare with PyTorch")
  parser.add_argument("--only", default="", help="parts, separated by commas")
  parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/gpu"))
  options = parser.parse_args(argv)
  parts = [name for name in options.only.split(",") if name] or list(_PARTS)
  if unknown := sorted(set(parts) - set(_PARTS)):
    parser.error(f"--only is {unknown[0]}; allowed: {', '.join(_PARTS)}")
  if not options.minutes > 0:
    parser.error("--minutes is above 0")
  options.output.mkdir(parents=True, exist_ok=True)
  said, end = [], time.monotonic() + 60 * options.minutes
  for number, name in enumerate(parts):
    left = sum(_PARTS[x][1] for x in parts[number:])
    limit = (end - time.monotonic()) * _PARTS[name][1] / left
    said.append(f"## {name}\n\n{_run(name, limit, options)}\n")
    print(said[-1], flush=True)
  said.append(
    f"## Choice\n\n{choice(*(_rows(options.output, x) for x in ('attention', 'kernel')))}"
  )
  print(said[-1])
  (options.output / "tables.md").write_text("\n".join(said) + "\n", encoding="utf-8")


def _run(name: str, limit_s: float, options: argparse.Namespace) -> str:
  """The table of a part, or what became of it."""
  words, _ = _PARTS[name]
  path = options.output / f"{name}.json"
  path.unlink(missing_ok=True)
  command = [sys.executable, "-m", "epipolar_jax.tools.benchmark", *words.split()]
  command += ["--seconds", str(options.seconds), "--output", str(path)]
  if name in _COMPARED and options.against:
    command += ["--against", options.against]
  start = time.monotonic()
  with (options.output / f"{name}.log").open("w", encoding="utf-8") as log:
    # A session of its own, so that what a part started ends with it.
    process = subprocess.Popen(
      command,
      stdout=subprocess.PIPE,
      stderr=log,
      text=True,
      env={**({_MEMORY: "0.5"} if options.against else {}), **os.environ},
      start_new_session=True,
    )
    try:
      table, _ = process.communicate(timeout=max(limit_s, 0.1))
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      process.communicate()
      return f"not measured: it took more than its {limit_s:.0f} s"
  if process.returncode:
    lines = (options.output / f"{name}.log").read_text(encoding="utf-8").strip().splitlines()
    last = lines[-1] if lines else "no message"
    return f"not measured: ended with {process.returncode} ({last})"
  return f"{table.strip()}\n\n{time.monotonic() - start:.0f} of {limit_s:.0f} s"


def _rows(folder: pathlib.Path, name: str) -> list[dict[str, Any]]:
  path = folder / f"{name}.json"
  return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def choice(attention: Sequence[dict[str, Any]], kernel: Sequence[dict[str, Any]]) -> str:
  """Which algorithm should be taken, by rows of the suite `attention` in two processes.

  The kernel's time is scaled by that of `gather`, which both processes measured. An algorithm whose
  outputs or gradients are off is out.
  """
  times: dict[str, float] = {}
  wrong: dict[str, float] = {}
  for rows in (attention, kernel):
    for row in rows:
      error = row["error"]
      # A NaN is above every limit.
      if error is not None and not error < _EXACT:
        wrong[row["name"]] = error
    own = {row["name"]: row["median_s"] for row in rows if row["size"].startswith(_PASS)}
    scale = times["gather"] / own["gather"] if {"gather"} <= times.keys() & own.keys() else 1.0
    times |= {name: own[name] * scale for name in own if name not in times and "torch" not in name}
  right = {name: seconds for name, seconds in times.items() if name not in wrong}
  if not right:
    return "attention was not measured: no choice."
  best = min(right, key=right.__getitem__)
  listed = ", ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in sorted(right.items()))
  lines = [f"{_PASS}: {listed}.", f"`auto` should take `{best}` on this platform."]
  lines += [f"`{name}` is off by {error:.1e}: not to be taken." for name, error in wrong.items()]
  if kernel and best != "kernel":
    lines.append("The kernel does not win: it can be dropped.")
  if not kernel:
    lines.append("The kernel was not measured.")
  return "\n".join(lines)


if __name__ == "__main__":
  main()

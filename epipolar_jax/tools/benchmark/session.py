"""All suites one after the other within a given time, each in a process of its own.

What crashes or runs out of memory or time costs its own numbers only: every suite's table, or why
there is none, is in the folder as soon as it is over.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time

from epipolar_jax.tools.benchmark import probe

_MODULE = "epipolar_jax.tools.benchmark"
_LAST_LINES = 12  # of what a failed suite said


@dataclasses.dataclass(frozen=True)
class Step:
  """One suite, or part of one.

  Attributes:
    name: of its files.
    commands: to try until one succeeds.
    needs_s: the time it should take.
    skipped: why it is not run; "" if it is.
  """

  name: str
  commands: tuple[tuple[str, ...], ...]
  needs_s: float
  skipped: str = ""


# Most wanted first: name, suite, --only, seconds to start and compile on a GPU, measurements.
_SUITES = (
  ("attention", "attention", "gather,blocks,dense", 45, 8),
  ("attention_kernel", "attention", "gather,kernel", 35, 4),
  ("step", "step", "", 70, 3),
  ("pipeline", "pipeline", "", 60, 3),
  ("backbone", "backbone", "", 50, 8),
  ("triangulation", "triangulation", "", 60, 20),
  ("scaling", "scaling", "", 60, 4),
  ("inputs", "inputs", "", 15, 25),
)
NAMES = tuple(name for name, *_ in _SUITES)
_COMPARED = ("attention", "step", "pipeline", "backbone")


def plan(
  around: probe.Surroundings,
  folder: pathlib.Path,
  *,
  seconds: float,
  against: str = "",
  only: tuple[str, ...] = (),
) -> list[Step]:
  """The steps of a session, most wanted first.

  Args:
    around: what there is to measure on.
    folder: for the JSON files.
    seconds: for each measurement.
    against: "torch" compares where it can; a suite that fails so is run again without.
    only: some of `NAMES`; () is all.

  Raises:
    ValueError: there is no such step.
  """
  if not set(only) <= set(NAMES):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(NAMES)}")
  why_not = {}
  if around.platform != "gpu":
    why_not["attention_kernel"] = "the kernel is for GPUs"
  if around.devices == 1:
    why_not["scaling"] = "there is one device"
  steps = []
  for name, suite, parts, start_s, measurements in _SUITES:
    if only and name not in only:
      continue
    command = (sys.executable, "-m", _MODULE, suite, "--seconds", f"{seconds:g}")
    command += ("--output", str(folder / f"{name}.json"))
    if parts:
      command += ("--only", parts)
    commands = (command,)
    if against and name in _COMPARED and not around.no_torch:
      commands = ((*command, "--against", against), command)
    needs_s = start_s + measurements * seconds
    steps.append(Step(name, commands, needs_s, why_not.get(name, "")))
  return steps


def run(steps: list[Step], folder: pathlib.Path, *, minutes: float, head: str = "") -> list[str]:
  """Runs the steps that fit, in order.

  Each gets its share of the time that is left, by what the steps need; what it leaves goes to the
  others. One that needs more than is left is skipped.

  Args:
    steps: from `plan`.
    folder: gets `tables.md`, and `NAME.log` with what each step said besides.
    minutes: for everything.
    head: of `tables.md`.

  Returns:
    The names of the steps that failed.
  """
  folder.mkdir(parents=True, exist_ok=True)
  end = time.monotonic() + 60 * minutes
  failed = []
  _write(folder, f"# Benchmarks\n{head}")
  for number, step in enumerate(steps):
    left_s = end - time.monotonic()
    if step.skipped:
      outcome = f"Skipped: {step.skipped}."
    elif left_s < step.needs_s:
      outcome = f"Skipped: it needs {step.needs_s:.0f} s, {max(left_s, 0):.0f} s were left."
    else:
      others_s = sum(x.needs_s for x in steps[number + 1 :] if not x.skipped)
      share_s = max(step.needs_s, left_s * step.needs_s / (step.needs_s + others_s))
      print(f"{step.name}: up to {share_s:.0f} s", flush=True)
      outcome, succeeded = _run_step(step, folder, share_s)
      if not succeeded:
        failed.append(step.name)
    print(f"{outcome}\n", flush=True)
    _write(folder, f"\n## {step.name}\n\n{outcome}")
  return failed


def _write(folder: pathlib.Path, text: str) -> None:
  """Adds to the tables, behind those of earlier sessions."""
  with (folder / "tables.md").open("a", encoding="utf-8") as file:
    file.write(text + "\n")


def _run_step(step: Step, folder: pathlib.Path, share_s: float) -> tuple[str, bool]:
  """What `tables.md` says of a step, and whether a command succeeded."""
  end = time.monotonic() + share_s
  log = folder / f"{step.name}.log"
  log.write_bytes(b"")
  said = []
  for command in step.commands:
    begin = log.stat().st_size
    status, printed = _call(command, log, max(end - time.monotonic(), 0.0))
    shown = " ".join(("python", *command[1:]))
    if status == 0:
      return "\n\n".join([*said, f"`{shown}`", printed]), True
    reason = "it ran out of time" if status is None else f"exit status {status}"
    said.append(f"`{shown}`\n\n**Failed**, {reason}:\n\n```\n{_tail(log, begin)}\n```")
  return "\n\n".join(said), False


def _call(command: tuple[str, ...], log: pathlib.Path, limit_s: float) -> tuple[int | None, str]:
  """Exit status (None: it took too long) and what a command printed; its errors go to the log."""
  # Half of a GPU's memory for jax: PyTorch in the same process needs some.
  environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5"} | os.environ
  with log.open("ab") as errors:
    try:
      ran = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        env=environment,
        timeout=limit_s,
      )
    except subprocess.TimeoutExpired:
      return None, ""
  return ran.returncode, ran.stdout.strip()


def _tail(log: pathlib.Path, begin: int) -> str:
  """The last lines that a command wrote, from a place of the log on."""
  lines = log.read_bytes()[begin:].decode("utf-8", errors="replace").splitlines()
  return "\n".join(lines[-_LAST_LINES:])

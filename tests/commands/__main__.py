"""Runs the commands of README and docs as they are written, in a fresh clone and environment.

python -m tests.commands [PAGE ...] [--long] [--folder DIR] [--times FILE] [--write PAGE]

Every page's commands run one after the other, as a reader copies them, in a clone of what is
committed here, with a virtual environment and a folder of compiled programs of its own. The files
that a page's commands take from the reader (videos, a calibration, keypoints) are recordings made
by `stand_ins.py`. What is not run, and why, is in `elsewhere.py`; --long runs what takes minutes
too. Exit status 1 if a command fails.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence

from tests.commands import elsewhere, pages

_INSTALL = "pip install -q -r requirements.txt -r tests/requirements.txt '.[video,files,onnx]'"
STAND_INS = {
  **dict.fromkeys(("README.md", "docs/predict.md", "docs/own_data.md"), "film_a_person"),
  **dict.fromkeys(("docs/benchmarks.md", "docs/check.md", "docs/fusion.md"), "film_a_person"),
  **dict.fromkeys(("docs/formats.md", "docs/calibrate.md"), "record_a_session"),
}


class Clone:
  """A fresh clone with its environment in a folder."""

  def __init__(self, folder: pathlib.Path):
    self.folder, self.root = folder, folder / "epipolar-jax"
    if not self.root.exists():
      subprocess.run(["git", "clone", "-q", str(pages.ROOT), str(self.root)], check=True)
      venv.create(folder / "environment", with_pip=True)
    else:
      # Commands write into the clone: docs/fusion.webp is one of their results.
      subprocess.run(["git", "checkout", "-q", "."], cwd=self.root, check=True)
      subprocess.run(["git", "pull", "-q"], cwd=self.root, check=True)
      shutil.rmtree(self.root / "data_cache" / "footage", ignore_errors=True)
    status, seconds, _ = self.run(_INSTALL, "installation")
    if status:
      raise OSError(f"the installation failed: {folder / 'logs' / 'installation.log'}")
    print(f"installed in {seconds:.0f} s", flush=True)
    # Of which reader's files stand in the clone, for a folder that is used again.
    self.standing = folder / "standing"

  def run(self, text: str, name: str) -> tuple[int, float, float]:
    """Runs lines of bash: exit status, seconds, and those of all its processes on a core.

    What it prints goes to logs/NAME.log.
    """
    environment = os.environ | {
      "PATH": f"{self.folder / 'environment' / 'bin'}:{os.environ['PATH']}",
      "VIRTUAL_ENV": str(self.folder / "environment"),
      "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
    }
    for name_of_ours in ("PYTHONPATH", "XLA_FLAGS"):
      environment.pop(name_of_ours, None)
    log = self.folder / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as file:
      start, before = time.perf_counter(), _processor_s()
      status = subprocess.run(
        ["bash", "-c", text], cwd=self.root, env=environment, stdout=file, stderr=subprocess.STDOUT
      ).returncode
      return status, time.perf_counter() - start, _processor_s() - before

  def put_stand_ins(self, page: str) -> None:
    """Makes the reader's files that a page's commands need, if they are not there."""
    wanted = STAND_INS.get(page)
    standing = self.standing.read_text() if self.standing.exists() else None
    if wanted is None or wanted == standing:
      return
    code = f"import pathlib; from tests.commands import stand_ins as s; s.{wanted}(pathlib.Path())"
    if self.run(f'python -c "{code}"', wanted)[0]:
      sys.exit(f"{wanted} failed: {self.folder / 'logs' / wanted}.log")
    self.standing.write_text(wanted)


def _processor_s() -> float:
  """Of all processes that this one waited for, and of theirs."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("pages", nargs="*", metavar="PAGE", help="all by default")
  parser.add_argument("--long", action="store_true", help="also what takes minutes to hours")
  parser.add_argument("--folder", type=pathlib.Path, help="of the clone; default: temporary")
  parser.add_argument("--times", type=pathlib.Path, help="JSON file that times are added to")
  parser.add_argument("--write", type=pathlib.Path, help="page to write from all times")
  options = parser.parse_args(arguments)
  unknown = set(options.pages) - set(pages.PAGES)
  if unknown:
    parser.error(f"no such page: {', '.join(sorted(unknown))}; there are {', '.join(pages.PAGES)}")
  times = {}
  if options.times and options.times.exists():
    times = json.loads(options.times.read_text(encoding="utf-8"))
  with tempfile.TemporaryDirectory() as temporary:
    clone = Clone((options.folder or pathlib.Path(temporary)).absolute())
    failed = 0
    for page in options.pages or pages.PAGES:
      failed += run_page(clone, page, options.long, times)
      if options.times:
        options.times.write_text(json.dumps(times, indent=1), encoding="utf-8")
  if options.write:
    options.write.write_text(written(times), encoding="utf-8")
  print(f"{failed} failed" if failed else "all that ran succeeded")
  return int(failed > 0)


def run_page(clone: Clone, page: str, long: bool, times: dict[str, float]) -> int:
  """Runs a page's commands without what others left, adds times, returns how many failed."""
  settings, failed = [], 0
  shutil.rmtree(clone.root / "runs", ignore_errors=True)
  for number, command in enumerate(pages.commands(page)):
    if command.setting:
      settings.append(command.text)
      continue
    if elsewhere.entries(command, elsewhere.NOT_HERE):
      continue
    if elsewhere.entries(command, elsewhere.LONG) and not long:
      continue
    clone.put_stand_ins(page)
    name = f"{page.replace('/', '_')}-{number}"
    status, seconds, processor_s = clone.run("\n".join([*settings, command.text]), name)
    # `check` ends with 1 if something is suspicious, as it is with the calibration that stands in.
    good = status == 0 or (status == 1 and command.text.startswith("epipolar check"))
    failed += not good
    times[f"{page}: {command.text}"] = round(processor_s, 1)
    said = (
      f"{seconds:7.1f} s ({processor_s:.1f})"
      if good
      else f"FAILED with {status}, {clone.folder}/logs/{name}.log"
    )
    print(f"{said}  {page}: {short(command.text)}", flush=True)
  return failed


def short(text: str, width: int = 110) -> str:
  """A command in one line."""
  text = re.sub(r"\s*\\\n\s*|\s+", " ", text)
  return text if len(text) <= width else f"{text[: width - 2].rpartition(' ')[0]} …"


def written(times: dict[str, float]) -> str:
  """The page docs/commands.md."""
  rows = []
  for page in pages.PAGES:
    for command in pages.commands(page):
      key = f"{page}: {command.text}"
      here = elsewhere.entries(command, elsewhere.NOT_HERE)
      long = elsewhere.entries(command, elsewhere.LONG)
      if command.setting:
        continue
      if key in times:
        said = f"{times[key]:.0f} s" if times[key] >= 1 else "under 1 s"
      elif here or long:
        said = f"not run: {here[0][2]}" if here else f"long: {long[0][2]}"
      else:
        said = "not timed yet"
      text = short(command.text).replace("|", "\\|")
      rows.append(f"| {page} | `{text}` | {said} |")
  processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
  import jax

  return _PAGE.format(
    date=datetime.date.today(),
    cores=os.cpu_count(),
    processor=processor[1] if processor else platform.machine(),
    python=platform.python_version(),
    jax=jax.__version__,
    rows="\n".join(rows),
  )


_PAGE = """# Every command of these pages, and how long it takes

```bash
python -m tests.commands
```

copies every command from README and docs, as it is written, into a fresh clone with a new
environment, and runs it there. The files that a page takes from its reader (`cam*.mp4`,
`calibration.toml`, `session_*.csv`, `pose/`, `board/`) are recordings made for the purpose: a
rendered person with a calibration that is a degree off, keypoints of a walk, a board
(`tests/commands/stand_ins.py`). Names of pages run those pages alone, `--long` what takes minutes
to hours too. What is not run stands in `tests/commands/elsewhere.py` with its reason; a test holds
that every command has what it needs or stands there, and that nothing stands there that no page
has.

Measured {date} on {cores} cores of {processor}, without an accelerator, Python {python},
jax {jax}: seconds of processor time, of all processes of a command together. On two idle cores a
command takes between half of them and all of them, and packages' downloads come on top. Other jobs
ran beside, which changes processor time by up to a factor of two (one `predict` of the same videos
has 24 s, another 62 s). Most programs had been compiled by an earlier run of the script: the first
time a command takes some seconds more.

| page | command | processor time |
|---|---|---|
{rows}
"""


if __name__ == "__main__":
  sys.exit(main())

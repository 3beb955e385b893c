"""Installs the requirements at their bounds and tests there: `python -m tests.bounds lowest`.

`lowest` pins every line of requirements.txt, and of the extra `files` of pyproject.toml, to the
version it names, `newest` takes what pip finds.
In a new environment (--folder keeps it) everything is imported and tests that go through the
libraries run: a training with its checkpoints, its killed and resumed run, readers and writers.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence

_ROOT = pathlib.Path(__file__).parent.parent
# They go through every library, in little time.
_TESTS = (
  *("tests/test_checkpointing.py", "tests/test_locking.py", "tests/test_metric_writer.py"),
  *("tests/runtime/test_start.py", "tests/data/test_builder.py", "tests/inputs/test_pipeline.py"),
  *("tests/geometry", "tests/rigs", "tests/keypoints", "tests/motion"),
  *("tests/visualize/test_film.py",),
)
_IMPORT = """
import importlib, pkgutil
import data, epipolar_jax
for package in (data, epipolar_jax):
  for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    # Commands run when they are imported; the other side of the benchmarks needs PyTorch.
    if not module.name.endswith("__main__") and ".torch_" not in module.name:
      importlib.import_module(module.name)
"""


def lowest(requirements: str) -> list[str]:
  """The lines of a requirements file, each pinned to the lowest version that it allows.

  Raises:
    ValueError: a line has no lower bound, which nobody can test.
  """
  pinned = []
  for line in requirements.splitlines():
    line = line.partition("#")[0].strip()
    if not line:
      continue
    found = re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:,<[\w.]+)?(\s*;.*)?", line)
    if not found:
      raise ValueError(
        f"requirements.txt: {line!r} should be NAME>=VERSION, with or without ,<VERSION"
      )
    pinned.append(f"{found[1]}=={found[2]}{found[3] or ''}")
  return pinned


def files_extra() -> list[str]:
  """What pyproject.toml asks for to read and write HDF5 and C3D."""
  project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
  return project["optional-dependencies"]["files"]


def main(arguments: Sequence[str] | None = None) -> None:
  """Makes the environment and runs the tests in it."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("which", choices=("lowest", "newest"))
  parser.add_argument("--folder", type=pathlib.Path, help="of the environment; default: temporary")
  options = parser.parse_args(arguments)
  requirements = _ROOT / "requirements.txt"
  with tempfile.TemporaryDirectory() as temporary:
    folder = (options.folder or pathlib.Path(temporary) / "environment").absolute()
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = pathlib.Path(temporary) / "constraints.txt"
    asked = requirements.read_text(encoding="utf-8") + "\n".join(files_extra())
    pins = lowest(asked) if options.which == "lowest" else []
    constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
    files = ["-r", requirements, "-c", constraints, "-r", _ROOT / "tests" / "requirements.txt"]
    for command in (
      ["-m", "pip", "install", "--quiet", *files, *files_extra()],
      ["-m", "pip", "check"],
      ["-c", _IMPORT],
      ["-m", "pytest", *_TESTS],
    ):
      ran = subprocess.run([python, *command], cwd=_ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"})
      if ran.returncode:
        raise SystemExit(f"{options.which}: {' '.join(map(str, command))[:200]} failed")
  print(f"{options.which}: all of requirements.txt works on Python {sys.version.split()[0]}")


if __name__ == "__main__":
  main()

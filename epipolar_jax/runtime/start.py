"""How train.py and eval.py start and end: flags, job, caches; a mistake is a sentence.

`run(main)` calls `main(config, workdir)`. What goes wrong for reasons that its message tells ends
with that message and status 1 (--debug: with the traceback); Ctrl-C ends with status 130.
"""

import ast
import difflib
import importlib.util
import pathlib
import sys
import textwrap
from collections.abc import Callable

import jax
import ml_collections
from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import config_ranges
from epipolar_jax.runtime import compilation_cache, host_memory, processes

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<config name>.")
_DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error, not its message alone.")
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Join the job that the TPU pod, SLURM, Open MPI or Kubernetes describes."
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator_address", None, "Or join this one: HOST:PORT of process 0; needs the next two."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Of the job.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Of this process, from 0.")
_SHARED = (
  *("config", "workdir", "debug", "distributed"),
  *("coordinator_address", "num_processes", "process_id"),
)

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_WIDTH = 100
_CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
_EXAMPLE = "configs/synthetic.py"
_MEMORY = "RESOURCE_EXHAUSTED"

Main = Callable[[ml_collections.ConfigDict, pathlib.Path], None]


def run(main: Main) -> None:
  """Runs the main function of a script as a job; does not return."""
  script = sys.modules["__main__"]
  if _wants_help(sys.argv):
    shown = _config_file(sys.argv) or "configs/h36m.py"
    listed = fields(_load(shown if pathlib.Path(shown).exists() else _CONFIGS / "h36m.py"))
    about = f"Configs:\n{configs()}\n\nFields of {shown}, as --config.FIELD=VALUE:\n{listed}"
    script.__doc__ = f"{script.__doc__}\n{about}\n"
  for name in _SHARED:
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
  # Warnings: Orbax tells much at the info level. Not set_default, which app.run overrules.
  flags.FLAGS.verbosity = -1
  app.run(lambda argv: guarded(lambda: _start(main, argv)), flags_parser=_parse)


def _start(main: Main, argv: list[str]) -> None:
  if len(argv) > 1:
    raise ValueError(f"unknown arguments: {' '.join(argv[1:])} (--help lists the options)")
  host_memory.keep()
  processes.join(
    detect=_DISTRIBUTED.value,
    coordinator_address=_COORDINATOR.value,
    num_processes=_NUM_PROCESSES.value,
    process_id=_PROCESS_ID.value,
  )
  compilation_cache.enable()
  main(_CONFIG.value, pathlib.Path(_WORKDIR.value or f"runs/{_run_name(_config_file(sys.argv))}"))


def _run_name(config_file: str) -> str:
  """configs/lifting_rhd.py is lifting_rhd, configs/lifting_rhd.py:residual lifting_rhd_residual."""
  path, _, argument = config_file.partition(".py:")
  return pathlib.Path(path).stem + (f"_{argument}" if argument else "")


def guarded(main: Callable[[], None]) -> None:
  """Calls `main`; what goes wrong for reasons that its message tells ends with that message."""
  try:
    main()
  except KeyboardInterrupt as error:
    print(str(error) or "Interrupted.", file=sys.stderr)
    raise SystemExit(_INTERRUPTED) from None
  except (ValueError, OSError, FloatingPointError, jax.errors.JaxRuntimeError) as error:
    text = str(error) or type(error).__name__
    if isinstance(error, jax.errors.JaxRuntimeError):
      if _MEMORY not in text:
        raise
      text = (
        f"a device has not enough memory ({text.splitlines()[0][:200]}): lower train.batch_size or "
        "eval.batch_size, or raise train.accumulate"
      )
    if _DEBUG.value:
      raise
    print(f"ERROR: {text}\n(--debug shows where this was noticed.)", file=sys.stderr)
    raise SystemExit(1) from None


def configs() -> str:
  """The shipped configs, a line each."""
  lines = []
  for path in sorted(_CONFIGS.glob("*.py")):
    if path.stem != "__init__":
      about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
      line = f"  configs/{path.name:<33} {about.partition(chr(10))[0]}"
      lines.append(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3].rstrip()}...")
  return "\n".join(lines)


def fields(config: ml_collections.ConfigDict) -> str:
  """The names of all fields, a paragraph for each group; configs/h36m.py has a comment on each."""
  groups: dict[str, list[str]] = {}
  for name in config_ranges.leaves(config):
    group, _, field = name.rpartition(".")
    groups.setdefault(group, []).append(field)
  lines = []
  for group, names in groups.items():
    prefix = f"  {group}." if group else "  "
    indent = " " * len(prefix)
    lines.append(
      textwrap.fill(", ".join(names), _WIDTH, initial_indent=prefix, subsequent_indent=indent)
    )
  return "\n".join(lines)


def _wants_help(argv: list[str]) -> bool:
  return any(x.lstrip("-").startswith("help") for x in argv[1:] if x.startswith("-"))


def _parse(argv: list[str]) -> list[str]:
  """Parses flags; without a config it lists them, and for a wrong field what there is."""
  path = _config_file(argv)
  if path is None and not _wants_help(argv):
    _end(f"--config is missing: name a file, for example --config {_EXAMPLE}\n{configs()}")
  # What comes after ".py:" is for the file's get_config.
  if path is not None and not pathlib.Path(path.partition(".py:")[0]).with_suffix(".py").is_file():
    _end(f"--config: there is no file {path}; the shipped ones are\n{configs()}")
  try:
    return flags.FLAGS(argv)
  except AttributeError as error:
    if "--debug" in argv:
      raise
    _end(_wrong_field(argv, error))
  except (ValueError, flags.Error) as error:
    _end(f"{error}\n(--help lists the options.)")


def _end(text: str) -> None:
  print(f"ERROR: {text}", file=sys.stderr)
  raise SystemExit(1)


def _config_file(argv: list[str]) -> str | None:
  for i, text in enumerate(argv[1:], 1):
    name, equals, value = text.lstrip("-").partition("=")
    if text.startswith("-") and name == "config":
      return value if equals else (argv[i + 1] if i + 1 < len(argv) else None)
  return None


def _wrong_field(argv: list[str], error: Exception) -> str:
  """Says which override names no field, and what fields there are."""
  config = _load(_config_file(argv))
  names = list(config_ranges.leaves(config))
  for text in argv[1:]:
    flag = text.lstrip("-").partition("=")[0]
    field = flag.removeprefix("config.").partition("[")[0]
    if not flag.startswith("config.") or field in names:
      continue
    near = difflib.get_close_matches(field, names, n=3)
    # A right name in the wrong group, too.
    near += [x for x in names if x.rpartition(".")[2] == field.rpartition(".")[2] and x not in near]
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"--{flag}: the config has no field {field!r}{hint}\nIts fields:\n{fields(config)}"
  return f"a field of the config: {error}"


def _load(path: str | pathlib.Path) -> ml_collections.ConfigDict:
  """The config of a file, without overrides."""
  path, _, argument = str(path).partition(".py:")
  spec = importlib.util.spec_from_file_location(
    "_config_file", pathlib.Path(path).with_suffix(".py")
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(argument) if argument else module.get_config()

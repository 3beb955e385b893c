"""Synthetic data in the file formats of licensed data sets.

  python -m data.synthetic.export --layout h36m --output raw/h36m [--frames N ...]
  python -m data.synthetic.export --layout rhd --output raw/rhd [--images N ...]

What comes out is read by the same builders as the real files, so everything from there on can be
tried, trained and tested without a licence. `--layout NAME --help` lists a layout's options.
"""

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

from data.synthetic import export_h36m, export_rhd

# For each layout: adds its options to the parser; writes, given the folder and the options.
_LAYOUTS: dict[str, tuple[Callable[[Any], None], Callable[[pathlib.Path, Any], str]]] = {
  "h36m": (export_h36m.add_arguments, export_h36m.write),
  "rhd": (export_rhd.add_arguments, export_rhd.write),
}
# Their folder may hold an unfinished run.
_RESUMED = ("rhd",)


def main(arguments: list[str] | None = None) -> None:
  """Writes one data set from the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], add_help=False)
  parser.add_argument("--layout", choices=sorted(_LAYOUTS), required=True)
  layout, _ = parser.parse_known_args(arguments)
  add_arguments, write = _LAYOUTS[layout.layout]
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--layout", choices=sorted(_LAYOUTS), required=True)
  parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write")
  add_arguments(parser)
  options = parser.parse_args(arguments)
  taken = options.output.exists() and any(options.output.iterdir())
  if taken and options.layout not in _RESUMED:
    raise SystemExit(f"{options.output} is not empty: choose another --output or delete it")
  try:
    print(write(options.output, options))
  except (ValueError, FileExistsError) as error:
    raise SystemExit(str(error)) from error


if __name__ == "__main__":
  main()

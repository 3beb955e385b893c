"""The parser of the command `epipolar` and of all its verbs."""

import argparse

from epipolar_jax import __version__
from epipolar_jax.cli import calibrate, check, convert, predict, triangulate

# One module a verb; heavy imports are inside what they run, so that --help is instant.
_VERBS = (predict, triangulate, calibrate, check, convert)


def parser() -> argparse.ArgumentParser:
  """Of the command and all its verbs."""
  whole = argparse.ArgumentParser(prog="epipolar", description="Multi-view 3D pose.")
  whole.add_argument("--version", action="version", version=f"epipolar-jax {__version__}")
  whole.add_argument("--debug", action="store_true", help="show tracebacks")
  verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
  for verb in _VERBS:
    verb.add(verbs)
  return whole

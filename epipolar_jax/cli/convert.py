"""`epipolar convert`: a file to another format of the same kind."""

import argparse
import pathlib


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("convert", help="a calibration to another format")
  verb.add_argument("source", type=pathlib.Path, help="calibration file or folder, any format")
  verb.add_argument("target", type=pathlib.Path)
  verb.add_argument("--format", required=True, help="of the target")
  verb.add_argument("--unit", help="of the source's translations: mm, cm, m or inch")
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
  """Reads, writes, and prints what was not carried over."""
  from epipolar_jax.rigs.rig import Rig

  rig = Rig.read(options.source, unit=options.unit)
  left_out = rig.write(options.target, options.format)
  print(f"Wrote {options.target}: cameras {', '.join(rig.names)}")
  for text in left_out:
    print(f"  not carried over: {text}")

"""The command `epipolar` (= python -m epipolar_jax).

epipolar triangulate --keypoints cam*.csv --cameras calibration.toml --out DIR
epipolar convert calibration.toml OUT --format pose2sim
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from epipolar_jax import __version__


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a verb; a user's mistake is one sentence and status 2, unless --debug asks for more."""
  parser = argparse.ArgumentParser(prog="epipolar", description="Multi-view 3D pose.")
  parser.add_argument("--version", action="version", version=f"epipolar-jax {__version__}")
  parser.add_argument("--debug", action="store_true", help="show tracebacks")
  verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
  _add_triangulate(verbs)
  _add_convert(verbs)
  options = parser.parse_args(arguments)
  try:
    options.run(options)
  except (OSError, ValueError) as error:
    if options.debug:
      raise
    print(f"epipolar {options.verb}: {error}", file=sys.stderr)
    return 2
  return 0


def _add_triangulate(verbs) -> None:
  verb = verbs.add_parser("triangulate", help="2D keypoints of any tool to 3D joints")
  verb.add_argument(
    "--keypoints",
    nargs="+",
    required=True,
    metavar="FILE",
    help="DeepLabCut or Lightning Pose csv, one a camera, whose name holds the camera's; or "
    "CAMERA=FILE",
  )
  _add_cameras(verb)
  verb.add_argument("--out", required=True, type=pathlib.Path, help="folder for joints.npz")
  verb.add_argument("--method", default="robust", help="robust (default), dlt, pymvg, ...")
  verb.add_argument("--fps", type=float, help="frames a second, recorded in joints.npz")
  verb.set_defaults(run=_triangulate)


def _add_cameras(verb) -> None:
  verb.add_argument(
    "--cameras", required=True, type=pathlib.Path, help="calibration file or folder, any format"
  )
  verb.add_argument("--unit", help="of the calibration's translations: mm, cm, m or inch")


def _triangulate(options: argparse.Namespace) -> None:
  import numpy as np

  from epipolar_jax.keypoints import reading
  from epipolar_jax.motion import files
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.triangulation import estimate as estimates

  if options.fps is not None and not 0 < options.fps < float("inf"):
    raise ValueError(f"--fps should be above 0, got {options.fps}")
  rig = Rig.read(options.cameras, unit=options.unit)
  named = [x.split("=", 1) for x in options.keypoints if x.partition("=")[1]]
  named = {camera: file for camera, file in named if camera in rig.names}
  said = {f"{camera}={file}" for camera, file in named.items()}
  rest = [x for x in options.keypoints if x not in said]
  paired = named | reading.pair(rest, rig.names)
  if len(paired) != len(options.keypoints):
    raise ValueError("two keypoint files are of one camera: give each camera once")
  observations = reading.read(paired, fps=options.fps)
  found = estimates.triangulate(observations, rig, options.method)
  path = options.out / "joints.npz"
  files.write(path, found, fps=options.fps)
  frames, _, joints = found.valid.shape
  print(
    f"{frames} frames, {joints} joints, {found.valid.mean():.1%} triangulated by "
    f"{options.method}; reprojection error, px:"
  )
  for view, name in enumerate(found.views):
    off = found.reprojection_px[:, :, view]
    off = off[np.isfinite(off)]
    low, high = np.percentile(off, (50, 90)) if len(off) else (np.nan, np.nan)
    print(f"  {name}: median {low:.2f}, 90th percentile {high:.2f}")
  if rig.unit_mm is None:
    print(f"{options.cameras} does not state its unit: mm were assumed (--unit says otherwise)")
  print(f"Wrote {path}")


def _add_convert(verbs) -> None:
  verb = verbs.add_parser("convert", help="a calibration to another format")
  verb.add_argument("source", type=pathlib.Path, help="calibration file or folder, any format")
  verb.add_argument("target", type=pathlib.Path)
  verb.add_argument("--format", required=True, help="of the target")
  verb.add_argument("--unit", help="of the source's translations: mm, cm, m or inch")
  verb.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
  from epipolar_jax.rigs.rig import Rig

  rig = Rig.read(options.source, unit=options.unit)
  left_out = rig.write(options.target, options.format)
  print(f"Wrote {options.target}: cameras {', '.join(rig.names)}")
  for text in left_out:
    print(f"  not carried over: {text}")


if __name__ == "__main__":
  sys.exit(main())

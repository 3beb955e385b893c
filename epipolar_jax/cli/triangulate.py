"""`epipolar triangulate`: 2D keypoints of any tool and a calibration to 3D joints."""

import argparse
import pathlib


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("triangulate", help="2D keypoints of any tool to 3D joints")
  verb.add_argument(
    "--keypoints",
    nargs="+",
    required=True,
    metavar="FILE",
    help="keypoint file or folder of any known format, one a camera, whose name holds the "
    "camera's; or CAMERA=FILE",
  )
  verb.add_argument("--joint_set", help="of files without joint names: BODY_25B, a .toml, ...")
  verb.add_argument(
    "--cameras", required=True, type=pathlib.Path, help="calibration file or folder, any format"
  )
  verb.add_argument("--unit", help="of the calibration's translations: mm, cm, m or inch")
  verb.add_argument("--out", required=True, type=pathlib.Path, help="folder for joints.npz")
  verb.add_argument("--method", default="robust", help="robust (default), dlt, pymvg, ...")
  verb.add_argument("--fps", type=float, help="frames a second, recorded in the files")
  verb.add_argument(
    "--format",
    default="",
    metavar="NAME,...",
    help="files besides joints.npz: anipose, trc, ...",
  )
  verb.add_argument("--up", default="z", help="axis that is up in the calibration's world (z)")
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
  """Reads, triangulates, writes, and prints each camera's reprojection error."""
  import numpy as np

  from epipolar_jax.keypoints import reading
  from epipolar_jax.motion import files, formats, motion
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.triangulation import estimate as estimates

  if options.fps is not None and not 0 < options.fps < float("inf"):
    raise ValueError(f"--fps should be above 0, got {options.fps}")
  written = [name for name in options.format.split(",") if name]
  for name in written:
    formats.check(name)
  rig = Rig.read(options.cameras, unit=options.unit)
  named = [x.split("=", 1) for x in options.keypoints if x.partition("=")[1]]
  named = {camera: file for camera, file in named if camera in rig.names}
  said = {f"{camera}={file}" for camera, file in named.items()}
  rest = [x for x in options.keypoints if x not in said]
  paired = named | reading.pair(rest, rig.names)
  if len(paired) != len(options.keypoints):
    raise ValueError("two keypoint files are of one camera: give each camera once")
  observations = reading.read(paired, fps=options.fps, joint_set=options.joint_set)
  found = estimates.triangulate(observations, rig, options.method)
  path = options.out / "joints.npz"
  files.write(path, found, fps=observations.fps)
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
  moved = motion.of_estimate(found, fps=observations.fps, first_frame=observations.first_frame)
  for name in written:
    path = options.out / f"joints_{name}{formats.FORMATS[name].suffix}"
    for one in formats.write(path, moved, name, up=options.up)[0]:
      print(f"Wrote {one}")

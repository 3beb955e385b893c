"""`epipolar triangulate`: 2D keypoints of any tool and a calibration to 3D joints."""

import argparse
import pathlib

# Share of its points in which a view agrees with the others; below, something is wrong with it.
_FEW = 0.3


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("triangulate", help="2D keypoints of any tool to 3D joints")
  verb.add_argument(
    "--keypoints",
    nargs="+",
    required=True,
    metavar="FILE",
    help="keypoint file or folder of any known format, one a camera, whose name holds the "
    "camera's, or CAMERA=FILE; or one with all views",
  )
  verb.add_argument("--joint_set", help="of files without joint names: BODY_25B, a .toml, ...")
  verb.add_argument(
    "--cameras", required=True, type=pathlib.Path, help="calibration file or folder, any format"
  )
  verb.add_argument(
    "--trust_names", action="store_true", help="even if views fit other cameras better"
  )
  verb.add_argument(
    "--people", default="1", metavar="N|all", help="how many are kept, those seen most (1)"
  )
  verb.add_argument("--unit", help="of the calibration's translations: mm, cm, m or inch")
  verb.add_argument("--out", required=True, type=pathlib.Path, help="folder for joints.npz")
  verb.add_argument("--method", default="robust", help="robust (default), dlt, pymvg, ...")
  verb.add_argument("--fps", type=float, help="frames a second, recorded in the files")
  verb.add_argument(
    "--format",
    default="",
    metavar="NAME,...",
    help="files besides joints.npz: anipose, trc, c3d, ...",
  )
  verb.add_argument("--up", default="z", help="axis that is up in the calibration's world (z)")
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
  """Reads, triangulates, writes, and prints each camera's reprojection error."""
  from epipolar_jax.keypoints import reading
  from epipolar_jax.matching import naming, people, sizes
  from epipolar_jax.motion import files, formats, motion
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.triangulation import estimate as estimates

  if options.fps is not None and not 0 < options.fps < float("inf"):
    raise ValueError(f"--fps should be above 0, got {options.fps}")
  if options.people != "all" and not options.people.isdecimal():
    raise ValueError(f"--people should be a number or all, got {options.people!r}")
  most = None if options.people == "all" else int(options.people)
  written = [name for name in options.format.split(",") if name]
  for name in written:
    formats.check(name)
  rig = Rig.read(options.cameras, unit=options.unit)
  for first, second in rig.twins():
    print(f"Cameras {first} and {second} have the same pose in {options.cameras}: one is wrong")
  observations = reading.read_recording(
    options.keypoints, rig.names, fps=options.fps, joint_set=options.joint_set
  )
  sizes.check(observations, rig)
  pairing = naming.check(observations, rig)
  if pairing is not None and pairing.verdict == "wrong" and not options.trust_names:
    raise ValueError(f"{pairing.sentence()} (--trust_names goes on all the same)")
  if pairing is not None:
    sentence = pairing.sentence()
    print(sentence[0].upper() + sentence[1:])
  slots = observations.points.shape[1]
  observations = people.match(observations, rig, people=most)
  if not observations.points.shape[1]:
    raise ValueError(f"none of up to {slots} people in a frame is confirmed by a second view")
  found = estimates.triangulate(observations, rig, options.method)
  path = options.out / "joints.npz"
  files.write(path, found, fps=observations.fps, first_frame=observations.first_frame)
  _report(found, options.method)
  if rig.unit_mm is None:
    print(f"{options.cameras} does not state its unit: mm were assumed (--unit says otherwise)")
  print(f"Wrote {path}")
  moved = motion.of_estimate(found, fps=observations.fps, first_frame=observations.first_frame)
  for name in written:
    stem = name.replace(" ", "_")
    path = options.out / f"joints_{stem}{formats.FORMATS[name].suffix}"
    for one in formats.write(path, moved, name, up=options.up)[0]:
      print(f"Wrote {one}")


def _report(found, method: str) -> None:
  """Prints how many joints there are, and how far from each camera's observations."""
  import numpy as np

  frames, people, joints = found.valid.shape
  of = f"{people} people, " if people > 1 else ""
  print(
    f"{frames} frames, {of}{joints} joints, {found.valid.mean():.1%} triangulated by {method}; "
    "reprojection error, px:"
  )
  for view, name in enumerate(found.views):
    off = found.reprojection_px[:, :, view]
    seen = np.isfinite(off)
    if not seen.any():
      print(f"  {name}: saw nothing that was triangulated")
      continue
    middle, high = np.percentile(off[seen], (50, 90))
    agree = (found.inlier[:, :, view][seen] >= 0.5).mean()
    print(f"  {name}: median {middle:.2f}, 90th percentile {high:.2f}; agrees in {agree:.0%}")
    if agree < _FEW:
      print(f"    {name} hardly agrees with the others: is its calibration or its timing wrong?")

"""`epipolar triangulate`: 2D keypoints of any tool and a calibration to 3D joints."""

import argparse
import pathlib

from epipolar_jax.cli import over_time, patterns, priors


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("triangulate", help="2D keypoints of any tool to 3D joints")
  verb.add_argument(
    "--keypoints",
    nargs="+",
    required=True,
    metavar="FILE",
    help="keypoint file or folder of any known format, one a camera, whose name holds the "
    "camera's, or CAMERA=FILE; or one with all views; patterns in quotes are expanded",
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
  verb.add_argument(
    "--timing",
    type=pathlib.Path,
    metavar="FILE.json",
    help="when each camera took its frames, as calibrate --sync writes it",
  )
  verb.add_argument("--fps", type=float, help="frames a second, recorded in the files")
  verb.add_argument(
    "--format",
    default="",
    metavar="NAME,...",
    help="files besides joints.npz: anipose, trc, c3d, ...",
  )
  verb.add_argument("--up", default="z", help="axis that is up in the calibration's world (z)")
  verb.add_argument(
    "--keep_sides",
    action="store_true",
    help="leave left and right as detected, even where a view contradicts the others",
  )
  priors.add(verb)
  over_time.add(verb)
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
  """Reads, triangulates, prints how well the views agree, and writes.

  Raises:
    OSError, ValueError: something is wrong with options or files; the message says what to do.
  """
  if (options.out / "predict.json").exists():
    raise ValueError(
      f"{options.out} holds a prediction, whose joints.npz would be replaced: give another --out"
    )
  import dataclasses

  from epipolar_jax.calibration import timing
  from epipolar_jax.cli import outputs
  from epipolar_jax.keypoints import reading
  from epipolar_jax.matching import people, sizes
  from epipolar_jax.motion import formats
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.runtime import compilation_cache
  from epipolar_jax.triangulation import estimate as estimates

  compilation_cache.enable()
  if options.fps is not None and not 0 < options.fps < float("inf"):
    raise ValueError(f"--fps should be above 0, got {options.fps}")
  most = people.number(options.people)
  estimates.check_method(options.method)
  chosen = outputs.names(options.format)
  formats.check_up(options.up)
  rig = Rig.read(options.cameras, unit=options.unit)
  for first, second in rig.twins():
    print(f"Cameras {first} and {second} have the same pose in {options.cameras}: one is wrong")
  inputs = patterns.expanded(options.keypoints, "keypoint file")
  observations = reading.read_recording(
    inputs, rig.names, fps=options.fps, joint_set=options.joint_set
  )
  for name in chosen:
    formats.check_fps(name, observations.fps)
  over_time.check(options, observations.fps)
  if options.prior:
    priors.check(options, observations.joints, observations.views)
  sizes.check(observations, rig)
  outputs.prove_pairing(observations, rig, trust_names=options.trust_names)
  slots = observations.points.shape[1]
  observations = people.match(observations, rig, people=most)
  if not observations.points.shape[1]:
    raise ValueError(f"none of up to {slots} people in a frame is confirmed by a second view")
  if slots > observations.points.shape[1]:
    kept = observations.points.shape[1]
    print(f"Kept {kept} of up to {slots} people in a frame (--people {options.people})")
  if options.timing is not None:
    observations = timing.apply(observations, timing.read(options.timing))
  rig = rig.select(observations.views)
  observations = outputs.sides_mended(observations, rig, keep=options.keep_sides)
  ideal = dataclasses.replace(observations, points=rig.undistort(observations.points))
  found = estimates.triangulate(ideal, rig.cameras, options.method)
  if rig.unit_mm is None:
    print(f"{options.cameras} does not state its unit: mm were assumed (--unit says otherwise)")
  outputs.tell(found, ideal, rig, options.method)
  if options.prior:
    found = priors.apply(found, ideal, rig.cameras)
  found = over_time.apply(found, options, observations.fps)
  outputs.write(
    options.out,
    found,
    chosen,
    fps=observations.fps,
    first_frame=observations.first_frame,
    up=options.up,
  )

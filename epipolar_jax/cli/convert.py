"""`epipolar convert`: a calibration, 2D keypoints or 3D joints to another format of that kind."""

import argparse
import pathlib

# Formats that a target's suffix determines.
_SUFFIXES = {".trc": "trc", ".c3d": "c3d"}


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("convert", help="calibrations, 2D or 3D files to another format")
  verb.add_argument("source", type=pathlib.Path, help="file or folder of any known format")
  verb.add_argument("target", type=pathlib.Path)
  verb.add_argument("--format", help="of the target, which also says what kind the source is")
  verb.add_argument("--unit", help="of a calibration's translations: mm, cm, m or inch")
  verb.add_argument("--joint_set", help="of 2D files without joint names: BODY_25B, a .toml, ...")
  verb.add_argument("--fps", type=float, help="frames a second, where the source does not say")
  verb.add_argument("--up", default="z", help="axis that is up in the world of 3D joints (z)")
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
  """Reads, writes, and prints what was not carried over."""
  from epipolar_jax.keypoints import writing as keypoints
  from epipolar_jax.motion import formats as motion
  from epipolar_jax.rigs import writing as rigs

  name = options.format or _SUFFIXES.get(options.target.suffix.lower())
  kinds = {
    "calibrations": (rigs.WRITERS, _rig),
    "2D keypoints": (keypoints.WRITERS, _keypoints),
    "3D joints": (motion.WRITTEN, _motion),
  }
  for written, convert in kinds.values():
    if name in written:
      lost = convert(options, name)
      for text in lost:
        print(f"  not carried over: {text}")
      return
  listed = "; ".join(f"{kind}: {', '.join(written)}" for kind, (written, _) in kinds.items())
  raise ValueError(f"--format should be one of {listed}; got {options.format!r}")


def _rig(options: argparse.Namespace, name: str) -> tuple[str, ...]:
  from epipolar_jax.rigs.rig import Rig

  rig = Rig.read(options.source, unit=options.unit)
  lost = rig.write(options.target, name)
  print(f"Wrote {options.target}: cameras {', '.join(rig.names)}")
  return lost


def _keypoints(options: argparse.Namespace, name: str) -> list[str]:
  import dataclasses

  from epipolar_jax.keypoints import writing
  from epipolar_jax.keypoints.observations import Observations

  observations = Observations.read(options.source, joint_set=options.joint_set)
  if options.fps is not None:
    observations = dataclasses.replace(observations, fps=options.fps)
  paths, lost = writing.write(options.target, observations, name)
  frames, people, _, joints = observations.score.shape
  views = ", ".join(observations.views)
  _report(paths, f"{frames} frames, up to {people} people, {joints} joints, views {views}")
  return lost


def _motion(options: argparse.Namespace, name: str) -> list[str]:
  import dataclasses

  from epipolar_jax.motion import files, formats

  motion = formats.read(options.source, up=options.up)
  if options.fps is not None:
    motion = dataclasses.replace(motion, fps=options.fps)
  paths, lost = formats.write(options.target, motion, name, up=options.up)
  frames, people, joints = motion.known.shape
  _report(paths, f"{frames} frames, {people} people, {joints} joints")
  with options.source.open("rb") as file:
    if files.recognise(file.read(8)):
      lost = [*lost, "covariances, and errors and weights of single views"]
  return lost


def _report(paths: list[pathlib.Path], what: str) -> None:
  for path in paths:
    print(f"Wrote {path}")
  print(f"  {what}")

"""`epipolar check`: whether cameras are right, from their file and from a recording's keypoints."""

import argparse
import pathlib


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser(
    "check",
    help="whether cameras are right, and what is wrong with them",
    description="Exit status: 0 nothing is suspicious, 1 something is, 2 it could not be read.",
  )
  verb.add_argument(
    "--cameras", required=True, type=pathlib.Path, help="calibration file or folder, any format"
  )
  verb.add_argument("--unit", help="of the calibration's translations: mm, cm, m or inch")
  verb.add_argument(
    "--keypoints",
    nargs="+",
    metavar="FILE",
    help="keypoints of a recording, as for triangulate; without them the file alone is checked",
  )
  verb.add_argument("--joint_set", help="of files without joint names: BODY_25B, a .toml, ...")
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
  """Prints what is found.

  Returns:
    1 if something is suspicious, else 0.
  """
  from epipolar_jax.calibration import checking
  from epipolar_jax.rigs.rig import Rig

  if options.joint_set and not options.keypoints:
    raise ValueError("--joint_set is of --keypoints, which are not given")
  rig = Rig.read(options.cameras, unit=options.unit)
  print(f"{len(rig.names)} cameras in {options.cameras}: {', '.join(rig.names)}")
  findings = checking.check(rig)
  for finding in findings:
    print(f"{'SUSPICIOUS' if finding.suspicious else 'unusual'}: {finding.sentence()}")
  suspicious = any(finding.suspicious for finding in findings)
  if options.keypoints:
    suspicious |= _compare(options, rig)
  else:
    print("Keypoints of a recording (--keypoints) show far more than the file alone")
  print("Verdict: something is wrong" if suspicious else "Verdict: nothing is suspicious")
  return int(suspicious)


def _compare(options: argparse.Namespace, rig) -> bool:
  """Prints how keypoints and cameras agree; whether something is suspicious."""
  from epipolar_jax.calibration import diagnosis, following
  from epipolar_jax.keypoints import reading
  from epipolar_jax.matching import sizes

  observations = reading.read_recording(options.keypoints, rig.names, joint_set=options.joint_set)
  suspicious = False
  try:
    sizes.check(observations, rig)
  except ValueError as error:
    print(f"SUSPICIOUS: {error}")
    suspicious = True
  if observations.points.shape[1] > 1:
    observations, lost = following.follow(observations, rig)
    print("The person seen most was followed")
    for name in lost:
      print(f"SUSPICIOUS: no other view confirms who camera {name} saw in most frames")
    suspicious |= bool(lost)
  found = diagnosis.diagnose(observations, rig)
  _tell(found, rig)
  return suspicious or found.alarm


def _tell(found, rig) -> None:
  """Prints a diagnosis."""
  import numpy as np

  width = max(8, *(len(name) for name in found.views))
  print("Median epipolar distances of pairs, px; left out: from where the others' points project:")
  heads = "".join(f"{name:>{width + 1}}" for name in found.views)
  print(f"{'':>{width}}{heads}  left out  others without it")
  for view, name in enumerate(found.views):
    cells = "".join(f"{_px(x):>{width + 1}}" for x in found.pairs[view])
    print(f"{name:>{width}}{cells}  {_px(found.left_out[view]):>8}  {_px(found.others[view]):>17}")
    if np.isnan(found.pairs[view]).all():
      print(f"unusual: camera {name} shares too few points with any other: it was not checked")
  if found.suspect is not None:
    view = found.views.index(found.suspect)
    print(
      f"SUSPICIOUS: camera {found.suspect} is {_px(found.left_out[view])} px off; the others agree "
      f"to {_px(found.others[view])} px without it"
    )
  if found.resected is not None:
    new = found.resected
    print(
      f"With its pose from the points of the others (its lens as it is) {found.suspect} is "
      f"{new.error_px:.1f} px off on points not fitted: turned by {new.degrees:.1f}°, moved by "
      f"{new.mm:.0f} mm"
    )
  several = len(found.explanations) > 1
  for one in found.explanations:
    who = "all cameras are" if one.cameras == found.views else _named(one.cameras)
    print(
      f"{'PERHAPS' if several else 'FOUND'}: {who} {one.before_px:.1f} px off; treated as "
      f"{one.text}: {one.after_px:.1f} px"
    )
  copied = [pair for pair in rig.twins() if found.suspect in pair]
  for pair in copied:
    other = pair[1] if pair[0] == found.suspect else pair[0]
    print(f"FOUND: camera {found.suspect} has the pose of {other}, which is not its own")
  if found.alarm and not found.explanations and not copied:
    off = np.nanmax(found.pairs) if not np.isnan(found.pairs).all() else np.nan
    print(
      f"SUSPICIOUS: {_px(off)} px between two cameras that see a body of {found.size_px:.0f} px, "
      "and none of the usual mistakes explains it"
    )


def _named(cameras: tuple[str, ...]) -> str:
  return f"camera {cameras[0]} is" if len(cameras) == 1 else f"cameras {', '.join(cameras)} are"


def _px(value: float) -> str:
  return "-" if value != value else f"{value:.1f}"

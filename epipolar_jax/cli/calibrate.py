"""`epipolar calibrate`: a rig refined on the keypoints of a recording."""

import argparse
import pathlib

_BY_SUFFIX = {".toml": "aniposelib"}


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("calibrate", help="refine cameras on the keypoints of a recording")
  verb.add_argument(
    "--cameras", required=True, type=pathlib.Path, help="calibration file or folder, any format"
  )
  verb.add_argument("--unit", help="of the calibration's translations: mm, cm, m or inch")
  verb.add_argument(
    "--keypoints",
    nargs="+",
    required=True,
    metavar="FILE",
    help="keypoints of one person, animal or board, as for triangulate; or predict's keypoints.npz",
  )
  verb.add_argument("--joint_set", help="of files without joint names: BODY_25B, a .toml, ...")
  verb.add_argument("--out", required=True, type=pathlib.Path, help="calibration file to write")
  verb.add_argument(
    "--format", help="of the file; by default aniposelib for .toml, else plain json"
  )
  verb.add_argument(
    "--intrinsics", action="store_true", help="refine focal lengths and principal points too"
  )
  verb.add_argument(
    "--far", action="store_true", help="even if cameras turn by 9 degrees or move by 9 percent"
  )
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
  """Refines, prints what held-out frames gained, and writes if they did.

  Raises:
    ValueError: the held-out error did not fall, or a camera would change by more than refining is
      for; nothing is written then.
  """
  import numpy as np

  from epipolar_jax.calibration import refining
  from epipolar_jax.cli import outputs
  from epipolar_jax.keypoints import reading
  from epipolar_jax.matching import people
  from epipolar_jax.rigs import writing
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.runtime import compilation_cache

  compilation_cache.enable()
  format = options.format or _BY_SUFFIX.get(options.out.suffix, "plain json")
  writing.check_name(format)
  rig = Rig.read(options.cameras, unit=options.unit)
  observations = reading.read_recording(options.keypoints, rig.names, joint_set=options.joint_set)
  observations = people.match(observations, rig, people=1)
  if not observations.points.shape[1]:
    raise ValueError("nobody is confirmed by a second view")
  refined = refining.refine(observations, rig, intrinsics=options.intrinsics)
  what = "left-out" if len(observations.views) > 2 else "reprojection"
  print(
    f"Fitted {len(refined.fitted)} frames; {what} error of the other {len(refined.held_out)}, px, "
    "median / 90th percentile:"
  )
  print(f"{'camera':>16}  {'before':>16}  {'after':>16}    turned by    moved by")
  for view, name in enumerate(observations.views):
    turned, moved = refining.difference(rig.select((name,)), refined.rig.select((name,)))
    before, after = (outputs.percentiles(x[:, view]) for x in (refined.before, refined.after))
    print(f"{name:>16}  {before}  {after}  {turned:8.3f} °  {moved:8.1f} mm")
  before, after = np.nanmedian(refined.before), np.nanmedian(refined.after)
  if not refined.better:
    raise ValueError(
      f"the held-out error did not fall ({before:.2f} to {after:.2f} px): nothing was written. The "
      "cameras are as good as these keypoints can tell, or the keypoints are of other people in "
      "each view"
    )
  if refined.far and not options.far:
    raise ValueError(
      f"camera {', '.join(refined.far)} would change by more than refining is for: nothing was "
      "written. A camera that is altogether wrong drags the others along: epipolar check names it; "
      "calibrate it again, or leave its keypoints out (--far writes all the same)"
    )
  print(f"{'all':>16}  {before:7.2f} px became {after:7.2f} px")
  for text in refined.rig.write(options.out, format):
    print(f"  not carried over: {text}")
  print(f"Wrote {options.out}")

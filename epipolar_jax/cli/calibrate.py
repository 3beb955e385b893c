"""`epipolar calibrate`: a rig refined on the keypoints of a recording, or posed from them."""

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
    "--free",
    default="",
    metavar="focal,principal,radial",
    help="intrinsics to refine besides the poses; radial: the first two terms of OpenCV's lens",
  )
  verb.add_argument(
    "--from",
    dest="start",
    choices=("poses", "intrinsics"),
    default="poses",
    help="intrinsics: the poses of the file are not used, only K and lens of each camera",
  )
  verb.add_argument(
    "--length", metavar="JOINT,JOINT,MM", help="a known length, which sets the scale"
  )
  verb.add_argument(
    "--size_mm",
    type=float,
    help="of the body at full stretch: a rough scale, with --from intrinsics",
  )
  verb.add_argument(
    "--up", metavar="LOW,HIGH", help="joints of an upright body, with --from intrinsics (by names)"
  )
  verb.add_argument(
    "--board",
    metavar="COLUMNSxROWSxMM",
    help="keypoints are corners 0, 1, ... of a chessboard or ChArUco board of so many squares of "
    "so many mm, row by row",
  )
  verb.add_argument(
    "--sync",
    type=pathlib.Path,
    metavar="FILE.json",
    help="estimates when each camera took its frames, in parts of a frame, uses and writes it",
  )
  verb.add_argument(
    "--drift", action="store_true", help="with --sync: frame rates of the cameras differ"
  )
  verb.add_argument(
    "--report", type=pathlib.Path, metavar="FILE.html", help="errors and uncertainties as a page"
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
  from epipolar_jax.calibration import boards, refining
  from epipolar_jax.keypoints import reading
  from epipolar_jax.matching import people
  from epipolar_jax.rigs import writing
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.runtime import compilation_cache

  compilation_cache.enable()
  format = options.format or _BY_SUFFIX.get(options.out.suffix, "plain json")
  writing.check_name(format)
  if options.drift and options.sync is None:
    raise ValueError("--drift is of --sync, which is not given")
  free, length, up = _free(options), _length(options.length), _up(options)
  if options.report is not None and options.report.suffix not in (".html", ".htm"):
    raise ValueError(f"--report is a page, FILE.html; got {options.report}")
  rig = Rig.read(options.cameras, unit=options.unit)
  observations = reading.read_recording(options.keypoints, rig.names, joint_set=options.joint_set)
  board = None
  if options.board is not None:
    board = boards.corners(options.board, observations.joints)
  rig = rig.select(observations.views)
  if options.start == "intrinsics":
    rig, observations = _posed(options, observations, rig, length, up)
  else:
    observations = people.match(observations, rig, people=1)
  if not observations.points.shape[1]:
    raise ValueError("nobody is confirmed by a second view")
  timing, recorded = None, observations
  if options.sync is not None:
    timing, observations = _in_step(recorded, rig, options.drift)
  known = {"board": board, "length": length, "recorded": recorded}
  refined = refining.refine(observations, rig, free, **known)
  if timing is not None and refined.better:
    # Better cameras show better when they took their frames.
    timing, observations = _in_step(recorded, refined.rig, options.drift, believed=True)
    refined = refining.refine(observations, rig, free, **known)
  said = _tell(refined, rig, observations.views)
  if timing is not None:
    # Worth having even if the cameras are as good as they can be.
    _tell_timing(timing)
    if not options.drift:
      _tell_drift(recorded, refined.rig)
    timing.write(options.sync)
    print(f"Wrote {options.sync}")
  _check(refined, far=options.far or options.start == "intrinsics", start=options.start)
  for text in refined.rig.write(options.out, format):
    print(f"  not carried over: {text}")
  print(f"Wrote {options.out}")
  if options.report is not None:
    from epipolar_jax.visualize import calibration

    calibration.write_refined(options.report, options.cameras.name, said, refined, timing)
    print(f"Wrote {options.report}")


def _free(options: argparse.Namespace):
  """The intrinsics that are refined."""
  from epipolar_jax.calibration.refining import Free

  names = {name for name in options.free.split(",") if name}
  unknown = names - set(Free._fields)
  if unknown:
    raise ValueError(f"--free: {', '.join(sorted(unknown))}; there are {', '.join(Free._fields)}")
  return Free(**dict.fromkeys(names, True))


def _length(text: str | None) -> tuple[str, str, float] | None:
  if text is None:
    return None
  parts = text.split(",")
  try:
    first, second, mm = parts[0], parts[1], float(parts[2])
    if len(parts) != 3 or not 0 < mm < float("inf"):
      raise ValueError
  except (IndexError, ValueError):
    raise ValueError(f"--length is JOINT,JOINT,MM, as nose,neck,230; got {text!r}") from None
  return first, second, mm


def _up(options: argparse.Namespace) -> tuple[str, str] | None:
  """The joints of --up; checks what belongs to --from intrinsics alone."""
  for flag in ("size_mm", "up"):
    if getattr(options, flag) is not None and options.start != "intrinsics":
      raise ValueError(f"--{flag} is of --from intrinsics")
  if options.start == "intrinsics":
    if options.board is not None:
      raise ValueError("--board refines a rig that has poses: it is not for --from intrinsics")
    if options.length is None and options.size_mm is None:
      raise ValueError("--from intrinsics needs a scale: --length JOINT,JOINT,MM, or --size_mm MM")
    if options.size_mm is not None and not 0 < options.size_mm < float("inf"):
      raise ValueError(f"--size_mm should be above 0, got {options.size_mm}")
  if options.up is None:
    return None
  names = tuple(options.up.split(","))
  if len(names) != 2:
    raise ValueError(f"--up is two joints, LOW,HIGH; got {options.up!r}")
  return names


def _posed(options: argparse.Namespace, observations, rig, length, up):
  """A rig posed from the frames that are fitted, and the keypoints of one person in all views."""
  from epipolar_jax.calibration import following, refining, unposed, world
  from epipolar_jax.matching import people

  alone = observations
  if observations.points.shape[1] > 1:
    alone = following.foremost(observations)
    print("In each view the person with the highest scores was taken, until cameras were posed")
  rig = unposed.pose(refining.fitted(alone), rig)
  rig, said = world.stand(alone, rig, size_mm=options.size_mm, length=length, up=up)
  print(f"Posed {len(rig.names)} cameras from their intrinsics; {'; '.join(said)}")
  return rig, people.match(observations, rig, people=1)


def _in_step(observations, rig, drift: bool, *, believed: bool = False):
  """When cameras took their frames, and the keypoints in step."""
  from epipolar_jax.calibration import offsets, timing

  found = offsets.estimate(observations, rig, drift=drift, believed=believed)
  return found, timing.apply(observations, found)


def _tell_timing(timing) -> None:
  print(
    f"Out of step, in frames of {timing.views[0]}; median epipolar distance "
    f"{timing.before_px:.2f} px, in step {timing.after_px:.2f} px:"
  )
  for name, offset, drift, sigma in zip(timing.views, timing.offset, timing.drift, timing.sigma):
    text = f", drifting by {drift:+.5f} frames a frame" if drift else ""
    print(f"{name:>16}  {offset:+8.3f} ± {sigma:.3f}{text}")


def _tell_drift(observations, rig) -> None:
  """Prints whose frame rate seems to differ."""
  from epipolar_jax.calibration import offsets

  found = offsets.estimate(observations, rig, drift=True)
  for name, drift in zip(found.views, found.drift):
    if drift:
      print(
        f"{name} seems to run at {1 + drift:.5f} times the frame rate of {found.views[0]} (not "
        "used: --drift)"
      )


def _tell(refined, rig, views: tuple[str, ...]) -> list[str]:
  """Prints what held-out frames gained; returns it in sentences."""
  import numpy as np

  from epipolar_jax.calibration import refining
  from epipolar_jax.cli import outputs

  what = "left-out" if len(views) > 2 else "reprojection"
  said = [
    f"Fitted {len(refined.fitted)} frames; {what} error of the other {len(refined.held_out)}: "
    f"median {np.nanmedian(refined.before):.2f} px before, {np.nanmedian(refined.after):.2f} px "
    "after."
  ]
  print(f"{said[0]} px, median / 90th percentile:")
  print(f"{'camera':>16}  {'before':>16}  {'after':>16}    turned by    moved by")
  for view, name in enumerate(views):
    turned, moved = refining.difference(rig.select((name,)), refined.rig.select((name,)))
    before, after = (outputs.percentiles(x[:, view]) for x in (refined.before, refined.after))
    print(f"{name:>16}  {before}  {after}  {turned:8.3f} °  {moved:8.1f} mm")
  if refined.corners_mm:
    before, after = refined.corners_mm
    said.append(
      f"Distances between corners of the held-out boards: {before:.2f} mm rms wrong before, "
      f"{after:.2f} mm after."
    )
    print(said[-1])
  if refined.factor != 1.0:
    said.append(f"All lengths were multiplied by {refined.factor:.5f}, for the known one.")
    print(said[-1])
  return said


def _check(refined, *, far: bool, start: str) -> None:
  """Raises ValueError if the rig is not to be written."""
  import numpy as np

  before, after = np.nanmedian(refined.before), np.nanmedian(refined.after)
  # A rig that was posed from all frames has no before.
  if start == "poses" and not refined.better:
    raise ValueError(
      f"the held-out error did not fall ({before:.2f} to {after:.2f} px): nothing was written. The "
      "cameras are as good as these keypoints can tell, or the keypoints are of other people in "
      "each view, or the cameras are out of step (--sync)"
    )
  if refined.far and not far:
    raise ValueError(
      f"camera {', '.join(refined.far)} would change by more than refining is for: nothing was "
      "written. A camera that is altogether wrong drags the others along: epipolar check names it; "
      "calibrate it again, or leave its keypoints out (--far writes all the same)"
    )

"""`epipolar calibrate`: a rig refined on the keypoints of a recording, or posed from them."""

import argparse
import pathlib
from typing import NamedTuple

from epipolar_jax.cli import patterns

# Suffixes of the formats that are written; of a suffix, the first is the default.
_SUFFIXES = {"plain json": ".json", "aniposelib": ".toml"}
_SUFFIXES |= {"pose2sim": ".toml", "opencv json": ".json", "easymocap": ""}


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("calibrate", help="refine cameras on the keypoints of a recording")
  verb.add_argument(
    "--cameras",
    type=pathlib.Path,
    help="calibration file or folder, any format; without it, lens and pose of every camera come "
    "from the videos of a board",
  )
  verb.add_argument("--unit", help="of the calibration's translations: mm, cm, m or inch")
  verb.add_argument(
    "--keypoints",
    nargs="+",
    metavar="FILE",
    help="keypoints of one person, animal or board, as for triangulate; or predict's keypoints.npz",
  )
  verb.add_argument(
    "--videos",
    nargs="+",
    metavar="VIDEO",
    help="of a board (--board), in place of keypoints: files or folders of images, in step, paired "
    "with cameras by name; or CAMERA=VIDEO; patterns in quotes are expanded",
  )
  verb.add_argument("--joint_set", help="of files without joint names: BODY_25B, a .toml, ...")
  verb.add_argument("--out", required=True, type=pathlib.Path, help="calibration file to write")
  verb.add_argument(
    "--format",
    help="of the file; by default that of --cameras where it can be written and has the suffix of "
    "--out, else aniposelib for .toml, plain json for .json, easymocap for a folder",
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
    choices=("poses", "intrinsics", "guess"),
    default="poses",
    help="intrinsics: the poses of the file are not used, only K and lens of each camera; guess: "
    "nor are its focal lengths, but as a guess",
  )
  verb.add_argument(
    "--image_wh",
    metavar="WIDTHxHEIGHT",
    help="with --from guess and without --cameras: size of the images, px",
  )
  verb.add_argument(
    "--length", metavar="JOINT,JOINT,MM", help="a known length, which sets the scale"
  )
  verb.add_argument(
    "--size_mm",
    type=float,
    help="of the body at full stretch: a rough scale, with --from intrinsics or guess",
  )
  verb.add_argument(
    "--up",
    metavar="LOW,HIGH",
    help="joints of an upright body, with --from intrinsics or guess (by names)",
  )
  verb.add_argument(
    "--board",
    metavar="COLUMNSxROWSxMM",
    help="keypoints are corners 0, 1, ... of a chessboard or ChArUco board of so many squares of "
    "so many mm, row by row",
  )
  verb.add_argument(
    "--charuco",
    metavar="DICTIONARY,MARKER_MM",
    help="with --videos: the board has markers, as DICT_4X4_50,40; else it is a chessboard",
  )
  verb.add_argument(
    "--every", type=int, default=1, metavar="N", help="with --videos: looks at every N-th frame"
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
  from epipolar_jax.calibration import refining
  from epipolar_jax.cli import calibrate_report, calibrate_start
  from epipolar_jax.rigs import writing
  from epipolar_jax.runtime import compilation_cache

  compilation_cache.enable()
  target = _target(options)
  writing.check_name(target.format)
  if options.drift and options.sync is None:
    raise ValueError("--drift is of --sync, which is not given")
  free, length, up = _free(options), _length(options.length), _up(options)
  if options.report is not None and options.report.suffix not in (".html", ".htm"):
    raise ValueError(f"--report is a page, FILE.html; got {options.report}")
  _check_videos(options)
  if options.videos is not None:
    options.videos = patterns.expanded(options.videos, "video")
  else:
    options.keypoints = patterns.expanded(options.keypoints, "keypoint file")
  rig, observations, board, posed = calibrate_start.read(options, length, up)
  _make_folders(options, target.format)
  timing, recorded = None, observations
  if options.sync is not None:
    timing, observations = _in_step(recorded, rig, options.drift)
  known = {"board": board, "length": length, "recorded": recorded}
  refined = refining.refine(observations, rig, free, **known)
  if timing is not None and refined.better:
    # Better cameras show better when they took their frames.
    timing, observations = _in_step(recorded, refined.rig, options.drift, believed=True)
    refined = refining.refine(observations, rig, free, **known)
  said = calibrate_report.tell(refined, rig, observations.views)
  if timing is not None:
    # Worth having even if the cameras are as good as they can be.
    calibrate_report.tell_timing(timing)
    if not options.drift:
      calibrate_report.tell_drift(recorded, refined.rig)
    timing.supported().write(options.sync)
    print(f"Wrote {options.sync}")
  _check(refined, far=options.far or posed, posed=posed)
  for text in refined.rig.write(options.out, target.format, unit=target.unit):
    print(f"  not carried over: {text}")
  print(f"Wrote {options.out}: {target.said}")
  if options.report is not None:
    from epipolar_jax.visualize import calibration

    calibration.write_refined(
      options.report, (options.cameras or options.out).name, said, refined, timing
    )
    print(f"Wrote {options.report}")


class _Target(NamedTuple):
  """How the cameras are written: format, unit of translations (None: the format's), and why."""

  format: str
  unit: str | None
  said: str


def _target(options: argparse.Namespace) -> _Target:
  """That of the file that the cameras came from, where it can be written."""
  from epipolar_jax.rigs import documents, reading, writing

  suffix = options.out.suffix.lower()
  if not options.format and suffix not in _SUFFIXES.values():
    known = ", ".join(f"{x} ({name})" for name, x in _SUFFIXES.items() if x)
    raise ValueError(
      f"--out {options.out}: the suffix tells no format; there are {known}, or a folder without a "
      "suffix (easymocap); --format names one"
    )
  given = None if options.cameras is None else reading.recognise(documents.load(options.cameras))
  if options.format:
    name, why = options.format, "as --format says"
  elif given in writing.WRITERS and _SUFFIXES[given] == suffix:
    name, why = given, f"as {options.cameras.name}"
  else:
    name = next(x for x, y in _SUFFIXES.items() if y == suffix)
    why = f"the format for {suffix or 'a name without suffix'} (--format names another)"
    if given is not None and given not in writing.WRITERS:
      why = f"{given}, which {options.cameras.name} is, is not written; {why}"
    elif given is not None:
      why = f"{options.cameras.name} is {given}; {why}"
  fixed = writing.FIXED_UNITS.get(name)
  unit = options.unit if fixed is None and name == given else None
  return _Target(name, unit, f"{name}, translations in {fixed or unit or 'mm'}; {why}")


def _make_folders(options: argparse.Namespace, format: str) -> None:
  """Makes the folders of the files that will be written, before the work.

  Raises:
    ValueError: a folder stands where a file is to be written.
  """
  for path in (options.out, options.sync, options.report):
    if path is None:
      continue
    if path.is_dir() and (path != options.out or format != "easymocap"):
      raise ValueError(f"{path} is a folder: name the file to write in it")
    path.parent.mkdir(parents=True, exist_ok=True)


def _free(options: argparse.Namespace):
  """The intrinsics that are refined."""
  from epipolar_jax.calibration.refining import Free

  # Without a calibration the videos have to show everything; a guess goes on being refined.
  default = ",".join(Free._fields) if options.videos and options.cameras is None else ""
  default = "focal" if options.start == "guess" else default
  names = {name for name in (options.free or default).split(",") if name}
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
    if getattr(options, flag) is not None and options.start == "poses":
      raise ValueError(f"--{flag} is of --from intrinsics or guess")
  if options.start != "poses":
    if options.start == "guess" and options.board is not None:
      raise ValueError("--from guess is of people and animals: a board shows lenses by --videos")
    if options.board is not None and (options.size_mm or options.up):
      raise ValueError("--board sets the scale, and no way is up: leave out --size_mm and --up")
    if options.board is None and options.length is None and options.size_mm is None:
      raise ValueError(
        f"--from {options.start} needs a scale: --length JOINT,JOINT,MM, or --size_mm MM"
      )
    if options.size_mm is not None and not 0 < options.size_mm < float("inf"):
      raise ValueError(f"--size_mm should be above 0, got {options.size_mm}")
  if options.up is None:
    return None
  names = tuple(options.up.split(","))
  if len(names) != 2:
    raise ValueError(f"--up is two joints, LOW,HIGH; got {options.up!r}")
  return names


def _in_step(observations, rig, drift: bool, *, believed: bool = False):
  """When cameras took their frames, and the keypoints in step."""
  from epipolar_jax.calibration import offsets, timing

  found = offsets.estimate(observations, rig, drift=drift, believed=believed)
  return found, timing.apply(observations, found.supported())


def _check_videos(options: argparse.Namespace) -> None:
  """Raises ValueError where flags of videos and of keypoints do not belong together."""
  if (options.keypoints is None) == (options.videos is None):
    raise ValueError("give either --keypoints, or --videos of a board")
  if options.videos is not None and options.board is None:
    raise ValueError("--videos are of a board: say which, --board COLUMNSxROWSxMM")
  if options.videos is None:
    for flag, given in (("charuco", options.charuco), ("every", options.every != 1)):
      if given:
        raise ValueError(f"--{flag} is of --videos, which are not given")
    guess = options.start == "guess" and options.image_wh is not None
    if options.cameras is None and not guess:
      raise ValueError(
        "--cameras is needed, but with --videos of a board, or --from guess with --image_wh"
      )
  if options.image_wh is not None and (options.cameras is not None or options.start != "guess"):
    raise ValueError("--image_wh is of --from guess without --cameras")
  if options.sync is not None and options.every != 1:
    raise ValueError("--sync counts frames: it needs all of them, --every 1")


def _check(refined, *, far: bool, posed: bool) -> None:
  """Raises ValueError if the rig is not to be written."""
  import numpy as np

  before, after = np.nanmedian(refined.before), np.nanmedian(refined.after)
  # A rig that was posed from all frames has no before.
  if not posed and not refined.better:
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

"""`epipolar check`: whether cameras are right, from their file and from a recording's keypoints."""

import argparse
import dataclasses
import pathlib
from typing import NamedTuple

from epipolar_jax.cli import patterns
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig


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
    help="keypoints of a recording, as for triangulate (patterns in quotes are expanded); without "
    "them the file alone is checked",
  )
  verb.add_argument(
    "--videos",
    nargs="+",
    metavar="VIDEO",
    help="in place of keypoints, of people, as for predict: people are looked for in up to 144 "
    "frames of each",
  )
  verb.add_argument(
    "--start", type=int, default=0, metavar="FRAME", help="with --videos: first frame looked at"
  )
  verb.add_argument("--joint_set", help="of files without joint names: BODY_25B, a .toml, ...")
  verb.add_argument(
    "--size_mm",
    type=float,
    help="length of the body at full stretch; it shows a wrong unit (of people in videos 2000)",
  )
  verb.add_argument("--html", type=pathlib.Path, metavar="FILE", help="the same as a page")
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
  """Prints what is found, and writes it as a page.

  Returns:
    1 if something is suspicious, else 0.
  """
  from epipolar_jax.calibration import checking
  from epipolar_jax.visualize import calibration

  if options.keypoints and options.videos:
    raise ValueError("give either --keypoints or --videos")
  if options.joint_set and not options.keypoints:
    raise ValueError("--joint_set is of --keypoints, which are not given")
  if options.start and not options.videos:
    raise ValueError("--start is of --videos, which are not given")
  if options.size_mm and not (options.keypoints or options.videos):
    raise ValueError("--size_mm is of --keypoints or --videos, which are not given")
  if options.size_mm is not None and not 0 < options.size_mm < float("inf"):
    raise ValueError(f"--size_mm should be above 0, got {options.size_mm}")
  if options.html is not None and options.html.suffix not in (".html", ".htm"):
    raise ValueError(f"--html is a page, FILE.html; got {options.html}")
  rig = Rig.read(options.cameras, unit=options.unit)
  print(f"{len(rig.names)} cameras in {options.cameras}: {', '.join(rig.names)}")
  findings = checking.check(rig)
  said = [f"{'SUSPICIOUS' if x.suspicious else 'unusual'}: {x.sentence()}" for x in findings]
  suspicious = any(finding.suspicious for finding in findings)
  _print(said)
  found = None
  if options.keypoints or options.videos:
    more, wrong, found = _compare(_recording(options, rig))
    said += more
    suspicious |= wrong
  else:
    print("A recording (--keypoints or --videos) shows far more than the file alone")
  if options.html is not None:
    calibration.write_check(
      options.html, options.cameras.name, said, suspicious=suspicious, found=found
    )
    print(f"Wrote {options.html}")
  print("Verdict: something is wrong" if suspicious else "Verdict: nothing is suspicious")
  return int(suspicious)


def _print(sentences: list[str]) -> None:
  for sentence in sentences:
    print(sentence)


class _Recording(NamedTuple):
  """What cameras are compared on.

  Attributes:
    observations: of anybody.
    size_mm: of the body, None if it is not known.
    rig: of images of the videos' sizes.
    faults: what is wrong with those sizes, by camera.
  """

  observations: Observations
  size_mm: float | None
  rig: Rig
  faults: dict[str, str]


def _recording(options: argparse.Namespace, rig: Rig) -> _Recording:
  """Keypoints from files or videos."""
  from epipolar_jax.keypoints import reading

  if options.keypoints:
    inputs = patterns.expanded(options.keypoints, "keypoint file")
    found = reading.read_recording(inputs, rig.names, joint_set=options.joint_set)
    return _Recording(found, options.size_mm, rig, {})
  return _of_videos(options, rig)


def _of_videos(options: argparse.Namespace, rig: Rig) -> _Recording:
  from epipolar_jax.cli import detectors, predict

  predict.needs_opencv()
  from tqdm import tqdm

  from epipolar_jax import skeletons
  from epipolar_jax.footage import finder, rigs, sampled, videos
  from epipolar_jax.keypoints import reading
  from epipolar_jax.runtime import compilation_cache

  compilation_cache.enable()
  footage = videos.Footage(reading.pair_all(patterns.expanded(options.videos, "video"), rig.names))
  rig, said, faults = rigs.fitted_each(rig, dict(zip(footage.names, footage.sizes_wh)))
  _print(said)
  network = finder.Finder(detectors.detector_of(finder.NETWORK, None, several=True))
  told: list[str] = []
  with tqdm(unit="frame", mininterval=1.0) as bar:

    def progress(done: int, total: int) -> None:
      bar.total = total
      bar.update(done - bar.n)

    found = sampled.observe(
      footage, network, start=options.start, tell=told.append, progress=progress
    )
  _print(told)
  return _Recording(found, options.size_mm or skeletons.COCO_17.size_mm, rig, faults)


def _compare(recording: _Recording):
  """Prints how keypoints and cameras agree.

  Returns:
    Sentences, whether something is suspicious, the diagnosis.
  """
  from epipolar_jax.calibration import diagnosis, following, offsets, telling
  from epipolar_jax.matching import sizes

  observations, size_mm, rig, faults = recording
  said = [f"SUSPICIOUS: {fault}" for fault in faults.values()]
  known = [None if n in faults else size for n, size in zip(rig.names, rig.sizes_wh)]
  try:
    sizes.check(observations, dataclasses.replace(rig, sizes_wh=tuple(known)))
  except ValueError as error:
    said.append(f"SUSPICIOUS: {error}")
  suspicious, lost = bool(said), ()
  if observations.points.shape[1] > 1:
    observations, lost = following.follow(observations, rig)
    print("The person seen most was followed")
  found = diagnosis.diagnose(observations, rig, size_mm=size_mm)
  if not found.explanations:
    # A mistake that is named explains it.
    said += [
      f"SUSPICIOUS: no other view confirms who camera {name} saw in most frames" for name in lost
    ]
    suspicious |= bool(lost)
  _table(found)
  said += telling.sentences(found, rig)
  if all(one.offset for one in found.explanations):
    more, late = telling.step(offsets.estimate(observations, rig), found)
    said += more
    suspicious |= late
  _print(said)
  return said, suspicious or found.alarm, found


def _table(found) -> None:
  """Prints the numbers of a diagnosis."""
  from epipolar_jax.calibration.telling import px

  width = max(8, *(len(name) for name in found.views))
  print("Median epipolar distances of pairs, px; left out: from where the others' points project:")
  heads = "".join(f"{name:>{width + 1}}" for name in found.views)
  print(f"{'':>{width}}{heads}  left out  others without it")
  for view, name in enumerate(found.views):
    cells = "".join(f"{px(x):>{width + 1}}" for x in found.pairs[view])
    print(f"{name:>{width}}{cells}  {px(found.left_out[view]):>8}  {px(found.others[view]):>17}")

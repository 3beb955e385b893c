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
  verb.add_argument(
    "--size_mm", type=float, help="length of the body at full stretch; it shows a wrong unit"
  )
  verb.add_argument("--html", type=pathlib.Path, metavar="FILE", help="the same as a page")
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
  """Prints what is found, and writes it as a page.

  Returns:
    1 if something is suspicious, else 0.
  """
  from epipolar_jax.calibration import checking
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.visualize import calibration

  for flag in ("joint_set", "size_mm"):
    if getattr(options, flag) and not options.keypoints:
      raise ValueError(f"--{flag} is of --keypoints, which are not given")
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
  if options.keypoints:
    more, wrong, found = _compare(options, rig)
    said += more
    suspicious |= wrong
  else:
    print("Keypoints of a recording (--keypoints) show far more than the file alone")
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


def _compare(options: argparse.Namespace, rig):
  """Prints how keypoints and cameras agree.

  Returns:
    Sentences, whether something is suspicious, the diagnosis.
  """
  from epipolar_jax.calibration import diagnosis, following, telling
  from epipolar_jax.keypoints import reading
  from epipolar_jax.matching import sizes

  observations = reading.read_recording(options.keypoints, rig.names, joint_set=options.joint_set)
  said, suspicious = [], False
  try:
    sizes.check(observations, rig)
  except ValueError as error:
    said.append(f"SUSPICIOUS: {error}")
    suspicious = True
  if observations.points.shape[1] > 1:
    observations, lost = following.follow(observations, rig)
    print("The person seen most was followed")
    said += [
      f"SUSPICIOUS: no other view confirms who camera {name} saw in most frames" for name in lost
    ]
    suspicious |= bool(lost)
  _print(said)
  found = diagnosis.diagnose(observations, rig, size_mm=options.size_mm)
  _table(found)
  more = telling.sentences(found, rig)
  _print(more)
  return said + more, suspicious or found.alarm, found


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

"""What the verbs that end in 3D joints have in common: proof of the pairing, files, a summary."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from epipolar_jax.calibration import judging
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import naming, swaps
from epipolar_jax.motion import files, formats, motion
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate
from epipolar_jax.triangulation.estimate import Estimate

# A view that agrees with so few of its points is suspected.
_FEW = 0.3


def names(text: str) -> tuple[str, ...]:
  """The formats of `--format a,b`, each a known one."""
  chosen = tuple(name for name in text.split(",") if name)
  for name in chosen:
    formats.check(name)
  return chosen


def prove_pairing(observations: Observations, rig: Rig, *, trust_names: bool) -> None:
  """Prints how well views fit the cameras of their names.

  Raises:
    ValueError: they fit others far better, and names are not to be trusted.
  """
  pairing = naming.check(observations, rig)
  if pairing is None:
    return
  sentence = pairing.sentence()
  if pairing.verdict == "wrong" and not trust_names:
    raise ValueError(f"{sentence} (--trust_names goes on all the same)")
  print(sentence[0].upper() + sentence[1:])


def sides_mended(observations: Observations, rig: Rig, *, keep: bool) -> Observations:
  """The observations with left and right where the views agree; prints what was exchanged."""
  if keep:
    return observations
  mended = swaps.mend(observations, rig)
  for sentence in mended.sentences():
    print(f"{sentence[0].upper()}{sentence[1:]} (exchanged back; --keep_sides leaves it)")
  return mended.observations


def write(
  folder: pathlib.Path,
  estimated: Estimate,
  chosen: Sequence[str],
  *,
  fps: float | None,
  first_frame: int = 0,
  up: str = "z",
) -> None:
  """Writes joints.npz and the chosen formats, and prints their names."""
  path = folder / "joints.npz"
  files.write(path, estimated, fps=fps, first_frame=first_frame)
  print(f"Wrote {path}")
  moved = motion.of_estimate(estimated, fps=fps, first_frame=first_frame)
  for name in chosen:
    path = folder / f"joints_{name.replace(' ', '_')}{formats.FORMATS[name].suffix}"
    for one in formats.write(path, moved, name, up=up)[0]:
      print(f"Wrote {one}")


def tell(estimated: Estimate, ideal: Observations, rig: Rig, method: str) -> np.ndarray:
  """Prints what was found and how well the views agree.

  Args:
    estimated: the joints.
    ideal: each view's own detections, px without lens distortion.
    rig: of the views.
    method: of triangulation.

  Returns:
    [f, p, v, j], px: left-out errors; of two cameras the distances between their own detections and
    the point that both give.
  """
  frames, people, joints = estimated.valid.shape
  several = f"{people} people, " if people > 1 else ""
  print(
    f"{frames} frames, {several}{joints} joints, {estimated.valid.mean():.1%} triangulated by "
    f"{method}; px, median / 90th percentile:"
  )
  left_out, own = None, estimated
  if len(rig.names) == 2:
    # Not of the joints: fusion along epipolar lines makes two views agree.
    own = estimate.triangulate(ideal, rig.cameras, method)
  else:
    each = [dataclasses.replace(ideal, people=(), **_one(ideal, i)) for i in range(people)]
    errors = [judging.leave_one_out(one, rig.cameras, method=method) for one in each]
    left_out = np.stack(errors, axis=1)
  heading = "" if left_out is None else "          left out"
  print(f"{'camera':>16}      reprojection{heading}  agrees in")
  for view, name in enumerate(rig.names):
    off = own.reprojection_px[:, :, view]
    columns = percentiles(off)
    if left_out is not None:
      columns += f"  {percentiles(left_out[:, :, view])}"
    seen = np.isfinite(off)
    if not seen.any():
      print(f"{name:>16}  has no detection that was triangulated")
      continue
    agree = (own.inlier[:, :, view][seen] >= 0.5).mean()
    print(f"{name:>16}  {columns}  {agree:8.0%}")
    if agree < _FEW:
      print(f"    {name} hardly agrees with the others: is its calibration or its timing wrong?")
  if left_out is None:
    print(
      "reprojection: the views' own detections, against the point that both give; two views agree "
      "along epipolar lines only, so this cannot tell whether the joints are right"
    )
    return own.reprojection_px
  print("left out: a view's own detections, against the point of the others")
  return left_out


def _one(observations: Observations, person: int) -> dict[str, np.ndarray]:
  part = np.s_[:, person : person + 1]
  return {"points": observations.points[part], "score": observations.score[part]}


def percentiles(errors: np.ndarray) -> str:
  """Median and 90th percentile of errors, NaN left out, as a column of a table."""
  errors = errors[np.isfinite(errors)]
  if not len(errors):
    return f"{'none':>16}"
  return f"{np.median(errors):7.2f} /{np.percentile(errors, 90):7.2f}"

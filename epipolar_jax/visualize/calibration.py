"""Pages about calibrations: what is wrong with which camera; what refining gained."""

import pathlib
from collections.abc import Sequence

import numpy as np

from epipolar_jax.calibration import bundle
from epipolar_jax.calibration.diagnosis import Diagnosis
from epipolar_jax.calibration.refining import Refined
from epipolar_jax.calibration.telling import px
from epipolar_jax.calibration.timing import Timing
from epipolar_jax.visualize import document


def write_check(
  path: pathlib.Path,
  calibration: str,
  sentences: Sequence[str],
  *,
  suspicious: bool,
  found: Diagnosis | None,
) -> None:
  """Writes the page.

  Args:
    path: of the page.
    calibration: what was checked, for the title.
    sentences: all that was found, in words.
    suspicious: the verdict.
    found: from keypoints; None: the file alone was checked.
  """
  head = "Something is wrong." if suspicious else "Nothing is suspicious."
  body = [document.verdict([head, *sentences], bad=suspicious)]
  if found is None:
    body.append("<p>The calibration file alone was checked: keypoints show far more.</p>")
  else:
    body += _tables(found)
  document.write(path, f"Cameras: {calibration}", body)


def _tables(found: Diagnosis) -> list[str]:
  usual = found.usual_px
  rows = [(name, *map(px, off)) for name, off in zip(found.views, found.pairs)]
  shades = [(None, *map(_shade, off, limit)) for off, limit in zip(found.pairs, usual)]
  left_out = [
    (name, px(own), px(rest), px(jitter))
    for name, own, rest, jitter in zip(
      found.views, found.left_out, found.others, _largest(found.noise)
    )
  ]
  worst = max(float(np.nanmax(usual)), 1e-9)
  columns = zip(found.left_out, found.others)
  marks = [(None, _shade(own, worst), _shade(rest, worst), None) for own, rest in columns]
  return [
    "<h2>Pairs of cameras</h2><p>Median epipolar distance, px: how far a detection of one camera "
    "lies from the epipolar line of the other camera's. The deeper the orange, the "
    "further above a detector's noise.</p>",
    document.table(("", *found.views), rows, shades),
    "<h2>Each camera</h2><p>Left out: median distance, px, between its detections and where points "
    "of the others project (with two cameras, the epipolar distance). Without it: how far the "
    "worst of the others then is. Jitter: what frame-to-frame noise of the keypoints alone makes, "
    "at most.</p>",
    document.table(("camera", "left out", "others without it", "jitter"), left_out, marks),
  ]


def _largest(noise: np.ndarray) -> np.ndarray:
  return np.nan_to_num(noise, nan=0.0).max(axis=1)


def _shade(off: float, usual: float) -> float | None:
  """0 up to what is usual, 1 from twice that."""
  return None if np.isnan(off) else float(np.clip(off / usual - 1, 0.0, 1.0))


def write_refined(
  path: pathlib.Path,
  calibration: str,
  sentences: Sequence[str],
  refined: Refined,
  timing: Timing | None,
) -> None:
  """Writes what refining gained, and how well each parameter is known.

  Args:
    path: of the page.
    calibration: what was refined, for the title.
    sentences: the gain, in words.
    refined: the rig, its errors and its uncertainties.
    timing: when cameras took their frames; None: not estimated.
  """
  names = refined.rig.names
  errors = [
    (name, *(px(_median(x[:, view])) for x in (refined.before, refined.after)))
    for view, name in enumerate(names)
  ]
  body = [
    document.verdict(sentences, bad=not refined.better),
    "<h2>Each camera</h2><p>Median error, px, of frames that were not fitted: a camera's "
    "detections against where the points of the others project.</p>",
    document.table(("camera", "before", "after"), errors),
    "<h2>Uncertainty</h2><p>Standard deviations of each camera's parameters from the fit's "
    f"information matrix, noise of {refined.noise_px:.2f} px and the prior on the change included; "
    "- is not refined. That the rig may move as a whole is part of those of rotation and centre."
    "</p>",
    document.table(_HEADS, [(name, *_deviations(x)) for name, x in zip(names, refined.sigma)]),
  ]
  if timing is not None:
    rows = [
      (
        name,
        f"{offset:+.3f}",
        f"{sigma:.3f}",
        f"{drift:+.5f}" if drift else "-",
        timing.verdict(name)[1],
      )
      for name, offset, sigma, drift in zip(timing.views, timing.offset, timing.sigma, timing.drift)
    ]
    body += [
      f"<h2>Time</h2><p>Frames by which each camera is behind the first, in the middle of the "
      f"recording. Median epipolar distance {timing.before_px:.2f} px as recorded, "
      f"{timing.after_px:.2f} px with these offsets.</p>",
      document.table(("camera", "offset", "deviation", "drift a frame", "verdict"), rows),
    ]
  document.write(path, f"Refined: {calibration}", body)


_HEADS = (
  "camera",
  *(f"rotation {axis}, °" for axis in "xyz"),
  *(f"centre {axis}, mm" for axis in "xyz"),
  "focal length, %",
  "principal u, px",
  "principal v, px",
  "k1",
  "k2",
)
_FACTORS = {"rotation": 180.0 / np.pi, "focal": 100.0}


def _deviations(sigma: np.ndarray) -> list[str]:
  scaled = [x * _FACTORS.get(name, 1.0) for name, x in zip(bundle.PARAMETERS, sigma)]
  return [f"{x:.3g}" if x > 0 else "-" for x in scaled]


def _median(errors: np.ndarray) -> float:
  known = errors[np.isfinite(errors)]
  return float(np.median(known)) if len(known) else float("nan")

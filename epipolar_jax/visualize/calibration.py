"""check.html: what is wrong with which camera, as a page."""

import pathlib
from collections.abc import Sequence

import numpy as np

from epipolar_jax.calibration.diagnosis import Diagnosis
from epipolar_jax.calibration.telling import px
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
    "<h2>Pairs of cameras</h2><p>Median epipolar distance, px: how far what one camera saw lies "
    "from the line on which the other camera says that it lies. The deeper the orange, the "
    "further above a detector's noise.</p>",
    document.table(("", *found.views), rows, shades),
    "<h2>Each camera</h2><p>Left out: median distance, px, between what it saw and where points "
    "of the others project (with two cameras, the epipolar distance). Without it: how well the "
    "others then agree. Jitter: what frame-to-frame noise of the keypoints alone makes, at most."
    "</p>",
    document.table(("camera", "left out", "others without it", "jitter"), left_out, marks),
  ]


def _largest(noise: np.ndarray) -> np.ndarray:
  return np.nan_to_num(noise, nan=0.0).max(axis=1)


def _shade(off: float, usual: float) -> float | None:
  """0 up to what is usual, 1 from four times that."""
  return None if np.isnan(off) else float(np.clip((off / usual - 1) / 3, 0.0, 1.0))

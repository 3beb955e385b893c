"""report.html: how far a prediction can be trusted, in words, tables, curves and images.

One file without scripts, fonts or network; names from outside are escaped.
"""

import base64
import html
import pathlib
import warnings
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from epipolar_jax.footage import labelling, overlay, stage
from epipolar_jax.footage.videos import Footage
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.skeletons import Skeleton
from epipolar_jax.triangulation.estimate import Estimate
from epipolar_jax.visualize import document, palette

# Left-out error in shares of the person's size in the image: good below the first, useless above
# the second.
_GOOD, _BAD = 0.02, 0.05
# A camera is suspected when its median error is this many times that of the others.
_SUSPECT = 2.0
_WORST = 12
_CHART = (900, 220)
_COLORS = ("#56b4e9", "#d55e00", "#f0e442", "#00c894", "#e28cbe", "#e69f00", "#cfd8e3", "#9a6fe0")


def write(
  path: pathlib.Path,
  footage: Footage,
  rig: Rig,
  skeleton: Skeleton,
  estimated: Estimate,
  left_out: np.ndarray,
  size_px: float,
  *,
  doubts: Sequence[str] = (),
  up: str = "z",
  fps: float | None = None,
) -> list[str]:
  """Writes the page.

  Args:
    path: of the file.
    footage: the recordings, for the images of the worst frames.
    rig: of the views.
    skeleton: of the joints.
    estimated: of p people, [f, p, ...].
    left_out: [f, p, v, j], px, a view's own detections against the others' point (with two
      views, against the point that both own detections give); NaN where there is none.
    size_px: of a person in the images.
    doubts: sentences on what is wrong with the cameras, for the verdict.
    up: which axis of the world is up.
    fps: frames a second, None: not known.

  Returns:
    The verdict, sentence by sentence.
  """
  sentences = verdict(rig.names, estimated, left_out, size_px, doubts)
  worst = _worst(left_out)
  by_camera, by_joint = np.moveaxis(left_out, 2, 0), np.moveaxis(left_out, 3, 0)
  # Of two cameras nothing shows that the joints are right: that is no good verdict.
  bad = bool(doubts) or doubtful(left_out, size_px) or len(rig.names) == 2
  body = [
    document.verdict(sentences, bad=bad or _off(rig.names, left_out) is not None),
    "<p>The error is the distance, in pixels, between a view's own detection and the point that "
    f"{'both give' if len(rig.names) == 2 else 'the other views give'}.</p>",
    "<h2>By camera</h2>"
    + document.table(("camera", "median", "90 %", "seen"), _rows(rig.names, by_camera)),
    *_by_person(estimated, left_out),
    "<h2>Over time</h2>" + _chart(rig.names, _median(left_out, axis=(1, 3))),
    "<h2>In space</h2><p>Cameras have the colours of their curves; far ones are drawn nearer.</p>",
    stage.play(estimated, rig, skeleton, _COLORS, up=up, fps=fps),
    "<h2>By joint</h2>"
    + document.table(("joint", "median", "90 %", "seen"), _rows(skeleton.joints, by_joint)),
    "<h2>Lengths of limbs</h2><p>A limb keeps its length; what it varies is error.</p>",
    *_limbs(skeleton, estimated),
    *_to_label(left_out),
    "<h2>The worst frames</h2>",
    *_figures(footage, rig, skeleton, estimated, worst),
  ]
  document.write(path, "Prediction: " + ", ".join(rig.names), body)
  return sentences


def verdict(
  names: Sequence[str],
  estimated: Estimate,
  left_out: np.ndarray,
  size_px: float,
  doubts: Sequence[str] = (),
) -> list[str]:
  """The verdict in sentences; arguments as for `write`."""
  there = estimated.valid.any(axis=2)
  valid = estimated.valid[there].mean() if estimated.valid.shape[1] > 1 else estimated.valid.mean()
  if not np.isfinite(left_out).any():
    return ["Nothing was triangulated: no two views agree on a person.", *doubts]
  middle = float(np.nanmedian(left_out))
  share = middle / size_px
  quality = "good" if share < _GOOD else "usable with care" if share < _BAD else "not to be trusted"
  of_size = f"{share:.1%} of the person's size of {size_px:.0f} px"
  if len(names) == 2:
    said = [
      "With two cameras there is no other view to compare with. They agree along epipolar lines "
      "only, so agreement cannot tell whether the joints are right: half of their own detections "
      f"lie within {middle:.1f} px of the point that both give, {of_size}."
    ]
  else:
    said = [
      f"The views' agreement is {quality}: half of a view's own detections lie within {middle:.1f} "
      f"px of the point that the other views give, {of_size}."
    ]
  said.append(f"{valid:.1%} of the joints were triangulated.")
  if len(there[0]) > 1:
    said.append(f"{len(there[0])} people were found, at most {there.sum(axis=1).max()} in a frame.")
  if off := _off(names, left_out):
    said.append(off)
  if share >= _GOOD and not doubts:
    said.append("epipolar calibrate refines the cameras on these keypoints.")
  return [*said, *doubts]


def _off(names: Sequence[str], left_out: np.ndarray) -> str | None:
  """A sentence on the camera that is off; None: there is none."""
  each = {n: float(_median(left_out[:, :, v])) for v, n in enumerate(names)}
  # One camera that is off spoils the point that the others are compared with: the worst is named.
  name = max(each, key=lambda n: np.nan_to_num(each[n]))
  rest = float(_median([e for n, e in each.items() if n != name]))
  if len(names) < 3 or not each[name] > _SUSPECT * rest:
    return None
  return (
    f"Camera {name} is {each[name]:.1f} px off, the others {rest:.1f} px: something hides the "
    "person from it, or its calibration, its timing or its video is wrong."
  )


def doubtful(left_out: np.ndarray, size_px: float) -> bool:
  """The views agree less than well, or on nothing; arguments as for `write`."""
  return not float(np.nan_to_num(_median(left_out), nan=np.inf)) < _GOOD * size_px


def _median(errors, axis=None) -> np.ndarray:
  """Median of what is a number; NaN where nothing is."""
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
    return np.nanmedian(errors, axis=axis)


def _rows(names: Sequence[str], errors: np.ndarray) -> list[tuple[str, str, str, str]]:
  """Of errors [n, ...], a row for each of n."""
  rows = []
  for name, one in zip(names, errors):
    seen = one[np.isfinite(one)]
    low, high = np.percentile(seen, (50, 90)) if len(seen) else (np.nan, np.nan)
    shown = (f"{low:.1f} px", f"{high:.1f} px") if len(seen) else ("none", "none")
    rows.append((name, *shown, f"{len(seen) / one.size:.0%}"))
  return rows


def _by_person(estimated: Estimate, left_out: np.ndarray) -> Iterator[str]:
  """Of several people a table, with their colours."""
  people = estimated.valid.shape[1]
  if people == 1:
    return
  there, rows = estimated.valid.any(axis=2), []
  for person, row in enumerate(_rows(_named(people), np.moveaxis(left_out, 1, 0))):
    frames = np.flatnonzero(there[:, person])
    when = (f"{frames[0]} to {frames[-1]}", str(len(frames))) if len(frames) else ("none", "0")
    agree = np.nansum(estimated.inlier[:, person] > 0.5, axis=1)[estimated.valid[:, person]]
    views = f"{np.median(agree):.0f}" if len(agree) else "none"
    rows.append((row[0], *when, views, *row[1:3]))
  heading = ("person", "frames", "of them seen in", "views that agree", "median", "90 %")
  swatches = "".join(
    '<span style="color:#{:02x}{:02x}{:02x}">&#9632; person {}</span> '.format(
      *palette.limb("left", person), person + 1
    )
    for person in range(people)
  )
  note = "Whom two views agree on has no error: there is no other point to compare with."
  yield f"<h2>By person</h2><p>{swatches}<br>{note}</p>" + document.table(heading, rows)


def _named(people: int) -> list[str]:
  return [f"person {person + 1}" for person in range(people)]


def _limbs(skeleton: Skeleton, estimated: Estimate) -> Iterator[str]:
  """A table for each person."""
  people = estimated.valid.shape[1]
  for person, name in enumerate(_named(people)):
    heading = "limb" if people == 1 else f"{name}: limb"
    rows = _lengths(skeleton, estimated.points[:, person], estimated.valid[:, person])
    yield document.table((heading, "median, mm", "standard deviation, mm"), rows)


def _lengths(skeleton: Skeleton, points, valid) -> list[tuple[str, str, str]]:
  rows = []
  for parent, child in skeleton.limbs:
    length = np.linalg.norm(points[:, parent] - points[:, child], axis=-1)
    length = length[valid[:, parent] & valid[:, child]]
    name = f"{skeleton.joints[parent]} to {skeleton.joints[child]}"
    shown = (f"{np.median(length):.0f}", f"{length.std():.1f}") if len(length) else ("none", "none")
    rows.append((name, *shown))
  return rows


def _chart(names: Sequence[str], errors: np.ndarray) -> str:
  """Error [f, v] over frames as SVG, a line a camera; gaps where there is none."""
  wide, high = _CHART
  frames = len(errors)
  finite = errors[np.isfinite(errors)]
  top = max(float(np.percentile(finite, 99)) * 1.1, 1.0) if len(finite) else 1.0
  step = max(1, frames // wide)
  # On a phone it scrolls, so that its text can be read.
  parts = [
    '<div class="scroll"><svg style="min-width:40rem" role="img" aria-label="error over time" '
    f'viewBox="0 0 {wide} {high + 24}">'
  ]
  for share in (0.0, 0.5, 1.0):
    y = high * (1 - share)
    parts.append(f'<line x1="0" x2="{wide}" y1="{y:.0f}" y2="{y:.0f}" stroke="#323b45"/>')
    parts.append(f'<text x="4" y="{max(y - 3, 12):.0f}" fill="#a5b0bc">{share * top:.0f} px</text>')
  for view, name in enumerate(names):
    color = _COLORS[view % len(_COLORS)]
    for run in _runs(errors[::step, view]):
      places = " ".join(
        f"{(i * step + 0.5) / frames * wide:.1f},{high * (1 - min(e / top, 1)):.1f}" for i, e in run
      )
      parts.append(f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="2"/>')
    x = 60 + view * max(60, (wide - 80) // max(len(names), 1))
    parts.append(f'<text x="{x}" y="{high + 18}" fill="{color}">{html.escape(name)}</text>')
  parts.append(f'<text x="{wide - 110}" y="{high + 18}" fill="#a5b0bc">{frames} frames</text>')
  return "".join(parts) + "</svg></div>"


def _runs(values: np.ndarray) -> Iterator[list[tuple[int, float]]]:
  """Stretches without NaN, as (index, value)."""
  run = []
  for index, value in enumerate([*values, np.nan]):
    if np.isfinite(value):
      run.append((index, float(value)))
    elif run:
      yield run
      run = []


def _to_label(left_out: np.ndarray) -> Iterator[str]:
  """Which frames are worth labelling next, where one body is recorded."""
  if left_out.shape[1] != 1 or not np.isfinite(left_out).any():
    return
  chosen = labelling.choose(left_out[:, 0], _WORST)
  yield "<h2>Worth labelling next</h2>"
  yield (
    f"<p>Frames {', '.join(map(str, chosen))}: the views contradict each other most there. "
    f"<code>--to_label {len(chosen)}</code> writes them as images with guesses to correct, for "
    "training on this body. They are chosen by the mean error over all joints and views, spread "
    "over time, and one in which nothing could be compared counts as the worst; the worst frames "
    "below are single views with the largest median error, to look at.</p>"
  )


def _worst(left_out: np.ndarray) -> list[tuple[int, int, int]]:
  """(frame, person, view) of the largest median errors, none near another, in order of time."""
  errors = _median(left_out, axis=3)
  apart = max(1, len(errors) // (3 * _WORST))
  chosen: list[tuple[int, int, int]] = []
  for flat in np.argsort(-np.nan_to_num(errors, nan=-1.0), axis=None):
    frame, person, view = map(int, np.unravel_index(flat, errors.shape))
    if not np.isfinite(errors[frame, person, view]) or len(chosen) == _WORST:
      break
    if all(abs(frame - other[0]) >= apart for other in chosen):
      chosen.append((frame, person, view))
  return sorted(chosen)


def _figures(
  footage: Footage, rig: Rig, skeleton: Skeleton, estimated: Estimate, worst
) -> Iterator[str]:
  """The images of these frames with the skeleton that was triangulated."""
  for (frame, person, view), images in zip(worst, footage.at([one[0] for one in worst])):
    if images[view] is not None:
      tile = overlay.crop(images[view], rig, view, skeleton, estimated, frame, person=person)
      _, data = cv2.imencode(".jpg", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR))
      source = base64.b64encode(data.tobytes()).decode()
      who = f", person {person + 1}" if estimated.valid.shape[1] > 1 else ""
      caption = html.escape(f"frame {frame}, {rig.names[view]}{who}")
      yield (
        f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{source}">'
        f"<figcaption>{caption}</figcaption></figure>"
      )

"""One recording of `epipolar predict`: from its files to joints, keypoints, report and film."""

import argparse
import concurrent.futures
import dataclasses
import functools
import pathlib
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from epipolar_jax.calibration import diagnosis, telling, timing
from epipolar_jax.cli import detectors, outputs, over_time, priors
from epipolar_jax.footage import finder as finders
from epipolar_jax.footage import labelling, overlay, prediction, report, rigs, videos, windows
from epipolar_jax.footage import tracker as trackers
from epipolar_jax.keypoints import reading, writing
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import people, swaps
from epipolar_jax.motion import bones, formats
from epipolar_jax.rigs.lenses import Pinhole
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate
from epipolar_jax.triangulation.estimate import Estimate

# A view with the person in less than the rest of this share of the frames is suspected.
_ELSEWHERE = 0.9


class Given(NamedTuple):
  """The files of a recording.

  Attributes:
    videos: one a camera, as of `--videos`, patterns expanded.
    cameras: calibration.
    timing: as `epipolar calibrate --sync` writes it; None: all cameras started together.
    out: folder to write to.
  """

  videos: tuple[str, ...]
  cameras: pathlib.Path
  timing: pathlib.Path | None
  out: pathlib.Path


class Outcome(NamedTuple):
  """What came out of a recording.

  Attributes:
    frames: how many it has.
    triangulated: share of the joints.
    left_out_px: median distance between what a view saw by itself and the point that the others
      give; None: there is none, as of two cameras.
    verdict: of the report, its first sentence.
  """

  frames: int
  triangulated: float
  left_out_px: float | None
  verdict: str


class _Opened(NamedTuple):
  """Rig and footage of the same views, frames a second, and what is left of the time offsets."""

  rig: Rig
  footage: videos.Footage
  fps: float | None
  rest: timing.Timing | None


class Predictor:
  """Predicts recordings with the same options; the networks are loaded once, when needed.

  Args:
    options: of the verb.

  Raises:
    ValueError: options that no recording can be predicted with.
  """

  def __init__(self, options: argparse.Namespace):
    self._options = options
    if options.fps is not None and not 0 < options.fps < float("inf"):
      raise ValueError(f"--fps should be above 0, got {options.fps}")
    most = people.number(options.people)
    if options.to_label and most != 1:
      raise ValueError("--to_label takes frames of one person: leave out --people")
    if options.to_label and options.timing is not None:
      raise ValueError("--to_label takes frames as they were recorded: leave out --timing")
    if options.to_label < 0:
      raise ValueError(f"--to_label should be a number of frames, got {options.to_label}")
    estimate.check_method(options.method)
    formats.check_up(options.up)
    self._formats = outputs.names(options.format)
    self._people, self._alone = most, most == 1
    self._of_people = options.checkpoint is None and not options.detector.endswith(".onnx")

  @functools.cached_property
  def _detector(self):
    fuse = not self._options.no_fusion
    name, checkpoint = self._options.detector, self._options.checkpoint
    return detectors.detector_of(name, checkpoint, fuse=fuse, several=not self._alone)

  @functools.cached_property
  def _finder(self) -> finders.Finder | None:
    if self._alone:
      return None
    return finders.Finder(detectors.detector_of(finders.NETWORK, None, several=True))

  def __call__(self, given: Given) -> Outcome:
    """Detects, triangulates, writes, and prints how well the views agree.

    Raises:
      OSError, ValueError: something is wrong with the recording; the message says what to do.
    """
    options, opened = self._options, self._open(given)
    rig, footage, fps, _ = opened
    found = self._detected(opened, given.out)
    own, fused, there = self._observed(found, opened)
    raw = dataclasses.replace(own, points=rig.distort(own.points), sizes_wh=footage.sizes_wh)
    self._write_keypoints(given.out, raw, opened)
    outputs.prove_pairing(raw, rig, trust_names=options.trust_names)
    own = outputs.sides_mended(own, _pinholes(rig), keep=options.keep_sides)
    if not options.keep_sides:
      fused = swaps.mend(fused, _pinholes(rig)).observations
    # Not the fused ones: the prior learnt from views by themselves (docs/fusion.md).
    if options.prior:
      score = own.score * (fused.score > 0).any(axis=(2, 3), keepdims=True)
      alone = dataclasses.replace(own, score=score)
      estimated = estimate.triangulate(alone, rig.cameras, options.method)
      estimated = priors.apply(estimated, alone, rig.cameras)
    else:
      estimated = estimate.triangulate(fused, rig.cameras, options.method)
      if self._detector.doubt is not None and options.method == "robust":
        estimated = self._detector.doubt.apply(estimated, fused.score)
    _tell_lost(there, self._detector.skeleton.size_mm, people_only=self._of_people)
    left_out = outputs.tell(estimated, own, rig, options.method)
    sides = found.windows[..., 2][np.isfinite(found.windows[..., 2])]
    box = float(np.median(sides) if len(sides) else np.max(footage.sizes_wh)) / windows.MARGIN
    doubts = _elsewhere(found, footage) if self._alone else []
    if self._alone and report.doubtful(left_out, box):
      doubts += telling.sentences(
        diagnosis.diagnose(raw, rig, size_mm=self._detector.skeleton.size_mm), rig
      )
    if options.to_label:
      _write_to_label(given.out, own, rig, footage, left_out, options.to_label)
    estimated = over_time.apply(estimated, options, fps)
    if options.bones:
      estimated = with_bones(estimated, self._detector.skeleton)
    outputs.write(given.out, estimated, self._formats, fps=fps, up=options.up)
    verdict = self._show(given.out, opened, estimated, left_out, box, doubts)
    compared = _median(left_out) if len(rig.names) > 2 else None
    return Outcome(len(there), float(estimated.valid.mean()), compared, verdict)

  def _open(self, given: Given) -> _Opened:
    """The recording, checked before any work; prints what was changed about its calibration."""
    options = self._options
    rig = Rig.read(given.cameras, unit=options.unit)
    sources = reading.pair_all(given.videos, rig.names)
    if len(sources) < 2:
      raise ValueError(f"joints in space need at least 2 views, got {', '.join(sources)} alone")
    shifts, rest = {}, None
    if given.timing is not None:
      whole = timing.read(given.timing)
      for name in sources:
        whole.check(name)
      shifts, rest = whole.whole()
    footage = videos.Footage(sources, shifts=shifts)
    fps = footage.fps or options.fps
    for name in self._formats:
      formats.check_fps(name, fps)
    over_time.check(options, fps)
    if options.prior:
      priors.check(options, self._detector.skeleton.joints, footage.names)
    rig, said = rigs.fitted(rig, dict(zip(footage.names, footage.sizes_wh)))
    if rig.unit_mm is None:
      said = (*said, f"{given.cameras} does not state its unit: mm were assumed (--unit)")
    print("\n".join(said), end="\n" if said else "")
    return _Opened(rig, footage, fps, rest)

  def _detected(self, opened: _Opened, out: pathlib.Path) -> trackers.Part:
    """What was found, with people on the second axis."""
    total = max(opened.footage.counts)

    def resumed(done: int) -> None:
      rest = f"goes on after frame {done - 1}" if done < total else "nothing is left to detect"
      tqdm.write(f"{out} has {done} of {total} frames already: {rest}")

    with tqdm(total=total, unit="frame", mininterval=1.0) as bar:
      found = prediction.predict(
        opened.footage,
        opened.rig,
        self._detector,
        out,
        finder=self._finder,
        progress=lambda done: bar.update(done - bar.n),
        resumed=resumed,
      )
    if not self._alone:
      return found
    return trackers.Part(*(getattr(found, x.name)[:, None] for x in dataclasses.fields(found)))

  def _observed(self, found: trackers.Part, opened: _Opened):
    """Observations of each view by itself and fused, ideal px, and who is there [f, p]."""
    names = self._detector.skeleton.joints, opened.footage.names
    own = Observations(found.own, found.own_score, *names, opened.fps, matched=self._alone)
    score = found.fused_score * found.found[:, :, None, None]
    fused = Observations(found.fused, score, *names, opened.fps, matched=self._alone)
    there = found.found
    if not self._alone:
      slots = people.tracks(own, _pinholes(opened.rig), people=self._people)
      if not slots.shape[1]:
        slots = np.full((len(own.points), 1, len(opened.footage.names)), -1)
      own, fused = people.chosen(own, slots), people.chosen(fused, slots)
      there = (slots >= 0).any(axis=2)
    if opened.rest is not None:
      own, fused = timing.apply(own, opened.rest), timing.apply(fused, opened.rest)
    return own, fused, there

  def _write_keypoints(self, out: pathlib.Path, raw: Observations, opened: _Opened) -> None:
    path = out / "keypoints.npz"
    writing.write(path, raw, "plain npz")
    step = "" if opened.rest is None else ", in step with the first camera"
    print(f"Wrote {path}: each view's own detections{step}")

  def _show(self, out: pathlib.Path, opened: _Opened, estimated, left_out, box, doubts) -> str:
    """Writes and tells report, sheet and film, the film beside the others; the verdict."""
    options, (rig, footage, fps, _) = self._options, opened
    drawn = footage, rig, self._detector.skeleton, estimated
    page, image, film = (out / name for name in ("report.html", "overlay.png", "overlay.mp4"))
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
      filmed = None
      if not options.no_film:
        filmed = beside.submit(overlay.write_film, film, *drawn, fps=fps)
      said = report.write(page, *drawn, left_out, box, doubts=doubts, up=options.up, fps=fps)
      print(*said, f"Wrote {page}", sep="\n")
      shown = overlay.write_sheet(image, *drawn)
      if shown is not None:
        print(f"Wrote {image}: frame {shown} of every camera")
      if filmed is not None:
        filmed.result()
        print(f"Wrote {film}")
    return said[0]


def _pinholes(rig: Rig) -> Rig:
  return dataclasses.replace(rig, lenses=(Pinhole(),) * len(rig.names))


def _median(left_out: np.ndarray) -> float | None:
  seen = left_out[np.isfinite(left_out)]
  return float(np.median(seen)) if len(seen) else None


def _tell_lost(there: np.ndarray, size_mm: float, *, people_only: bool) -> None:
  lost, size = np.flatnonzero(~there.any(axis=1)), size_mm / 1000
  if len(lost) == len(there):
    print(
      f"No person between {0.1 * size:.1f} and {2 * size:.1f} m long was found on whom two views "
      "agree: epipolar check looks for what is wrong with the cameras, --unit states their unit"
    )
    if people_only:
      print("MoveNet finds people only: for animals see docs/own_data.md")
  elif len(lost):
    print(
      f"{len(lost)} of {len(there)} frames without a person on whom two views agree, the "
      f"first is frame {lost[0]}"
    )


def _write_to_label(out: pathlib.Path, own, rig: Rig, footage, left_out, most: int) -> None:
  frames = labelling.choose(left_out[:, 0], most)
  guesses = dataclasses.replace(own, points=rig.distort(own.points))
  count = labelling.write(out, footage, guesses, frames)
  numbers = ", ".join(map(str, frames))
  print(f"Wrote {out / 'labeled-data'}: {count} images to label, frames {numbers}")


def _elsewhere(found: trackers.Part, footage: videos.Footage) -> list[str]:
  """A sentence for each view in whose image the person that the others found hardly ever lies."""
  said = []
  for view, (name, count) in enumerate(zip(footage.names, footage.counts)):
    there = found.found[:count, 0]
    outside = int(np.isnan(found.windows[:count, 0, view, 2][there]).sum())
    if outside > _ELSEWHERE * there.sum():
      said.append(
        f"SUSPICIOUS: the person lies outside the image of camera {name} in {outside} of "
        f"{there.sum()} frames: it looks elsewhere, or its calibration is wrong"
      )
  return said


def with_bones(estimated: Estimate, skeleton) -> Estimate:
  """The estimate with constant bones; prints by how much they varied."""
  made = bones.constant(estimated, bones.rigid(skeleton))
  known = np.isfinite(made.length_mm)
  if not known.any():
    print("Bones: no length is known, too few frames have both ends of one")
    return estimated
  before, after = (x[known].mean() for x in (made.before_mm, made.after_mm))
  print(
    f"Bones: {known.sum()} lengths, their standard deviation {before:.1f} mm before and "
    f"{after:.1f} mm after; {made.left.sum()} times a bone was too far off to be corrected"
  )
  return made.estimate

"""`epipolar predict`: videos of a calibrated rig to people's 3D joints."""

import argparse
import glob
import pathlib

from epipolar_jax.cli import over_time

# A view that sees the person in less than the rest of this share of the frames is suspected.
_ELSEWHERE = 0.9


def add(verbs) -> None:
  """Adds the verb to the subparsers of `epipolar`."""
  verb = verbs.add_parser("predict", help="videos to people's 3D joints")
  verb.add_argument(
    "--videos",
    nargs="+",
    required=True,
    metavar="VIDEO",
    help="video or folder of images, one a camera, whose name holds the camera's; or CAMERA=VIDEO; "
    "patterns in quotes are expanded",
  )
  verb.add_argument(
    "--cameras", required=True, type=pathlib.Path, help="calibration file or folder, any format"
  )
  verb.add_argument(
    "--trust_names", action="store_true", help="even if views fit other cameras better"
  )
  verb.add_argument(
    "--people",
    default="1",
    metavar="N|all",
    help="how many are kept, those seen most (1: one person alone is looked for)",
  )
  verb.add_argument("--unit", help="of the calibration's translations: mm, cm, m or inch")
  verb.add_argument("--out", required=True, type=pathlib.Path, help="folder to write to")
  verb.add_argument(
    "--detector",
    default="thunder",
    metavar="NAME|FILE.onnx",
    help="thunder (default), lightning (faster), or a network of any framework as ONNX, with its "
    "card FILE.toml beside it",
  )
  verb.add_argument(
    "--checkpoint",
    type=pathlib.Path,
    help="run folder or checkpoint of a network of one's own (configs/footage.py), in place of "
    "--detector",
  )
  verb.add_argument(
    "--no_fusion", action="store_true", help="each view by itself, as a ready-made detector"
  )
  verb.add_argument("--fps", type=float, help="frames a second of images; videos state theirs")
  verb.add_argument(
    "--timing",
    type=pathlib.Path,
    metavar="FILE.json",
    help="when each camera took its frames, as calibrate --sync writes it",
  )
  verb.add_argument("--method", default="robust", help="robust (default), dlt, pymvg, ...")
  verb.add_argument(
    "--format", default="", metavar="NAME,...", help="files besides joints.npz: anipose, trc, ..."
  )
  verb.add_argument("--no_film", action="store_true", help="without overlay.mp4")
  verb.add_argument(
    "--to_label",
    type=int,
    default=0,
    metavar="N",
    help="writes the N frames in which views contradict each other most, as images with guesses in "
    "DeepLabCut's layout, to correct and train on",
  )
  verb.add_argument("--up", default="z", help="axis that is up in the calibration's world (z)")
  verb.add_argument(
    "--keep_sides",
    action="store_true",
    help="leave left and right as detected, even where a view contradicts the others",
  )
  over_time.add(verb)
  verb.add_argument(
    "--bones",
    choices=("constant",),
    help="constant: each bone gets the length that it has over the recording, in every frame",
  )
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
  """Detects, triangulates, writes, and prints how well the views agree."""
  needs_opencv()
  import dataclasses

  import numpy as np
  from tqdm import tqdm

  from epipolar_jax.calibration import diagnosis, telling, timing
  from epipolar_jax.cli import outputs
  from epipolar_jax.footage import finder as finders
  from epipolar_jax.footage import labelling, overlay, prediction, report, rigs, videos, windows
  from epipolar_jax.footage import tracker as trackers
  from epipolar_jax.keypoints import reading, writing
  from epipolar_jax.keypoints.observations import Observations
  from epipolar_jax.matching import people, swaps
  from epipolar_jax.motion import formats
  from epipolar_jax.rigs.lenses import Pinhole
  from epipolar_jax.rigs.rig import Rig
  from epipolar_jax.runtime import compilation_cache
  from epipolar_jax.triangulation import estimate

  compilation_cache.enable()
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
  chosen = outputs.names(options.format)
  formats.check_up(options.up)
  rig = Rig.read(options.cameras, unit=options.unit)
  sources = reading.pair_all(expanded(options.videos), rig.names)
  shifts, rest = {}, None
  if options.timing is not None:
    whole = timing.read(options.timing)
    for name in sources:
      whole.check(name)
    shifts, rest = whole.whole()
  footage = videos.Footage(sources, shifts=shifts)
  fps = footage.fps or options.fps
  for name in chosen:
    formats.check_fps(name, fps)
  over_time.check(options, fps)
  rig, said = rigs.fitted(rig, dict(zip(footage.names, footage.sizes_wh)))
  if rig.unit_mm is None:
    said = (*said, f"{options.cameras} does not state its unit: mm were assumed (--unit)")
  print("\n".join(said), end="\n" if said else "")
  alone = most == 1
  network = detector_of(
    options.detector, options.checkpoint, fuse=not options.no_fusion, several=not alone
  )
  finder = None if alone else finders.Finder(detector_of(finders.NETWORK, None, several=True))
  total = max(footage.counts)
  with tqdm(total=total, unit="frame", mininterval=1.0) as bar:
    found = prediction.predict(
      footage,
      rig,
      network,
      options.out,
      finder=finder,
      progress=lambda done: bar.update(done - bar.n),
    )
  if alone:
    found = trackers.Part(*(getattr(found, x.name)[:, None] for x in dataclasses.fields(found)))
  names = network.skeleton.joints, footage.names
  own = Observations(found.own, found.own_score, *names, fps, matched=alone)
  score = found.fused_score * found.found[:, :, None, None]
  fused = Observations(found.fused, score, *names, fps, matched=alone)
  pinholes = dataclasses.replace(rig, lenses=(Pinhole(),) * len(rig.names))
  there = found.found
  if not alone:
    slots = people.tracks(own, pinholes, people=most)
    if not slots.shape[1]:
      slots = np.full((len(own.points), 1, len(footage.names)), -1)
    own, fused = people.chosen(own, slots), people.chosen(fused, slots)
    there = (slots >= 0).any(axis=2)
  if rest is not None:
    own, fused = timing.apply(own, rest), timing.apply(fused, rest)
  raw = dataclasses.replace(own, points=rig.distort(own.points), sizes_wh=footage.sizes_wh)
  path = options.out / "keypoints.npz"
  writing.write(path, raw, "plain npz")
  step = "" if rest is None else ", in step with the first camera"
  print(f"Wrote {path}: what each view saw by itself{step}")
  outputs.prove_pairing(raw, rig, trust_names=options.trust_names)
  own = outputs.sides_mended(own, pinholes, keep=options.keep_sides)
  if not options.keep_sides:
    fused = swaps.mend(fused, pinholes).observations
  estimated = estimate.triangulate(fused, rig.cameras, options.method)
  lost = np.flatnonzero(~there.any(axis=1))
  if len(lost) == len(there):
    size = network.skeleton.size_mm / 1000
    print(
      f"No person between {0.1 * size:.1f} and {2 * size:.1f} m long was found on whom two views "
      "agree: epipolar check looks for what is wrong with the cameras, --unit states their unit"
    )
  elif len(lost):
    print(
      f"{len(lost)} of {len(there)} frames without a person on whom two views agree, the "
      f"first is frame {lost[0]}"
    )
  left_out = outputs.tell(estimated, own, rig, options.method)
  sides = found.windows[..., 2][np.isfinite(found.windows[..., 2])]
  box = float(np.median(sides) if len(sides) else np.max(footage.sizes_wh)) / windows.MARGIN
  doubts = _elsewhere(found, footage) if alone else []
  if alone and report.doubtful(left_out, box):
    found_wrong = diagnosis.diagnose(raw, rig, size_mm=network.skeleton.size_mm)
    doubts += telling.sentences(found_wrong, rig)
  if options.to_label:
    frames = labelling.choose(left_out[:, 0], options.to_label)
    guesses = dataclasses.replace(own, points=rig.distort(own.points))
    count = labelling.write(options.out, footage, guesses, frames)
    numbers = ", ".join(map(str, frames))
    print(f"Wrote {options.out / 'labeled-data'}: {count} images to label, frames {numbers}")
  estimated = over_time.apply(estimated, options, fps)
  if options.bones:
    estimated = _with_bones(estimated, network.skeleton)
  outputs.write(options.out, estimated, chosen, fps=fps, up=options.up)
  page = options.out / "report.html"
  drawn = footage, rig, network.skeleton, estimated
  said = report.write(page, *drawn, left_out, box, doubts=doubts, up=options.up, fps=fps)
  print(*said, sep="\n")
  print(f"Wrote {page}")
  image = options.out / "overlay.png"
  shown = overlay.write_sheet(image, *drawn)
  if shown is not None:
    print(f"Wrote {image}: frame {shown} of every camera")
  if not options.no_film:
    overlay.write_film(options.out / "overlay.mp4", *drawn, fps=fps)
    print(f"Wrote {options.out / 'overlay.mp4'}")


def _elsewhere(found, footage) -> list[str]:
  """A sentence for each view in whose image the person that the others found hardly ever lies."""
  import numpy as np

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


def _with_bones(estimated, skeleton):
  """The `Estimate` with constant bones; prints by how much they varied."""
  import numpy as np

  from epipolar_jax.motion import bones

  made = bones.constant(estimated, bones.rigid(skeleton))
  known = np.isfinite(made.length_mm)
  if not known.any():
    print("Bones: no length is known, too few frames have both ends of one")
    return estimated
  before, after = (x[known].mean() for x in (made.before_mm, made.after_mm))
  print(
    f"Bones: {known.sum()} lengths, their standard deviation {before:.1f} mm before and "
    f"{after:.1f} mm after; {made.left.sum()} times a bone was too wrong to mend"
  )
  return made.estimate


def detector_of(
  name: str, checkpoint: pathlib.Path | None, *, fuse: bool = True, several: bool = False
):
  """The shipped detector of a name, or a network of one's own."""
  from epipolar_jax.footage import detector, trained

  if checkpoint is None and name.endswith(".onnx"):
    from epipolar_jax.footage import onnx_detector

    return onnx_detector.OnnxDetector(name, **({} if fuse else {"gain": 0.0}))
  if checkpoint is None:
    return detector.Detector(name, several=several, **({} if fuse else {"gain": 0.0}))
  from epipolar_jax import predicting

  model = predicting.load(checkpoint)
  return trained.TrainedDetector(model.config, model.variables, fuse=fuse)


def expanded(patterns: list[str]) -> list[str]:
  """Patterns that the shell left, and names as they are."""
  found = []
  for pattern in patterns:
    matches = sorted(glob.glob(pattern))
    if not matches and glob.has_magic(pattern):
      raise FileNotFoundError(f"no video is called {pattern}")
    found.extend(matches or [pattern])
  return found


def needs_opencv() -> None:
  """Raises ValueError where packages are missing that read videos; says which to install."""
  try:
    import cv2  # noqa: F401
    import filelock  # noqa: F401
    import imageio_ffmpeg  # noqa: F401
    import tqdm  # noqa: F401
  except ImportError as error:
    raise ValueError(
      f"videos need OpenCV, imageio-ffmpeg, filelock and tqdm ({error}): pip install "
      "'epipolar-jax[video]'; on a server without libGL, opencv-python-headless in place of "
      "opencv-python"
    ) from error

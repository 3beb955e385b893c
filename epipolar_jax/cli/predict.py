"""`epipolar predict`: videos of a calibrated rig to people's 3D joints."""

import argparse
import pathlib

from epipolar_jax.cli import over_time, patterns, priors


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
    "--recordings",
    nargs="+",
    metavar="FOLDER",
    help="many recordings, a folder each (patterns in quotes are expanded): --videos, --cameras "
    "and --timing are names or patterns in each of them, --cameras and --timing also files for "
    "all; --out gets a folder for each, and summary.csv. What is finished is not done again",
  )
  verb.add_argument(
    "--shard",
    metavar="I/N",
    help="of the recordings every N-th, from number I (0 to N - 1): for job arrays",
  )
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
    "--no_fusion", action="store_true", help="no fusion: each view is detected without the others"
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
  priors.add(verb)
  over_time.add(verb)
  verb.add_argument(
    "--bones",
    choices=("constant",),
    help="each bone gets the length that it has over the recording, in every frame",
  )
  verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
  """Predicts one recording, or those of many that are this process's.

  Returns:
    1 if nothing at all was triangulated (of many: in one of them), 2 if one of many failed, else 0.
  """
  needs_opencv()
  from epipolar_jax.cli import recording, recordings
  from epipolar_jax.runtime import compilation_cache

  compilation_cache.enable()
  if options.shard is not None and options.recordings is None:
    raise ValueError("--shard divides --recordings: give their folders")
  predictor = recording.Predictor(options)
  if options.recordings is not None:
    return recordings.predict(predictor, options)
  files = tuple(patterns.expanded(options.videos, "video"))
  found = predictor(recording.Given(files, options.cameras, options.timing, options.out))
  return int(not found.triangulated)


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
      "'.[video]' in the clone; on a server without libGL, opencv-python-headless in place of "
      "opencv-python"
    ) from error

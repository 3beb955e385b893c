"""What fusion along epipolar lines is worth on a recording: a pillar is drawn before the person.

python -m epipolar_jax.tools.hidden_view --videos 'cam*.mp4' --cameras calibration.toml --out DIR

The recording is predicted as it is; each view's own joints, triangulated by `robust`, are the
standard. Then a grey bar hides the middle third of the person's window in one or two cameras, and
the joints are detected again, by each view alone and with fusion. Printed: the distance in the
hidden views to the projected standard (median over joints and frames), and that of the joints
triangulated from all views to the standard (mean / 90th percentile).
"""

import argparse
import glob
import itertools
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from epipolar_jax.calibration import judging
from epipolar_jax.cli import detectors
from epipolar_jax.footage import detector, prediction, rigs, trained, videos, windows
from epipolar_jax.footage.tracker import Part
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints import reading
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

_GREY, _BAR = 110, (0.35, 0.65)


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--videos", nargs="+", required=True)
  parser.add_argument("--cameras", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True, help="of the prediction")
  parser.add_argument("--detector", default="thunder")
  parser.add_argument("--checkpoint", type=pathlib.Path, help="a network of one's own instead")
  parser.add_argument("--first", type=int, default=0, help="first frame that counts (0)")
  parser.add_argument("--every", type=int, default=4, help="frames between those that count (4)")
  options = parser.parse_args(arguments)
  footage, rig = opened(options.videos, options.cameras)
  network = detectors.detector_of(options.detector, options.checkpoint)
  part = prediction.predict(footage, rig, network, options.out)
  print(f"{'hidden':>16} {'by':>8} {'2D hidden, px':>14} {'dlt, mm':>16} {'robust, mm':>16}")
  views = range(len(rig.names))
  for hidden in [*((v,) for v in views), *itertools.combinations(views, 2)]:
    if len(rig.names) - len(hidden) < 2:
      continue
    counted = range(options.first, len(part.found), options.every)
    for name, row in compare(footage, rig, network, part, hidden, counted).items():
      print(f"{'+'.join(rig.names[v] for v in hidden):>16} {name:>8} {row}", flush=True)


def opened(patterns: Sequence[str], cameras: pathlib.Path) -> tuple[videos.Footage, Rig]:
  """Videos and a calibration as `epipolar predict` takes them: the recording and its cameras."""
  rig = Rig.read(cameras)
  files = [x for pattern in patterns for x in sorted(glob.glob(pattern)) or [pattern]]
  footage = videos.Footage(reading.pair_all(files, rig.names))
  rig, _ = rigs.fitted(rig, dict(zip(footage.names, footage.sizes_wh)))
  return footage, rig


def compare(
  footage: videos.Footage,
  rig: Rig,
  network: detector.Detector | trained.TrainedDetector,
  part: Part,
  hidden: tuple[int, ...],
  counted: Sequence[int],
) -> dict[str, str]:
  """A row of the table for each view alone, and for fusion."""
  complete = part.found & np.isfinite(part.windows).all(axis=(1, 2))
  frames = [f for f in counted if complete[f]]
  found = {"alone": [], "fusion": []}
  for seen in look(footage, rig, network, part.windows, frames, hidden):
    found["alone"].append((_to_image(seen.alone, seen.matrices), seen.alone_score))
    found["fusion"].append((_to_image(seen.fused, seen.matrices), seen.fused_score))
  standard = _triangulated(part.own[frames], part.own_score[frames], rig, "robust")
  return {name: _row(rows, rig, standard, hidden) for name, rows in found.items()}


class Seen(NamedTuple):
  """One moment in v views, in windows of side s around the person.

  Attributes:
    windows: [v, s, s, 3] uint8 RGB.
    matrices: [v, 2, 3], image px to window px.
    alone, alone_score: [v, j, 2] window px and [v, j], by each view alone.
    fused, fused_score: likewise, with fusion.
  """

  windows: np.ndarray
  matrices: np.ndarray
  alone: np.ndarray
  alone_score: np.ndarray
  fused: np.ndarray
  fused_score: np.ndarray


def look(
  footage: videos.Footage,
  rig: Rig,
  network: detector.Detector | trained.TrainedDetector,
  boxes: np.ndarray,
  frames: Collection[int],
  hidden: tuple[int, ...] = (),
) -> Iterator[Seen]:
  """Detects the joints again in some frames, with and without fusion.

  Args:
    footage: all views.
    rig: their cameras.
    network: the detector.
    boxes: [f, v, 3] centre and side of the person's window, image px (`Part.windows`).
    frames: to look at.
    hidden: views with a bar before the person.
  """
  k, r, t = (np.asarray(x, np.float64) for x in _arrays(rig.cameras))
  for f, images in enumerate(footage.frames()):
    if f not in frames:
      continue
    matrices = windows.affine(boxes[f, :, :2], boxes[f, :, 2], size=network.size)
    crops = np.stack(
      [
        windows.cut(image, rig.lenses[v], k[v], matrices[v], size=network.size)
        for v, image in enumerate(images)
      ]
    )
    low, high = (int(share * network.size) for share in _BAR)
    crops[list(hidden), :, low:high] = _GREY
    maps = network.maps(crops)
    whole = np.concatenate([matrices, np.tile([[[0.0, 0.0, 1.0]]], (len(k), 1, 1))], axis=1)
    cameras = Cameras(whole @ k, r, t)
    fused = network.fuse(maps, np.ones(len(k), bool), cameras)
    yield Seen(crops, matrices, *network.decode(maps), *fused)


def _row(rows, rig: Rig, standard: estimate.Estimate, hidden: tuple[int, ...]) -> str:
  points, score = (np.stack(x) for x in zip(*rows))
  truth, valid = standard.points[:, 0], standard.valid[:, 0]
  off = [
    np.linalg.norm(judging.project(rig.cameras[v], truth) - points[:, v], axis=-1)[valid]
    for v in hidden
  ]
  columns = [f"{np.median(off):14.1f}"]
  for method in ("dlt", "robust"):
    given = _triangulated(points, score, rig, method)
    both = given.valid[:, 0] & valid
    error = np.linalg.norm(given.points[:, 0] - truth, axis=-1)[both]
    columns.append(f"{error.mean():7.1f} /{np.percentile(error, 90):7.1f}")
  return " ".join(columns)


def _triangulated(points, score, rig: Rig, method: str) -> estimate.Estimate:
  joints = tuple(f"joint{i}" for i in range(points.shape[2]))
  seen = Observations(points[:, None], score[:, None], joints, rig.names)
  return estimate.triangulate(seen, rig.cameras, method)


def _to_image(uv: np.ndarray, matrices: np.ndarray) -> np.ndarray:
  return (uv - matrices[:, None, :, 2]) / matrices[:, None, [0, 1], [0, 1]]


def _arrays(cameras: Cameras):
  return cameras.intrinsics, cameras.rotation, cameras.translation


if __name__ == "__main__":
  main()

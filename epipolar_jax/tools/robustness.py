"""Triangulation methods under simulated occlusion, outliers and calibration error; no training.

python -m epipolar_jax.tools.robustness [--frames 100] [--seed 0] [--methods dlt,robust]
    [--output runs/robustness.json]

Simulated rigs of four cameras; detections with noise of 2 px in 256 px crops that are 2 m wide.
Prints a table, and writes it as JSON and PNG. Every number follows from the seed.
"""

import argparse
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import transform

from epipolar_jax import heatmaps, triangulation
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.tools import simulation
from epipolar_jax.visualize import dot_plot, predictions

METHODS = (
  *("dlt", "dlt_unweighted", "pymvg", "naive", "refine", "epipolar", "epipolar_dlt"),
  *("robust", "rpsm"),
)
# Lens of a Human3.6M camera: radial k1 k2 k3, tangential p1 p2.
_RADIAL = (-0.2076, 0.2478, -0.0031)
_TANGENTIAL = (-0.0010, -0.0014)
_SIGMA_PX = 8.0  # of the heatmaps


class Trouble(NamedTuple):
  """What is wrong; everything at its default is a good day.

  Attributes:
    noise_px: standard deviation of u and of v everywhere.
    hidden: views of every frame whose joints are guessed, 25 px off, with low scores.
    outliers: share of (view, joint) that is 40-150 px off with a score like any other.
    turn_deg: standard deviation of the cameras' rotation about each axis.
    shift_px: standard deviation of the principal point's u and v.
    missing: views without detections: score 0, and no view's neighbour.
    lens: the lens of a Human3.6M camera distorts the image and is not corrected.
  """

  noise_px: float = 2.0
  hidden: int = 0
  outliers: float = 0.0
  turn_deg: float = 0.0
  shift_px: float = 0.0
  missing: int = 0
  lens: bool = False


TROUBLES = {
  "noise 2 px": Trouble(),
  "noise 5 px": Trouble(noise_px=5.0),
  "1 view hidden": Trouble(hidden=1),
  "2 views hidden": Trouble(hidden=2),
  "outliers 5 %": Trouble(outliers=0.05),
  "outliers 10 %": Trouble(outliers=0.1),
  "outliers 20 %": Trouble(outliers=0.2),
  "1 hidden, outliers 10 %": Trouble(hidden=1, outliers=0.1),
  "cameras turned 0.2 deg": Trouble(turn_deg=0.2),
  "cameras turned 1 deg": Trouble(turn_deg=1.0),
  "principal point 3 px": Trouble(shift_px=3.0),
  "principal point 10 px": Trouble(shift_px=10.0),
  "1 camera missing": Trouble(missing=1),
  "2 cameras missing": Trouble(missing=2),
  "1 missing, outliers 10 %": Trouble(missing=1, outliers=0.1),
  "lens not corrected": Trouble(lens=True),
}


def detect(
  rng: np.random.Generator, scenes: simulation.Scenes, trouble: Trouble
) -> triangulation.Views:
  """Detections and calibrations with these faults, of the scenes.

  Epipolar matches lie in the nearest of the views that are there, with twice the noise of its own
  detections; a hidden view's, and those in a hidden view, are guessed too. A missing view has none
  (NaN), nor has one that no other is left beside.
  """
  n, v, j, _ = scenes.uv.shape
  uv = _distorted(scenes) if trouble.lens else scenes.uv
  order = rng.permuted(np.tile(np.arange(v), (n, 1)), axis=1)[..., None]
  hidden = np.broadcast_to(order < trouble.hidden, (n, v, j))
  missing = np.broadcast_to(order >= v - trouble.missing, (n, v, j))
  wrong = rng.random((n, v, j)) < trouble.outliers
  sigma = np.where(hidden, 25.0, trouble.noise_px)[..., None]
  angle, length = rng.uniform(0, 2 * np.pi, (n, v, j)), rng.uniform(40, 150, (n, v, j))
  away = length[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
  found = uv + sigma * rng.normal(size=uv.shape) + away * wrong[..., None]
  score = np.where(
    hidden, rng.uniform(0.05, 0.5, hidden.shape), rng.uniform(0.6, 1.0, hidden.shape)
  )
  score = np.where(missing, 0.0, score)
  frame = np.arange(n)[:, None]
  present = ~missing[..., 0]
  neighbour = simulation.nearest_view(scenes.cameras, present)
  guessed = hidden | hidden[frame, neighbour]
  sigma_match = np.where(guessed, 25.0, 2.0 * trouble.noise_px)[..., None]
  match = uv[frame, neighbour] + sigma_match * rng.normal(size=uv.shape)
  matched = present & present[frame, neighbour]
  match = np.where(matched[..., None, None], match, np.nan)
  turn = transform.Rotation.from_rotvec(
    np.radians(trouble.turn_deg) * rng.normal(size=(n * v, 3))
  ).as_matrix()
  intrinsics = scenes.cameras.intrinsics.copy()
  intrinsics[..., :2, 2] += trouble.shift_px * rng.normal(size=(n, v, 2))
  # The camera's centre stays: R x + t turns as a whole.
  turn = turn.reshape(n, v, 3, 3)
  return triangulation.Views(
    joints_2d=found.astype(np.float32),
    score=score.astype(np.float32),
    cameras=Cameras(
      intrinsics.astype(np.float32),
      (turn @ scenes.cameras.rotation).astype(np.float32),
      np.einsum("nvab,nvb->nva", turn, scenes.cameras.translation).astype(np.float32),
    ),
    match=match.astype(np.float32),
    neighbour=neighbour,
  )


def _distorted(scenes: simulation.Scenes) -> np.ndarray:
  """Projections [n, v, j, 2] through the lens.

  The person stands off the middle of a whole image as it would in the original data, 0.2 focal
  lengths to the side; what is wrong at that place anyway, the crop's position, is taken out.
  """
  focal = scenes.cameras.intrinsics[..., None, :1, 0]
  middle = scenes.cameras.intrinsics[..., None, :2, 2]
  aside = np.array([0.2, 0.0])
  xy = (scenes.uv - middle) / focal
  return (_through_lens(xy + aside) - _through_lens(aside)) * focal + middle


def _through_lens(xy: np.ndarray) -> np.ndarray:
  """Normalised image points [..., 2], distorted (OpenCV's model)."""
  x, y = xy[..., 0], xy[..., 1]
  r2 = x * x + y * y
  radial = 1 + r2 * (_RADIAL[0] + r2 * (_RADIAL[1] + r2 * _RADIAL[2]))
  p1, p2 = _TANGENTIAL
  u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
  v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
  return np.stack([u, v], axis=-1)


def make_locators(names: tuple[str, ...]) -> dict[str, Any]:
  """Every method of `triangulation`; `rpsm` gets Gaussian maps around the detections."""
  locators = {name: triangulation.make(name) for name in names if name != "rpsm"}
  if "rpsm" in names:
    locators["rpsm"] = _rpsm()
  return {name: locators[name] for name in names}


def _rpsm():
  limb_length = np.array(simulation.LIMB_MM)
  locate = triangulation.make("rpsm", limb_length=limb_length)
  side = simulation.SIZE // simulation.STRIDE

  def one_map(uv, score):
    return score * heatmaps.gaussian_target(
      uv, size_hw=(side, side), stride=simulation.STRIDE, sigma=_SIGMA_PX
    )

  def one_frame(views):
    views = jax.tree.map(lambda x: x[None], views)
    maps = jax.vmap(jax.vmap(jax.vmap(one_map)))(views.joints_2d, views.score)
    return jax.tree.map(lambda x: x[0], locate(views._replace(heatmaps=maps)))

  # One frame after the other: the maps of all would not fit into a cache, nor perhaps at all.
  return jax.jit(lambda views: jax.lax.map(one_frame, jax.tree.map(jnp.asarray, views)))


def compare(names: tuple[str, ...], *, frames: int, seed: int) -> dict[str, dict[str, Any]]:
  """Errors of the methods in every trouble.

  Returns:
    By trouble and method: mean_mm, median_mm and p95_mm over the joints found, failed_joints.
  """
  locators = make_locators(names)
  results: dict[str, dict[str, Any]] = {}
  for trouble_name, trouble in TROUBLES.items():
    # The same people and the same draws for every trouble.
    scenes = simulation.make_scenes(np.random.default_rng((seed, 0)), frames)
    views = detect(np.random.default_rng((seed, 1)), scenes, trouble)
    results[trouble_name] = {
      name: _errors(locate(views), scenes.joints) for name, locate in locators.items()
    }
  return results


def _errors(found: triangulation.Joints, truth: np.ndarray) -> dict[str, float]:
  valid = np.asarray(found.valid)
  distance = np.linalg.norm(np.asarray(found.points) - truth, axis=-1)[valid]
  if not len(distance):
    return {"mean_mm": None, "median_mm": None, "p95_mm": None, "failed_joints": valid.size}
  return {
    "mean_mm": float(distance.mean()),
    "median_mm": float(np.median(distance)),
    "p95_mm": float(np.percentile(distance, 95)),
    "failed_joints": int((~valid).sum()),
  }


def table(results: dict[str, dict[str, Any]]) -> str:
  """Mean errors in mm as a Markdown table, the best of each row in bold; (n) joints failed."""
  names = list(next(iter(results.values())))
  lines = [f"| mean error, mm | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
  for trouble, row in results.items():
    means = {name: row[name]["mean_mm"] for name in names}
    best = min((x for x in means.values() if x is not None), default=None)
    cells = []
    for name, mean in means.items():
      text = "-" if mean is None else f"{mean:.1f}"
      text = f"**{text}**" if mean is not None and mean == best else text
      failed = row[name]["failed_joints"]
      cells.append(f"{text} ({failed})" if failed else text)
    lines.append(f"| {trouble} | {' | '.join(cells)} |")
  return "\n".join(lines)


def main() -> None:
  """Compares, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--frames", type=int, default=100, help="people, each with a rig of its own")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas")
  parser.add_argument("--output", type=pathlib.Path, help="JSON file; the PNG goes beside it")
  arguments = parser.parse_args()
  results = compare(
    tuple(arguments.methods.split(",")), frames=arguments.frames, seed=arguments.seed
  )
  print(table(results))
  if arguments.output is not None:
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    record = {
      "frames": arguments.frames,
      "seed": arguments.seed,
      "troubles": {name: trouble._asdict() for name, trouble in TROUBLES.items()},
      "results": results,
    }
    arguments.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    means = {t: {m: x["mean_mm"] for m, x in row.items()} for t, row in results.items()}
    chart = dot_plot.draw(means, title="Mean error, mm (log scale)")
    predictions.write_png(arguments.output.with_suffix(".png"), chart)
    print(f"\nWrote {arguments.output} and the chart beside it.")


if __name__ == "__main__":
  main()

"""From 2D to 3D, 4 views x 17 joints: every method against a plain loop over joints.

The loops are what one would write with numpy, OpenCV and SciPy: the same estimate, joint by joint.
"""

import functools
import itertools
import time

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from epipolar_jax import heatmaps, skeletons, triangulation
from epipolar_jax.tools import simulation
from epipolar_jax.tools.benchmark import timing

_BATCHES = (1, 1024)
# Methods against the loop that estimates the same.
_LOOP_OF = {
  "dlt": "dlt",
  "pymvg": "dlt",
  "robust": "robust",
  "naive": "consensus",
  "refine": "consensus",
  "epipolar": "consensus",
  "epipolar_dlt": "dlt",
  "rpsm": "rpsm",
}
# The pictorial structure model's first grid, in places along a side, and its side and tolerance.
_BINS, _SIDE_MM, _TOLERANCE_MM = 16, 2000.0, 150.0
_SIZE = f"4 views x {len(skeletons.H36M_17.joints)} joints"


def run(seconds: float, only: tuple[str, ...] = ()) -> list[timing.Row]:
  """Measures the loops, then every method at every batch size, with ratios to its loop.

  Args:
    seconds: for each measurement.
    only: names of methods; () is all.

  Raises:
    ValueError: there is no such method.
  """
  if not set(only) <= set(_LOOP_OF):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(sorted(_LOOP_OF))}")
  names = only or tuple(_LOOP_OF)
  scenes, views = _frames(max(_BATCHES))
  wanted = dict.fromkeys(_LOOP_OF[name] for name in names)
  rows = {name: _measure_loop(name, scenes, views, seconds) for name in wanted}
  result = list(rows.values())
  for name in names:
    lengths = np.array(simulation.LIMB_MM) if triangulation.METHODS[name].needs_heatmaps else None
    locate = triangulation.make(name, limb_length=lengths)
    for batch in _BATCHES:
      part = jax.tree.map(lambda x, batch=batch: jnp.asarray(x[:batch]), views)
      if triangulation.METHODS[name].needs_heatmaps:
        # Ready, as for the loop: 1.1 GB for 1024 frames.
        part = part._replace(heatmaps=_maps(part.joints_2d))
      row = timing.measure(
        name, locate, part, size=f"batch {batch}, {_SIZE}", frames=batch, seconds=seconds
      )
      result.append(timing.against(row, rows[_LOOP_OF[name]]))
  return result


def _frames(count: int) -> tuple[simulation.Scenes, triangulation.Views]:
  """Noisy detections of simulated people."""
  rng = np.random.default_rng(0)
  scenes = simulation.make_scenes(rng, count)
  uv = scenes.uv + rng.normal(0, 2, scenes.uv.shape).astype(np.float32)
  score = np.full(uv.shape[:3], 0.9, np.float32)
  views = triangulation.Views(uv, score, scenes.cameras, uv, scenes.neighbour)
  return scenes, views


@jax.jit
def _maps(uv: jax.Array) -> jax.Array:
  """Gaussians [b, v, j, h, w] at points [b, v, j, 2]."""
  side = simulation.SIZE // simulation.STRIDE
  make = functools.partial(
    heatmaps.gaussian_target, size_hw=(side, side), stride=simulation.STRIDE, sigma=8.0
  )
  return jax.vmap(jax.vmap(jax.vmap(make)))(uv)


def _measure_loop(name, scenes, views, seconds) -> timing.Row:
  """One loop over as many frames as the time allows, at least one."""
  function = LOOPS[name]
  tables = _pair_tables() if name == "rpsm" else None
  times: list[float] = []
  while len(times) < 3 or (sum(times) < seconds and len(times) < len(scenes.uv)):
    number = len(times)
    frame = jax.tree.map(lambda x, i=number: x[i], views)
    if name == "rpsm":
      maps = np.asarray(_maps(frame.joints_2d[None])[0])
    start = time.perf_counter()
    if name == "rpsm":
      function(frame, maps, scenes.joints[number, 0], tables)
    else:
      for joint in range(frame.joints_2d.shape[1]):
        function(frame, joint)
    times.append(time.perf_counter() - start)
  median = float(np.median(times))
  return timing.Row(
    name=f"loop: {name}",
    size=f"one frame, {_SIZE}",
    compile_s=0.0,
    median_s=median,
    low_s=min(times),
    high_s=max(times),
    calls=len(times),
    frames_per_s=1.0 / median,
  )


def _projections(frame: triangulation.Views) -> list[np.ndarray]:
  return [k @ np.column_stack([r, t]) for k, r, t in zip(*jax.tree.leaves(frame.cameras))]


def _dlt(frame: triangulation.Views, joint: int) -> np.ndarray:
  """All views by SVD."""
  rows = []
  for (u, v), p in zip(frame.joints_2d[:, joint], _projections(frame)):
    rows += [u * p[2] - p[0], v * p[2] - p[1]]
  x = np.linalg.svd(np.array(rows))[2][-1]
  return x[:3] / x[3]


def _pairs(frame: triangulation.Views, joint: int):
  """The points of all pairs of views, by OpenCV."""
  points, projections = frame.joints_2d[:, joint], _projections(frame)
  for a, b in itertools.combinations(range(len(points)), 2):
    both = points[a].reshape(2, 1), points[b].reshape(2, 1)
    x = cv2.triangulatePoints(projections[a], projections[b], *both)[:, 0]
    yield x[:3] / x[3]


def _consensus(frame: triangulation.Views, joint: int) -> np.ndarray:
  """The pair with the most rays nearer than 35 mm."""
  rays, centers = [], []
  for (u, v), k, r, t in zip(frame.joints_2d[:, joint], *jax.tree.leaves(frame.cameras)):
    ray = r.T @ np.linalg.solve(k, [u, v, 1.0])
    rays.append(ray / np.linalg.norm(ray))
    centers.append(-r.T @ t)
  best, most = None, -1
  for x in _pairs(frame, joint):
    near = sum(np.linalg.norm(np.cross(x - c, d)) < 35.0 for c, d in zip(centers, rays))
    if near > most:
      best, most = x, near
  return best


def _robust(frame: triangulation.Views, joint: int) -> np.ndarray:
  """The least bounded reprojection error, by SciPy from the best pair."""
  points, projections = frame.joints_2d[:, joint], _projections(frame)

  def residuals(x):
    found = np.array([p @ np.append(x, 1.0) for p in projections])
    return ((found[:, :2] / found[:, 2:] - points) / 8.0).ravel()

  def cost(x):
    return np.arctan(np.sum(residuals(x).reshape(-1, 2) ** 2, axis=1)).sum()

  start = min(_pairs(frame, joint), key=cost)
  return optimize.least_squares(residuals, start, loss="arctan", method="trf", x_scale=100.0).x


def _grid(side: float, bins: int) -> np.ndarray:
  """Places [bins³, 3] of a cubic grid around 0."""
  axis = np.linspace(-side / 2, side / 2, bins, dtype=np.float32)
  return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def _pair_tables() -> list[np.ndarray]:
  """Which pairs of 16³ places each limb allows [4096, 4096]; made once, as the original does."""
  places = _grid(_SIDE_MM, _BINS)
  squared = np.sum(places * places, axis=1)
  squared = squared[:, None] + squared[None] - 2 * places @ places.T
  distance = np.sqrt(np.maximum(squared, 0.0))
  return [np.abs(distance - length) <= _TOLERANCE_MM for length in simulation.LIMB_MM]


def _rpsm(
  frame: triangulation.Views, maps: np.ndarray, root: np.ndarray, tables: list[np.ndarray]
) -> np.ndarray:
  """The pictorial structure model, coarse to fine; [j, 3]."""
  places = root + _grid(_SIDE_MM, _BINS)[None]
  joints = _best_places(places, _look_up(frame, maps, places, cv2.INTER_LINEAR), tables)
  spacing = _SIDE_MM / (_BINS - 1)
  for level in range(8):
    places = joints[:, None] + _grid(2 * spacing / 2**level, 3)
    allowed = []
    for (parent, child), length in zip(skeletons.H36M_17.limbs, simulation.LIMB_MM):
      distance = np.linalg.norm(places[parent][:, None] - places[child][None], axis=-1)
      allowed.append(np.abs(distance - length) <= _TOLERANCE_MM)
    joints = _best_places(places, _look_up(frame, maps, places, cv2.INTER_CUBIC), allowed)
  return joints


def _look_up(frame, maps, places, interpolation) -> np.ndarray:
  """Logarithms [j, p] of the maps [v, j, h, w], summed over views, at places [j or 1, p, 3]."""
  energy = np.zeros((maps.shape[1], places.shape[1]), np.float32)
  for view, p in zip(maps, _projections(frame)):
    x = places @ p[:, :3].T.astype(np.float32) + p[:, 3].astype(np.float32)
    at = (x[..., :2] / x[..., 2:] - (simulation.STRIDE - 1) / 2) / simulation.STRIDE
    at = np.broadcast_to(at, (len(view), *at.shape[1:]))
    for joint, heatmap in enumerate(view):
      energy[joint] += cv2.remap(heatmap, at[joint][None], None, interpolation)[0]
  return np.log(np.maximum(energy, 1e-6))


def _best_places(places, energy, allowed) -> np.ndarray:
  """The best [j, 3] of places [j or 1, p, 3] whose pairs [p, p] limbs allow; max-product."""
  limbs = skeletons.H36M_17.limbs
  for (parent, child), possible in reversed(list(zip(limbs, allowed))):
    energy[parent] += np.where(possible, energy[child][None], -np.inf).max(axis=1)
  best = np.zeros(len(energy), int)
  best[0] = energy[0].argmax()
  for (parent, child), possible in zip(limbs, allowed):
    best[child] = np.where(possible[best[parent]], energy[child], -np.inf).argmax()
  return np.broadcast_to(places, (len(best), *places.shape[1:]))[np.arange(len(best)), best]


LOOPS = {"dlt": _dlt, "consensus": _consensus, "robust": _robust, "rpsm": _rpsm}

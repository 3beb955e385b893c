"""Numbers of a split, JSON-ready: errors in 3D and in the images, by joint, action and cameras."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import heatmaps, metrics, models, skeletons
from epipolar_jax.tasks import task
from epipolar_jax.tasks.multiview import pose_errors

# Name of a mean -> how poses are aligned before.
MEANS = {
  "mpjpe_mm": "absolute",
  "mpjpe_relative_mm": "relative",
  "mpjpe_scaled_mm": "scaled",
  "pa_mpjpe_mm": "procrustes",
}
# Of the size of the skeleton: 50, 100 and 150 mm of a person; the largest is also the AUC's range.
_PCK_3D = (0.025, 0.05, 0.075)
_PCK_2D_PX = (2.0, 5.0, 10.0)
_AUC_2D_PX = 20.0


def of_poses(found: task.Arrays, labels: task.Arrays, skeleton: skeletons.Skeleton) -> task.Summary:
  """Means of the errors of one method in 3D."""
  points, truth, labelled = found["joints_3d"], labels["joints_3d"], labels["labelled"]
  valid = found["joint_valid"] & labelled
  errors = pose_errors.errors(points, truth, valid, root=skeleton.root)
  thresholds = tuple(share * skeleton.size_mm for share in _PCK_3D)
  return _means(errors, labelled) | _pck_3d(points, valid, truth, labelled, thresholds)


def _means(errors: pose_errors.PoseErrors, labelled: np.ndarray) -> task.Summary:
  failed = labelled & ~errors.counts["absolute"]
  frames = {"frames": len(failed)}
  means = frames | {key: errors.mean(alignment) for key, alignment in MEANS.items()}
  means["mpjpe_mm_interval"] = errors.interval("absolute")
  return means | {
    "failed_joints": int(failed.sum()),
    "failed_frames": int(failed.any(axis=1).sum()),
    "unlabelled_joints": int((~labelled).sum()),
  }


def _pck_3d(
  points: np.ndarray,
  valid: np.ndarray,
  truth: np.ndarray,
  labelled: np.ndarray,
  thresholds: tuple[float, ...],
) -> task.Summary:
  # Not a number is close to nothing: a failed joint is a miss.
  points = np.where(valid[..., None], points, np.nan).astype(np.float32)
  options = {"thresholds": thresholds, "largest": thresholds[-1]}
  near, area, count = jax.device_get(_near(points, truth, labelled, **options))
  shares = {f"pck_3d_{t:g}mm_percent": _percent(near[i], count) for i, t in enumerate(thresholds)}
  return shares | {"auc_3d_percent": _percent(area, count)}


@functools.partial(jax.jit, static_argnames=("thresholds", "largest"))
def _near(points, truth, valid, *, thresholds, largest):
  """PCK sums [k], AUC sum [] and joints [] of [n, j, d], of those that are valid [n, j]."""

  def one(points, truth, valid):
    near, count = metrics.pck(points, truth, valid, thresholds=thresholds)
    return near, metrics.pck_auc(points, truth, valid, max_distance=largest)[0], count

  return jax.tree.map(lambda x: jnp.sum(x, axis=0), jax.vmap(one)(points, truth, valid))


def _percent(part: np.ndarray, count: np.ndarray) -> float | None:
  return 100.0 * float(part) / float(count) if count else None


def of_images(
  predicted: task.Arrays,
  true_2d: np.ndarray,
  occluded: np.ndarray,
  labelled: np.ndarray,
  map_size: int,
  skeleton: skeletons.Skeleton,
) -> task.Summary:
  """Errors in the images, network px: mean, in hidden views, PCK, AUC and joint detection rate."""
  points = predicted["joints_2d"]
  counts = labelled
  flat = [np.asarray(x, np.float32).reshape(-1, *x.shape[2:]) for x in (points, true_2d)]
  known = counts.reshape(-1, counts.shape[2])
  distance = np.linalg.norm(flat[0] - flat[1], axis=-1).reshape(points.shape[:3])
  thresholds = {"thresholds": _PCK_2D_PX, "largest": _AUC_2D_PX}
  near, area, count = jax.device_get(_near(*flat, known, **thresholds))
  peak = heatmaps.image_to_map(flat[1], stride=models.STRIDE).round()
  inside = np.all((peak >= 0) & (peak < map_size), axis=-1) & known
  found = predicted["peak"].reshape(peak.shape).astype(np.float32)
  rate = jax.vmap(functools.partial(metrics.jdr, size_wh=(map_size, map_size)))
  detected, detectable = jax.device_get(rate(found, peak, inside))
  each_joint = [_mean(distance[:, :, j][counts[:, :, j]]) for j in range(counts.shape[2])]
  return {
    "error_2d_px": _mean(distance[counts]),
    "error_2d_occluded_views_px": _mean(distance[counts & occluded[..., None]]),
    "error_2d_per_joint_px": _named(each_joint, skeleton),
    "jdr_percent": _percent(detected.sum(), detectable.sum()),
    **{f"pck_2d_{t:g}px_percent": _percent(near[i], count) for i, t in enumerate(_PCK_2D_PX)},
    "auc_2d_percent": _percent(area, count),
  }


def _mean(values: np.ndarray) -> float | None:
  return float(values.mean(dtype=np.float64)) if values.size else None


def _named(values: Sequence[float | None], skeleton: skeletons.Skeleton) -> dict[str, float | None]:
  return {
    name: None if x is None else float(x) for name, x in zip(skeleton.joints, values, strict=True)
  }


def breakdown(
  predicted: task.Arrays, labels: task.Arrays, skeleton: skeletons.Skeleton
) -> task.Summary:
  """Errors per joint and per action, by alignment."""
  valid = predicted["joint_valid"] & labels["labelled"]
  points, truth = predicted["joints_3d"], labels["joints_3d"]
  errors = pose_errors.errors(points, truth, valid, root=skeleton.root)
  actions = np.array([a.decode() if isinstance(a, bytes) else str(a) for a in labels["action"]])
  own_column = np.eye(valid.shape[1], dtype=bool)
  per_joint = {
    alignment: _named([errors.mean(alignment, column[None]) for column in own_column], skeleton)
    for alignment in pose_errors.ALIGNMENTS
  }
  per_action = {
    alignment: {str(a): errors.mean(alignment, (actions == a)[:, None]) for a in np.unique(actions)}
    for alignment in pose_errors.ALIGNMENTS
  }
  return {
    "mpjpe_per_joint_mm": per_joint["absolute"],
    "mpjpe_per_action_mm": per_action["absolute"],
    "per_joint_mm": per_joint,
    "per_action_mm": per_action,
  }


def by_cameras(others: dict[str, task.Arrays], labels: task.Arrays, root: int) -> task.Summary:
  """For every number of cameras the means over all choices, by method, and each choice alone."""
  sizes: dict[str, list[str]] = {}
  for name in others:
    sizes.setdefault(str(name.count(",") + 1), []).append(name)
  return {size: _of_size(names, others, labels, root) for size, names in sizes.items()}


def _of_size(names, others, labels, root) -> task.Summary:
  truth, labelled = labels["joints_3d"], labels["labelled"]
  errors = {
    name: {
      method: pose_errors.errors(
        found["joints_3d"], truth, found["joint_valid"] & labelled, root=root
      )
      for method, found in others[name].items()
    }
    for name in names
  }
  often = np.tile(labelled, (len(names), 1))
  together = {
    method: _means(pose_errors.concatenate([errors[name][method] for name in names]), often)
    for method in others[names[0]]
  }
  each = {
    name: {m: _means(e, labelled) for m, e in found.items()} for name, found in errors.items()
  }
  return {"choices": len(names), "methods": together, "each": each}

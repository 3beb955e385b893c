"""Evaluation of the lifting tasks: end-point errors of root-relative poses, views alone and joined.

Everything is told beside the same numbers of a predictor that always says the mean pose of the
evaluated split, in the same frame: what does not beat it has learnt nothing.
"""

import functools
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.tasks import task
from epipolar_jax.visualize import lifting as figures

# The range of the area under the PCK curve, and the curve's thresholds, mm.
AUC_RANGE_MM = (20.0, 50.0)
CURVE_MM = tuple(float(x) for x in range(0, 155, 5))
# The original's clamp: a joint that is missed costs no more.
CLAMP_MM = 150.0

_COLUMNS = {
  "EPE mm": "epe_mm",
  "median": "epe_median_mm",
  "AUC %": "auc_20_50_percent",
  "PCK@50 %": "pck_50mm_percent",
  "mean pose": "mean_pose_epe_mm",
  "views mean": "multiview_mean_epe_mm",
  "views median": "multiview_median_epe_mm",
  "best view": "multiview_best_epe_mm",
  "views": "poses",
}


def build(config: ml_collections.ConfigDict) -> task.Evaluation:
  """The evaluation of a config with a lifting task."""
  skeleton = skeletons.of_model(config.model)
  hands = skeleton == skeletons.RHD_21
  return task.Evaluation(
    run=lambda predict, batch: predict(batch),
    labels=(
      *("joints_2d", "crop", "valid", "frame", "action", "visible"),
      *(("hand_side",) if hands else ()),
    ),
    summarize=functools.partial(summarize, skeleton=skeleton),
    columns=_COLUMNS,
    rows=lambda split, summary: {(split,): summary},
    logged=("epe_mm", "epe_median_mm", "auc_20_50_percent", "mean_pose_epe_mm"),
    protocol={
      "epe": "root-relative, times the true length of the reference bone, no clamp, all joints "
      "of all views",
      "epe_clamped": f"the same, each error at most {CLAMP_MM:.0f} mm: the original's number",
      "auc_20_50_percent": "area under the PCK curve from 20 to 50 mm, over its width",
      "mean_pose": "a constant baseline: the mean pose of this split in the same frame",
      "multiview": "predictions of all views of a frame, turned to the world and joined by "
      "coordinate; best: for each joint the view that happens to be nearest, an upper bound",
      "crop": "ground-truth box or joints",
    },
    figure=functools.partial(figures.sheet, skeleton=skeleton),
    legend="mean pose: EPE of the split's mean pose as a constant baseline; views mean, median, "
    "best: all views of a frame together",
  )


def summarize(
  predicted: dict[str, np.ndarray],
  labels: dict[str, np.ndarray],
  *,
  skeleton: skeletons.Skeleton,
) -> dict[str, Any]:
  """Errors over all views, joints and frames, JSON-ready.

  Args:
    predicted: of n frames in v views: `camera` or `canonical` [n v j 3] mm, the same with
      `_truth`, and, where the camera's frame is known, `world` [n v j 3] and, with a viewpoint,
      `rotation_error_deg` [n v].
    labels: action [n].
    skeleton: of the joints.
  """
  name = "camera" if "camera" in predicted else "canonical"
  truth = predicted[f"{name}_truth"]
  error = np.linalg.norm(predicted[name] - truth, axis=-1)
  mean_pose_error = np.linalg.norm(truth.mean((0, 1)) - truth, axis=-1)
  actions = np.array([a.decode() if isinstance(a, bytes) else str(a) for a in labels["action"]])
  out = {
    "frame_of_the_error": name,
    **_errors(error),
    "mean_pose_epe_mm": float(mean_pose_error.mean()),
    "mean_pose_auc_20_50_percent": 100.0 * auc(mean_pose_error),
    "poses": int(error.shape[0] * error.shape[1]),
    "pck_curve": {"threshold_mm": list(CURVE_MM), "share": pck(error, CURVE_MM).tolist()},
    "epe_per_joint_mm": {n: float(error[..., i].mean()) for i, n in enumerate(skeleton.joints)},
    "median_per_joint_mm": {
      n: float(np.median(error[..., i])) for i, n in enumerate(skeleton.joints)
    },
    "epe_per_action_mm": {str(a): float(error[actions == a].mean()) for a in np.unique(actions)},
  }
  if "canonical" in predicted:
    own = np.linalg.norm(predicted["canonical"] - predicted["canonical_truth"], axis=-1)
    out["epe_canonical_mm"] = float(own.mean())
  if "rotation_error_deg" in predicted:
    out["rotation_error_deg"] = float(predicted["rotation_error_deg"].mean())
    out["rotation_error_median_deg"] = float(np.median(predicted["rotation_error_deg"]))
  if "world" in predicted and error.shape[1] > 1:
    for how, values in join_views(predicted["world"], predicted["world_truth"]).items():
      out |= {f"multiview_{how}_{key}": value for key, value in _errors(values).items()}
  return out


def join_views(world: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
  """Errors [n j] of the views of a frame together: mean, median and best.

  Args:
    world: [n v j 3], root-relative predictions of each view in the world's axes.
    truth: [n j 3].
  """
  return {
    "mean": np.linalg.norm(world.mean(1) - truth, axis=-1),
    "median": np.linalg.norm(np.median(world, 1) - truth, axis=-1),
    "best": np.linalg.norm(world - truth[:, None], axis=-1).min(1),
  }


def pck(error: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
  """Share of the errors that are at most each threshold."""
  return np.array([(error <= t).mean() for t in thresholds])


def auc(error: np.ndarray) -> float:
  """Area under the PCK curve over `AUC_RANGE_MM`, over its width: in [0, 1], exact.

  A joint with error e passes all thresholds from e on.
  """
  low, high = AUC_RANGE_MM
  return float(np.mean((high - np.clip(error, low, high)) / (high - low)))


def _errors(error: np.ndarray) -> dict[str, float]:
  """Summary statistics of any set of errors, mm."""
  return {
    "epe_mm": float(error.mean()),
    "epe_median_mm": float(np.median(error)),
    "epe_clamped_mm": float(np.minimum(error, CLAMP_MM).mean()),
    "auc_20_50_percent": 100.0 * auc(error),
    "pck_50mm_percent": 100.0 * float((error <= 50.0).mean()),
  }

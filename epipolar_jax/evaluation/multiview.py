"""Evaluation of the multi-view task: errors of 3D joints and of what every camera saw."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from epipolar_jax import metrics, skeletons
from epipolar_jax.evaluation import problem
from epipolar_jax.inputs import multiview
from epipolar_jax.visualize import predictions

_COLUMNS = {
  "MPJPE mm": "mpjpe_mm",
  "relative": "mpjpe_relative_mm",
  "PA": "pa_mpjpe_mm",
  "2D px": "error_2d_px",
  "2D hidden": "error_2d_occluded_views_px",
  "frames": "frames",
  "failed": "failed_joints",
}


def build(config: ml_collections.ConfigDict) -> problem.Problem:
  """The evaluation of a config with `task = "multiview"`."""
  return problem.Problem(
    batches=_batches,
    run=lambda predict, batch: predict(batch),
    labels=(
      *("joints_3d", "joints_2d", "valid", "occluded", "crop"),
      *("subject", "frame", "action"),
    ),
    summarize=summarize,
    columns=_COLUMNS,
    rows=lambda split, summary: {split: summary},
    logged=("mpjpe_mm", "pa_mpjpe_mm", "error_2d_px"),
    protocol={
      "mpjpe": "absolute, world frame, no clamp, all joints, failed joints counted and left out",
      "triangulation": config.eval.triangulation,
      "ground_truth": "3D joints of the data set",
      "crop": "ground-truth box",
      "error_2d": f"pixels of the {config.data.image_size} px network input",
    },
    picture=predictions.sheet,
  )


def _batches(
  config: ml_collections.ConfigDict, source: Sequence[Any]
) -> Iterator[dict[str, np.ndarray]]:
  return multiview.eval_batches(
    source,
    size=config.data.image_size,
    batch_size=config.eval.batch_size,
    max_frames=config.eval.max_frames,
    num_threads=config.data.num_threads,
  )


def summarize(predicted: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, Any]:
  """Means over frames and joints, JSON-ready.

  MPJPE is absolute (world frame, no alignment, no clamp), over all joints of all frames; a joint
  that could not be triangulated is counted in `failed_joints` and left out of the mean.

  Args:
    predicted: joints_3d [n j 3] mm, joint_valid [n j], joints_2d [n v j 2] network px.
    labels: joints_3d [n j 3] mm, joints_2d [n v j 2] stored px, crop [n v 2 3], action [n].
  """
  error = np.linalg.norm(predicted["joints_3d"] - labels["joints_3d"], axis=-1)
  good = predicted["joint_valid"]
  pa_sum, pa_count = jax.vmap(metrics.pa_mpjpe)(predicted["joints_3d"], labels["joints_3d"], good)
  truth_2d = np.einsum("nvab,nvjb->nvja", labels["crop"][..., :2], labels["joints_2d"])
  error_2d = np.linalg.norm(
    predicted["joints_2d"] - truth_2d - labels["crop"][..., None, :, 2], axis=-1
  )
  skeleton = skeletons.by_num_joints(error.shape[1])
  root = skeleton.root
  relative = np.linalg.norm(
    (predicted["joints_3d"] - predicted["joints_3d"][:, root : root + 1])
    - (labels["joints_3d"] - labels["joints_3d"][:, root : root + 1]),
    axis=-1,
  )
  hidden = np.broadcast_to(labels["occluded"][:, :, None], error_2d.shape)
  actions = np.array([a.decode() if isinstance(a, bytes) else str(a) for a in labels["action"]])
  return {
    "mpjpe_mm": _mean(error, good),
    "mpjpe_relative_mm": _mean(relative, good & good[:, root : root + 1]),
    "pa_mpjpe_mm": float(np.sum(pa_sum) / max(np.sum(pa_count), 1)),
    "error_2d_px": _mean(error_2d, np.ones_like(hidden)),
    "error_2d_occluded_views_px": _mean(error_2d, hidden) if hidden.any() else None,
    "frames": len(error),
    "failed_joints": int((~good).sum()),
    "mpjpe_per_joint_mm": {
      name: _mean(error[:, i], good[:, i]) for i, name in enumerate(skeleton.joints)
    },
    "mpjpe_per_action_mm": {
      str(a): _mean(error[actions == a], good[actions == a]) for a in np.unique(actions)
    },
  }


def _mean(values: np.ndarray, mask: np.ndarray) -> float | None:
  """Mean where the mask holds; None (JSON null) when it holds nowhere."""
  return float(values[mask].mean()) if mask.any() else None

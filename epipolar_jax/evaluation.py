"""From a split to numbers: predict every frame, then metrics per joint, per action, per view."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
import tqdm

from epipolar_jax import metrics, parallel, skeletons, tasks
from epipolar_jax.inputs import datasets, multiview
from epipolar_jax.visualize import predictions

_LABELS = ("joints_3d", "valid", "occluded", "subject", "frame", "action", "crop", "joints_2d")


def report(
  config: ml_collections.ConfigDict, variables: Any, *, step: int, output: pathlib.Path
) -> dict[str, dict[str, Any]]:
  """Evaluates `config.eval.splits`, prints the table, writes the JSON and the pictures.

  Args:
    config: the whole config.
    variables: of the model, replicated.
    step: at which they were saved.
    output: the JSON file; pictures go next to it as `<stem>_<split>.png`.

  Returns:
    For each split the summary of `summarize`.
  """
  predict = make_predict(config)
  results = {}
  for split in config.eval.splits:
    predicted, labels, images = collect(config, predict, variables, split)
    results[split] = summarize(predicted, labels)
    if len(images):
      path = output.with_name(f"{output.stem}_{split}.png")
      predictions.write_png(path, predictions.sheet(images, predicted, labels))
  print(table(results))
  write_json(output, results, config, step=step)
  return results


def make_predict(config: ml_collections.ConfigDict) -> Callable[..., Any]:
  """The network of a config as `predict(variables, sharded batch)` over all devices."""
  return parallel.make_predict(tasks.build(config, axis_name=None).predict)


def collect(
  config: ml_collections.ConfigDict, predict: Callable[..., Any], variables: Any, split: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
  """Runs the network over one split.

  Returns:
    predicted: arrays with one leading frame axis n.
    labels: likewise.
    images: [m v h w 3], the network inputs of m = `eval.num_images` frames spread over the split;
      their indices are `picked(n, m)`.
  """
  source = datasets.open_split(config.data, split)
  count = min(config.eval.max_frames or len(source), len(source))
  batches = multiview.eval_batches(
    source,
    size=config.data.image_size,
    batch_size=config.eval.batch_size,
    max_frames=config.eval.max_frames,
    num_threads=config.data.num_threads,
  )
  total = -(-count // config.eval.batch_size)
  wanted = set(predictions.picked(count, config.eval.num_images))
  predicted, labels, images, seen = [], [], [], 0
  for batch in tqdm.tqdm(batches, total=total, desc=f"evaluate {split}", unit="batch", leave=False):
    out = parallel.gather(predict(variables, parallel.shard_batch(multiview.device_part(batch))))
    keep = batch["valid"]
    predicted.append({k: v[keep] for k, v in out.items()})
    labels.append({k: batch[k][keep] for k in _LABELS})
    images += [x for i, x in enumerate(batch["image"][keep], seen) if i in wanted]
    seen += int(keep.sum())
  return _stack(predicted), _stack(labels), np.array(images)


def _stack(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
  return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


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


def table(results: dict[str, dict[str, Any]]) -> str:
  """The results as text, one row a split."""
  columns = {
    "MPJPE mm": "mpjpe_mm",
    "relative": "mpjpe_relative_mm",
    "PA": "pa_mpjpe_mm",
    "2D px": "error_2d_px",
    "2D hidden": "error_2d_occluded_views_px",
    "frames": "frames",
    "failed": "failed_joints",
  }
  rows = [["split", *columns]]
  for split, result in results.items():
    rows.append([split, *(_cell(result[key]) for key in columns.values())])
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths)) for row in rows]
  lines.insert(1, "  ".join("-" * w for w in widths))
  return "\n".join(lines)


def _cell(value: float | int | None) -> str:
  if value is None:
    return "-"
  return str(value) if isinstance(value, int) else f"{value:.1f}"


def write_json(
  path: pathlib.Path,
  results: dict[str, dict[str, Any]],
  config: ml_collections.ConfigDict,
  *,
  step: int,
) -> None:
  """Writes `eval.json`: the first split's numbers on top, all splits below, and the protocol."""
  first = next(iter(results.values()))
  record = first | {
    "splits": results,
    "step": step,
    "seed": config.seed,
    "protocol": {
      "mpjpe": "absolute, world frame, no clamp, all joints, failed joints counted and left out",
      "triangulation": config.eval.triangulation,
      "ground_truth": "3D joints of the data set",
      "crop": "ground-truth box",
      "error_2d": f"pixels of the {config.data.image_size} px network input",
    },
    "config": json.loads(config.to_json_best_effort()),
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
  temporary.replace(path)

"""Evaluation of the multi-view task: errors of 3D joints and of 2D joints in every view."""

import functools
import textwrap
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import ml_collections
import numpy as np

from epipolar_jax import models, skeletons, triangulation
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.tasks import task
from epipolar_jax.tasks.multiview import (
  camera_sets,
  reconstruction,
  summaries,
  swapped_views,
)
from epipolar_jax.tasks.multiview import protocol as protocols
from epipolar_jax.visualize import film, predictions

# The rest is in the JSON file.
_COLUMNS = {
  "MPJPE mm": "mpjpe_mm",
  "95 %": "mpjpe_mm_interval",
  "PA": "pa_mpjpe_mm",
  "2D px": "error_2d_px",
  "failed joints": "failed_joints",
}
_WIDTH = 100  # of printed text
_PER_VIEW = (
  *("image", "crop", "intrinsics", "rotation", "translation", "joints_2d", "occluded"),
  *("labelled", "label_weight", "present"),
)
# What is recorded of a method with boxes that are off.
_OF_A_METHOD = (*summaries.MEANS, "mpjpe_mm_interval", "failed_joints")
# The original's triangulation: of what the network found, and of the true 2D joints.
_original = triangulation.make("pymvg")


def build(config: ml_collections.ConfigDict) -> task.Evaluation:
  """The evaluation of a config with `task = "multiview"`.

  Raises:
    ValueError: a field of the `eval` group has a value that is not allowed.
  """
  chosen = protocols.of_config(config)
  if config.eval.views and config.model.fusion.prior != "none":
    raise ValueError(
      f"eval.views is {config.eval.views!r}, but the tables of model.fusion.prior belong to pairs "
      'of cameras by number: only eval.views="" fits'
    )
  exact = task.Evaluation(
    run=functools.partial(_run, text=config.eval.views),
    labels=(
      *("joints_3d", "joints_2d", "valid", "occluded", "damaged", "subject", "frame", "action"),
      *("labelled", "crop", "intrinsics", "rotation", "translation"),
    ),
    summarize=functools.partial(summarize, config=config),
    columns=_COLUMNS,
    names=("split", "method"),
    rows=_rows,
    logged=("mpjpe_mm", "pa_mpjpe_mm", "error_2d_px"),
    protocol={
      "mpjpe": "absolute, world frame, no clamp, labelled joints, failed ones counted and left out",
      "triangulation": chosen.triangulation,
      "ground_truth": "3D joints of the data set",
      "crop": "true box of the data set; in boxes_off it is off by eval.box_error of its side",
      "error_2d": f"pixels of the {config.data.image_size} px network input",
      "views": config.eval.views or "all",
      "chosen": chosen._asdict(),
    },
    figure=functools.partial(_figure, config=config),
    film=functools.partial(_film, config=config),
    # Recorded configs may be from before there was one.
    legend=_legend(chosen, config.eval.get("box_error", 0.0)),
    check=functools.partial(_check_example, text=config.eval.views),
  )
  # With boxes that are off: of the main cameras alone, and less is recorded.
  again = functools.partial(_run, text=camera_sets.without_others(config.eval.views))
  summarized = functools.partial(_summarize_boxes_off, config=config)
  return exact._replace(boxes_off=exact._replace(run=again, summarize=summarized))


def _check_example(example: task.Arrays, *, text: str) -> None:
  """Raises ValueError if `eval.views` names cameras that the data set does not have."""
  if text:
    camera_sets.parse(text, len(example["intrinsics"]))


def _summarize_boxes_off(
  predicted: task.Arrays, labels: task.Arrays, *, config: ml_collections.ConfigDict
) -> task.Summary:
  """What is recorded of the pass with boxes that are off."""
  summary = summarize(predicted, labels, config=config)
  kept = ("frames", *_OF_A_METHOD, "error_2d_px", "error_2d_occluded_views_px")
  methods = {
    name: {key: numbers[key] for key in _OF_A_METHOD}
    for name, numbers in summary["methods"].items()
  }
  found = {key: summary[key] for key in kept}
  return found | {"methods": methods, "box_error": config.eval.box_error}


def _legend(chosen: protocols.Protocol, box_error: float) -> str:
  """Says which rules the rows of the table follow."""
  rows = {} if _is_plain(chosen) else {"chosen protocol": chosen}
  rows["ET protocol"] = protocols.EPIPOLAR_TRANSFORMERS
  lines = ["Other rows: absolute, no clamp, truth of the data set, all frames."]
  lines.append("Boxes are the true ones of the data set")
  if box_error:
    lines[-1] += (
      f"; boxes off: each view's is moved and scaled at random by up to {100 * box_error:g} % of "
      "its side, as a good detector leaves it"
    )
  lines[-1] += "."
  for name, rules in rows.items():
    clamp = f"clamped at {rules.clamp_mm:g} mm" if rules.clamp_mm else "no clamp"
    lines.append(
      f"{name}: {rules.triangulation}, {rules.alignment}, {clamp}, truth {rules.ground_truth}, "
      f"damaged frames: {rules.damaged}, left out on failure: {rules.failed}."
    )
  return "\n".join(textwrap.fill(line, _WIDTH) for line in lines)


def _is_plain(chosen: protocols.Protocol) -> bool:
  """Whether the chosen rules are those of the other rows, so that a row of its own says nothing."""
  return chosen == protocols.Protocol(chosen.triangulation, chosen.views)


def _run(
  predict: Callable[[task.Arrays], task.Arrays], batch: task.Arrays, *, text: str
) -> task.Arrays:
  """Predicts from the main cameras, and from each other choice of cameras alone.

  The network itself sees only those cameras, so fusion too has to do with what is there.
  """
  sets = camera_sets.parse(text, batch["crop"].shape[1])
  found = predict(_of_cameras(batch, sets.main))
  others = {camera_sets.name(c): predict(_of_cameras(batch, c))["methods"] for c in sets.others}
  return found | {"others": others}


def _of_cameras(arrays: task.Arrays, chosen: tuple[int, ...]) -> task.Arrays:
  """Batches or labels with some of their cameras."""
  return {k: x[:, list(chosen)] if k in _PER_VIEW else x for k, x in arrays.items()}


def _figure(
  images: np.ndarray,
  predicted: task.Arrays,
  labels: task.Arrays,
  *,
  config: ml_collections.ConfigDict,
) -> np.ndarray:
  chosen = camera_sets.parse(config.eval.views, images.shape[1]).main
  flat = {k: x for k, x in predicted.items() if not isinstance(x, dict)}
  seen, known = images[:, list(chosen)], _of_cameras(labels, chosen)
  return predictions.sheet(seen, flat, known, skeleton=skeletons.of_model(config.model))


def _film(
  images: np.ndarray,
  predicted: task.Arrays,
  labels: task.Arrays,
  *,
  config: ml_collections.ConfigDict,
  fps: int,
  hold_s: float,
) -> Iterator[np.ndarray]:
  chosen = camera_sets.parse(config.eval.views, images.shape[1]).main
  seen, skeleton = images[:, list(chosen)], skeletons.of_model(config.model)
  known = _of_cameras(labels, chosen)
  return film.scenes(seen, predicted, known, skeleton=skeleton, fps=fps, hold_s=hold_s)


def summarize(
  predicted: task.Arrays, labels: task.Arrays, *, config: ml_collections.ConfigDict
) -> task.Summary:
  """Means over frames and joints, JSON-ready.

  The numbers on top are plain: absolute, no clamp, all frames, the data set's truth; a joint that
  could not be triangulated is counted in `failed_joints` and left out of the means (in PCK it is a
  miss). A joint without a label in a view is in none of the image numbers of that view; one without
  a label in any view, or without a finite position in 3D, is counted in `unlabelled_joints` and is
  in no other number. `protocols` has the error by the chosen rules and by the original's.

  Args:
    predicted: joints_3d [n j 3] mm, joint_valid [n j], joints_2d [n v j 2] network px, score and
      peak [n v j (2)]; `methods`, the first two by name; `others`, methods by choice of cameras.
    labels: joints_3d [n j 3] mm, joints_2d [n v j 2] stored px, the cameras, occluded [n v], action
      [n]; damaged [n] and labelled [n v j] (or [n j], of all views) if the data set says.
    config: the whole config.

  Raises:
    ValueError: predictions that count are not finite; the message names frame and joint.
  """
  chosen = protocols.of_config(config)
  every = _cameras(labels)
  original = predicted["methods"].get("pymvg") or _triangulate(predicted, labels, config)
  labelled = _labelled(labels)
  true_2d = _to_network(labels["crop"], np.where(labelled[..., None], labels["joints_2d"], 0.0))
  again = _original(triangulation.Views(true_2d, labelled.astype(np.float32), every))
  known = labelled.any(axis=1) & np.isfinite(labels["joints_3d"]).all(axis=-1)
  _check_finite(predicted, labels)
  # In 3D from here on.
  labels = labels | {
    "labelled": known,
    "joints_3d": np.where(known[..., None], labels["joints_3d"], 0.0).astype(np.float32),
    "retriangulated": np.asarray(again.points),
    "retriangulated_valid": np.asarray(again.valid) & (labelled.sum(axis=1) >= 2),
  }
  main = camera_sets.parse(config.eval.views, labels["crop"].shape[1]).main
  skeleton = skeletons.of_model(config.model)
  summary = summaries.of_poses(predicted, labels, skeleton)
  seen = true_2d[:, list(main)], labels["occluded"][:, list(main)]
  map_size = config.data.image_size // models.STRIDE
  summary |= summaries.of_images(predicted, *seen, labelled[:, list(main)], map_size, skeleton)
  summary["doubts"] = swapped_views.doubts(
    predicted["joints_2d"],
    labels["joints_2d"][:, list(main)],
    labelled[:, list(main)],
    labels["crop"][:, list(main)],
    config.data.image_size,
  )
  summary |= summaries.breakdown(predicted, labels, skeleton)
  # As asked: what comes from the device is sorted by name.
  summary["methods"] = {
    name: summaries.of_poses(predicted["methods"][name], labels, skeleton)
    for name in reconstruction.methods(config)
  }
  summary["views"] = summaries.by_cameras(predicted["others"], labels, skeleton.root)
  original_rules = protocols.EPIPOLAR_TRANSFORMERS._replace(views=config.eval.views)
  score = functools.partial(protocols.score, root=skeleton.root)
  summary["protocols"] = {
    "chosen": score(chosen, predicted["joints_3d"], predicted["joint_valid"], labels),
    "epipolar_transformers": score(
      original_rules, original["joints_3d"], original["joint_valid"], labels
    ),
  }
  return summary


def _labelled(labels: task.Arrays) -> np.ndarray:
  """[n v j], the joints that have a label in a view; all where the data set does not say."""
  points = labels["joints_2d"]
  given = labels.get("labelled", np.ones(points.shape[:3], bool))
  given = given[:, None] if given.ndim == 2 else given
  return np.broadcast_to(given, points.shape[:3]) & np.isfinite(points).all(axis=-1)


def _check_finite(predicted: task.Arrays, labels: task.Arrays) -> None:
  """Raises ValueError for predictions that would make a mean NaN."""
  in_3d = np.isfinite(predicted["joints_3d"]).all(axis=-1) | ~predicted["joint_valid"]
  # The score of a joint weights its views.
  score = predicted.get("score")
  scored = np.isfinite(score) if score is not None else np.ones(1, bool)
  checks = {
    "joints_2d": np.isfinite(predicted["joints_2d"]).all(axis=-1),
    "score": scored,
    "joints_3d": in_3d,
  }
  for name, finite in checks.items():
    if not finite.all():
      frame, *_, joint = np.argwhere(~finite)[0].tolist()
      raise ValueError(
        f"the network's {name} of joint {joint} in frame {frame} of the split (from "
        f"0) is NaN or infinite, {int((~finite).sum())} such in all: its weights or the "
        "cameras of the data are damaged (python -m data.check FOLDER looks at the data)"
      )


def _cameras(labels: task.Arrays) -> Cameras:
  """[n v], of the network inputs."""
  names = ("intrinsics", "rotation", "translation")
  return Cameras(*(labels[name] for name in names)).crop(jnp.asarray(labels["crop"]))


def _to_network(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Stored px [n v j 2] to network px by crops [n v 2 3]."""
  turned = np.einsum("nvab,nvjb->nvja", crop[..., :2], points)
  return (turned + crop[..., None, :, 2]).astype(np.float32)


def _triangulate(predicted, labels, config) -> task.Arrays:
  """The original's triangulation of what the network found."""
  main = camera_sets.parse(config.eval.views, labels["crop"].shape[1]).main
  views = triangulation.Views(
    predicted["joints_2d"], predicted["score"], _cameras(_of_cameras(labels, main))
  )
  found = _original(views)
  return {"joints_3d": np.asarray(found.points), "joint_valid": np.asarray(found.valid)}


def _rows(split: str, summary: task.Summary) -> task.Rows:
  """The methods, the main one first, other choices of cameras, and the two protocols."""
  names = list(summary["methods"])
  rows = {(split, names[0]): summary}
  rows |= {(split, name): summary["methods"][name] for name in names[1:]}
  if off := summary.get("boxes_off"):
    rows[split, f"{names[0]}, boxes off {100 * off['box_error']:g} %"] = off
  for size, found in summary["views"].items():
    for name, numbers in found["methods"].items():
      rows[split, f"{name}, {found['choices']} choices of {size} cameras"] = numbers
  chosen = summary["protocols"]["chosen"]
  if not _is_plain(protocols.Protocol(*(chosen[field] for field in protocols.Protocol._fields))):
    rows[split, f"{names[0]}, chosen protocol"] = chosen
  rows[split, "ET protocol"] = summary["protocols"]["epipolar_transformers"]
  return rows

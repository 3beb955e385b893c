"""The inputs page: what a network is given, stage by stage, with the geometry that must hold."""

from typing import Any

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.visualize import page, palette


def render(
  frames: list[dict[str, Any]], *, skeleton: skeletons.Skeleton, title: str, subtitle: str
) -> str:
  """The page as HTML: tables and lines that make a calibration error obvious.

  Args:
    frames: one dict a frame: label, a short name; occluded [v]; and stages, a list of dicts, the
      same in every frame: name; note, a sentence; image [v h w 3] uint8; intrinsics [v 3 3] of
      these images; rotation [v 3 3]; translation [v 3] mm; joints_2d [v j 2] px, as labelled;
      joints_3d [j 3] mm; perhaps boxes, a list of (centre [2], side), px; perhaps heatmaps
      [v j h w] in 0..1, the targets; perhaps distortion [v 5], the lens in OpenCV's order, and
      with it straight_2d [v j 2] px, the labels free of it. Stages may differ in size.
    skeleton: of the joints.
    title: of the page.
    subtitle: which data.

  Raises:
    ValueError: no frames.
  """
  if not frames:
    raise ValueError("there is no frame to show")
  tree = {
    "kind": "inputs",
    "title": title,
    "subtitle": subtitle,
    "skeleton": {
      "joints": [skeletons.spoken(name) for name in skeleton.joints],
      "limbs": skeleton.limbs,
      "sides": palette.sides(skeleton.num_joints, skeleton.flip_pairs),
    },
    "frames": [
      {
        "label": frame["label"],
        "occluded": [bool(x) for x in frame["occluded"]],
        "stages": [_stage(s) for s in frame["stages"]],
      }
      for frame in frames
    ],
  }
  return page.render(title, tree)


def _stage(stage: dict[str, Any]) -> dict[str, Any]:
  """One stage as the page reads it."""
  stored = {
    "name": stage["name"],
    "note": stage["note"],
    "size": list(stage["image"].shape[1:3]),
    "images": [page.jpeg(x) for x in stage["image"]],
    "intrinsics": page.rounded(stage["intrinsics"], 5),
    "rotation": page.rounded(stage["rotation"], 9),
    "translation": page.rounded(stage["translation"], 4),
    "joints_2d": page.rounded(stage["joints_2d"], 3),
    "joints_3d": page.rounded(stage["joints_3d"], 2),
  }
  if "boxes" in stage:
    stored["boxes"] = [
      {"center": page.rounded(np.asarray(center), 2), "side": float(side)}
      for center, side in stage["boxes"]
    ]
  if "distortion" in stage:
    stored["distortion"] = page.rounded(stage["distortion"], 9)
    stored["straight_2d"] = page.rounded(stage["straight_2d"], 3)
  if "heatmaps" in stage:
    stored["heatmaps"] = np.rint(255 * np.clip(stage["heatmaps"], 0, 1)).astype(np.uint8)
  return stored

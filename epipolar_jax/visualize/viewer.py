"""The epipolar viewer: inputs, lines and attention of a few frames, as one interactive page."""

from typing import Any

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.visualize import page, palette

# Stored weights of a frame: beyond this many, every second pixel in both directions is kept.
_MAX_PIXELS = 40 * 40
_PER_DECADE = 50  # codes a factor of ten: 255 of them reach down to 8e-6


def render(
  frames: list[dict[str, Any]],
  *,
  skeleton: skeletons.Skeleton,
  stride: int,
  num_samples: int,
  title: str,
  subtitle: str,
) -> str:
  """The viewer as HTML.

  Args:
    frames: one dict a frame:
      image [v h w 3] uint8, the network inputs; intrinsics [v 3 3] of these, rotation [v 3 3],
      translation [v 3] mm; joints_2d, true_2d [v j 2] network px; joints_3d, true_3d [j 3] mm;
      joint_valid [j]; occluded [v]; heatmaps [v h/s w/s j]; label, a short name;
      with fusion also source [v m], others [v n], and weights [v n p k] or evidence [v h/s w/s j]
      and sharpness [j], see `tasks.Task`.
    skeleton: of the joints.
    stride: s, image pixels per heatmap pixel.
    num_samples: k, on a line.
    title: of the page.
    subtitle: which network, which data.

  Raises:
    ValueError: no frames, or fewer than two views.
  """
  if not frames:
    raise ValueError("there is no frame to show")
  views, height, width = frames[0]["image"].shape[:3]
  if views < 2:
    raise ValueError("an epipolar line needs two views; these frames have one")
  map_size = [height // stride, width // stride]
  weighed = "weights" in frames[0]
  grid = 1 if not weighed or map_size[0] * map_size[1] <= _MAX_PIXELS else 2
  code = _weight_code([f["weights"] for f in frames]) if weighed else None
  tree = {
    "kind": "viewer",
    "title": title,
    "subtitle": subtitle,
    "notes": _notes(code, grid, "evidence" in frames[0]),
    "size": [height, width],
    "map_size": map_size,
    "stride": stride,
    "grid": grid,
    "num_samples": num_samples,
    "weight_code": code,
    "skeleton": {
      "joints": [skeletons.spoken(name) for name in skeleton.joints],
      "limbs": skeleton.limbs,
      "sides": palette.sides(skeleton.num_joints, skeleton.flip_pairs),
    },
    "frames": [_frame(f, code, map_size, grid, num_samples) for f in frames],
  }
  return page.render(title, tree)


def encode_weights(weights: np.ndarray, code: dict[str, Any]) -> np.ndarray:
  """Weights to uint8: logarithmic (what is shown on a log scale), or linear where some are < 0."""
  if code["kind"] == "linear":
    span = max(code["high"] - code["low"], 1e-30)
    return np.rint((weights - code["low"]) / span * 255).astype(np.uint8)
  with np.errstate(divide="ignore"):
    level = np.rint(255 + code["per_decade"] * np.log10(weights.astype(np.float64)))
  return np.clip(level, 0, 255).astype(np.uint8)


def _weight_code(weights: list[np.ndarray]) -> dict[str, Any]:
  low, high = min(float(w.min()) for w in weights), max(float(w.max()) for w in weights)
  if low < 0 or high > 1 + 1e-5:
    return {"kind": "linear", "low": low, "high": high, "per_decade": 0}
  return {"kind": "log", "low": 0.0, "high": 1.0, "per_decade": _PER_DECADE}


def _notes(code: dict[str, Any] | None, grid: int, per_joint: bool) -> list[str]:
  notes = [
    "Lines are computed here, from the cameras of the network's input crops. The point moves on "
    "the pixels of the network's feature map, because that is where attention is computed.",
  ]
  if per_joint:
    notes.append(
      "This network fuses heatmaps, each joint for itself: the attention is that of the chosen "
      "joint, worked out here from the network's unfused heatmaps. With all joints, it is that of "
      "the joint which is likeliest at the point."
    )
  elif code is None:
    notes.append("This network fuses nothing, so there is no attention to show.")
  elif code["kind"] == "log":
    share = 100 * (10 ** (0.5 / code["per_decade"]) - 1)
    notes.append(
      "Attention is the network's own, for every ordered pair of views, stored with 8 bits on a "
      f"logarithmic scale: each weight is right to {share:.1f} % of itself, and 0 means less than "
      f"{10 ** (-254.5 / code['per_decade']):.0e}."
    )
  else:
    error = (code["high"] - code["low"]) / 510
    notes.append(
      "The weights of this network are no softmax. They are stored with 8 bits, each right to "
      f"{error:.1e}."
    )
  if grid > 1:
    notes.append(f"To keep this page small every {grid}nd feature pixel can be picked.")
  notes.append(
    "Colour matching compares the mean colours of feature pixels: softmax of minus the squared "
    "difference, with a standard deviation of 16 of 255."
  )
  return notes


def _frame(
  frame: dict[str, Any],
  code: dict[str, Any] | None,
  map_size: list[int],
  grid: int,
  num_samples: int,
) -> dict[str, Any]:
  """One frame as the page reads it."""
  good = frame["joint_valid"].astype(bool)
  error = np.linalg.norm(frame["joints_3d"] - frame["true_3d"], axis=-1)
  maps = np.moveaxis(np.maximum(frame["heatmaps"], 0.0), -1, 1)  # [v j h w]
  peak = np.maximum(maps.max((2, 3), keepdims=True), 1e-30)
  stored = {
    "label": frame["label"],
    "occluded": [bool(x) for x in frame["occluded"]],
    "images": [page.jpeg(x) for x in frame["image"]],
    "intrinsics": page.rounded(frame["intrinsics"], 5),
    "rotation": page.rounded(frame["rotation"], 9),
    "translation": page.rounded(frame["translation"], 4),
    "joints_2d": page.rounded(frame["joints_2d"], 2),
    "true_2d": page.rounded(frame["true_2d"], 2),
    "joints_3d": [page.rounded(x, 1) if ok else None for x, ok in zip(frame["joints_3d"], good)],
    "true_3d": page.rounded(frame["true_3d"], 1),
    "errors": [round(float(e), 1) if ok else None for e, ok in zip(error, good)],
    "mpjpe": round(float(error[good].mean()), 1) if good.any() else None,
    "heatmaps": np.rint(255 * maps / peak).astype(np.uint8),
  }
  if "source" not in frame:
    return stored
  stored["source"] = [[int(x) for x in row] for row in frame["source"]]
  stored["others"] = [[int(x) for x in row] for row in frame["others"]]
  if code is None:
    evidence = np.moveaxis(frame["evidence"], -1, 1).astype(np.float32)  # [v j h w]
    return stored | {"evidence": evidence, "sharpness": page.rounded(frame["sharpness"], 6)}
  weights = frame["weights"]
  # Pooled samples, k / 2 apart, share one weight.
  weights = np.tile(weights, num_samples // weights.shape[-1])
  shape = weights.shape
  kept = weights.reshape(*shape[:2], *map_size, shape[-1])[:, :, ::grid, ::grid]
  return stored | {"weights": encode_weights(kept.reshape(*shape[:2], -1, shape[-1]), code)}

"""Which rules a number was made by: `Protocol`, the original's among them, and its error."""

from typing import Any, NamedTuple

import ml_collections
import numpy as np

from epipolar_jax.tasks import task
from epipolar_jax.tasks.multiview import pose_errors, reconstruction

_FIELDS = {
  "alignment": ("absolute", "relative", "scaled", "procrustes"),
  "ground_truth": ("dataset", "retriangulated"),
  "damaged": ("keep", "drop"),
}


class Protocol(NamedTuple):
  """The rules.

  Attributes:
    triangulation: name of the method.
    views: cameras, as in `eval.views`.
    alignment: of the pose before its error is taken: absolute (none), relative (to the root),
      scaled (root and size), procrustes.
    clamp_mm: a joint's error counts as at most this; 0: as it is.
    ground_truth: dataset, or retriangulated from the true 2D joints by DLT.
    damaged: keep or drop the frames the data set marks as damaged.
    failed: what is left out where a joint could not be found: that joint ("joints") or its whole
      frame ("frames"). Both are counted.
  """

  triangulation: str
  views: str
  alignment: str = "absolute"
  clamp_mm: float = 0.0
  ground_truth: str = "dataset"
  damaged: str = "keep"
  failed: str = "joints"


# How the released rows of the paper were scored; its 45.3 (no fusion) against the data set's truth.
EPIPOLAR_TRANSFORMERS = Protocol(
  triangulation="pymvg",
  views="",
  clamp_mm=150.0,
  ground_truth="retriangulated",
  damaged="drop",
  failed="frames",
)


def of_config(config: ml_collections.ConfigDict) -> Protocol:
  """The protocol that the `eval` group asks for.

  Raises:
    ValueError: a field has a value that is not allowed.
  """
  e = config.eval
  for field, allowed in _FIELDS.items():
    task.choose(dict.fromkeys(allowed), e[field], f"eval.{field}")
  if e.clamp_mm < 0:
    raise ValueError(f"eval.clamp_mm is {e.clamp_mm}; it is in mm, 0 is off")
  return Protocol(
    triangulation=reconstruction.methods(config)[0],
    views=e.views,
    alignment=e.alignment,
    clamp_mm=e.clamp_mm,
    ground_truth=e.ground_truth,
    damaged=e.damaged,
  )


def score(
  protocol: Protocol,
  points: np.ndarray,
  valid: np.ndarray,
  labels: dict[str, np.ndarray],
  *,
  root: int,
) -> dict[str, Any]:
  """The error by a protocol, and what did not count.

  Args:
    protocol: the rules; `triangulation` and `views` only pass through.
    points: [n, j, 3], mm.
    valid: [n, j], False where a joint could not be found.
    labels: joints_3d [n j 3] mm; retriangulated [n j 3] mm and retriangulated_valid [n j]; damaged
      [n] and labelled [n j] if the data set says: a joint without a label does not count, nor
      does it fail.
    root: joint that alignments to the root take.

  Returns:
    The rules, `mpjpe_mm` (None when nothing counts), `frames` and `joints` that counted, and what
    failed and was dropped.
  """
  retriangulated = protocol.ground_truth == "retriangulated"
  truth = labels["retriangulated" if retriangulated else "joints_3d"]
  known = labels["retriangulated_valid"] if retriangulated else np.ones(valid.shape, bool)
  labelled = labels.get("labelled", np.ones(valid.shape, bool))
  found = valid & known & labelled
  damaged = labels.get("damaged")
  keep = np.ones(len(points), bool)
  if protocol.damaged == "drop" and damaged is not None:
    keep = ~damaged
  failed = labelled & ~found
  if protocol.failed == "frames":
    counts = found & ~failed.any(axis=1, keepdims=True) & keep[:, None]
  else:
    counts = found & keep[:, None]
  errors = pose_errors.errors(points, truth, found, root=root, clamp_mm=protocol.clamp_mm or None)
  return protocol._asdict() | {
    "mpjpe_mm": errors.mean(protocol.alignment, counts),
    "frames": int(keep.sum()),
    "joints": int(errors.count(protocol.alignment, counts)),
    "unlabelled_joints": int((~labelled[keep]).sum()),
    "failed_joints": int(failed[keep].sum()),
    "failed_frames": int(failed[keep].any(axis=1).sum()),
    "damaged_frames_dropped": int((~keep).sum()),
    "damage_is_known": damaged is not None,
  }

"""What a stored example of several views must hold, and which of its joints are labelled.

`labelled` [v, j] says whether a view's `joints_2d` is a label: only labelled joints reach losses
and metrics. `visible` is about occlusion: a hidden joint may well be labelled. Data that have no
`labelled` use `visible` in its place. A label that is not finite is none.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

REQUIRED = (
  *("image", "intrinsics", "rotation", "translation", "joints_3d", "joints_2d", "visible"),
  *("box_center", "box_size", "subject", "action", "frame", "occluded", "occluded_views"),
)
# Of each view alone.
PER_VIEW = (
  *("image", "intrinsics", "rotation", "translation", "joints_2d", "visible"),
  *("box_center", "box_size", "occluded"),
)
# Cameras and joints are float32: further from the origin than this a mm is lost in every number.
_FARTHEST_MM = 1e7
# Without these no crop can be cut and no joint be projected.
_FINITE = ("intrinsics", "rotation", "translation", "box_center", "box_size")


def missing(names: Iterable[str]) -> str:
  """A sentence about the fields that are not there; empty when all are."""
  lacking = [name for name in REQUIRED if name not in set(names)]
  if not lacking:
    return ""
  return (
    f"the examples have no field {', '.join(lacking)}; data/README.md (Your own data) says what "
    "each holds: add them to the features of the builder and prepare the data again"
  )


def labelled(example: dict[str, Any]) -> np.ndarray:
  """[v, j] bool, the joints that losses and metrics may use.

  Args:
    example: as stored; `labelled` [v, j] or [j] goes before `visible`, which is optional too here.
  """
  points = np.asarray(example["joints_2d"])
  given = example.get("labelled", example.get("visible"))
  given = np.ones(points.shape[:-1], bool) if given is None else np.asarray(given, bool)
  return np.broadcast_to(given, points.shape[:-1]) & np.isfinite(points).all(-1)


def where(example: dict[str, Any]) -> str:
  """Names a frame, for messages."""
  action = example.get("action", "?")
  action = action.decode(errors="replace") if isinstance(action, bytes) else action
  return (
    f"subject {example.get('subject', '?')}, action {action}, frame {example.get('frame', '?')}"
  )


def problem(example: dict[str, Any]) -> str:
  """A sentence about why a frame cannot be read; empty when it can.

  Looks at cameras and boxes: a label that is not finite is a mask (`labelled`), not a problem.
  """
  lacking = [name for name in (*_FINITE, "joints_2d", "joints_3d") if name not in example]
  if lacking:
    return missing(example)
  views = len(example["intrinsics"])
  for name in PER_VIEW:
    if name in example and len(example[name]) != views:
      return (
        f"{name} has {len(example[name])} views, intrinsics {views}: every field needs one of each"
      )
  for name in _FINITE:
    values = np.asarray(example[name])
    if not np.isfinite(values).all():
      view = int(np.flatnonzero(~np.isfinite(values.reshape(views, -1)).all(1))[0])
      return (
        f"{name} of view {view} holds NaN or infinity: give the camera or box its numbers, or "
        "leave the frame out"
      )
  sizes = np.asarray(example["box_size"])
  if not (sizes > 0).all():
    view = int(np.flatnonzero(~(sizes > 0))[0])
    return (
      f"box_size of view {view} is {sizes[view]:g} px; it must be positive: leave the frame out, "
      "or give the whole image as the box"
    )
  center = np.einsum("vji,vj->vi", example["rotation"], example["translation"])
  far = np.linalg.norm(center, axis=-1)
  if (far > _FARTHEST_MM).any():
    view = int(np.argmax(far))
    step = np.spacing(np.float32(far[view]))
    return (
      f"the camera of view {view} stands {far[view] / 1e6:,.0f} km from the world's origin; at "
      f"most {_FARTHEST_MM / 1e6:g} km, since float32 has steps of {step:.0f} mm there: move the "
      "origin into the scene (subtract one point from joints_3d and from the cameras' centres, in "
      "float64, before they are stored)"
    )
  return ""


def check(example: dict[str, Any]) -> None:
  """Raises ValueError, which names the frame, where `problem` finds one."""
  if found := problem(example):
    raise ValueError(f"{where(example)}: {found}. `python -m data.check FOLDER` finds all such")


def check_same_views(frames: Iterable[dict[str, Any]]) -> None:
  """Makes sure that the frames of a batch have equally many views.

  Raises:
    ValueError: names two frames and their numbers of views.
  """
  first = None
  for frame in frames:
    if first is None:
      first = frame
    elif len(frame["crop"]) != len(first["crop"]):
      raise ValueError(
        f"{where(first)} has {len(first['crop'])} views, but {where(frame)} has "
        f"{len(frame['crop'])}: a batch needs the same cameras in every frame. Leave out frames "
        "that lack a camera, or prepare rigs with other numbers of cameras as data sets of their "
        "own"
      )

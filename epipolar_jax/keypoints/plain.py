"""The project's own npz, which carries everything that observations have."""

import os
import pathlib

import numpy as np

from epipolar_jax.keypoints import npz
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.keypoints.sources import Source

_MARK, _VERSION = "epipolar-jax observations", 1
_FIELDS = (
  *("format", "version", "points", "score", "joints", "views"),
  *("fps", "sizes_wh", "first_frame", "people", "matched"),
)


def recognise(source: Source) -> bool:
  """An npz with observations."""
  return source.kind == "npz" and {"points", "score", "views"} <= npz.names(source.path)


def write(path: pathlib.Path, observations: Observations, *, compressed: bool = True) -> None:
  """Writes observations; the file appears when it is complete."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp.npz")
  fps = observations.fps
  try:
    (np.savez_compressed if compressed else np.savez)(
      temporary,
      format=_MARK,
      version=_VERSION,
      points=observations.points,
      score=observations.score,
      joints=np.array(observations.joints, dtype=str),
      views=np.array(observations.views, dtype=str),
      fps=np.nan if fps is None else fps,
      sizes_wh=np.array(observations.sizes_wh, dtype=np.int64).reshape(-1, 2),
      first_frame=observations.first_frame,
      people=np.array(observations.people, dtype=str),
      matched=observations.matched,
    )
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def read(source: Source, joint_set: str | None) -> Observations:
  """Reads what `write` wrote.

  Raises:
    ValueError: an array is missing or of another kind; names the file and the array.
  """
  path = source.path
  found = npz.read(path, set(_FIELDS))
  missing = [name for name in _FIELDS if name not in found]
  if missing or str(found["format"]) != _MARK or found["version"] != _VERSION:
    raise ValueError(f"{path}: no observations of this project; missing: {', '.join(missing)}")
  kinds = {"points": "f", "score": "f", "joints": "U", "views": "U", "people": "U"}
  kinds |= {"fps": "f", "sizes_wh": "i", "first_frame": "iu", "matched": "b"}
  axes = {"points": 5, "score": 4, "joints": 1, "views": 1, "people": 1, "sizes_wh": 2}
  for name, allowed in kinds.items():
    array = found[name]
    if array.dtype.kind not in allowed or array.ndim != axes.get(name, 0):
      raise ValueError(f"{path}: {name} is {list(array.shape)} of {array.dtype}")
  joints, views, people = (tuple(found[n].tolist()) for n in ("joints", "views", "people"))
  fps = float(found["fps"])
  return Observations(
    found["points"],
    found["score"],
    joints,
    views,
    fps=fps if np.isfinite(fps) else None,
    sizes_wh=tuple((int(w), int(h)) for w, h in found["sizes_wh"]),
    first_frame=int(found["first_frame"]),
    people=people,
    matched=bool(found["matched"]),
  )

"""The usual mistakes with a camera, each with what undoes it: of its file, or of its images."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

Pose = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Mistake:
  """What may be wrong, and how to undo it.

  Attributes:
    name: short, for tables.
    text: what the camera is treated as, in words.
    pose: K [3, 3], R [3, 3], t [3] of the file to what they should be; None: they are right.
    points: pixels [..., j, 2] of an image of (width, height) to those that the camera was
      calibrated for; None: they are right.
    whole: it can be found if all cameras have it.
  """

  name: str
  text: str
  pose: Callable[[np.ndarray, np.ndarray, np.ndarray], Pose] | None = None
  points: Callable[[np.ndarray, float, float], np.ndarray] | None = None
  whole: bool = True


def usual(joints: Sequence[str]) -> tuple[Mistake, ...]:
  """All that are tried; names of joints say which are left and right."""
  return (*_POSES, *_LENGTHS, *_IMAGES, *_HALVES, *_sides(joints))


def sizes() -> tuple[Mistake, ...]:
  """Other sizes of an image that are tried where the points of the others cannot show it."""
  return (*_SCALES, *_CROPS)


def _swap_axes(k: np.ndarray) -> np.ndarray:
  return k[[1, 0, 2]][:, [1, 0, 2]]


_POSES = (
  Mistake("rotation transposed", "R transposed", lambda k, r, t: (k, r.T, t)),
  Mistake("t is the centre", "t being the camera's centre", lambda k, r, t: (k, r, -r @ t)),
  Mistake("pose inverse", "a pose camera to world", lambda k, r, t: (k, r.T, -r.T @ t)),
  Mistake(
    "K swapped",
    "a K with x and y swapped (width and height)",
    lambda k, r, t: (_swap_axes(k), r, t),
  ),
)
_LENGTHS = tuple(
  Mistake(
    f"translation x {1 / factor:.3g}",
    f"having its translation {1 / factor:.4g} times too large (another unit)",
    lambda k, r, t, factor=factor: (k, r, factor * t),
    whole=False,
  )
  for size in (10.0, 25.4, 100.0, 1000.0)
  for factor in (1 / size, size)
)


def _uv(u: np.ndarray, v: np.ndarray) -> np.ndarray:
  return np.stack([u, v], axis=-1)


_IMAGES = (
  Mistake("mirrored", "a mirrored image", points=lambda x, w, h: _uv(w - 1 - x[..., 0], x[..., 1])),
  Mistake(
    "upside down",
    "an image with rows from bottom to top",
    points=lambda x, w, h: _uv(x[..., 0], h - 1 - x[..., 1]),
  ),
  Mistake(
    "turned 180",
    "an image turned by 180°",
    points=lambda x, w, h: _uv(w - 1 - x[..., 0], h - 1 - x[..., 1]),
  ),
  Mistake(
    "turned clockwise",
    "an image turned by 90° clockwise",
    points=lambda x, w, h: _uv(x[..., 1], h - 1 - x[..., 0]),
  ),
  Mistake(
    "turned anticlockwise",
    "an image turned by 90° anticlockwise",
    points=lambda x, w, h: _uv(w - 1 - x[..., 1], x[..., 0]),
  ),
  Mistake(
    "u and v swapped",
    "keypoints whose u and v are swapped (row, column)",
    points=lambda x, w, h: x[..., ::-1],
  ),
)
# OpenCV counts pixels from their centres; tools that count from corners are half a pixel off.
_HALVES = tuple(
  Mistake(
    "half a pixel",
    f"keypoints that are {abs(step):g} px too far {way}",
    points=lambda x, w, h, step=step: x - step,
  )
  for step, way in ((0.5, "right and down"), (-0.5, "left and up"))
)
_SCALES = tuple(
  Mistake(
    "scaled",
    f"an image of {size:.3g} times the size",
    points=lambda x, w, h, size=size: (x + 0.5) / size - 0.5,
  )
  for size in (2, 1.5, 3, 1 / 2, 2 / 3, 1 / 3)
)
_CROPS = tuple(
  Mistake(
    "cropped",
    f"an image cropped or padded: shifted by {a:g} of its width and {b:g} of its height",
    points=lambda x, w, h, a=a, b=b: x - np.array([a * w, b * h]),
  )
  for a in (-0.5, 0.0, 0.5)
  for b in (-0.5, 0.0, 0.5)
  if a or b
)


def twin(name: str) -> str | None:
  """The name of the joint on the other side: left_x, xRight, l_x, LKnee; None without a side.

  Letters l and r alone count if a separator or a capital stands behind (or before) them.
  """
  lower = name.lower()
  for left, right in (("left", "right"), ("right", "left")):
    if left in lower:
      start = lower.index(left)
      part = name[start : start + len(left)]
      other = right.upper() if part.isupper() else right
      other = other.capitalize() if part.istitle() else other
      return name[:start] + other + name[start + len(left) :]
  flip = {"l": "r", "r": "l", "L": "R", "R": "L"}
  if len(name) > 1 and name[0] in flip:
    return flip[name[0]] + name[1:]
  if len(name) > 1 and name[-1] in flip and name[-2] in "_.- 0123456789":
    return name[:-1] + flip[name[-1]]
  return None


def flipped(joints: Sequence[str]) -> np.ndarray | None:
  """Order of joints [j] with left and right swapped; None if names know no sides.

  A pair counts only if both names are there, so that "rib" without "lib" has no side.
  """
  places = {name: i for i, name in enumerate(joints)}
  order = [places.get(twin(name) or name, i) for i, name in enumerate(joints)]
  if order == list(range(len(joints))):
    return None
  return np.array(order)


def _sides(joints: Sequence[str]) -> tuple[Mistake, ...]:
  order = flipped(joints)
  if order is None:
    return ()
  mirror = _IMAGES[0].points
  return (
    Mistake(
      "sides",
      "keypoints with left and right swapped",
      points=lambda x, w, h: x[..., order, :],
      whole=False,
    ),
    # A detector takes the left hand of a mirrored image for a right one.
    Mistake(
      "mirrored",
      "a mirrored image, in which left was taken for right",
      points=lambda x, w, h: mirror(x, w, h)[..., order, :],
    ),
  )

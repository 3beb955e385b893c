"""What a calibration shows of itself: cameras that no laboratory can have, from the file alone.

Readers already refuse a K whose last row is not 0, 0, 1, an R that is not orthogonal or mirrors
(determinant -1), and numbers that are not finite. Here is what can be read and is still not likely.
"""

import dataclasses
import itertools

import numpy as np

from epipolar_jax.rigs.rig import Rig

# Cameras nearer to each other than this share of the rig's extent are in one place.
_ONE_PLACE = 1e-3
# The principal point, from the middle of the image in shares of its size.
_FAR_FROM_MIDDLE = 0.2
_SWAPPED_WITHIN = 0.06
# Horizontal or vertical field of view, degrees; beyond are microscopes and fisheyes.
_NARROW, _WIDE = 2.0, 150.0
_LEAST_ASPECT = 0.9
# Pixels looked at on each side of an image. Real lens models fold its corners, not its middle half.
_ON_A_SIDE = 33
# Axes that are this parallel (least eigenvalue of their mean projector) meet nowhere in particular.
_PARALLEL = 1e-3


@dataclasses.dataclass(frozen=True)
class Finding:
  """Something that is not as it should be.

  Attributes:
    cameras: names of those it is about.
    text: what, in words.
    suspicious: False: only unusual; real rigs have it too.
  """

  cameras: tuple[str, ...]
  text: str
  suspicious: bool = True

  def sentence(self) -> str:
    """The finding with the cameras' names before it."""
    many = "cameras" if len(self.cameras) > 1 else "camera"
    return f"{many} {', '.join(self.cameras)}: {self.text}"


def check(rig: Rig) -> list[Finding]:
  """Everything unlikely about a rig, what is suspicious first."""
  found = [*_places(rig), *_directions(rig)]
  for view, name in enumerate(rig.names):
    k, size = rig.cameras.intrinsics[view], rig.sizes_wh[view]
    for text, suspicious in _intrinsics(np.asarray(k, np.float64), size, rig.lenses[view]):
      found.append(Finding((name,), text, suspicious))
  return sorted(found, key=lambda finding: not finding.suspicious)


def _places(rig: Rig) -> list[Finding]:
  """Cameras with one pose, or in one place."""
  twins = rig.twins()
  found = [
    Finding(pair, "have the same pose to the last digit: one of them is wrong") for pair in twins
  ]
  centres = -np.einsum("vij,vi->vj", rig.cameras.rotation, rig.cameras.translation)
  apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
  reach = np.abs(np.asarray(rig.cameras.translation)).max(initial=0.0)
  extent = max(apart.max(initial=0.0), 1e-9 * reach)
  for a, b in itertools.combinations(range(len(rig.names)), 2):
    pair = rig.names[a], rig.names[b]
    if pair not in twins and apart[a, b] <= _ONE_PLACE * extent:
      found.append(Finding(pair, f"stand in one place ({apart[a, b]:.3g} mm apart): no depth"))
  return found


def _directions(rig: Rig) -> list[Finding]:
  """Cameras that look away from the point that is nearest to all their axes."""
  rotation = np.asarray(rig.cameras.rotation, np.float64)
  centres = -np.einsum("vij,vi->vj", rotation, rig.cameras.translation)
  axes = rotation[:, 2]
  away = np.eye(3) - axes[:, :, None] * axes[:, None, :]
  mean = away.mean(axis=0)
  if len(axes) < 2 or np.linalg.eigvalsh(mean)[0] < _PARALLEL:
    return []
  point = np.linalg.solve(mean, np.einsum("vij,vj->i", away, centres) / len(axes))
  behind = np.einsum("vi,vi->v", axes, point - centres) < 0
  names = tuple(name for name, is_behind in zip(rig.names, behind) if is_behind)
  if behind.all():
    text = "the axes meet behind all cameras: is the pose camera to world, or turned by 180°?"
    return [Finding(names, text)]
  if behind.any():
    return [Finding(names, "looks away from where the axes of all cameras meet", False)]
  return []


def _intrinsics(k: np.ndarray, size, lens):
  """(text, suspicious) of one camera's K and lens."""
  fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
  if not _LEAST_ASPECT < fx / fy < 1 / _LEAST_ASPECT:
    yield f"focal lengths {fx:.6g} and {fy:.6g} px differ: pixels that are not square?", False
  if size is None:
    return
  wh = np.array(size, np.float64)
  off = np.array([cx, cy]) / wh - 0.5
  turned = np.array([cx, cy]) / wh[::-1] - 0.5
  where = f"principal point ({cx:.1f}, {cy:.1f}) px"
  image = f"image of {size[0]} x {size[1]} px"
  if np.abs(off).max() > _SWAPPED_WITHIN and np.abs(turned).max() < _SWAPPED_WITHIN:
    yield f"{where} is in the middle if the {image} has width and height swapped", True
  elif np.abs(off).max() > 0.5:
    yield f"{where} is outside the {image}: cropped, scaled, or of another camera?", True
  elif np.abs(off).max() > _FAR_FROM_MIDDLE:
    yield f"{where} is far from the middle of the {image}: was it cropped?", False
  field = np.degrees(2 * np.arctan(wh / 2 / np.array([fx, fy])))
  if field.min() < _NARROW or field.max() > _WIDE:
    yield (
      (
        f"the focal length ({fx:.0f} px) on an {image} is a field of view of {field[0]:.3g}° x "
        f"{field[1]:.3g}°: is it in px, and the size right?"
      ),
      False,
    )
  for share, suspicious in ((0.5, True), (1.0, False)):
    lost = np.isnan(lens.undistort(_border(size, share), k)).any(axis=-1).mean()
    if lost > 0:
      part = "middle half" if suspicious else "border"
      text = f"the lens cannot be inverted at {lost:.0%} of the {part} of the {image}"
      yield f"{text}: its distortion folds the image over, and keypoints there are lost", suspicious
      return


def _border(size, share: float) -> np.ndarray:
  """Pixels [n, 2] on the border of the middle share of an image."""
  u, v = ((n - 1) * np.linspace((1 - share) / 2, (1 + share) / 2, _ON_A_SIDE) for n in size)
  sides = [(u, 0 * u + v[0]), (u, 0 * u + v[-1]), (0 * v + u[0], v), (0 * v + u[-1], v)]
  return np.concatenate([np.stack(side, axis=-1) for side in sides])

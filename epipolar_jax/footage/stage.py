"""The skeletons in space with the cameras, played over time: an SVG that needs no script."""

from collections.abc import Sequence

import numpy as np

from epipolar_jax.rigs.rig import Rig
from epipolar_jax.skeletons import Skeleton
from epipolar_jax.triangulation.estimate import Estimate
from epipolar_jax.visualize import limbs, palette

_WIDE, _HIGH = 900, 480
# Frames played; of longer recordings, so many evenly spaced.
_MOST_FRAMES = 240
# The view sways by so much to each side, about once in so many seconds, and looks down a little.
_SWAY, _PERIOD_S, _DOWN = np.radians(30.0), 8.0, np.radians(15.0)
# Cameras further than this from the middle of the motion, in its radii, are drawn there.
_REACH, _CAMERA = 1.6, 0.1
_PLAIN_FPS = 25.0


def play(
  estimated: Estimate,
  rig: Rig,
  skeleton: Skeleton,
  colors: Sequence[str],
  *,
  up: str = "z",
  fps: float | None = None,
) -> str:
  """An SVG element, played in real time and over again by the browser.

  Args:
    estimated: of p people, [f, p, ...].
    rig: of v views.
    skeleton: of the joints.
    colors: of the cameras, by view, repeated if there are fewer.
    up: which axis of the world is up: x, y, z, or one of them with a minus.
    fps: frames a second; None: 25.

  Returns:
    The element; "" where nothing was triangulated.
  """
  points, valid = estimated.points, estimated.valid
  if not valid.any():
    return ""
  chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MOST_FRAMES)).astype(int))
  seconds = len(points) / (_PLAIN_FPS if fps is None else fps)
  low, high = (np.percentile(points[valid], q, axis=0) for q in (2, 98))
  middle = (low + high) / 2
  radius = max(float(np.linalg.norm(high - low)) / 2, 1e-9)
  turns = 2 * np.pi * max(1, round(seconds / _PERIOD_S)) * np.arange(len(chosen)) / len(chosen)
  screen = _screens(up, _SWAY * np.sin(turns)) * (_HIGH / (2 * (1 + _REACH / 2) * radius))

  def flat(at: np.ndarray) -> np.ndarray:
    """[n, ..., 2] px of world points [n or 1, ..., 3] in each frame's view."""
    moved = (at - middle).reshape(len(at), -1, 3)
    shown = moved @ screen.swapaxes(-1, -2) + [_WIDE / 2, _HIGH / 2]
    return shown.reshape(len(screen), *at.shape[1:-1], 2)

  parts = [_path(flat(_floor(points[valid], middle, radius, up)[None]), "#323b45", 1, seconds)]
  for view in range(len(rig.names)):
    lines = _frustum(rig, view, middle, radius)
    parts.append(_path(flat(lines[None]), colors[view % len(colors)], 1.5, seconds))
  there = np.where(valid[chosen, ..., None], points[chosen], np.nan)
  for person in range(points.shape[1]):
    for color, drawn in _by_side(skeleton, person if points.shape[1] > 1 else None).items():
      lines = np.stack([there[:, person, list(limb)] for limb in drawn], axis=1)
      lines = np.where(np.isfinite(lines).all(axis=(2, 3), keepdims=True), lines, middle)
      parts.append(_path(flat(lines), color, 3, seconds))
  label = "the skeleton and the cameras in space, over time"
  box = f'viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{label}"'
  return f"<svg {box}>{''.join(parts)}</svg>"


def _screens(up: str, angles: np.ndarray) -> np.ndarray:
  """[n, 2, 3]: world axes to right and down in views turned by angles [n] about the vertical."""
  sign = -1.0 if up.startswith("-") else 1.0
  axis = "xyz".index(up[-1])
  vertical = sign * np.eye(3)[axis]
  first = np.eye(3)[(axis + 1) % 3]
  second = np.cross(vertical, first)
  c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
  right, away = c * first + s * second, c * second - s * first
  down = -np.cos(_DOWN) * vertical - np.sin(_DOWN) * away
  return np.stack([right, down], axis=1)


def _floor(points: np.ndarray, middle: np.ndarray, radius: float, up: str) -> np.ndarray:
  """Lines [n, 2, 3] of a square at the height of the lowest points."""
  sign = -1.0 if up.startswith("-") else 1.0
  axis = "xyz".index(up[-1])
  corners = np.tile(middle, (4, 1))
  corners[:, axis] = np.percentile(sign * points[:, axis], 1) * sign
  corners[:, (axis + 1) % 3] += radius * np.array([-1, 1, 1, -1])
  corners[:, (axis + 2) % 3] += radius * np.array([-1, -1, 1, 1])
  return np.stack([corners, np.roll(corners, 1, axis=0)], axis=1)


def _frustum(rig: Rig, view: int, middle: np.ndarray, radius: float) -> np.ndarray:
  """Lines [8, 2, 3] of a camera as a small pyramid that opens where it looks."""
  rotation = np.asarray(rig.cameras.rotation[view], np.float64)
  centre = -rotation.T @ np.asarray(rig.cameras.translation[view], np.float64)
  away = np.linalg.norm(centre - middle)
  centre = middle + (centre - middle) * min(1.0, _REACH * radius / max(away, 1e-9))
  corners = np.array([[-0.6, -0.5, 1], [0.6, -0.5, 1], [0.6, 0.5, 1], [-0.6, 0.5, 1]])
  corners = centre + _CAMERA * radius * corners @ rotation
  sides = np.stack([np.tile(centre, (4, 1)), corners], axis=1)
  return np.concatenate([sides, np.stack([corners, np.roll(corners, 1, axis=0)], axis=1)])


def _by_side(skeleton: Skeleton, person: int | None) -> dict[str, list[tuple[int, int]]]:
  """Limbs by colour."""
  sides = palette.sides(skeleton.num_joints, skeleton.flip_pairs)
  found: dict[str, list[tuple[int, int]]] = {}
  named = [(sides[limb[1]], limb) for limb in skeleton.limbs]
  for side, limb in [*named, *(("middle", line) for line in limbs.across(skeleton))]:
    color = "#{:02x}{:02x}{:02x}".format(*palette.limb(side, person))
    found.setdefault(color, []).append(limb)
  return found


def _path(lines: np.ndarray, color: str, width: float, seconds: float) -> str:
  """Lines [n, m, 2, 2] px of n frames as one path that changes from frame to frame."""
  shown = lines.round(1).tolist()
  frames = ["".join(f"M{a[0]} {a[1]}L{b[0]} {b[1]}" for a, b in frame) for frame in shown]
  still = f'<path d="{frames[0]}" fill="none" stroke="{color}" stroke-width="{width}"'
  if len(frames) == 1:
    return still + "/>"
  values = ";".join(frames)
  return (
    f'{still}><animate attributeName="d" calcMode="discrete" dur="{seconds:.3f}s" '
    f'repeatCount="indefinite" values="{values}"/></path>'
  )

"""Where furniture stands: clutter that hides nobody, and occluders that hide much of one view."""

import cv2
import numpy as np

from data.synthetic import room as room_lib

# A joint is a point in the body; furniture keeps this far from all of them, and from cameras.
CLEARANCE_MM = 350.0


def sample_clutter(
  rng: np.random.Generator,
  room: room_lib.Room,
  joints: np.ndarray,
  cameras: np.ndarray,
  count: int,
) -> room_lib.Boxes:
  """Draws `count` boxes along the walls and about the room that hide no joint from any camera.

  Args:
    rng: draws them.
    room: to stand in.
    joints: [j, 3] mm, the subject.
    cameras: [v, 3] mm, camera centres.
    count: boxes wanted; a box that finds no place is left out (an empty box keeps its slot).
  """
  wanted = 4 * count
  half = np.stack(
    [rng.uniform(200, 800, wanted), rng.uniform(150, 350, wanted), np.zeros(wanted)], -1
  )
  tall = rng.random(wanted) < 0.35
  half[:, 2] = np.where(tall, rng.uniform(700, 1100, wanted), rng.uniform(200, 500, wanted))
  span = room.high - room.low
  along = room.low[:2] + rng.random((wanted, 2)) * span[:2]
  axis, side = rng.integers(2, size=wanted), rng.integers(2, size=wanted)
  by_wall = rng.random(wanted) < 0.7
  rows = np.arange(wanted)
  wall = np.where(side == 1, room.high[axis], room.low[axis]) + (1 - 2 * side) * (half[:, 1] + 30)
  center = np.concatenate([along, half[:, 2:]], 1)
  center[rows, axis] = np.where(by_wall, wall, center[rows, axis])
  free_yaw = rng.uniform(0, np.pi, wanted)
  boxes = _finish(rng, center, half, np.where(by_wall, (1 - axis) * np.pi / 2, free_yaw))
  bad = room_lib.hides(boxes, cameras, joints, grow=120).any((1, 2))
  bad |= _near(boxes, joints, CLEARANCE_MM) | _near(boxes, cameras, CLEARANCE_MM)
  kept = np.nonzero(~bad)[0][:count]
  return room_lib.Boxes.concatenate([boxes[kept], room_lib.Boxes.empty(count - len(kept))])


def sample_occluder(
  rng: np.random.Generator,
  joints: np.ndarray,
  cameras: np.ndarray,
  view: int,
  hidden: tuple[float, float],
) -> room_lib.Boxes:
  """Draws one box that hides much of the subject from one camera and nothing from the others.

  Where cameras stand so close that no box is before one alone, the box before the fewest is taken.
  Cabinets, boards, pillars, counters and things that hang from the ceiling, between a third and
  four fifths of the way from the camera to the subject.

  Args:
    rng: draws it.
    joints: [j, 3] mm.
    cameras: [v, 3] mm.
    view: the camera to be blocked.
    hidden: (least, most) share of the joints to hide from it.

  Returns:
    one box.

  Raises:
    RuntimeError: none of 20,000 boxes hides that share from the camera.
  """
  tries, fewest, best = 256, len(cameras), None
  for _ in range(80):
    boxes = _occluder_candidates(rng, joints, cameras[view], tries)
    blocked = room_lib.hides(boxes, cameras, joints).mean(2)
    touched = room_lib.hides(boxes, cameras, joints, grow=60).any(2)
    others = np.delete(touched, view, 1).sum(1)
    good = (blocked[:, view] >= hidden[0]) & (blocked[:, view] <= hidden[1])
    good &= ~_near(boxes, joints, CLEARANCE_MM) & ~_near(boxes, cameras, CLEARANCE_MM)
    others = np.where(good, others, len(cameras))
    first = int(others.argmin())
    if others[first] < fewest:
      fewest, best = others[first], boxes[first : first + 1]
    if not fewest:
      break
  if best is None:
    raise RuntimeError(
      f"no box hides {hidden[0]:.0%} to {hidden[1]:.0%} of the joints from {view=}"
    )
  return best


def _occluder_candidates(rng, joints, camera, count):
  kind = rng.integers(5, size=count)
  # Half width, half depth, height of the lower and the upper edge, mm: (least, most) per kind.
  ranges = np.array(
    [
      [[300, 700], [180, 350], [0, 0], [900, 1900]],  # cabinet
      [[350, 800], [20, 40], [0, 0], [1300, 2100]],  # board
      [[120, 260], [120, 260], [0, 0], [3000, 3000]],  # pillar
      [[500, 1100], [200, 400], [0, 0], [700, 1200]],  # counter
      [[300, 900], [20, 200], [700, 1400], [3000, 3000]],  # hangs from the ceiling
    ]
  )[kind]
  draw = ranges[..., 0] + rng.random((count, 4)) * (ranges[..., 1] - ranges[..., 0])
  # Near the camera things look larger: shrink the width so that it still can miss a side.
  aim = joints[rng.integers(len(joints), size=count)]
  place = rng.uniform(0.35, 0.85, count)[:, None]
  spot = camera + place * (aim - camera)
  low, high = draw[:, 2], draw[:, 3]
  half = np.stack([draw[:, 0], draw[:, 1], (high - low) / 2], -1)
  center = np.stack([spot[:, 0], spot[:, 1], (high + low) / 2], -1)
  forward = aim - camera
  yaw = np.arctan2(forward[:, 1], forward[:, 0]) + np.pi / 2 + rng.uniform(-0.6, 0.6, count)
  return _finish(rng, center, half, yaw)


def _finish(rng, center, half, yaw):
  """Colours and grooves for boxes."""
  count = len(yaw)
  hsv = np.stack(
    [rng.uniform(0, 180, count), rng.uniform(10, 170, count), rng.uniform(50, 235, count)], -1
  )
  wood = rng.random(count) < 0.5
  hsv[wood, 0] = rng.uniform(8, 18, wood.sum())
  color = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0] / 255
  grooves = 2 * half[:, ::2] / rng.integers(1, 5, (count, 2))
  grooves *= rng.random((count, 2)) < 0.6
  return room_lib.Boxes(center, half, yaw, color, grooves)


def _near(boxes, points, distance):
  """[n] bool, True for a box with one of the points [m, 3] within `distance` mm."""
  gap = np.maximum(np.abs(room_lib.into(boxes, points)) - boxes.half[:, None], 0)
  return (np.linalg.norm(gap, axis=-1) < distance).any(1)

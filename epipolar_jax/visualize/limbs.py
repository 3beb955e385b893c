"""Skeletons drawn onto images, limb by limb, and the line of text above them."""

import cv2
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.visualize import palette

# Okabe and Ito's, a colour a finger, thumb first.
_FINGERS = ((213, 94, 0), (230, 159, 0), (0, 158, 115), (86, 180, 233), (204, 121, 167))
_FAR = 1 << 14  # px


def colors(skeleton: skeletons.Skeleton, person: int | None = None) -> list[palette.RGB]:
  """Of each joint the colour of the limb that ends in it.

  That is its side's, of a hand its finger's; of a `person` among several theirs (`palette.limb`).
  """
  if skeleton == skeletons.RHD_21:
    return [_FINGERS[max(joint - 1, 0) // 4] for joint in range(skeleton.num_joints)]
  sides = palette.sides(skeleton.num_joints, skeleton.flip_pairs)
  return [palette.limb(side, person) for side in sides]


def across(skeleton: skeletons.Skeleton) -> tuple[tuple[int, int], ...]:
  """Lines between shoulders and between hips, of a tree without a spine: for drawings alone.

  There (COCO) each hip hangs on the shoulder of its side, and the body would look like two halves.
  """
  pairs = {
    part: pair
    for pair in skeleton.flip_pairs
    for part in ("sho", "hip")
    if part in skeleton.joints[pair[0]].lower()
  }
  hips = [skeleton.parents[hip] for hip in pairs.get("hip", ())]
  return tuple(pairs.values()) if len(pairs) == 2 and hips[0] != hips[1] else ()


def draw(
  canvas: np.ndarray,
  uv: np.ndarray,
  skeleton: skeletons.Skeleton,
  *,
  thickness: int,
  color: palette.RGB | None = None,
  valid: np.ndarray | None = None,
  cased: bool = False,
  person: int | None = None,
  depth: np.ndarray | None = None,
) -> None:
  """Draws limbs in place.

  Args:
    canvas: [h, w, 3] uint8 RGB.
    uv: [j, 2], px; anything where not valid.
    skeleton: of the joints.
    thickness: of the lines, px.
    color: of all limbs; None is each in its own, see `colors`.
    valid: [j] bool; limbs of other joints are left out. None: all are there.
    cased: on a wider dark line, to show on photographs.
    person: of several in the image.
    depth: [j], how far away joints are; near limbs are drawn over far ones. None: in joint order.
  """
  if valid is not None:
    uv = np.where(valid[:, None], uv, 0.0)
  # OpenCV's coordinates overflow; nearer ends would turn limbs that leave the image.
  ends = np.clip(np.rint(uv), -_FAR, _FAR).astype(int).tolist()
  own = colors(skeleton, person)
  middle = palette.limb("middle", person)
  order = [*across(skeleton), *skeleton.limbs]
  if depth is not None:
    order.sort(key=lambda limb: -(depth[limb[0]] + depth[limb[1]]))
  for parent, child in order:
    if valid is None or (valid[parent] and valid[child]):
      start, stop = tuple(ends[parent]), tuple(ends[child])
      if cased:
        cv2.line(canvas, start, stop, palette.STAGE, thickness + 2, cv2.LINE_AA)
      shown = own[child] if (parent, child) in skeleton.limbs else middle
      cv2.line(canvas, start, stop, color or shown, thickness, cv2.LINE_AA)


def label(canvas: np.ndarray, text: str) -> None:
  """White on a dark bar at the top, legible where an image of 1200 px is shown on 800."""
  canvas[:22] = canvas[:22] // 4
  cv2.putText(canvas, text, (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)

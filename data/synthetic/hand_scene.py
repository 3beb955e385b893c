"""One image of hands as Rendered Hand Pose has them: a person, seen from an arm's length.

An image is a pure function of (options, split, index): a dressed body in a room, both hands posed,
and one camera 40 to 65 cm from one of them, in any direction from which it is seen.
"""

import dataclasses

import jax
import numpy as np

from data.rhd import annotations
from data.synthetic import furniture, hands, motion, rasterizer, renderer, scene
from data.synthetic import options as options_lib
from data.synthetic import rig as rig_lib
from data.synthetic import room as room_lib

# Of Rendered Hand Pose, px.
FOCAL_PX = 282.9
CENTER_PX = 160.0
_DISTANCE_MM = (400.0, 650.0)
# The camera keeps so far from the body that nothing in its field lies before the near plane: the
# corners of the image are 39 degrees off its axis, where this distance is 205 mm deep.
_CLEARANCE_MM = 265.0
_ROOM_REACH_MM = np.array([2200.0, 2200.0])
_CAMERA_HEIGHT_MM = (150.0, 2700.0)
# A line of sight is blocked by a vertex of the body this close to it.
_BLOCKED_MM = 24.0
_TRIES = 200
_POSES = 20
# Close up, triangles are large. Measured on 150 images, and a little room.
_TIERS = ((4, 8192), (7, 3584), (12, 3072), (24, 2560), (40, 1280), (64, 384), (96, 64))


@dataclasses.dataclass(frozen=True)
class LabelledImage:
  """One image and its labels, as `data/rhd/annotations.py` describes them.

  Attributes:
    image: [320, 320, 3] uint8 RGB.
    mask: [320, 320] uint8.
    joints_3d: [42, 3] mm, camera frame.
    joints_2d: [42, 2] px.
    visible: [42] bool, inside the image, and the part of the hand around it is seen there.
    intrinsics: [3, 3].
  """

  image: np.ndarray
  mask: np.ndarray
  joints_3d: np.ndarray
  joints_2d: np.ndarray
  visible: np.ndarray
  intrinsics: np.ndarray


class Generator(scene.Generator):
  """Makes images of hands; `labelled_image` in place of `frame`.

  Args:
    seed: everything is drawn from it.
    identities: people in the training split; the validation split has a third of it, others.
    supersampling: samples per pixel and axis.
  """

  def __init__(self, seed: int, *, identities: int = 60, supersampling: int = 2):
    options = options_lib.Options(
      seed=seed,
      image_size=annotations.SIDE,
      supersampling=supersampling,
      train_identities=identities,
      train_rigs=identities,
    )
    super().__init__(options)
    labels = hands.mask_ids(self._body)
    # By side, the vertices that may hide its hand: all but its own, thinned.
    self._hiding = [
      np.setdiff1d(
        np.unique(self._body.triangles[(labels < low) | (labels > high)]),
        np.unique(self._body.triangles[(labels >= low) & (labels <= high)]),
      )[::2]
      for low, high in annotations.HAND_IDS
    ]

  def make_renderer(self) -> renderer.Renderer:
    """A renderer that labels hands and draws bodies close up."""
    return renderer.Renderer(
      self._body,
      image_size=self.options.image_size,
      supersampling=self.options.supersampling,
      joints_of=hands.joints_of,
      labels=hands.mask_ids(self._body),
      limits=rasterizer.Limits(
        tuple(rasterizer.Tier(*tier) for tier in _TIERS),
        (self.options.image_size * self.options.supersampling) ** 2,
      ),
      around=True,
    )

  def labelled_image(self, split: str, index: int) -> LabelledImage:
    """Makes one image.

    Args:
      split: train or validation.
      index: number of the image in its split.

    Raises:
      RuntimeError: no camera sees a hand in any of 20 poses.
    """
    rng = self._rng(split, "hand", index)
    person, place = self.cast(split, index, rng)
    texture, thickness, shape = self._look(split, person)
    room = self._set(split, place)
    for _ in range(_POSES):
      vertices, normals, joints = self._renderer.pose(
        shape,
        self._bone_rotations(split, shape, rng),
        np.append(rng.uniform(-600, 600, 2), 0.0).astype(np.float32),
        rng.uniform(0, 2 * np.pi),
        thickness,
      )
      body_joints, hand_joints = np.split(np.asarray(joints, np.float64), [17])
      side = int(rng.integers(2))
      camera = self._camera(np.asarray(vertices), hand_joints, side, rng)
      if camera is not None:
        break
    else:
      raise RuntimeError(f"image {index} of {split}: no camera sees a hand in {_POSES} poses")
    light = room_lib.sample_light(rng, self.options.light_range)
    boxes = furniture.sample_clutter(rng, room, body_joints, camera.centers, self.options.clutter)
    shadow = room_lib.floor_shadow(room, np.asarray(vertices), boxes, light)
    drawn = self._renderer.draw(
      vertices,
      normals,
      texture,
      tuple(np.float32(a) for a in (camera.intrinsics, camera.rotation, camera.translation)),
      scene.room_arrays(room, boxes, shadow),
      room_lib.Light(*(np.float32(a) for a in light)),
    )
    drawn = jax.tree.map(np.asarray, drawn)
    joints_2d, _ = rig_lib.project(camera, hand_joints)
    return LabelledImage(
      image=self._expose(drawn.color, rng)[0],
      mask=drawn.label[0],
      joints_3d=hand_joints @ camera.rotation[0].T + camera.translation[0],
      joints_2d=joints_2d[0],
      visible=visible_joints(drawn.label[0], joints_2d[0]),
      intrinsics=camera.intrinsics[0],
    )

  def _bone_rotations(self, split, shape, rng):
    """A body from the clips with arms and fingers of its own."""
    local = np.array(motion.sample_pose(self._motion, rng, split).bone_rotations, np.float64)
    heads = self._body.rest_heads + np.einsum("c,cnj->nj", shape, self._body.shape_heads)
    for side in hands.SIDES:
      hands.pose_arm(local, side, heads.astype(np.float64), rng)
      hands.pose_hand(local, side, *hands.sample_fingers(rng))
    return local.astype(np.float32)

  def _camera(self, vertices, joints, side, rng):
    """A camera that sees the hand of a side, or None."""
    hand = joints[21 * side : 21 * side + 21]
    middle = hand.mean(0)
    targets = hand[[0, 12, 1, 5, 13, 17]]
    others = vertices[self._hiding[side]]
    for _ in range(_TRIES):
      direction = rng.normal(size=3)
      center = middle + direction * rng.uniform(*_DISTANCE_MM) / np.linalg.norm(direction)
      aim = middle + rng.normal(0, 30, 3)
      roll = rng.normal(0, np.radians(25))
      inside = (np.abs(center[:2]) < _ROOM_REACH_MM).all()
      inside &= _CAMERA_HEIGHT_MM[0] < center[2] < _CAMERA_HEIGHT_MM[1]
      if not inside or ((vertices - center) ** 2).sum(1).min() < _CLEARANCE_MM**2:
        continue
      if np.mean([_blocked(center, target, others) for target in targets]) > 0.2:
        continue
      rotation = rig_lib.look_at(center, aim, roll)
      intrinsics = np.array([[FOCAL_PX, 0, CENTER_PX], [0, FOCAL_PX, CENTER_PX], [0, 0, 1]])
      return rig_lib.Rig(intrinsics[None], rotation[None], -(rotation @ center)[None])
    return None

  def _make_set(self, split, place):
    return room_lib.sample_room(self._rng(split, "room", place), np.append(_ROOM_REACH_MM, 0.0))


def visible_joints(mask: np.ndarray, joints_2d: np.ndarray) -> np.ndarray:
  """Which joints are seen: those with a part of the hand that they belong to within two pixels.

  Args:
    mask: [320, 320], ids.
    joints_2d: [42, 2] px.

  Returns:
    [42] bool.
  """
  seen = np.zeros(len(joints_2d), bool)
  pixels = np.round(joints_2d).astype(int)
  for joint, (u, v) in enumerate(pixels):
    if 0 <= u < mask.shape[1] and 0 <= v < mask.shape[0]:
      around = mask[max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3]
      first = annotations.HAND_IDS[joint // 21][0]
      parts = hands.shown_by()[joint % 21]
      seen[joint] = np.isin(around, [first + part for part in parts]).any()
  return seen


def _blocked(origin, target, points):
  """Whether a point of [n, 3] stands close to the line of sight, well before the target."""
  offset, along = points - origin, target - origin
  distance = np.linalg.norm(along)
  along = along / distance
  depth = offset @ along
  near = ((offset**2).sum(1) - depth**2 < _BLOCKED_MM**2) & (depth > 0) & (depth < distance - 45)
  return near.any()

"""One frame of the data set: who, where, seen by which cameras, behind what.

A frame is a pure function of (options, split, index). The same test frame with more occluders
before it differs in nothing else: every choice draws from a stream of its own.
"""

import dataclasses
import functools
import zlib
from typing import Any

import cv2
import jax
import numpy as np

from data.synthetic import appearance, furniture, motion, renderer
from data.synthetic import body as body_lib
from data.synthetic import options as options_lib
from data.synthetic import rig as rig_lib
from data.synthetic import room as room_lib
from epipolar_jax import skeletons

# Share of the joints an occluder hides from its view, (least, most).
HIDDEN_IN_TEST = (0.4, 0.8)
HIDDEN_IN_TRAIN = (0.2, 0.8)
MAX_OCCLUDERS = 2
# Joints of Human3.6M come first whatever is stored: they place, dress and hide a body.
_PLACING = skeletons.H36M_17.num_joints
# The subject stays this close to the middle of the room, mm.
_ZONE_MM = 600.0


@dataclasses.dataclass(frozen=True)
class Frame:
  """One rendered frame; see `builder` for the meaning of each stored field.

  Attributes:
    images: [v, s, s, 3] uint8 RGB.
    rig: cameras of the stored images.
    joints_3d: [j, 3] mm, world, of `Options.skeleton`.
    joints_2d: [v, j, 2] stored px.
    visible: [v, j] bool, inside the image and not behind an occluder.
    box_center: [v, 2] stored px.
    box_size: [v] stored px.
    subject: number of the person; unique over the splits.
    action: of the motion clip.
    occluded: [v] bool, an occluder stands before the view.
    rendering: the clean images and what else was rendered, as numpy arrays.
  """

  images: np.ndarray
  rig: rig_lib.Rig
  joints_3d: np.ndarray
  joints_2d: np.ndarray
  visible: np.ndarray
  box_center: np.ndarray
  box_size: np.ndarray
  subject: int
  action: str
  occluded: np.ndarray
  rendering: renderer.Rendering


class Generator:
  """Makes frames; holds the body, the clips and the compiled renderer.

  Args:
    options: of the data set.
  """

  def __init__(self, options: options_lib.Options):
    self.options = options
    self._body = body_lib.load()
    self._motion = motion.load()
    self._renderer = self.make_renderer()
    rest = np.asarray(self._body.rest_vertices)
    identity = np.tile(np.eye(3, dtype=np.float32), (self._body.num_bones, 1, 1))
    bare = np.zeros(len(rest), np.float32)
    shape, origin = np.zeros(self._body.num_shapes, np.float32), np.zeros(3, np.float32)
    vertices, _, joints = self._renderer.pose(shape, identity, origin, 0.0, bare)
    joints = joints[:_PLACING]
    # `pose_body` puts the root over the origin; garments are cut on the body as it rests.
    self._rest_joints = np.asarray(joints) + (rest - np.asarray(vertices)).mean(0)
    region = np.array(self._body.region_names, dtype="<U16")[self._body.region]
    region[np.unique(self._body.triangles[self._body.group == 1])] = "eye"
    self._sheet = appearance.make_sheet(
      rest,
      self._rest_joints,
      region,
      self._body.triangles,
      self._body.uv,
      self._body.uv_triangles,
      size=256 if options.image_size <= 192 else 512,
    )
    self._look = functools.lru_cache(maxsize=256)(self._make_look)
    self._set = functools.lru_cache(maxsize=64)(self._make_set)

  def make_renderer(self) -> renderer.Renderer:
    """The renderer for these options."""
    options = self.options
    coco = options.skeleton == skeletons.COCO_17.name
    return renderer.Renderer(
      self._body,
      image_size=options.image_size,
      supersampling=options.supersampling,
      joints_of=body_lib.h36m_and_coco_joints if coco else body_lib.h36m_joints,
    )

  def frame(self, split: str, index: int) -> Frame:
    """Makes one frame.

    Args:
      split: one of `options.SPLITS`.
      index: number of the frame in its split; any non-negative integer.
    """
    options, base = self.options, options_lib.base_split(split)
    rng = self._rng(base, "frame", index)
    person, place = self.cast(base, index, rng)
    texture, thickness, shape = self._look(base, person)
    rig, room = self._set(base, place)
    pose = motion.sample_pose(
      self._motion, self._rng(base, "pose", index), base, actions=options.actions or None
    )
    translation = np.append(rng.uniform(-_ZONE_MM, _ZONE_MM, 2), pose.translation[2])
    vertices, normals, found = self._renderer.pose(
      shape,
      np.asarray(pose.bone_rotations, np.float32),
      translation.astype(np.float32),
      rng.uniform(0, 2 * np.pi),
      thickness,
    )
    found = np.asarray(found, np.float64)
    # The last are those to store: of Human3.6M's alone, the same.
    placing, joints = found[:_PLACING], found[-options.num_joints :]
    light = room_lib.sample_light(self._rng(base, "light", index), options.light_range)
    centers = rig.centers
    clutter = furniture.sample_clutter(
      self._rng(base, "clutter", index), room, placing, centers, options.clutter
    )
    occluders, occluded = self._occluders(split, index, placing, centers)
    boxes = room_lib.Boxes.concatenate([clutter, occluders])
    rig, box_size = self.aim(rig, placing[0])
    rendering = self._renderer.draw(
      vertices,
      normals,
      texture,
      tuple(_float32(a) for a in (rig.intrinsics, rig.rotation, rig.translation)),
      room_arrays(room, boxes, room_lib.floor_shadow(room, np.asarray(vertices), boxes, light)),
      room_lib.Light(*(_float32(a) for a in light)),
    )
    rendering = jax.tree.map(np.asarray, rendering)
    joints_2d, _ = rig_lib.project(rig, joints)
    last = options.image_size - 0.5
    inside = ((joints_2d >= -0.5) & (joints_2d <= last)).all(-1)
    middle = (options.image_size - 1) / 2
    return Frame(
      images=self._expose(rendering.color, self._rng(base, "camera", index)),
      rig=rig,
      joints_3d=joints,
      joints_2d=joints_2d,
      visible=inside & ~room_lib.hides(occluders, centers, joints).any(0),
      box_center=np.full((options.num_views, 2), middle),
      box_size=np.full(options.num_views, box_size),
      subject=_first_person(options, base) + person,
      action=str(pose.action),
      occluded=occluded,
      rendering=rendering,
    )

  def cast(self, base: str, index: int, rng: np.random.Generator) -> tuple[int, int]:
    """Chooses the person and the rig of a frame of a base split, by number."""
    person = int(rng.integers(_pool(self.options.train_identities, base)))
    return person, int(rng.integers(_pool(self.options.train_rigs, base)))

  def aim(self, rig: rig_lib.Rig, root: np.ndarray) -> tuple[rig_lib.Rig, float]:
    """The cameras of the stored images, and the side of the person box; see `rig.crop`."""
    size, margin = self.options.image_size, self.options.margin
    return rig_lib.crop(rig, root, image_size=size, margin=margin)

  def _rng(self, *stream: Any) -> np.random.Generator:
    names = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in stream]
    return np.random.default_rng([self.options.seed, *names])

  def _make_look(self, split, person):
    rng = self._rng(split, "person", person)
    shape = body_lib.shape_sample(rng).astype(np.float32)
    look = appearance.paint(self._sheet, self._rest_joints, rng, suits=self.options.suits)
    return room_lib.pack_bytes(look.texture), look.thickness, shape

  def _make_set(self, split, place):
    rng = self._rng(split, "rig", place)
    options = self.options
    rig = rig_lib.sample_rig(
      rng, num_views=options.num_views, jitter=options.rig_jitter, place=options.cameras
    )
    return rig, room_lib.sample_room(rng, np.abs(rig.centers).max(0))

  def _occluders(self, split, index, joints, centers):
    """Boxes [2] before some views, and which views [v] they stand before."""
    base, options = options_lib.base_split(split), self.options
    rng = self._rng(base, "occluder", index)
    views = rng.permutation(options.num_views)
    if base == "test":
      count = int(split.rsplit("_", 1)[1]) if split != base else 0
    else:
      count = int(rng.integers(1, 3)) if rng.random() < options.train_occlusion else 0
    hidden = HIDDEN_IN_TEST if base == "test" else HIDDEN_IN_TRAIN
    count = min(count, options.num_views)
    boxes = [
      furniture.sample_occluder(rng, joints, centers, view, hidden) for view in views[:count]
    ]
    boxes.append(room_lib.Boxes.empty(MAX_OCCLUDERS - count))
    boxes = room_lib.Boxes.concatenate(boxes)
    return boxes, room_lib.hides(boxes, centers, joints).any((0, 2))

  def _expose(self, color, rng):
    """Blur, exposure, tint and noise of each camera; [v, s, s, 3] to uint8."""
    amount = self.options.camera_noise
    images = np.empty(color.shape, np.uint8)
    for view, image in enumerate(color):
      gain = 1.12 * (1 + amount * rng.uniform(-0.2, 0.2))
      tint = 1 + amount * rng.uniform(-0.06, 0.06, 3)
      blur = amount * rng.uniform(0, 0.6) * (color.shape[1] / 128) ** 0.5
      noise = amount * rng.uniform(1, 6) / 255
      if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
      grain = rng.standard_normal(image.shape, np.float32)
      image = image * _float32(gain * tint) + np.float32(noise) * grain
      images[view] = np.clip(image * 255 + 0.5, 0, 255)
    return images


def room_arrays(room, boxes, shadow):
  arrays = {"low": room.low, "high": room.high}
  arrays |= {field.name: getattr(boxes, field.name) for field in dataclasses.fields(boxes)}
  arrays = {name: _float32(value) for name, value in arrays.items()}
  return arrays | {"textures": room.textures, "shadow": shadow}


def _float32(array):
  return np.asarray(array, np.float32)


def _pool(train_size, split):
  """People or rigs in a split: a third of the training split's for the other two."""
  return train_size if split == "train" else max(1, train_size // 3)


def _first_person(options, split):
  """Number of a split's first person, so that numbers are unique over the splits."""
  order = ("train", "validation", "test")
  return sum(_pool(options.train_identities, s) for s in order[: order.index(split)])

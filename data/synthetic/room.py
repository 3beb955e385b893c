"""Rooms: floor, walls, ceiling and furniture, ray cast per pixel in true perspective.

The host paints one texture per surface (boards, tiles, carpet, wallpaper, windows, doors, posters)
and places boxes; the device finds, for each pixel's ray, the surface or box it meets first. Boxes
are analytic, so the same slab test that draws an occluder tells which joints it hides.
"""

import dataclasses
from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

TEXTURE_SIZE = 512
SHADOW_SIZE = 256
# A box that is not there: far below the floor, without size.
_NOWHERE = np.array([0.0, 0.0, -1e6])


@dataclasses.dataclass(frozen=True)
class Boxes:
  """Upright boxes.

  Attributes:
    center: [n, 3] mm.
    half: [n, 3] mm, half the sides in the box's own axes.
    yaw: [n] radians about z.
    color: [n, 3] in 0..1.
    pattern: [n, 2] mm, spacing of the grooves along its width and height; 0 for none.
  """

  center: np.ndarray
  half: np.ndarray
  yaw: np.ndarray
  color: np.ndarray
  pattern: np.ndarray

  @classmethod
  def empty(cls, count: int) -> "Boxes":
    """`count` boxes that are not there."""
    zeros = np.zeros((count, 3))
    return cls(zeros + _NOWHERE, zeros, zeros[:, 0], zeros + 0.5, zeros[:, :2])

  def __len__(self) -> int:
    return len(self.yaw)

  def __getitem__(self, index) -> "Boxes":
    return Boxes(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

  @classmethod
  def concatenate(cls, parts: "list[Boxes]") -> "Boxes":
    """All boxes of `parts`, in order."""
    fields = [field.name for field in dataclasses.fields(cls)]
    return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


@dataclasses.dataclass(frozen=True)
class Room:
  """An empty room.

  Attributes:
    low: [3] mm, corner with the smallest coordinates; z = 0 is the floor.
    high: [3] mm, the opposite corner.
    textures: [6, s, s] uint32, packed colours: walls at low x, high x, low y, high y, then floor,
      ceiling; on the device.
  """

  low: np.ndarray
  high: np.ndarray
  textures: jax.Array


Vector = tuple[jax.Array, jax.Array, jax.Array]


class Light(NamedTuple):
  """Light of one frame: towards it [3], its colour [3], and the colour of the rest [3]."""

  direction: np.ndarray
  sun: np.ndarray
  ambient: np.ndarray


def sample_room(rng: np.random.Generator, reach: np.ndarray) -> Room:
  """Draws a room that holds everything within `reach` [3] mm of the middle, and paints it."""
  low = np.append(-reach[:2] - rng.uniform(400, 1600, 2), 0.0)
  high = np.append(reach[:2] + rng.uniform(400, 1600, 2), rng.uniform(3200, 4000))
  high[2] = max(high[2], reach[2] + 200)
  span = high - low
  wall = _paint_color(rng)
  plan = _wallpaper(rng)
  walls = [
    _paint_wall(rng, (span[axis], span[2]), wall * rng.uniform(0.9, 1.05), plan)
    for axis in (1, 1, 0, 0)
  ]
  ceiling = np.full((TEXTURE_SIZE, TEXTURE_SIZE, 3), rng.uniform(200, 250))
  floor = _paint_floor(rng, span[:2])
  textures = np.stack([np.clip(x, 0, 255).astype(np.uint8) for x in (*walls, floor, ceiling)])
  return Room(low, high, pack_bytes(textures))


def sample_light(rng: np.random.Generator, amount: float) -> Light:
  """Draws the light of a frame; `amount` 0 gives the same light every time."""
  azimuth = amount * rng.uniform(0, 2 * np.pi) + (1 - amount)
  elevation = np.radians(55 + amount * rng.uniform(-30, 25))
  direction = np.array(
    [
      np.cos(azimuth) * np.cos(elevation),
      np.sin(azimuth) * np.cos(elevation),
      np.sin(elevation),
    ]
  )
  share = 0.5 + amount * rng.uniform(-0.2, 0.2)
  tint = 1 + amount * rng.uniform(-0.08, 0.08, 3)
  return Light(direction, share * tint, (1.05 - share) * (2 - tint))


def floor_shadow(room: Room, vertices: np.ndarray, boxes: Boxes, light: Light) -> np.ndarray:
  """Soft shadow of a body and of furniture on the floor.

  Args:
    room: gives the extent of the map.
    vertices: [v, 3] mm, the body.
    boxes: furniture; those that stand on the floor darken it around them.
    light: the body's shadow falls away from it.

  Returns:
    [s, s] uint8, 255 where nothing is in the way; rows along y, columns along x.
  """
  to_cells = SHADOW_SIZE / (room.high[:2] - room.low[:2])
  fall = vertices[:, :2] - vertices[:, 2:] * light.direction[:2] / light.direction[2]
  cells = ((fall - room.low[:2]) * to_cells).astype(int)
  inside = ((cells >= 0) & (cells < SHADOW_SIZE)).all(1)
  flat = cells[inside, 1] * SHADOW_SIZE + cells[inside, 0]
  cast = np.minimum(np.bincount(flat, minlength=SHADOW_SIZE**2), 4) * 0.25
  shadow = cv2.GaussianBlur(cast.reshape(SHADOW_SIZE, -1).astype(np.float32), (0, 0), 1.2)
  contact_cells = ((vertices[vertices[:, 2] < 120, :2] - room.low[:2]) * to_cells).astype(int)
  contact = np.zeros((SHADOW_SIZE, SHADOW_SIZE), np.float32)
  contact_cells = np.clip(contact_cells, 0, SHADOW_SIZE - 1)
  contact[contact_cells[:, 1], contact_cells[:, 0]] = 1.0
  stand = np.zeros_like(contact)
  for center, half, yaw in zip(boxes.center, boxes.half, boxes.yaw):
    if abs(center[2] - half[2]) < 50:
      outline = (_outline(center, half + 40, yaw) - room.low[:2]) * to_cells
      cv2.fillConvexPoly(stand, np.round(outline).astype(np.int32), 0.8)
  dark = 0.6 * np.clip(shadow * 1.3, 0, 1)
  dark = np.maximum(dark, 0.65 * np.clip(2 * cv2.GaussianBlur(contact, (0, 0), 1.5), 0, 1))
  dark = np.maximum(dark, 0.6 * cv2.GaussianBlur(stand, (0, 0), 3.0))
  return np.round(255 * (1 - dark)).astype(np.uint8)


def hides(boxes: Boxes, origins: np.ndarray, targets: np.ndarray, grow: float = 0) -> np.ndarray:
  """Which boxes stand between which cameras and which points.

  Args:
    boxes: n boxes.
    origins: [v, 3] mm, camera centres.
    targets: [j, 3] mm.
    grow: mm added to every half side.

  Returns:
    [n, v, j] bool, True when the segment from camera to point meets the box.
  """
  half = boxes.half + grow * (boxes.half.sum(1, keepdims=True) > 0)
  start = into(boxes, origins)[:, :, None]
  end = into(boxes, targets)[:, None]
  direction = end - start
  direction = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
  limit = half[:, None, None]
  first, second = (-limit - start) / direction, (limit - start) / direction
  enter = np.minimum(first, second).max(-1)
  leave = np.maximum(first, second).min(-1)
  return (enter < leave) & (leave > 0) & (enter < 1) & (limit.sum(-1) > 0)


def cast(
  origin: jax.Array,
  direction: Vector,
  room: dict[str, jax.Array],
  light: Light,
) -> tuple[jax.Array, jax.Array]:
  """Colour and depth of the room behind every pixel of one camera.

  Rays are three arrays, one per component (rows of three vectorise badly), and colours are packed
  in one (XLA on CPU would do all the work once per channel).

  Args:
    origin: [3] mm, the camera centre.
    direction: three of [h, w], rays in the world with unit step along the optical axis.
    room: `low`, `high`, packed `textures` of the room, its `shadow` map, and the `center`, `half`,
      `yaw`, `color`, `pattern` of its boxes.
    light: of the frame.

  Returns:
    color: [h, w] uint32, packed.
    depth: [h, w] mm along the optical axis.
  """
  direction = tuple(_nonzero(component) for component in direction)

  def add_box(nearest, box):
    color, depth = _cast_box(origin, direction, box, light)
    nearer = depth < nearest[1]
    return (jnp.where(nearer, color, nearest[0]), jnp.where(nearer, depth, nearest[1])), None

  walls = _cast_walls(origin, direction, room, light)
  boxes = {name: room[name] for name in ("center", "half", "yaw", "color", "pattern")}
  return jax.lax.scan(add_box, walls, boxes)[0]


def pack(red, green, blue):
  """Packs colours in 0..1, of any one shape, into uint32, eight bits each; jax arrays."""
  eight_bits = [
    (jnp.clip(channel, 0.0, 1.0) * 255 + 0.5).astype(jnp.uint32) for channel in (red, green, blue)
  ]
  return eight_bits[0] | (eight_bits[1] << 8) | (eight_bits[2] << 16)


def pack_bytes(image: np.ndarray) -> jax.Array:
  """Packs a uint8 image [..., 3] into uint32 [...] on the device."""
  padded = np.zeros((*image.shape[:-1], 4), np.uint8)
  padded[..., :3] = image
  return jnp.asarray(padded.view("<u4")[..., 0])


def unpack(packed: jax.Array) -> Vector:
  """Red, green and blue in 0..1 of colours packed by `pack`."""
  return tuple(((packed >> shift) & 255).astype(jnp.float32) / 255 for shift in (0, 8, 16))


def _nonzero(x):
  return jnp.where(jnp.abs(x) < 1e-9, 1e-9, x)


def _cast_walls(origin, direction, room, light):
  low, high = room["low"], room["high"]
  positive = [d > 0 for d in direction]
  exits = [(jnp.where(positive[k], high[k], low[k]) - origin[k]) / direction[k] for k in range(3)]
  depth = jnp.minimum(jnp.minimum(exits[0], exits[1]), exits[2])
  is_x, is_z = exits[0] == depth, exits[2] == depth
  point = [origin[k] + depth * direction[k] for k in range(3)]
  place = [jnp.clip((point[k] - low[k]) / (high[k] - low[k]), 0.0, 1.0 - 1e-6) for k in range(3)]

  def by_face(x, y, z):
    return jnp.where(is_x, x, jnp.where(is_z, z, y))

  across = by_face(place[1], place[0], place[0])
  up = by_face(1 - place[2], 1 - place[2], place[1])
  face = by_face(0, 2, 4) + by_face(*positive)
  size = room["textures"].shape[1]
  row = jnp.minimum((up * size).astype(jnp.int32), size - 1)
  texel = (face * size + row) * size + (across * size).astype(jnp.int32)
  color = unpack(room["textures"].reshape(-1)[texel])
  # Light falls on the floor and on the walls that face it; corners are darker.
  facing = by_face(*(jnp.where(positive[k], -1.0, 1.0) * light.direction[k] for k in range(3)))
  lambert = 0.25 + 0.75 * jnp.maximum(facing, 0.0)
  gap = [jnp.minimum(point[k] - low[k], high[k] - point[k]) for k in range(3)]
  nearest_edge = by_face(
    jnp.minimum(gap[1], gap[2]), jnp.minimum(gap[0], gap[2]), jnp.minimum(gap[0], gap[1])
  )
  dim = 1 - 0.3 * jnp.exp(-nearest_edge / 350)
  cells = room["shadow"].shape[0]
  cell = (place[1] * cells).astype(jnp.int32) * cells + (place[0] * cells).astype(jnp.int32)
  on_floor = is_z & ~is_x & ~positive[2]
  lit = room["shadow"].reshape(-1)[jnp.where(on_floor, cell, 0)].astype(jnp.float32) / 255
  dim = dim * jnp.where(on_floor, lit, 1.0)
  return _lit(color, light, lambert, dim), depth


def _cast_box(origin, direction, box, light):
  """Colour and depth of one box, inf where it is not met."""
  cos, sin = jnp.cos(box["yaw"]), jnp.sin(box["yaw"])

  def turn(x, y, z):
    return cos * x + sin * y, cos * y - sin * x, z

  start = turn(*(origin - box["center"]))
  ray = [_nonzero(component) for component in turn(*direction)]
  half, sun = box["half"], turn(*light.direction)
  middle = [-start[k] / ray[k] for k in range(3)]
  reach = [jnp.abs(half[k] / ray[k]) for k in range(3)]
  enter = [middle[k] - reach[k] for k in range(3)]
  depth = jnp.maximum(jnp.maximum(enter[0], enter[1]), enter[2])
  leave = jnp.minimum(jnp.minimum(middle[0] + reach[0], middle[1] + reach[1]), middle[2] + reach[2])
  hit = (depth < leave) & (depth > 0)
  local = [start[k] + depth * ray[k] for k in range(3)]
  is_x, is_z = enter[0] == depth, enter[2] == depth

  def by_face(x, y, z):
    return jnp.where(is_x, x, jnp.where(is_z, z, y))

  facing = by_face(*(-jnp.sign(ray[k]) * sun[k] for k in range(3)))
  gap = [half[k] - jnp.abs(local[k]) for k in range(3)]
  edge = by_face(
    jnp.minimum(gap[1], gap[2]), jnp.minimum(gap[0], gap[2]), jnp.minimum(gap[0], gap[1])
  )
  mark = jnp.where(edge < 14, 0.72, 1.0)
  for axis, spacing, flat in ((0, box["pattern"][0], is_x), (2, box["pattern"][1], is_z)):
    cells = (local[axis] + half[axis]) / jnp.maximum(spacing, 1.0)
    off_groove = jnp.abs(cells - jnp.round(cells)) * spacing
    mark = mark * jnp.where((spacing > 0) & (off_groove < 12) & ~flat, 0.68, 1.0)
  color = tuple(box["color"][k] for k in range(3))
  lambert = 0.15 + 0.85 * jnp.maximum(facing, 0.0)
  return _lit(color, light, lambert, mark), jnp.where(hit, depth, jnp.inf)


def _lit(color, light, lambert, dim):
  """Packed colour under the ambient light and the share of the sun that it gets, dimmed."""
  return pack(*(color[k] * (light.ambient[k] + light.sun[k] * lambert) * dim for k in range(3)))


def into(boxes, points):
  """World points [m, 3] in the axes of every box: [n, m, 3]."""
  offset = points[None] - boxes.center[:, None]
  cos, sin = np.cos(boxes.yaw)[:, None], np.sin(boxes.yaw)[:, None]
  return np.stack(
    [
      cos * offset[..., 0] + sin * offset[..., 1],
      cos * offset[..., 1] - sin * offset[..., 0],
      offset[..., 2],
    ],
    -1,
  )


def _outline(center, half, yaw):
  """The four corners of a box on the floor, [4, 2] mm, in order."""
  corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:2]
  cos, sin = np.cos(yaw), np.sin(yaw)
  return center[:2] + corners @ np.array([[cos, sin], [-sin, cos]])


def _paint_color(rng):
  """A wall colour: light and not loud."""
  hsv = np.array([[[rng.uniform(0, 180), rng.uniform(0, 90), rng.uniform(120, 235)]]], np.uint8)
  return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def _wallpaper(rng):
  """Kind, period in mm and contrast of a pattern shared by the walls of a room."""
  kind = rng.choice(["plain", "plain", "stripes", "bricks", "panels"])
  return kind, rng.uniform(150, 500), rng.uniform(0.85, 0.97)


def _paint_wall(rng, span, color, wallpaper):
  """One wall of `span` (length, height) mm with a skirting board, windows, doors and posters."""
  size = TEXTURE_SIZE
  scale = size / np.asarray(span)
  image = np.tile(np.float32(color), (size, size, 1)) + _blotches(rng, 4.0)[..., None]
  kind, period, contrast = wallpaper
  along = np.arange(size) / scale[0]
  down = np.arange(size) / scale[1]
  if kind == "stripes":
    image[:, (along / period) % 1 < 0.5] *= contrast
  elif kind == "panels":
    image[:, (along / (2 * period)) % 1 < 0.04] *= 0.75
  elif kind == "bricks":
    shift = (np.floor(down / 75) % 2) * 0.5
    joint = ((along[None] / 240 + shift[:, None]) % 1 < 0.06) | ((down / 75) % 1 < 0.15)[:, None]
    image[joint] *= 0.85
  _paint_fittings(rng, image, span, scale)
  skirting = int(size - 110 * scale[1])
  image[skirting:] = rng.uniform(60, 240)
  image[skirting : skirting + 3] *= 0.7
  return image


def _paint_fittings(rng, image, span, scale):
  """Windows, doors, posters and shelves, left to right along the wall."""

  def rectangle(left, right, bottom, top, color):
    start = (round(left * scale[0]), round((span[1] - top) * scale[1]))
    end = (round(right * scale[0]), round((span[1] - bottom) * scale[1]))
    cv2.rectangle(image, start, end, tuple(float(c) for c in color), -1)

  place = rng.uniform(200, 1200)
  while place < span[0] - 1300:
    kind = rng.choice(["window", "door", "poster", "poster", "none"])
    width = {"window": rng.uniform(900, 1600), "door": 900}.get(kind, rng.uniform(400, 1100))
    right = place + width
    if kind == "window":
      bottom, top = rng.uniform(800, 1000), rng.uniform(2100, 2500)
      rectangle(place - 60, right + 60, bottom - 60, top + 60, [235, 235, 230])
      sky = np.array([150, 190, 235]) * rng.uniform(0.5, 1.08)
      rectangle(place, right, bottom, top, np.minimum(sky, 255))
      rectangle(place, right, bottom, bottom + rng.uniform(200, 500), [80, 120, 70])
      rectangle((place + right) / 2 - 25, (place + right) / 2 + 25, bottom, top, [235, 235, 230])
    elif kind == "door":
      color = rng.uniform(50, 220, 3) * [1, 0.9, 0.8]
      rectangle(place - 80, right + 80, 0, 2130, color * 0.7)
      rectangle(place, right, 0, 2050, color)
      rectangle(right - 120, right - 70, 960, 1030, [210, 200, 150])
    elif kind == "poster":
      bottom = rng.uniform(1000, 1500)
      top = bottom + rng.uniform(400, 1000)
      rectangle(place, right, bottom, top, [40, 35, 30])
      rectangle(place + 40, right - 40, bottom + 40, top - 40, rng.uniform(60, 240, 3))
      middle = bottom + (top - bottom) * rng.uniform(0.3, 0.6)
      rectangle(place + 40, right - 40, bottom + 40, middle, rng.uniform(40, 230, 3))
    place = right + rng.uniform(300, 1500)


def _paint_floor(rng, span):
  """Boards, tiles, carpet or concrete, and perhaps a rug."""
  size = TEXTURE_SIZE
  scale = size / span
  x, y = np.arange(size)[None] / scale[0], np.arange(size)[:, None] / scale[1]
  kind = rng.choice(["boards", "tiles", "checker", "carpet", "concrete"])
  wood = np.array([rng.uniform(90, 190), 0, 0])
  wood[1:] = wood[0] * np.array([0.75, 0.52]) * rng.uniform(0.9, 1.1)
  muted = rng.uniform(70, 200) * (1 + rng.uniform(-0.15, 0.15, 3))
  image = np.tile(np.float32(wood if kind == "boards" else muted), (size, size, 1))
  if kind == "boards":
    width, length = rng.uniform(110, 220), rng.uniform(1200, 2400)
    row = np.floor(y / width).astype(int)
    shift = rng.uniform(0, 1, row.max() + 1)[row]
    board = np.floor(x / length + shift).astype(int)
    tone = rng.uniform(0.82, 1.1, 4096)[(row * 97 + board * 31) % 4096]
    image *= np.where((y / width) % 1 < 0.1, 0.75, tone)[..., None]
  elif kind in ("tiles", "checker"):
    period = rng.uniform(300, 700)
    grout = ((x / period) % 1 < 0.06) | ((y / period) % 1 < 0.06)
    odd = (np.floor(x / period) + np.floor(y / period)) % 2 == 1
    image *= np.where(odd, rng.uniform(0.55, 0.85) if kind == "checker" else 0.97, 1.0)[..., None]
    image *= np.where(grout, 0.8, 1.0)[..., None]
  elif kind == "carpet":
    image += rng.normal(0, 9, (size, size, 1))
  image += _blotches(rng, 7.0)[..., None]
  if rng.random() < 0.5:
    center = (np.array([size, size]) / 2 + rng.uniform(-40, 40, 2)).astype(int)
    half = (rng.uniform(900, 1900, 2) * scale).astype(int)
    rug = rng.uniform(50, 220, 3)
    for shrink, color in ((0, rug * 0.6), (8, rug), (24, rug * 0.8), (28, rug)):
      low, high = center - half + shrink, center + half - shrink
      cv2.rectangle(image, tuple(map(int, low)), tuple(map(int, high)), tuple(color), -1)
  return image


def _blotches(rng, amplitude):
  """Smooth stains, [s, s]."""
  coarse = rng.normal(0, amplitude, (24, 24)).astype(np.float32)
  return cv2.resize(coarse, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_CUBIC)

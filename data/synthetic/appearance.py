"""What people look like: skin, hair and garments, painted in UV space.

The UV sheet of the body is rasterised once: every texel knows the place on the rest body it shows.
A person is then painted texel by texel from that place ("above the waist", "front of the chest"),
so patterns run over seams, and the front differs from the back as it does on people: faces, hair,
collars, prints, zips. The same painter, run on vertices, gives each garment a thickness.
"""

import dataclasses

import cv2
import numpy as np

SKIN_TONES = np.array(
  [[240, 205, 180], [226, 178, 148], [205, 150, 115], [170, 115, 80], [125, 80, 55], [85, 55, 42]]
)
HAIR_COLORS = np.array(
  [[25, 20, 18], [50, 32, 22], [90, 58, 34], [150, 105, 60], [205, 170, 110], [120, 118, 115]]
)
# Of the limbs of a motion-capture suit.
_LEFT_SUIT, _RIGHT_SUIT = np.array([40.0, 90.0, 225.0]), np.array([240.0, 140.0, 30.0])
# Sleeves and trouser legs end at a fraction of the limb: 1 is the elbow or knee, 2 wrist or ankle.
_SLEEVES = ((-1.0, 0.45), (0.35, 0.75), (1.7, 1.95))
_TROUSERS = ((0.4, 0.8), (1.75, 1.95), (1.75, 1.95))


@dataclasses.dataclass(frozen=True)
class Surface:
  """Points on the rest body and what they belong to.

  Attributes:
    position: [n, 3] float32 mm on the mean body at rest; x to its left, y to its back, z up.
    along: [n], place along the limb: 0 shoulder or hip, 1 elbow or knee, 2 wrist or ankle.
    regions: [n] bool per name of a region of the body.
  """

  position: np.ndarray
  along: np.ndarray
  regions: dict[str, np.ndarray]

  @classmethod
  def make(cls, position: np.ndarray, along: np.ndarray, region: np.ndarray) -> "Surface":
    """Points whose regions are given by name, [n] str."""
    regions = {str(name): region == name for name in np.unique(region)}
    return cls(position.astype(np.float32), along.astype(np.float32), regions)


@dataclasses.dataclass(frozen=True)
class Sheet:
  """The UV sheet: which texels the body uses and what each of them shows.

  Attributes:
    texels: the surface points of the used texels.
    index: [s, s] int32, texel to its surface point, that of the nearest used texel elsewhere.
    vertices: the surface points of the vertices.
  """

  texels: Surface
  index: np.ndarray
  vertices: Surface


@dataclasses.dataclass(frozen=True)
class Look:
  """One person's clothes and colours.

  Attributes:
    texture: [s, s, 3] uint8 RGB; row 0 is v = 1.
    thickness: [v] float32 mm, how far cloth, shoes and hair stand off the skin.
  """

  texture: np.ndarray
  thickness: np.ndarray


def make_sheet(
  rest: np.ndarray,
  joints: np.ndarray,
  region: np.ndarray,
  triangles: np.ndarray,
  uv: np.ndarray,
  uv_triangles: np.ndarray,
  *,
  size: int = 512,
) -> Sheet:
  """Rasterises the UV sheet of the body at rest.

  Args:
    rest: [v, 3] mm, vertices of the mean body at rest.
    joints: [17, 3] mm, its joints (Human3.6M order).
    region: [v] str, region of each vertex.
    triangles: [t, 3], corners in `rest`.
    uv: [u, 2] in 0..1, v up.
    uv_triangles: [t, 3], corners in `uv`.
    size: side of the sheet, texels.
  """
  along = _along_limbs(rest, joints, region)
  owner = np.full((size, size), -1, np.int32)
  corners = uv * [size, -size] + [-0.5, size - 0.5]
  fixed_point = np.round(corners * 16).astype(np.int32)
  for number, corner in enumerate(uv_triangles):
    cv2.fillConvexPoly(owner, fixed_point[corner], number, shift=4)
  rows, columns = np.nonzero(owner >= 0)
  owners = owner[rows, columns]
  weights = _barycentric(corners[uv_triangles[owners]], np.stack([columns, rows], -1))
  corner = triangles[owners]
  texels = Surface.make(
    (rest[corner] * weights[..., None]).sum(1),
    (along[corner] * weights).sum(1),
    region[np.take_along_axis(corner, weights.argmax(1)[:, None], 1)[:, 0]],
  )
  # Beyond the edge of an island a texel repeats the nearest used one, so that seams do not bleed.
  labels = cv2.distanceTransformWithLabels(
    (owner < 0).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
  )[1]
  point_of_label = np.zeros(labels.max() + 1, np.int32)
  point_of_label[labels[rows, columns]] = np.arange(len(rows))
  return Sheet(texels, point_of_label[labels], Surface.make(rest, along, region))


def paint(
  sheet: Sheet, joints: np.ndarray, rng: np.random.Generator, *, suits: float = 0.0
) -> Look:
  """Dresses one person.

  Args:
    sheet: from `make_sheet`.
    joints: [17, 3] mm, joints of the mean body at rest.
    rng: draws colours, garments and patterns.
    suits: probability of a motion-capture suit over the clothes: blue left limbs, orange right.
  """
  wardrobe = _Wardrobe(joints, rng, suits)
  color, _ = wardrobe.paint(sheet.texels)
  _, thickness = wardrobe.paint(sheet.vertices)
  texture = np.clip(color, 0, 255).astype(np.uint8)[sheet.index]
  return Look(texture, thickness.astype(np.float32))


def _barycentric(corners, points):
  """Weights [n, 3] of points [n, 2] in triangles [n, 3, 2], pulled inside."""
  first = corners[:, 0]
  ab, ac, ap = corners[:, 1] - first, corners[:, 2] - first, points - first
  area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
  area = np.where(np.abs(area) < 1e-9, 1e-9, area)
  second = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / area
  third = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / area
  weights = np.clip(np.stack([1 - second - third, second, third], -1), 0, 1)
  return weights / weights.sum(1, keepdims=True)


def _along_limbs(rest, joints, region):
  """Place of each vertex along its arm or leg; 0 elsewhere."""
  along = np.zeros(len(rest))
  left = rest[:, 0] > 0
  # Human3.6M joints: hip, knee, ankle and shoulder, elbow, wrist of the right and left side.
  chains = {("leg", False): (1, 2, 3), ("leg", True): (4, 5, 6)}
  chains |= {("arm", True): (11, 12, 13), ("arm", False): (14, 15, 16)}
  upper = {"leg": "upper_leg", "arm": "upper_arm"}
  lower = {"leg": ("lower_leg", "foot"), "arm": ("lower_arm", "hand")}
  for (limb, is_left), (start, middle, end) in chains.items():
    for names, a, b, offset in (
      ((upper[limb],), start, middle, 0),
      (lower[limb], middle, end, 1),
    ):
      mask = np.isin(region, names) & (left == is_left)
      axis = joints[b] - joints[a]
      along[mask] = offset + (rest[mask] - joints[a]) @ axis / (axis @ axis)
  return along


class _Wardrobe:
  """The draws for one person, made once, so that texels and vertices agree."""

  def __init__(self, joints, rng, suits):
    self.joints = joints
    self.noise = np.float32(rng.uniform(-1, 1, (6, 4)) * [0.02, 0.02, 0.02, np.pi])
    self.skin = _blend(SKIN_TONES, rng)
    self.hair = _blend(HAIR_COLORS, rng)
    self.bald = rng.random() < 0.06
    self.beard = rng.random() < 0.2
    self.long_hair = rng.random() < 0.35
    self.top = _Cloth(rng)
    self.sleeve_color = self.top.colors[rng.integers(2)] if rng.random() < 0.25 else None
    self.sleeve = rng.uniform(*_SLEEVES[rng.choice(3, p=[0.1, 0.5, 0.4])])
    self.front = rng.choice(["print", "disc", "zip", "buttons", "band", "none"])
    self.front_color = _cloth_color(rng)
    self.hem = rng.uniform(-60, 60)
    self.bottom = _Cloth(rng, plain=0.85, dark=0.6)
    self.bottom_end = rng.uniform(*_TROUSERS[rng.integers(3)])
    self.side_stripe = rng.random() < 0.2
    self.shoe, self.sole, self.sock = _cloth_color(rng), rng.uniform(90, 250), rng.uniform(40, 250)
    self.watch = rng.random() < 0.5
    self.thickness = {"top": rng.uniform(6, 16), "bottom": rng.uniform(5, 12)}
    self.suit = rng.random() < suits

  def paint(self, surface):
    """Returns colour [n, 3] (0..255) and thickness [n] mm."""
    p, on, along = surface.position, surface.regions, surface.along
    joints = self.joints
    front = p[:, 1] < joints[0, 1] - 20
    nose, neck_z, hip_z = joints[9], joints[8, 2], joints[0, 2]
    color = np.tile(np.float32(self.skin), (len(p), 1))
    thickness = np.zeros(len(p), np.float32)

    is_arm = on["upper_arm"] | on["lower_arm"]
    is_leg = on["upper_leg"] | on["lower_leg"]
    trunk = on["torso"] | on["pelvis"]
    collar = neck_z + 25 - np.where(front, 70, 0) * np.exp(-((p[:, 0] / 70) ** 2))
    waist = hip_z + 70
    top = (trunk & (p[:, 2] < collar)) | (is_arm & (along < self.sleeve))
    top &= p[:, 2] > waist + self.hem
    bottom = (trunk & (p[:, 2] <= waist + 40)) | (is_leg & (along < self.bottom_end))
    bottom &= ~top & ~is_arm
    ankle = joints[3, 2]
    foot = on["foot"] & (p[:, 2] < ankle + 35)
    sock = (on["lower_leg"] | on["foot"]) & (p[:, 2] < ankle + 130) & ~foot & ~bottom

    color[sock] = self.sock
    color[bottom] = self.bottom.color(p[bottom])
    if self.side_stripe:
      outside = np.abs(p[:, 0]) > np.interp(along, [0, 1, 2], [150, 160, 170]) + 15
      color[bottom & is_leg & outside] = self.front_color
    belt = bottom & (np.abs(p[:, 2] - waist - 20) < 18)
    color[belt] *= 0.4
    color[top] = self.top.color(p[top])
    if self.sleeve_color is not None:
      color[top & is_arm] = self.sleeve_color
    self._paint_front(color, p, top & trunk & front, neck_z)
    color[top & (np.abs(p[:, 2] - collar) < 14) & trunk] *= 0.6
    color[foot] = np.where(p[foot, 2:] < ankle - 55, self.sole, self.shoe)
    if self.watch:
      color[on["lower_arm"] & (p[:, 0] > 0) & (np.abs(along - 1.9) < 0.06)] = 25
    if self.suit:
      limb = is_arm | is_leg | foot
      color[limb] = np.where(p[limb, :1] > 0, _LEFT_SUIT, _RIGHT_SUIT)
    thickness[top] = self.thickness["top"]
    thickness[bottom] = self.thickness["bottom"]
    thickness[foot] = 7

    folds = 1 + 0.05 * np.sin(p @ self.noise[:, :3].T + self.noise[:, 3]).sum(1) / 2
    color *= folds[:, None]
    self._paint_head(color, thickness, p, on, nose)
    return color, thickness

  def _paint_front(self, color, p, chest, neck_z):
    x, z = p[:, 0], p[:, 2] - neck_z + 260
    if self.front == "print":
      color[chest & (np.abs(x) < 95) & (np.abs(z) < 75)] = self.front_color
      color[chest & (np.abs(x) < 60) & (np.abs(z) < 18)] = self.top.colors[1]
    elif self.front == "disc":
      color[chest & (x**2 + z**2 < 85**2)] = self.front_color
      color[chest & (x**2 + z**2 < 40**2)] = self.top.colors[1]
    elif self.front == "zip":
      color[chest & (np.abs(x) < 35)] = self.front_color
    elif self.front == "buttons":
      color[chest & (np.abs(x) < 12)] *= 0.7
      color[chest & (x > 50) & (x < 120) & (np.abs(z - 30) < 45)] *= 0.8
    elif self.front == "band":
      color[chest & (np.abs(z) < 45)] = self.front_color

  def _paint_head(self, color, thickness, p, on, nose):
    x, y, z = np.abs(p[:, 0]), p[:, 1] - nose[1], p[:, 2] - nose[2]
    face = on["face"]
    if self.beard:
      jaw = face & (z < -18) & (y > 8) & (y < 110)
      color[jaw] = self.hair * 0.6 + self.skin * 0.4
    lips = face & (np.abs(z + 33) < 8) & (x < 24) & (y < 50)
    color[lips] = self.skin * [0.85, 0.55, 0.55]
    brow = face & (np.abs(z - 48) < 6) & (x > 12) & (x < 50) & (y < 60)
    color[brow] = self.hair * 0.7
    color[on["eye"]] = 30
    if self.bald:
      return
    hair = on["scalp"]
    if self.long_hair:
      hair = hair | on["neck"] & (y > 105)
    strands = 1 + 0.12 * np.sin(p[hair, 0] * 0.25 + 3 * np.sin(p[hair, 2] * 0.03))
    color[hair] = self.hair * strands[:, None]
    thickness[hair] = 18 if self.long_hair else 10


class _Cloth:
  """A fabric: two colours and a pattern over the rest body."""

  def __init__(self, rng, plain=0.45, dark=0.2):
    self.colors = np.stack([_cloth_color(rng, dark), _cloth_color(rng, dark)])
    kinds = ["plain", "stripes", "bars", "checks", "blocks"]
    self.kind = rng.choice(kinds, p=[plain, *[(1 - plain) / 4] * 4])
    self.period = rng.uniform(50, 140)
    self.split = rng.uniform(0.3, 0.6)
    self.height = rng.uniform(-150, 150)

  def color(self, p):
    """Colour [n, 3] at positions [n, 3]."""
    across = (p[:, 0] / self.period) % 1 < self.split
    up = (p[:, 2] / self.period) % 1 < self.split
    if self.kind == "stripes":
      return self.colors[up.astype(int)]
    if self.kind == "bars":
      return self.colors[across.astype(int)]
    if self.kind == "checks":
      share = (across * 0.5 + up * 0.5)[:, None]
      return self.colors[0] * (1 - share) + self.colors[1] * share
    if self.kind == "blocks":
      return self.colors[(p[:, 2] > self.height).astype(int)]
    return np.tile(self.colors[0], (len(p), 1))


def _blend(palette, rng):
  """A colour between two neighbours of a palette."""
  place = rng.uniform(0, len(palette) - 1)
  low = min(int(place), len(palette) - 2)
  return palette[low] + (place - low) * (palette[low + 1] - palette[low])


def _cloth_color(rng, dark=0.2):
  """A garment colour: any hue, mostly muted, black and white included."""
  value = rng.uniform(25, 90) if rng.random() < dark else rng.uniform(70, 245)
  saturation = rng.choice([0.05, 0.4, 0.8]) * rng.uniform(0.6, 1.0) * 255
  hsv = np.array([[[rng.uniform(0, 180), saturation, value]]]).astype(np.uint8)
  return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)

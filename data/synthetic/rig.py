"""Cameras around the subject as in Human3.6M, and the crop that is stored.

x_c = R x_w + t in mm; OpenCV pixels, integers are pixel centres.
"""

import dataclasses

import numpy as np

SENSOR_SIZE = 1000
FOCAL_PX = 1145.0
# Side of the square around the root that the Human3.6M recipe crops, and the person box here.
BOX_MM = 2000.0
# Where cameras stand: distances and focal lengths in those of "around", and added height in mm.
# "ceiling" looks down by some 40 degrees; "far" are long lenses, "near" are wide ones.
PLACES = {
  "around": (1.0, 1.0, 0.0),
  "ceiling": (0.55, 1.0, 1600.0),
  "far": (2.0, 2.0, 0.0),
  "near": (0.6, 0.6, 0.0),
}


@dataclasses.dataclass(frozen=True)
class Rig:
  """Calibrated cameras.

  Attributes:
    intrinsics: [v, 3, 3], px.
    rotation: [v, 3, 3], world to camera.
    translation: [v, 3] mm, world to camera.
  """

  intrinsics: np.ndarray
  rotation: np.ndarray
  translation: np.ndarray

  @property
  def centers(self) -> np.ndarray:
    """[v, 3] mm, camera centres in the world."""
    return -np.einsum("vji,vj->vi", self.rotation, self.translation)


def sample_rig(
  rng: np.random.Generator, *, num_views: int, jitter: float, place: str = "around"
) -> Rig:
  """Draws cameras 4–6 m from the middle of the room and 1–3 m high, looking at its middle.

  Four of them stand near the corners of an oblong room, two and two, as in Human3.6M.

  Args:
    rng: draws the jitter and the heading of the whole rig.
    num_views: v; more than four are spread over the circle.
    jitter: 0 for a regular rig, 1 for the full range.
    place: of `PLACES`, what is not "around".
  """
  farther, longer, higher = PLACES[place]
  heading = rng.uniform(0, 2 * np.pi)
  slots = (np.arange(num_views) + 0.5) * 2 * np.pi / max(num_views, 4)
  azimuth = slots + np.radians(23) * np.sin(2 * slots)
  azimuth = azimuth + heading + jitter * np.radians(rng.uniform(-10, 10, num_views))
  distance = 5000 + jitter * rng.uniform(-1000, 1000, num_views)
  height = 1600 + jitter * np.where(
    rng.random(num_views) < 0.5, rng.uniform(-600, 200, num_views), rng.uniform(0, 1400, num_views)
  )
  distance, height = farther * distance, height + higher
  centers = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), height], -1)
  targets = np.array([0.0, 0.0, 900.0]) + jitter * rng.uniform(-250, 250, (num_views, 3))
  roll = jitter * np.radians(rng.uniform(-2, 2, num_views))
  rotation = np.stack([look_at(c, t, r) for c, t, r in zip(centers, targets, roll)])
  intrinsics = np.zeros((num_views, 3, 3))
  focal = longer * FOCAL_PX * (1 + jitter * rng.uniform(-0.02, 0.02, num_views))
  intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 2, 2] = focal, focal, 1
  intrinsics[:, :2, 2] = (SENSOR_SIZE - 1) / 2 + jitter * rng.uniform(-15, 15, (num_views, 2))
  return Rig(intrinsics, rotation, -np.einsum("vij,vj->vi", rotation, centers))


def crop(rig: Rig, root: np.ndarray, *, image_size: int, margin: float) -> tuple[Rig, float]:
  """Cuts each camera to a square around the person, with exact intrinsics.

  The person box is the projection of a 2 m square, facing the camera, around the root: the crop
  side follows the distance and not the pose, as in the Human3.6M recipe. It lands in the middle of
  the stored image, whose side is `margin` times the side of the box.

  Args:
    rig: whole cameras.
    root: [3] mm, the pelvis.
    image_size: side of the stored image, px.
    margin: stored side / box side.

  Returns:
    rig: the same cameras with intrinsics for the stored pixels.
    box_size: side of the person box in stored pixels.
  """
  in_camera = rig.rotation @ root + rig.translation
  focal = rig.intrinsics[:, 0, 0]
  side = margin * BOX_MM * focal / in_camera[:, 2]
  center = np.einsum("vij,vj->vi", rig.intrinsics, in_camera)
  center = center[:, :2] / center[:, 2:]
  scale = image_size / side
  to_stored = np.zeros_like(rig.intrinsics)
  to_stored[:, 0, 0], to_stored[:, 1, 1], to_stored[:, 2, 2] = scale, scale, 1
  to_stored[:, :2, 2] = (image_size - 1) / 2 - scale[:, None] * center
  return dataclasses.replace(rig, intrinsics=to_stored @ rig.intrinsics), image_size / margin


def project(rig: Rig, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Projects world points [n, 3] into every camera: (u, v) [v, n, 2] px and depth [v, n] mm."""
  in_camera = np.einsum("vij,nj->vni", rig.rotation, points) + rig.translation[:, None]
  homogeneous = np.einsum("vij,vnj->vni", rig.intrinsics, in_camera)
  return homogeneous[..., :2] / homogeneous[..., 2:], in_camera[..., 2]


def look_at(center, target, roll):
  """World-to-camera rotation of an upright camera, turned by `roll` radians about its axis."""
  forward = (target - center) / np.linalg.norm(target - center)
  right = np.cross(forward, [0.0, 0.0, 1.0])
  right /= np.linalg.norm(right)
  down = np.cross(forward, right)
  cos, sin = np.cos(roll), np.sin(roll)
  return np.stack([cos * right + sin * down, cos * down - sin * right, forward])

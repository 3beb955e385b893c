"""The rendering of one frame: a shaded body in a ray-cast room, from several cameras at once.

Device code, one jitted function for the pose and one for the pixels. Samples are taken on a grid
`supersampling` times finer than the image and averaged.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data.synthetic import body as body_lib
from data.synthetic import rasterizer
from data.synthetic import room as room_lib

NEAR_MM = 200.0
# Faces of a vertex that its normal is averaged over; the few vertices with more do without them.
_MAX_FACES = 8


class Rendering(NamedTuple):
  """What `Renderer.draw` returns.

  Attributes:
    color: [v, s, s, 3] float32 in 0..1, clean (no noise, blur or exposure yet).
    depth: [v, s, s] float32 mm, of the nearest surface at the pixel's first sample.
    person: [v, s, s] float32, share of the pixel's samples that show the body.
    overflow: [v] int32, triangles left out for want of room; must be zero.
    clipped: [v] int32, triangles that reach behind the near plane; must be zero, unless the body
      may stand around the cameras.
    label: [v, s, s] uint8, label of the triangle at the pixel's first sample, 0 where the body is
      not seen; None without labels.
  """

  color: jax.Array
  depth: jax.Array
  person: jax.Array
  overflow: jax.Array
  clipped: jax.Array
  label: jax.Array | None = None


class Renderer:
  """Poses and draws bodies; holds the body on the device and the compiled functions.

  Args:
    body: the asset.
    image_size: side of the images, px.
    supersampling: samples per pixel and axis.
    joints_of: what `pose` returns as joints, see `body.pose_body`.
    labels: [F] uint8, label of each triangle for `Rendering.label`; None for none.
    limits: of the rasteriser; None for those of a body that is seen whole.
    around: the body may reach behind the cameras. Its triangles that do are left out: keep the
      cameras so far from it that none of those is in the image.
  """

  def __init__(
    self,
    body: body_lib.Body,
    *,
    image_size: int,
    supersampling: int,
    joints_of: body_lib.JointsOf = body_lib.h36m_joints,
    labels: np.ndarray | None = None,
    limits: rasterizer.Limits | None = None,
    around: bool = False,
  ):
    self._body = jax.device_put(body)
    self._labels = None if labels is None else jnp.asarray(labels)
    self._around = around
    self._faces = jnp.asarray(_faces_of_vertices(body.triangles, len(body.rest_vertices)))
    self._pose = jax.jit(functools.partial(_pose, joints_of=joints_of))
    self._limits = limits or rasterizer.default_limits(
      image_size * supersampling, len(body.triangles)
    )
    draw = functools.partial(_draw, image_size=image_size, supersampling=supersampling)
    self._draw = jax.jit(draw, static_argnames=("limits",))

  def pose(
    self,
    shape: np.ndarray,
    bone_rotations: np.ndarray,
    translation: np.ndarray,
    yaw: float,
    thickness: np.ndarray,
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Poses a dressed body.

    Args:
      shape: [24] standard deviations.
      bone_rotations: [b, 3, 3].
      translation: [3] mm, as `body.pose_body` takes it.
      yaw: radians, turns the body about the vertical through its root.
      thickness: [v] mm, cloth and hair over the skin.

    Returns:
      vertices: [v, 3] mm, world, of the cloth.
      normals: [v, 3], unit.
      joints: [j, 3] mm, world.
    """
    return self._pose(
      self._body, self._faces, shape, bone_rotations, translation, np.float32(yaw), thickness
    )

  def draw(
    self,
    vertices: jax.Array,
    normals: jax.Array,
    texture: np.ndarray,
    cameras: tuple[np.ndarray, np.ndarray, np.ndarray],
    room: dict[str, np.ndarray],
    light: room_lib.Light,
  ) -> Rendering:
    """Draws the frame from every camera.

    Args:
      vertices: [n, 3] mm.
      normals: [n, 3].
      texture: [t, t] uint32, packed colours.
      cameras: intrinsics [v, 3, 3] for the stored image, rotation [v, 3, 3], translation [v, 3].
      room: see `room.cast`.
      light: of the frame.

    Raises:
      RuntimeError: a body reaches behind a camera, or no limits are large enough to draw it.
    """
    scene = (vertices, normals, texture, cameras, room, light)
    for factor in (1, 2, 4, 16):
      limits = self._limits if factor == 1 else self._limits.grown(factor)
      rendering = self._draw(self._body, self._labels, *scene, limits=limits)
      if np.asarray(rendering.clipped).any() and not self._around:
        raise RuntimeError("a body reaches behind the near plane of a camera")
      if not np.asarray(rendering.overflow).any():
        return rendering
    raise RuntimeError(f"{np.asarray(rendering.overflow)} items per view found no room in {limits}")


def _pose(body, faces, shape, bone_rotations, translation, yaw, thickness, *, joints_of):
  cos, sin = jnp.cos(yaw), jnp.sin(yaw)
  zero, one = jnp.zeros_like(cos), jnp.ones_like(cos)
  turn = jnp.stack(
    [jnp.stack([cos, -sin, zero]), jnp.stack([sin, cos, zero]), jnp.stack([zero, zero, one])]
  )
  rotations = bone_rotations.at[0].set(jnp.matmul(turn, bone_rotations[0], precision="highest"))
  vertices, joints = body_lib.pose_body(body, shape, rotations, translation, joints_of)
  corner = vertices[body.triangles]
  face_normals = jnp.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
  padded = jnp.concatenate([face_normals, jnp.zeros((1, 3))])
  normals = padded[faces].sum(1)
  normals /= jnp.sqrt((normals**2).sum(-1, keepdims=True) + 1e-12)
  vertices = vertices + thickness[:, None] * normals
  lift = jnp.stack([zero, zero, jnp.minimum(vertices[:, 2].min(), 0.0)])
  return vertices - lift[None], normals, joints - lift[None]


def _draw(
  body,
  labels,
  vertices,
  normals,
  texture,
  cameras,
  room,
  light,
  *,
  image_size,
  supersampling,
  limits,
):
  # Light per vertex: the mesh is finer than the pixels, so this is smooth shading.
  lambert = jnp.maximum(normals @ light.direction, 0.0)
  sky = 0.78 + 0.22 * normals[:, 2]
  shade = light.ambient[None] * sky[:, None] + 0.95 * light.sun[None] * lambert[:, None]
  view = functools.partial(
    _draw_view,
    body,
    labels,
    vertices,
    shade,
    texture,
    room,
    light,
    image_size=image_size,
    supersampling=supersampling,
    limits=limits,
  )
  return jax.vmap(view)(*cameras)


def _draw_view(
  body,
  labels,
  vertices,
  shade,
  texture,
  room,
  light,
  intrinsics,
  rotation,
  translation,
  *,
  image_size,
  supersampling,
  limits,
):
  fine = image_size * supersampling
  # Stored pixel u holds the fine pixels n·u .. n·u + n - 1, whose middle is n·u + (n - 1) / 2.
  offset = (supersampling - 1) / 2
  scale = jnp.array([[supersampling, 0, offset], [0, supersampling, offset], [0, 0, 1.0]])
  intrinsics = jnp.matmul(scale, intrinsics, precision="highest")
  in_camera = jnp.matmul(vertices, rotation.T, precision="highest") + translation[None]
  depth = in_camera[:, 2]
  safe = jnp.where(depth > NEAR_MM, depth, NEAR_MM)
  points = jnp.matmul(in_camera / safe[:, None], intrinsics.T, precision="highest")[:, :2]
  raster = rasterizer.rasterize(
    points, depth, body.triangles, size_hw=(fine, fine), limits=limits, near=NEAR_MM
  )
  skin = _shade_body(body, shade, texture, raster)

  u = (jnp.arange(fine, dtype=jnp.float32)[None] - intrinsics[0, 2]) / intrinsics[0, 0]
  v = (jnp.arange(fine, dtype=jnp.float32)[:, None] - intrinsics[1, 2]) / intrinsics[1, 1]
  direction = tuple(u * rotation[0, k] + v * rotation[1, k] + rotation[2, k] for k in range(3))
  origin = -jnp.matmul(rotation.T, translation, precision="highest")
  background, far = room_lib.cast(origin, direction, room, light)

  to_image = functools.partial(raster.image, size_hw=(fine, fine))
  body_depth = to_image(raster.depth, jnp.inf)
  person = body_depth < far
  color = room_lib.unpack(jnp.where(person, to_image(skin, 0), background))
  average = functools.partial(_average, supersampling=supersampling)
  nearest = jnp.minimum(body_depth, far)
  label = None
  if labels is not None:
    label = jnp.where(person, to_image(labels[raster.triangle], 0), 0).astype(jnp.uint8)
    label = label[::supersampling, ::supersampling]
  return Rendering(
    jnp.stack([average(channel) for channel in color], -1),
    nearest[::supersampling, ::supersampling],
    average(person.astype(jnp.float32)),
    raster.overflow,
    raster.clipped,
    label,
  )


def _average(image, *, supersampling):
  """Mean of every block of samples: [h · n, w · n] to [h, w]."""
  n = supersampling
  return sum(image[i::n, j::n] for i in range(n) for j in range(n)) / n**2


def _shade_body(body, shade, texture, raster):
  """Texture times light for the covered pixels: [m] packed colours."""
  weights = raster.barycentric
  uv_rows = jnp.asarray(body.uv)[body.uv_triangles].reshape(-1, 6)[raster.triangle]
  uv = [sum(weights[:, i] * uv_rows[:, 2 * i + k] for i in range(3)) for k in range(2)]
  light_rows = shade[body.triangles].reshape(-1, 9)[raster.triangle]
  light = [sum(weights[:, i] * light_rows[:, 3 * i + k] for i in range(3)) for k in range(3)]
  size = texture.shape[0]
  column = jnp.clip((uv[0] * size).astype(jnp.int32), 0, size - 1)
  row = jnp.clip(((1 - uv[1]) * size).astype(jnp.int32), 0, size - 1)
  color = room_lib.unpack(texture.reshape(-1)[row * size + column])
  return room_lib.pack(*(color[k] * light[k] for k in range(3)))


def _faces_of_vertices(triangles, num_vertices):
  """The faces around each vertex, [v, 8], padded with the number of triangles."""
  faces = np.full((num_vertices, _MAX_FACES), len(triangles), np.int32)
  order = np.argsort(triangles.ravel(), kind="stable")
  vertex = triangles.ravel()[order]
  slot = np.arange(len(vertex)) - np.searchsorted(vertex, vertex)
  keep = slot < _MAX_FACES
  faces[vertex[keep], slot[keep]] = order[keep] // 3
  return faces

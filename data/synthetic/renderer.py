"""The picture of one frame: a shaded body in a ray-cast room, from several cameras at once.

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


class Picture(NamedTuple):
  """What `Renderer.draw` returns.

  Attributes:
    color: [v, s, s, 3] float32 in 0..1, clean (no noise, blur or exposure yet).
    depth: [v, s, s] float32 mm, of the nearest surface at the pixel's first sample.
    person: [v, s, s] float32, share of the pixel's samples that show the body.
    overflow: [v] int32, triangles left out for want of room; must be zero.
    clipped: [v] int32, triangles that reach behind the near plane; must be zero.
  """

  color: jax.Array
  depth: jax.Array
  person: jax.Array
  overflow: jax.Array
  clipped: jax.Array


class Renderer:
  """Poses and draws bodies; holds the body on the device and the compiled functions."""

  def __init__(self, body: body_lib.Body, *, image_size: int, supersampling: int):
    self._body = jax.device_put(body)
    self._faces = jnp.asarray(_faces_of_vertices(body.triangles, len(body.rest_vertices)))
    self._pose = jax.jit(_pose)
    self._tiers = rasterizer.default_tiers(image_size * supersampling, len(body.triangles))
    draw = functools.partial(_draw, image_size=image_size, supersampling=supersampling)
    self._draw = jax.jit(draw, static_argnames=("tiers",))

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
      joints: [17, 3] mm, world.
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
  ) -> Picture:
    """Draws the frame from every camera.

    Args:
      vertices: [n, 3] mm.
      normals: [n, 3].
      texture: [t, t, 3] uint8.
      cameras: intrinsics [v, 3, 3] for the stored image, rotation [v, 3, 3], translation [v, 3].
      room: see `room.cast`.
      light: of the frame.

    Raises:
      RuntimeError: a body reaches behind a camera, or no tiers are large enough to draw it.
    """
    scene = (vertices, normals, texture, cameras, room, light)
    for factor in (1, 2, 4, 16):
      tiers = rasterizer.grow(self._tiers, factor) if factor > 1 else self._tiers
      picture = self._draw(self._body, *scene, tiers=tiers)
      if np.asarray(picture.clipped).any():
        raise RuntimeError("a body reaches behind the near plane of a camera")
      if not np.asarray(picture.overflow).any():
        return picture
    raise RuntimeError(
      f"{np.asarray(picture.overflow)} triangles per view found no room in {tiers}"
    )


def _pose(body, faces, shape, bone_rotations, translation, yaw, thickness):
  cos, sin = jnp.cos(yaw), jnp.sin(yaw)
  zero, one = jnp.zeros_like(cos), jnp.ones_like(cos)
  turn = jnp.stack(
    [jnp.stack([cos, -sin, zero]), jnp.stack([sin, cos, zero]), jnp.stack([zero, zero, one])]
  )
  rotations = bone_rotations.at[0].set(jnp.matmul(turn, bone_rotations[0], precision="highest"))
  vertices, joints = body_lib.pose_body(body, shape, rotations, translation)
  corner = vertices[body.triangles]
  face_normals = jnp.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
  padded = jnp.concatenate([face_normals, jnp.zeros((1, 3))])
  normals = padded[faces].sum(1)
  normals /= jnp.sqrt((normals**2).sum(-1, keepdims=True) + 1e-12)
  vertices = vertices + thickness[:, None] * normals
  lift = jnp.stack([zero, zero, jnp.minimum(vertices[:, 2].min(), 0.0)])
  return vertices - lift, normals, joints - lift


def _draw(
  body, vertices, normals, texture, cameras, room, light, *, image_size, supersampling, tiers
):
  # Light per vertex: the mesh is finer than the pixels, so this is smooth shading.
  lambert = jnp.maximum(normals @ light.direction, 0.0)
  sky = 0.78 + 0.22 * normals[:, 2]
  shade = light.ambient * sky[:, None] + light.sun * 0.95 * lambert[:, None]
  view = functools.partial(
    _draw_view,
    body,
    vertices,
    shade,
    texture,
    room,
    light,
    image_size=image_size,
    supersampling=supersampling,
    tiers=tiers,
  )
  return jax.vmap(view)(*cameras)


def _draw_view(
  body,
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
  tiers,
):
  fine = image_size * supersampling
  # Stored pixel u holds the fine pixels n·u .. n·u + n - 1, whose middle is n·u + (n - 1) / 2.
  offset = (supersampling - 1) / 2
  scale = jnp.array([[supersampling, 0, offset], [0, supersampling, offset], [0, 0, 1.0]])
  intrinsics = jnp.matmul(scale, intrinsics, precision="highest")
  in_camera = jnp.matmul(vertices, rotation.T, precision="highest") + translation
  depth = in_camera[:, 2]
  safe = jnp.where(depth > NEAR_MM, depth, NEAR_MM)
  points = jnp.matmul(in_camera / safe[:, None], intrinsics.T, precision="highest")[:, :2]
  raster = rasterizer.rasterize(
    points, depth, body.triangles, size_hw=(fine, fine), tiers=tiers, near=NEAR_MM
  )
  skin = _shade_body(body, shade, texture, raster)

  pixel = jnp.arange(fine * fine, dtype=jnp.int32)
  u = ((pixel % fine).astype(jnp.float32) - intrinsics[0, 2]) / intrinsics[0, 0]
  v = ((pixel // fine).astype(jnp.float32) - intrinsics[1, 2]) / intrinsics[1, 1]
  u = u - v * intrinsics[0, 1] / intrinsics[0, 0]
  direction = u[:, None] * rotation[0] + v[:, None] * rotation[1] + rotation[2]
  origin = -jnp.matmul(rotation.T, translation, precision="highest")
  background, far = room_lib.cast(origin, direction, room, light)

  body_depth = raster.depth.reshape(-1)
  person = body_depth < far
  color = jnp.clip(jnp.where(person[:, None], skin, background), 0.0, 1.0)
  nearest = jnp.minimum(body_depth, far).reshape(fine, fine)
  blocks = (image_size, supersampling, image_size, supersampling)
  return Picture(
    color.reshape(*blocks, 3).mean((1, 3)),
    nearest[::supersampling, ::supersampling],
    person.reshape(blocks).astype(jnp.float32).mean((1, 3)),
    raster.overflow,
    raster.clipped,
  )


def _shade_body(body, shade, texture, raster):
  """Texture times light for every pixel, [p, 3]; any colour where there is no body."""
  triangle = jnp.maximum(raster.triangle.reshape(-1), 0)
  weights = raster.barycentric.reshape(-1, 3, 1)
  uv_rows = jnp.asarray(body.uv)[body.uv_triangles].reshape(-1, 6)
  uv = (uv_rows[triangle].reshape(-1, 3, 2) * weights).sum(1)
  light = (shade[body.triangles].reshape(-1, 9)[triangle].reshape(-1, 3, 3) * weights).sum(1)
  size = texture.shape[0]
  column = jnp.clip((uv[:, 0] * size).astype(jnp.int32), 0, size - 1)
  row = jnp.clip(((1 - uv[:, 1]) * size).astype(jnp.int32), 0, size - 1)
  texel = texture.reshape(-1, 3)[row * size + column]
  return texel.astype(jnp.float32) / 255 * light


def _faces_of_vertices(triangles, num_vertices):
  """The faces around each vertex, [v, 8], padded with the number of triangles."""
  faces = np.full((num_vertices, _MAX_FACES), len(triangles), np.int32)
  order = np.argsort(triangles.ravel(), kind="stable")
  vertex = triangles.ravel()[order]
  slot = np.arange(len(vertex)) - np.searchsorted(vertex, vertex)
  keep = slot < _MAX_FACES
  faces[vertex[keep], slot[keep]] = order[keep] // 3
  return faces

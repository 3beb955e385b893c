"""The z-buffer against a slow float64 loop, in perspective, and when it runs out of room."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.synthetic import rasterizer

SIZE = 24
LIMITS = rasterizer.Limits(
  (rasterizer.Tier(4, 64), rasterizer.Tier(12, 64), rasterizer.Tier(32, 64)), SIZE * SIZE
)


def draw(points, depth, triangles, limits=LIMITS, near=1.0, cull=True):
  draw_fn = functools.partial(
    rasterizer.rasterize, size_hw=(SIZE, SIZE), limits=limits, near=near, cull=cull
  )
  return jax.jit(draw_fn)(jnp.float32(points), jnp.float32(depth), jnp.int32(triangles))


def images(raster):
  """Triangle [h, w] (-1 where none) and depth [h, w] (inf where none)."""
  put = functools.partial(raster.image, size_hw=(SIZE, SIZE))
  return np.asarray(put(raster.triangle, -1)), np.asarray(put(raster.depth, jnp.inf))


def slow_z_buffer(points, depth, triangles):
  """Every pixel against every triangle that faces the camera, float64.

  Also returns how clearly each pixel is decided: the least distance of a barycentric coordinate
  from zero, over the triangles.
  """
  nearest = np.full((SIZE, SIZE), np.inf)
  owner = np.full((SIZE, SIZE), -1)
  clear = np.full((SIZE, SIZE), np.inf)
  for number, corner in enumerate(triangles):
    matrix = np.vstack([points[corner].T, np.ones(3)])
    if np.linalg.det(matrix) > -1e-9:
      continue
    for v, u in np.ndindex(SIZE, SIZE):
      weight = np.linalg.solve(matrix, [u, v, 1.0])
      clear[v, u] = min(clear[v, u], np.abs(weight).min())
      z = 1 / (weight @ (1 / depth[corner]))
      if weight.min() >= 0 and z < nearest[v, u]:
        nearest[v, u], owner[v, u] = z, number
  return owner, nearest, clear


def test_agrees_with_a_slow_float64_z_buffer():
  rng = np.random.default_rng(0)
  center = rng.uniform(-4, SIZE + 4, (60, 1, 2))
  reach = rng.choice([1, 5, 12], (60, 1, 1))
  points = (center + reach * rng.uniform(-1, 1, (60, 3, 2))).reshape(-1, 2)
  depth = rng.uniform(2000, 4000, 180)
  triangles = np.arange(180).reshape(60, 3)
  raster = draw(points, depth, triangles)
  owner, nearest, clear = slow_z_buffer(points, depth, triangles)
  triangle, z = images(raster)
  assert int(raster.overflow) == 0 and int(raster.clipped) == 0
  # Pixel centres within float32's rounding of an edge may go either way.
  sure = clear > 1e-4
  assert sure.mean() > 0.95 and (owner >= 0).sum() > 100 and len(np.unique(owner)) > 8
  np.testing.assert_array_equal(triangle[sure], owner[sure])
  covered = sure & (owner >= 0)
  np.testing.assert_allclose(z[covered], nearest[covered], rtol=1e-5)


def test_plane_in_perspective():
  """Barycentric weights give back the point of a tilted plane that each pixel sees."""
  corners = np.array([[-900.0, -900, 1500], [900, -900, 1500], [900, 900, 6000], [-900, 900, 6000]])
  focal, middle = 12.0, (SIZE - 1) / 2
  points = focal * corners[:, :2] / corners[:, 2:] + middle
  raster = draw(points, corners[:, 2], [[0, 1, 2], [0, 2, 3]], cull=False)
  used = np.asarray(raster.pixel) < SIZE * SIZE
  assert used.sum() > 40
  corner = corners[np.array([[0, 1, 2], [0, 2, 3]])[np.asarray(raster.triangle)[used]]]
  seen = (corner * np.asarray(raster.barycentric)[used, :, None]).sum(1)
  pixel = np.asarray(raster.pixel)[used]
  uv = np.stack([pixel % SIZE, pixel // SIZE], -1)
  np.testing.assert_allclose(focal * seen[:, :2] / seen[:, 2:] + middle, uv, atol=1e-3)
  np.testing.assert_allclose(seen[:, 2], np.asarray(raster.depth)[used], rtol=1e-5)


def test_shared_edges_leave_no_cracks_and_culling_hides_backs():
  """A fan of thin triangles round a point covers its disc completely."""
  angle = np.linspace(0, 2 * np.pi, 41)[:-1]
  rim = 11.3 + 9.7 * np.stack([np.cos(angle), np.sin(angle)], -1)
  points = np.vstack([[11.3, 11.3], rim])
  fan = np.array([[0, (k + 1) % 40 + 1, k + 1] for k in range(40)])
  depth = np.full(41, 3000.0)
  triangle, _ = images(draw(points, depth, fan))
  v, u = np.mgrid[:SIZE, :SIZE]
  assert (triangle >= 0)[np.hypot(u - 11.3, v - 11.3) < 9.6].all()
  assert (images(draw(points, depth, fan[:, ::-1]))[0] == -1).all()


@pytest.mark.parametrize(
  "limits",
  [
    rasterizer.Limits((rasterizer.Tier(4, 64), rasterizer.Tier(6, 64)), SIZE * SIZE),
    rasterizer.Limits((rasterizer.Tier(32, 1),), SIZE * SIZE),
    rasterizer.Limits((rasterizer.Tier(32, 64),), 50),
  ],
  ids=["window too small", "too many triangles", "too many pixels"],
)
def test_what_finds_no_room_is_counted(limits):
  points = np.array([[1.0, 1], [1, 20], [20, 1], [20, 20]])
  triangles = np.array([[0, 1, 2], [1, 3, 2]])
  raster = draw(points, np.full(4, 3000.0), triangles, limits)
  assert int(raster.overflow) > 0
  room = limits.grown(8)
  assert int(draw(points, np.full(4, 3000.0), triangles, room).overflow) == 0


def test_triangles_that_cross_the_near_plane_are_counted_and_left_out():
  points = np.array([[1.0, 1], [1, 20], [20, 1], [20, 20]])
  raster = draw(points, [3000, 3000, 3000, 0.5], [[0, 1, 2], [1, 3, 2]])
  triangle, depth = images(raster)
  assert int(raster.clipped) == 1
  assert set(np.unique(triangle)) == {-1, 0} and np.isfinite(depth[triangle == 0]).all()

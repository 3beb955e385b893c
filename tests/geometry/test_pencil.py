"""Epipolar lines indexed along the border of a map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.geometry import epipolar, pencil
from epipolar_jax.geometry.cameras import Cameras
from tests import scenes

_SIZE_WH = (24, 16)


def _coordinates(points, pole):
  place = jax.vmap(lambda p: pencil.border_coordinate(p, pole, size_wh=_SIZE_WH))
  return np.asarray(jax.jit(place)(jnp.asarray(points, jnp.float32)))


def _at(coordinate):
  border = pencil.border_points(_SIZE_WH)
  return np.asarray(pencil.look_up(border, jnp.asarray(coordinate)), np.float64)


def _pixels():
  v, u = np.mgrid[: _SIZE_WH[1], : _SIZE_WH[0]]
  return np.stack([u, v], -1).reshape(-1, 2).astype(np.float64)


def test_border_points_go_once_around():
  border = np.asarray(pencil.border_points(_SIZE_WH))
  width, height = _SIZE_WH
  assert len(np.unique(border, axis=0)) == len(border) == 2 * (width + height - 2)
  on_border = np.isin(border[:, 0], (0, width - 1)) | np.isin(border[:, 1], (0, height - 1))
  assert on_border.all()
  np.testing.assert_array_equal(np.linalg.norm(border - np.roll(border, -1, 0), axis=1), 1.0)


@pytest.mark.parametrize(
  "pole",
  [(-40.0, 5.0, 1.0), (40.0, -5.0, -1.0), (9.3, 6.7, 1.0), (1.0, 0.3, 0.0), (2000.0, 900.0, 0.1)],
  ids=["left", "behind", "inside", "infinity", "far"],
)
def test_the_border_point_lies_on_the_line_and_beyond_the_point(pole):
  pole = np.array(pole) / np.linalg.norm(pole)
  points = _pixels()
  border = _at(_coordinates(points, jnp.asarray(pole, jnp.float32)))
  line = np.cross(np.append(points, np.ones((len(points), 1)), 1), pole)
  line /= np.linalg.norm(line[:, :2], axis=1, keepdims=True)
  off = np.abs(np.sum(line * np.append(border, np.ones((len(border), 1)), 1), 1))
  assert off.max() < 1e-3
  direction = np.sign(pole[2] or 1) * (pole[2] * points - pole[:2])
  assert (np.sum((border - points) * direction, 1) > -1e-4).all()


def test_pixels_of_neighbouring_lines_share_what_the_other_view_holds():
  scene = scenes.make_scene(3, size=64)
  camera, other = (
    Cameras(*(jnp.asarray(x[i], jnp.float32) for x in scene.cameras)) for i in (0, 1)
  )
  matrix = epipolar.fundamental(camera, other)
  pole = epipolar.epipole(camera, other.centre())
  points = _pixels()
  border = _at(_coordinates(points, pole))
  one = np.append(points, np.ones((len(points), 1)), 1) @ np.asarray(matrix, np.float64).T
  two = np.append(border, np.ones((len(border), 1)), 1) @ np.asarray(matrix, np.float64).T
  one, two = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, two))
  assert np.abs(np.abs(np.sum(one * two, 1)) - 1).max() < 1e-6


def test_look_up_interpolates_around_the_corner():
  values = jnp.array([[0.0], [1.0], [4.0]])
  found = pencil.look_up(values, jnp.array([1.0, 1.5, 2.75]))
  np.testing.assert_allclose(np.asarray(found)[:, 0], [1.0, 2.5, 1.0])
